"""Which regions' rows the database shows to the work at hand: those of whoever asks, once it is known who that is.

Said where a token is verified and nowhere else, so that a route which forgets to filter is refused by the database.
What is begun for somebody, a task or a job, goes on as that somebody. Nothing said: no row of any region.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from services.event_log.privileges import EVERYWHERE

_regions: ContextVar[str] = ContextVar("regions", default="")


def see(regions: Iterable[str] | None) -> None:
    """From here on these regions (None: all)."""
    _regions.set(_written(regions))


def seen() -> str:
    """The regions as the database's setting has them."""
    return _regions.get()


@contextmanager
def everywhere() -> Iterator[None]:
    """Work that is nobody's: what the service does by itself."""
    before = _regions.set(EVERYWHERE)
    try:
        yield
    finally:
        _regions.reset(before)


def _written(regions: Iterable[str] | None) -> str:
    """One that holds a comma is no region's code, and would be taken for two."""
    return EVERYWHERE if regions is None else ",".join(sorted(one for one in regions if "," not in one))
