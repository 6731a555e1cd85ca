"""Who listens is told which cases moved, in order, once the lists show it; and never of another region's."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from intake_api import access, stream
from intake_api.streams import events
from projections import changes
from projections.changes import Changes, Notice
from services.event_log import Fact, Proposal, Unavailable
from services.events import DutyMissed
from services.identifiers import uuid7
from tests.contract.hearing import Listener, listening
from tests.contract.house import House, codes

pytestmark = pytest.mark.anyio


async def _position(house: House, *regions: str) -> int:
    """Where the views stand once they show everything."""
    return int((await house.agent(*regions).get("/v1/cases?limit=1")).headers["ledger-position"])


async def test_a_stream_begins_now_and_tells_where_that_is(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    await agent.case(region)
    position = await _position(house, region)
    async with listening(house, agent) as heard:
        assert heard.headers["content-type"] == "text/event-stream"
        assert heard.headers["cache-control"] == "no-store"
        assert (await heard.next()) == ("cases", {"position": position, "cases": []}, position)
        assert await heard.is_silent()


async def test_a_case_that_moved_is_told_and_a_list_asked_then_shows_it(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    async with listening(house, agent) as heard:
        await heard.next()
        case = await agent.case(region)
        told = await heard.next()
        assert told.kind == "cases"
        assert (told.data["cases"], told.id) == ([case["case_id"]], told.data["position"])
        listed = (await agent.get(f"/v1/cases?min_position={told.id}")).json()["items"]
        assert [item["version"] for item in listed] == [1]
        await agent.act(case, "noted", text="一")
        told = await heard.next()
        assert told.data["cases"] == [case["case_id"]]
        listed = (await agent.get(f"/v1/cases?min_position={told.id}")).json()["items"]
        assert [item["version"] for item in listed] == [2]


async def test_who_was_cut_off_hears_all_that_moved_since(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    cases = [await agent.case(region) for _ in range(3)]
    await _position(house, region)
    async with listening(house, agent) as heard:
        last = (await heard.next()).id
    await agent.act(cases[2], "noted", text="一")
    await agent.act(cases[0], "noted", text="二")
    await agent.act(cases[2], "noted", text="三")
    position = await _position(house, region)
    async with listening(house, agent, last) as heard:
        found = await heard.cases_until(position)
        assert found == [cases[0]["case_id"], cases[2]["case_id"]]
        assert heard.last_id == position
    async with listening(house, agent, position) as heard:
        assert await heard.is_silent()
    async with listening(house, agent, 0) as heard:
        assert set(await heard.cases_until(position)) == {case["case_id"] for case in cases}


async def test_linked_cases_move_together(house: House) -> None:
    region = await house.region()
    manager = house.manager(region)
    target, source = await manager.case(region), await manager.case(region, household="5-1-101")
    async with listening(house, manager, await _position(house, region)) as heard:
        linked = await manager.act(source, "linked", case=target["case_no"], kind="merged_into", reason="同源")
        position = int(linked.headers["ledger-position"])
        assert set(await heard.cases_until(position)) == {target["case_id"], source["case_id"]}


@pytest.mark.parametrize("batch", [1, 2, 3])
async def test_many_come_in_batches_none_twice_and_none_left_out(
    house: House, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(changes, "BATCH", batch)
    region = await house.region()
    manager = house.manager(region)
    begin = await _position(house, region)
    cases = [await manager.case(region, household=f"3-1-{number}01") for number in range(7)]
    await manager.act(cases[5], "linked", case=cases[1]["case_no"], kind="merged_into", reason="同源")
    await manager.act(cases[6], "linked", case=cases[1]["case_no"], kind="merged_into", reason="同源")
    position = await _position(house, region)
    async with listening(house, manager, begin) as heard:
        found = await heard.cases_until(position)
    ids = [case["case_id"] for case in cases]
    assert found[:4] == [ids[0], ids[2], ids[3], ids[4]]
    # Three at one position are not parted, though the batch is smaller.
    assert sorted(found[4:]) == sorted([ids[1], ids[5], ids[6]])


async def test_another_region_s_cases_and_notices_are_never_told(house: House) -> None:
    mine, foreign = await house.region(), await house.region()
    agent, stranger = house.agent(mine), house.agent(foreign)
    begin = await _position(house, mine)
    case = await stranger.case(foreign)
    await _missed(house, foreign, case["case_id"])
    async with (
        listening(house, agent, begin) as heard,
        listening(house, house.caller("dashboard", mine), begin) as shown,
        listening(house, house.caller("auditor"), begin) as audited,
        listening(house, house.agent("*"), begin) as everywhere,
    ):
        await stranger.act(case, "noted", text="一")
        assert await heard.is_silent()
        assert await shown.is_silent(0.1)
        for listener in (audited, everywhere):
            assert {(await listener.next()).kind for _ in range(2)} == {"cases", "notice"}
        own = await agent.case(mine)
        for listener in (heard, shown):
            assert (await listener.next()).data["cases"] == [own["case_id"]]


async def _missed(house: House, region: str, case_id: str) -> int:
    """A notice that a duty of the case was missed, stored; its position."""
    notice = DutyMissed(
        notice_id=uuid7(),
        duty="respond",
        cycle=1,
        case_id=UUID(case_id),
        due_at=datetime(2026, 1, 15, 9, tzinfo=UTC),
    )
    fact = Fact(uuid7(), DutyMissed.name, DutyMissed.schema, region, msgspec.json.encode(notice))
    stored = await house.services.log.append(Proposal("service", {fact.stream: 0}, [fact]))
    return int(stored.records[0].position)


async def test_a_missed_duty_is_told_as_a_notice(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    begin = await _position(house, region)
    async with listening(house, agent, begin) as heard:
        position = await _missed(house, region, case["case_id"])
        told = await heard.next()
    assert (told.kind, told.id) == ("notice", position)
    assert set(told.data) == {"position", "notice_id", "case_id"}
    assert (told.data["position"], told.data["case_id"]) == (position, case["case_id"])


def test_of_several_events_only_the_last_has_an_id_so_that_who_is_cut_off_between_hears_all_again() -> None:
    notices = [Notice(position, uuid7(), uuid7()) for position in (3, 4)]
    told = b"".join(events(Changes(9, [uuid7()] * 501, notices))).decode().split("\n\n")[:-1]
    assert [block.split("\n")[0] for block in told] == ["event: notice"] * 2 + ["event: cases"] * 2
    assert ["id: 9" in block.split("\n") for block in told] == [False, False, False, True]
    assert list(events(Changes(9, [], []))) == []


@pytest.mark.parametrize("last", ["", "x", "-1", "1.5", "１", "9" * 19, "1,2"])
async def test_an_id_that_is_no_position_is_refused(house: House, last: str) -> None:
    answer = await house.agent(await house.region()).get("/v1/stream", last_event_id=last.encode())  # type: ignore[arg-type]
    assert (answer.status_code, codes([answer])) == (400, ["last_event_id_malformed"])


async def test_an_id_beyond_the_ledger_is_of_one_that_was_restored(house: House) -> None:
    agent = house.agent(await house.region())
    answer = await agent.get("/v1/stream", last_event_id="9" * 18)
    assert (answer.status_code, codes([answer])) == (409, ["ledger_restored"])


async def test_who_may_not_read_cases_and_who_asks_more_is_refused(house: House) -> None:
    agent = house.agent(await house.region())
    assert codes([await house.caller("admin").get("/v1/stream")]) == ["forbidden"]
    assert codes([await agent.get("/v1/stream?region=X")]) == ["unknown_parameter"]
    assert codes([await house.client.get("/v1/stream")]) == ["unauthenticated"]


async def test_500_that_wait_cost_no_look_and_one_a_step(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    await _position(house, region)
    listeners = [Listener(house, house.agent(region), None) for _ in range(500)]
    try:
        for heard in listeners:
            await heard.next()
        assert house.services.streams.open >= 500
        looks = house.services.views.looks
        await asyncio.sleep(0.3)
        assert house.services.views.looks == looks
        case = await agent.case(region)
        told = [await heard.next() for heard in listeners]
        assert {tuple(event.data["cases"]) for event in told} == {(case["case_id"],)}
        assert house.services.views.looks == looks + 1
    finally:
        await asyncio.gather(*(heard.leave() for heard in listeners))
    assert house.services.streams.open == 0


async def test_those_who_begin_at_different_positions_stand_at_one_soon(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    begins = []
    for _ in range(6):
        begins.append(await _position(house, region))
        await agent.case(region)
    position = await _position(house, region)
    listeners = [Listener(house, agent, begin) for begin in begins]
    try:
        for heard, moved in zip(listeners, range(6, 0, -1), strict=True):
            assert len(await heard.cases_until(position)) == moved
        await asyncio.sleep(0.2)
        looks = house.services.views.looks
        case = await agent.case(region)
        for heard in listeners:
            assert (await heard.next()).data["cases"] == [case["case_id"]]
        assert house.services.views.looks == looks + 1
    finally:
        await asyncio.gather(*(heard.leave() for heard in listeners))


async def test_who_comes_in_late_is_first_told_up_to_where_the_others_stand(house: House) -> None:
    region = await house.region()
    agent, streams = house.agent(region), house.services.streams
    stands = []
    for _ in range(3):
        await agent.case(region)
        stands.append(await _position(house, region))
    begin, _, there = stands
    assert (await streams.after((region,), begin)).until == there
    await agent.case(region)
    now = await _position(house, region)
    # However much moved since: from there on they share each look.
    assert (await streams.after((region,), begin - 1)).until == there
    assert (await streams.after((region,), there)).until == now


async def test_a_slow_reader_is_told_each_case_once_and_nothing_heaps_up(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    async with listening(house, agent) as heard:
        await heard.next()
        heard.room.clear()
        case = await agent.case(region)
        for _ in range(30):
            await agent.act(case, "noted", text="一")
        position = await _position(house, region)
        taken = heard.taken
        await asyncio.sleep(0.2)
        assert heard.taken == taken
        heard.room.set()
        found = await heard.cases_until(position)
        # What waited to be sent, then all the rest at once.
        assert set(found) == {case["case_id"]}
        assert len(found) <= 3


async def test_a_comment_keeps_a_silent_stream_alive_and_moves_its_id(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE", 0.2)
    region, other = await house.region(), await house.region()
    async with listening(house, house.agent(region)) as heard:
        begin = (await heard.next()).id
        await house.agent(other).case(other)
        position = await _position(house, other)
        await asyncio.sleep(0.5)
        assert heard.comments
        assert heard.last_id == position
        assert begin is not None and position > begin


async def test_a_stream_ends_when_its_token_does(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    region = await house.region()
    token = house.services.tokens.issue("agent", [region], "region", None, 0)
    agent = house.agent(region)
    agent.token = token
    monkeypatch.setattr(access, "LEEWAY", 2)
    async with listening(house, agent) as heard:
        await heard.next()
        assert not heard.task.done()
        await heard.ended(3)
    assert codes([await agent.get("/v1/stream")]) == ["unauthenticated"]


async def test_a_stream_outlives_a_database_that_does_not_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    region = await house.region()
    agent = house.agent(region)
    failing = [True]
    look = house.services.views.look

    async def fails(ask: Any) -> Any:
        if failing:
            failing.pop()
            raise Unavailable("no answer")
        return await look(ask)

    async with listening(house, agent) as heard:
        await heard.next()
        monkeypatch.setattr(house.services.views, "look", fails)
        case = await agent.case(region)
        assert (await heard.next()).data["cases"] == [case["case_id"]]
        assert not failing
