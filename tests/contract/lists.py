"""Asking for lists: queries written in full, pages until the last, and a clock that a test may set."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.contract.house import Caller, House

Query = Mapping[str, str | Sequence[str]]


def path(query: Query, base: str = "/v1/cases") -> str:
    """The address of a list."""
    return f"{base}?{urlencode(query, doseq=True)}"


async def page(caller: Caller, **query: Any) -> dict[str, Any]:
    """One page."""
    answer = await caller.get(path({"limit": "500", "count": "true", **query}))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ids(caller: Caller, **query: Any) -> list[str]:
    """The cases of a list, all of them, with the total checked."""
    found = await page(caller, **query)
    assert found["next_cursor"] is None
    assert found["total"] == len(found["items"])
    return [item["case_id"] for item in found["items"]]


async def pages(caller: Caller, limit: int, query: Query) -> AsyncIterator[list[dict[str, Any]]]:
    """One page after the other."""
    cursor: dict[str, str] = {}
    while True:
        answer = await caller.get(path({**query, **cursor, "limit": str(limit)}))
        assert answer.status_code == 200, answer.text
        yield answer.json()["items"]
        if answer.json()["next_cursor"] is None:
            return
        cursor = {"cursor": answer.json()["next_cursor"]}


@contextmanager
def clock(house: House, now: datetime) -> Iterator[None]:
    """The service's clock stands at that instant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.services, "now", lambda: now)
        yield
