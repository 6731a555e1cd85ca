"""What it costs that looks are noted and stored: ``python -m tests.bench.looking``."""

import asyncio
import timeit
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from uuid import uuid4

from intake_api.http import Call, Reply
from intake_api.looked import cases_in
from services.access_log import BATCH, MOST_WAITING, Noted
from services.embedded_postgres import EmbeddedPostgres
from tests.conftest import fresh_database, running
from tests.contract.house import House, open_house

_TIMES = 20_000


async def measured(house: House) -> None:
    """One line for each figure."""
    region = await house.region()
    agent = house.agent(region)
    made = [await agent.case(region) for _ in range(50)]
    path = f"/v1/cases/{made[0]['case_id']}"
    answer = await agent.get(path)
    page = (await agent.get("/v1/cases?limit=50")).content
    looked, caller = house.services.looked, house.services.tokens.caller(f"Bearer {agent.token}")
    await _hook(house, caller, path, answer.headers["etag"].encode())
    print(f"cases of a page of 50, once each page made: {_micro(lambda: cases_in(page)):.1f} µs")
    for size in (1, 50):
        cases = [case["case_id"] for case in made[:size]]
        for _ in range(10 * BATCH):
            looked.log.note(_noted(house, cases))
        began = perf_counter()
        await looked.log.flush()
        print(f"stored, {size} cases a row: {(perf_counter() - began) / 10 / BATCH * 1e6:.0f} µs a row")
    for what, note in (("noted", True), ("not noted", False), ("noted", True), ("not noted", False)):
        await _asked(house, agent, path, what, note)


async def _hook(house: House, caller: object, path: str, tag: bytes) -> None:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "app": house.app}
    call = Call({**scope, "client": ("127.0.0.1", 1), "caller": caller}, None)  # type: ignore[arg-type]
    call.cases, call.regions = (str(uuid4()),), ("GD",)
    looked = house.services.looked
    for status in (200, 304):
        reply = Reply(status, b"", tag=tag)
        # There is room for all that three times as many note; dropping them would cost less.
        spent = _micro(lambda reply=reply: looked.answered(call, reply, "get_case"), MOST_WAITING // 4)
        await looked.log.flush()
        print(f"the hook, {status}: {spent:.2f} µs")


async def _asked(house: House, agent: object, path: str, what: str, note: bool) -> None:
    looked, kept = house.services.looked, house.services.looked.answered
    if not note:
        looked.answered = lambda *_: None  # type: ignore[method-assign]
    began = perf_counter()
    for _ in range(2_000):
        await agent.get(path)  # type: ignore[attr-defined]
    print(f"GET a case in process, {what}: {(perf_counter() - began) / 2_000 * 1e6:.0f} µs")
    looked.answered = kept  # type: ignore[method-assign]


def _noted(house: House, cases: list[str]) -> Noted:
    return Noted(house.services.now(), str(uuid4()), "agent", "region", "list_cases", 200, ["GD"], cases, len(cases))


def _micro(work: object, times: int = _TIMES) -> float:
    return min(timeit.repeat(work, number=times, repeat=3)) / times * 1e6  # type: ignore[arg-type]


async def _run(url: str, folder: Path) -> None:
    async with open_house(url, folder) as house:
        await measured(house)


def main() -> None:
    with (
        TemporaryDirectory() as folder,
        running(EmbeddedPostgres(Path(folder) / "pg"), {}) as server,
        fresh_database(server) as url,
    ):
        asyncio.run(_run(url, Path(folder)))


if __name__ == "__main__":
    main()
