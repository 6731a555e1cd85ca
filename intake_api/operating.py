"""What the commands for the views do, with parts of their own and no HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from intake_api.services import Services
from projections import building, parked
from projections.checking import Checker
from projections.checkpoint import View
from projections.follower import Follower
from projections.parked import NoSuchParkedCase, ParkedCase
from projections.rebuild import Rebuild
from services.event_log import Connection, Role, connect
from services.identifiers import parse_case_no, parse_uuid
from services.settings import Settings

# Seconds in which somebody leads and has tried all again.
_PATIENCE = 60.0


async def rebuild(settings: Settings, url: str, restart: bool, reached: Callable[[int, int], None]) -> View:
    """Build the other generation and let it be the one that is read."""
    async with _parts(settings, url) as services:
        return await Rebuild(url, services.log, services.folder, reached).run(restart)


async def cancel_rebuild(settings: Settings, url: str) -> bool:
    """Whether a rebuild was running."""
    async with await connect(url, role=Role.FOLLOWER) as connection:
        return await building.cancel(connection)


async def check(settings: Settings, url: str, share: float, tell: Callable[[str], None]) -> tuple[int, int]:
    """How many rows were compared, and how many differences were told."""
    found = 0
    async with _parts(settings, url) as services:
        checker = Checker(url, services.folder(0), share)
        async with contextlib.aclosing(checker.differences()) as differences:
            async for one in differences:
                found += 1
                key = " ".join(map(str, one.key))
                tell("\t".join(part for part in (one.table, key, one.column, one.said) if part))
        return checker.compared, found


async def list_parked(settings: Settings, url: str) -> list[ParkedCase]:
    """All parked cases of the generation that is read."""
    async with await connect(url, role=Role.FOLLOWER) as connection:
        return await parked.parked_cases(connection)


async def drop_parked(settings: Settings, url: str, cases: Sequence[str]) -> list[UUID]:
    """Give cases up."""
    async with _parts(settings, url) as services, await connect(url, role=Role.FOLLOWER) as connection:
        return await parked.drop(connection, await _named(services, connection, cases))


async def retry_parked(settings: Settings, url: str, cases: Sequence[str] | None) -> dict[UUID, str]:
    """Have cases tried again, by whoever leads, or by this process if nobody does; what became of each."""
    async with _parts(settings, url) as services, await connect(url, role=Role.FOLLOWER) as connection:
        asked = await parked.retry(connection, await _named(services, connection, cases))
        following = asyncio.create_task(Follower(url, services.log, services.folder(0)).run())
        try:
            return await _outcomes(connection, asked)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _outcomes(connection: Connection, asked: Sequence[UUID]) -> dict[UUID, str]:
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        found = {one.case_id: one for one in await parked.parked_cases(connection)}
        waiting = [case_id for case_id in asked if case_id in found and found[case_id].state == "retry"]
        if not waiting or asyncio.get_running_loop().time() > deadline:
            return {case_id: _outcome(found.get(case_id)) for case_id in asked}
        await asyncio.sleep(0.1)


def _outcome(one: ParkedCase | None) -> str:
    if one is None:
        return "applied"
    return "not tried yet" if one.state == "retry" else f"parked again: {one.fault}"


async def _named(services: Services, connection: Connection, cases: Sequence[str] | None) -> list[UUID]:
    """Parked cases by id or number; None: all that are not given up."""
    known = {one.case_id: one for one in await parked.parked_cases(connection)}
    if not cases:
        return [case_id for case_id, one in known.items() if one.state != "dropped"]
    found = []
    for written in cases:
        case_id = parse_uuid(written)
        if case_id is None and (number := parse_case_no(written)):
            case_id = await services.log.read.case_by_number(number)
        if case_id not in known:
            raise NoSuchParkedCase(written)
        found.append(case_id)
    return found


@asynccontextmanager
async def _parts(settings: Settings, url: str) -> AsyncIterator[Services]:
    """The log, hearing of what other processes append."""
    services = Services(settings, url)
    async with services.log:
        listening = asyncio.create_task(services.log.read.listen())
        try:
            yield services
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
