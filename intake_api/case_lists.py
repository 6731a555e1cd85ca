"""Lists of cases, by the contract's filters, and the search by what must not stand in an address."""

from datetime import datetime
from hashlib import sha256
from typing import Any

from intake_api import asked, bodies
from intake_api.access import Forbidden
from intake_api.http import Call, Reply
from intake_api.looked import cases_in
from intake_api.polled import Made
from intake_api.services import Services
from projections import case_list
from projections.case_list import SORTS, Order, Page
from projections.case_view import encode
from projections.filters import Asked
from services.caller import Caller
from services.commands import SEARCH
from services.households import household_key
from services.identifiers import parse_case_no

KNOWN = (*asked.FILTERS, *asked.PAGED, "sort")


async def list_cases(call: Call) -> Reply:
    """Heads of the cases that the caller may see, those opened last first."""
    services: Services = call.services
    caller = reader(call)

    async def make() -> Made:
        query, now = call.query(KNOWN), services.now()
        wanted = filters(call, caller, query, now)
        cursor = asked.Cursor(services.token_key, call, query)
        page = await _page(call, caller, wanted, query, cursor.read(asked.one(query, "cursor")), now)
        body = await document(call, caller, page, cursor)
        return Made(body, page.view, holds_until(services, now, page.due_at))

    return await services.polled.reply(call, caller, make)


async def search_cases(call: Call) -> Reply:
    """Heads of the cases of a telephone number, a household, a reference or a word; nothing of it is logged."""
    services: Services = call.services
    caller = reader(call)
    if caller.role not in ("agent", "manager"):
        raise Forbidden
    query, now = call.query(("limit", "cursor", "count")), services.now()
    raw = await call.raw_body()
    body = bodies.command(SEARCH, raw, bodies.parsed(raw))
    wanted = Asked(
        regions=asked.regions(caller, None),
        projects=(body.project,) if body.project else None,
        reference=body.external_ref,
        household=household_key(body.household) if body.household else None,
        person=services.vault.person_hashes(body.phone).all if body.phone else (),
        word=body.q.strip() if body.q else None,
        number=parse_case_no(body.q) if body.q else None,
        grams=services.grams.asked(body.q) if body.q else (),
    )
    cursor = asked.Cursor(services.token_key, call, {**query, "body": [sha256(raw).hexdigest()]})
    page = await _page(call, caller, wanted, query, cursor.read(asked.one(query, "cursor")), now)
    answer = await document(call, caller, page, cursor)
    # A number is the same in whatever way it was written.
    call.question = repr((wanted.person[:1], wanted.household, wanted.projects, wanted.reference, wanted.word)).encode()
    call.cases = cases_in(answer)
    return Reply(200, answer, [(b"ledger-position", b"%d" % page.view.position), (b"cache-control", b"no-store")])


def reader(call: Call) -> Caller:
    """Who asks, if the role reads cases at all."""
    caller: Caller = call.services.caller(call)
    if not caller.reads_cases():
        raise Forbidden
    return caller


def filters(call: Call, caller: Caller, query: asked.Query, now: datetime) -> Asked:
    """The filters of the query; words are looked for in texts only for who may read them."""
    services: Services = call.services
    wanted = asked.asked(query, caller, services.directory, now, services.grades())
    if wanted.word is None or caller.masked:
        return wanted
    return wanted._replace(grams=services.grams.asked(wanted.word))


async def _page(
    call: Call, caller: Caller, wanted: Asked, query: asked.Query, after: list[Any] | None, now: datetime
) -> Page:
    services: Services = call.services
    order = Order(*asked.order(query, SORTS, "-opened_at"))

    async def opened(sealed: bytes) -> bytes:
        return await services.vault.open_document(sealed, caller.masked)

    return await case_list.page(
        services.views,
        services.directory,
        wanted,
        order,
        after,
        asked.limit(query),
        now,
        opened,
        asked.flag(query, "count") or False,
    )


async def document(call: Call, caller: Caller, page: Page, cursor: asked.Cursor) -> bytes:
    """A page as it is answered."""
    more = b"" if page.total is None else b',"total":%d' % page.total
    sealed = b'{"items":[%b],"next_cursor":%b%b}' % (b",".join(page.items), encode(cursor.write(page.last)), more)
    return await call.services.vault.open_document(sealed, caller.masked)  # type: ignore[no-any-return]


def holds_until(services: Services, now: datetime, due_at: datetime | None = None) -> datetime:
    """The last instant at which what is told now still holds by itself, as far as duties and the directory go."""
    until = services.directory.holds_until(now)
    return min(until, due_at) if due_at else until
