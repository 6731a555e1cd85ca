"""An answer's head and body leave together, and nothing is left behind when a connection closes."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from intake_api.one_write import Gathering, OneWrite

pytestmark = pytest.mark.anyio


class Wire:
    """A transport that keeps what came in, in order."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.seen.append(data)

    def close(self) -> None:
        self.seen.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.seen

    def get_extra_info(self, name: str) -> str:
        return name


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def gathering(wire: Wire) -> Gathering:
    return Gathering(cast(asyncio.Transport, wire), asyncio.get_running_loop())


async def test_what_is_written_in_one_turn_leaves_in_one_piece(wire: Wire, gathering: Gathering) -> None:
    gathering.write(b"head")
    gathering.write(b"body")
    assert wire.seen == []
    await asyncio.sleep(0)
    assert wire.seen == [b"headbody"]
    gathering.write(b"next")
    await asyncio.sleep(0)
    assert wire.seen == [b"headbody", b"next"]


async def test_closing_leaves_nothing_behind(wire: Wire, gathering: Gathering) -> None:
    gathering.write(b"last")
    gathering.close()
    await asyncio.sleep(0)
    assert wire.seen == [b"last", b"closed"]
    assert gathering.is_closing()


async def test_all_else_is_the_transport_s(gathering: Gathering) -> None:
    assert gathering.get_extra_info("peername") == "peername"


@pytest.mark.parametrize(("unread", "expected"), [(False, ["end"]), (True, ["end", "abort"])])
def test_an_answer_without_end_ends_with_the_server_read_or_unread(unread: bool, expected: list[str]) -> None:
    seen: list[str] = []
    protocol = OneWrite.__new__(OneWrite)
    cycle = SimpleNamespace(scope={"at_shutdown": lambda: seen.append("end")}, response_complete=False, keep_alive=True)
    protocol.cycle = cast(Any, cycle)
    protocol.flow = cast(Any, SimpleNamespace(write_paused=unread))
    protocol.transport = cast(Any, SimpleNamespace(abort=lambda: seen.append("abort")))
    protocol.shutdown()
    assert (seen, cycle.keep_alive) == (expected, False)
    cycle.scope.clear()
    protocol.shutdown()
    assert seen == expected
