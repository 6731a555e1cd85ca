"""Sums over the cases that a caller may see."""

from functools import partial

from intake_api import asked
from intake_api.case_lists import filters, holds_until, reader
from intake_api.http import Call, Reply, UnknownParameter
from intake_api.polled import Made
from intake_api.services import Services
from projections.case_view import encode
from projections.grouping import DIMENSIONS
from projections.summary import summary
from projections.summary_of_word import summary_of_word

KNOWN = (*asked.FILTERS, "group_by", "min_position")


async def summarise(call: Call) -> Reply:
    """Counts, shares and times to respond, of all cases asked for or by the dimensions of `group_by`."""
    services: Services = call.services
    caller = reader(call)

    async def opened(sealed: bytes) -> bytes:
        return await services.vault.open_document(sealed, caller.masked)

    async def make() -> Made:
        query, now = call.query(KNOWN), services.now()
        by = dimensions(query)
        while True:
            known = services.directory.position
            wanted = filters(call, caller, query, now)
            look = partial(summary_of_word, opened=opened) if wanted.grams else summary
            found = await look(services.views, services.directory, by, wanted, now)
            # A project that has just been described may lie elsewhere now.
            if services.directory.position == known:
                return Made(encode({"items": found.items}), found.view, holds_until(services, now, found.due_at))

    return await services.polled.reply(call, caller, make)


def dimensions(query: asked.Query) -> tuple[str, ...]:
    """What to group by, each once, in the order asked for."""
    named = tuple(dict.fromkeys(name for value in query.get("group_by", ()) for name in value.split(",")))
    if set(named) - set(DIMENSIONS):
        raise UnknownParameter("invalid_parameter", "group_by")
    return named
