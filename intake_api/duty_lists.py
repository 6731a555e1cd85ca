"""Lists of duties, and of those that are or were late: right at the instant of the request, with no job having run."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from grading_engine.duties import State
from intake_api import asked
from intake_api.case_lists import document, holds_until, reader
from intake_api.http import Call, Reply
from intake_api.polled import Made
from intake_api.services import Services
from projections import duty_list
from projections.case_list import Page
from projections.duty_list import LATE, STATES, AskedDuties
from services.caller import Caller

_SHARED = ("duty", "region", "city", "area", "project", "state", "from", "to")
BREACHES = (*_SHARED, *asked.PAGED, "sort")
DUTIES = (*_SHARED, "due_before", "was_overdue", *asked.PAGED, "sort")
_SORTS = ("due_at",)


async def list_breaches(call: Call) -> Reply:
    """Duties that are or were late, those due last first."""
    return await _reply(call, BREACHES, LATE, LATE, "-due_at")


async def list_duties(call: Call) -> Reply:
    """All duties, those due first first, and those without a time at the end."""
    return await _reply(call, DUTIES, STATES, (), "due_at")


async def _reply(
    call: Call, known: Sequence[str], states: Sequence[State], unless_asked: tuple[State, ...], sort: str
) -> Reply:
    """`states` can be asked for; `unless_asked` are those listed when none is."""
    services: Services = call.services
    caller = reader(call)

    async def make() -> Made:
        query = call.query(known)
        cursor = asked.Cursor(services.token_key, call, query)
        while True:
            now, position = services.now(), services.directory.position
            wanted = filters(services, caller, query, now, states)
            page = await _page(
                services, wanted._replace(states=wanted.states or unless_asked), query, cursor, sort, now
            )
            # A project that moved meanwhile lies elsewhere now.
            if services.directory.position == position:
                break
        return Made(await document(call, caller, page, cursor), page.view, holds_until(services, now, page.due_at))

    return await services.polled.reply(call, caller, make)


def filters(
    services: Services, caller: Caller, query: asked.Query, now: datetime, states: Sequence[State] = STATES
) -> AskedDuties:
    """The filters of the query. A region that the caller doesn't see is as empty as one that isn't."""
    return AskedDuties(
        regions=asked.regions(caller, query.get("region")),
        projects=asked.projects(query, services.directory, now),
        duties=asked.chosen(query, "duty", services.duties()),
        states=cast(tuple[State, ...], asked.chosen(query, "state", states)),
        was_overdue=asked.flag(query, "was_overdue"),
        due_from=asked.instant(query, "from"),
        due_to=asked.instant(query, "to"),
        due_before=asked.instant(query, "due_before"),
    )


async def _page(
    services: Services, wanted: AskedDuties, query: asked.Query, cursor: asked.Cursor, sort: str, now: datetime
) -> Page:
    _, descending = asked.order(query, _SORTS, sort)
    return await duty_list.page(
        services.views,
        services.directory,
        wanted,
        descending,
        cursor.read(asked.one(query, "cursor")),
        asked.limit(query),
        now,
        asked.flag(query, "count") or False,
    )
