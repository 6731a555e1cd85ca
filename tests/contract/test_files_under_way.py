"""A file is of one instant whatever happens while it is made, and one that is not taken to its end leaves nothing."""

import asyncio
import csv
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from intake_api import exports
from intake_api.exports import Export
from projections import export_rows
from projections.export_columns import Cell
from projections.spreadsheets import Workbook
from services.event_log import Unavailable
from tests.contract.house import Caller, House

pytestmark = pytest.mark.anyio


class Client:
    """Takes an answer piece by piece; `at` is done before a piece is taken, and the client may leave then."""

    def __init__(self, house: House, caller: Caller, path: str) -> None:
        self._house, self._caller, self._path = house, caller, path
        self.pieces: list[bytes] = []
        self.status = 0
        self.ended = False
        self._gone = asyncio.Event()

    def leave(self) -> None:
        self._gone.set()

    async def take(self, at: Callable[[int], Awaitable[None]]) -> None:
        """`at` is told how many pieces were taken."""
        path, _, query = self._path.partition("?")
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await at(len(self.pieces))
            if message["type"] == "http.response.start":
                self.status = message["status"]
            else:
                self.pieces.append(message["body"])
                self.ended = not message.get("more_body")

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {self._caller.token}".encode())],
        }
        await self._house.app(scope, receive, send)

    @property
    def rows(self) -> list[list[str]]:
        return list(csv.reader(StringIO(b"".join(self.pieces).decode()[1:], newline="")))[1:]


async def _nothing(_: int) -> None:
    """Takes each piece at once."""


async def _followed(house: House, position: int) -> None:
    assert await house.services.watch.reached(position, 10)


async def _filled(house: House, cases: int) -> tuple[str, list[dict[str, Any]]]:
    region = await house.region()
    agent = house.manager(region)
    made = [await agent.case(region, title=f"第{number}件") for number in range(cases)]
    await _followed(house, (await house.services.log.read.head()).position)
    return region, made


def _left_behind(folder: Path) -> set[str]:
    """What exports have on disk: their folders, and files of this process that have no name any more."""
    folders = {path.name for path in folder.iterdir()}
    return folders | {link for fd in Path("/proc/self/fd").iterdir() if "(deleted)" in (link := _link(fd))}


async def _gone_but(before: set[str], folder: Path) -> None:
    """Nobody waits for a thread that tidies up; it takes no time."""
    for _ in range(100):
        if not _left_behind(folder) - before:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(_left_behind(folder) - before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process puts what is temporary."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _link(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except OSError:
        return ""


@pytest.mark.parametrize("sort", ["updated_at", "-updated_at", "-opened_at"])
async def test_what_happens_while_a_file_is_made_is_not_in_it(
    house: House, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    monkeypatch.setattr(export_rows, "_PAGE", 3)
    region, made = await _filled(house, 10)
    agent = house.manager(region)

    async def meanwhile(taken: int) -> None:
        """Between the first page and the second: cases are changed, and one is added."""
        if client.status == 0:
            for case in (made[0], made[5], made[9]):
                await agent.act(case, "escalated", to="city", reason="联名")
            await agent.case(region)
            await _followed(house, (await house.services.log.read.head()).position)

    client = Client(house, agent, f"/v1/cases.csv?sort={sort}")
    await client.take(meanwhile)
    assert client.ended
    order = [case["case_no"] for case in made]
    assert [row[0] for row in client.rows] == (order[::-1] if sort.startswith("-") else order)
    assert {row[13] for row in client.rows} == {"未升级"}


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
async def test_a_client_that_leaves_ends_the_file_and_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, folder: Path, kind: str
) -> None:
    for name, size in (("_PAGE", 3), ("_BATCH", 1)):
        monkeypatch.setattr(export_rows, name, size)
    monkeypatch.setattr(exports, "_PIECE", 64)
    reported: list[Exception] = []
    monkeypatch.setattr(house.services, "report", reported.append)
    region, _ = await _filled(house, 20)
    before = _left_behind(folder)
    client = Client(house, house.agent(region), f"/v1/cases.{kind}")

    async def leaving(taken: int) -> None:
        if taken == 5:
            client.leave()
            await asyncio.sleep(60)

    await asyncio.wait_for(client.take(leaving), 10)
    assert (client.status, len(client.pieces), client.ended) == (200, 5, False)
    await _gone_but(before, folder)
    assert house.services.exports == 0
    assert reported == []
    # Nobody waits for the turn that it had.
    again = Client(house, house.agent(region), "/v1/cases.csv")
    await asyncio.wait_for(again.take(_nothing), 10)
    assert len(again.rows) == 20


async def test_a_client_that_leaves_while_a_workbook_is_written_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(export_rows, "_BATCH", 1)
    reported: list[Exception] = []
    monkeypatch.setattr(house.services, "report", reported.append)
    region, _ = await _filled(house, 20)
    before = _left_behind(folder)
    client = Client(house, house.agent(region), "/v1/cases.xlsx")
    write = Workbook.write

    def slowly(self: Workbook, rows: Iterable[Sequence[Cell]]) -> None:
        time.sleep(0.3)
        loop.call_soon_threadsafe(client.leave)
        time.sleep(0.3)
        write(self, rows)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Workbook, "write", slowly)
    began = time.monotonic()
    await asyncio.wait_for(client.take(_nothing), 10)
    assert time.monotonic() - began < 3
    assert (client.status, client.pieces, reported, house.services.exports) == (200, [], [], 0)
    await _gone_but(before, folder)


async def test_a_slow_client_holds_no_transaction_and_is_not_cut_off_at_the_deadline(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_rows, "_BATCH", 1)
    region, _ = await _filled(house, 4)
    client = Client(house, house.agent(region), "/v1/cases.csv")
    held: list[int] = []

    async def slowly(taken: int) -> None:
        if not taken:
            return
        await asyncio.sleep(1.3)
        rows = await house.services.log.read.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tr%%'", []
        )
        held.append(rows[0][0])

    await client.take(slowly)
    assert client.ended and len(client.rows) == 4
    assert held == [0] * 5


async def test_a_client_that_takes_nothing_more_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_STALLED", 0.2)
    reported: list[Exception] = []
    monkeypatch.setattr(house.services, "report", reported.append)
    region, _ = await _filled(house, 2)
    client = Client(house, house.agent(region), "/v1/cases.csv")

    async def stuck(taken: int) -> None:
        if taken == 1:
            await asyncio.sleep(60)

    await asyncio.wait_for(client.take(stuck), 5)
    assert (len(client.pieces), client.ended, house.services.exports) == (1, False, 0)
    assert [type(fault) for fault in reported] == [TimeoutError]


async def test_a_file_that_breaks_off_does_not_look_whole(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails before the first piece is a problem; later the answer is not ended."""
    monkeypatch.setattr(export_rows, "_PAGE", 3)
    reported: list[Exception] = []
    monkeypatch.setattr(house.services, "report", reported.append)
    region, _ = await _filled(house, 7)
    step = export_rows.Reading.step

    async def failing(self: export_rows.Reading) -> bool:
        if self.count >= 6:
            raise Unavailable("the database does not answer")
        return await step(self)

    monkeypatch.setattr(export_rows.Reading, "step", failing)
    client = Client(house, house.agent(region), "/v1/cases.csv")
    await client.take(_nothing)
    assert (client.status, client.pieces, client.ended) == (200, [], False)
    assert [type(fault) for fault in reported] == [Unavailable]

    async def silent(self: export_rows.Reading) -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(export_rows.Reading, "begin", silent)
    answer = await house.agent(region).get("/v1/cases.csv")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert house.services.exports == 0


async def test_states_are_of_one_instant_in_the_whole_file(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock runs on while a file is made; what is overdue in its first row and in its last is told by one now."""
    monkeypatch.setattr(export_rows, "_PAGE", 1)
    region, _ = await _filled(house, 6)
    told: list[Any] = []
    cells = Export.rows

    async def noting(self: Export) -> Any:
        async for rows in cells(self):
            told.append(self._reader.now)
            yield rows

    monkeypatch.setattr(Export, "rows", noting)
    client = Client(house, house.agent(region), "/v1/breaches.csv")
    await client.take(_nothing)
    seconds = {int(row[7]) for row in client.rows}
    assert (len(client.rows), len(seconds), len(set(told))) == (6, 1, 1)
