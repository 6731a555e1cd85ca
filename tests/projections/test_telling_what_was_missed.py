"""逾期通报: each missed duty is told once, with its true time, however many tell and whatever was down."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from projections import notices, tables
from projections.notices import Notices
from projections.views import Views
from projections.watch import Watch
from projections.writing import SESSION, Writer
from services.directory import Directory, notices_stream
from services.event_log import EventLog, Record, connect
from services.events import DutyMissed, decode
from services.instants import format_instant
from tests.contract.house import House, open_house
from tests.contract.test_the_whole_life_of_a_case import CONTACT, Story, day, up_to_closure
from tests.unit.test_policy_documents import document

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A service that tells nothing by itself."""
    async with open_house(database_url, tmp_path, ANJUAN_NOTICES="off") as opened:
        yield opened


@asynccontextmanager
async def teller(url: str, later: timedelta = timedelta(0), leads: bool = True) -> AsyncIterator[Notices]:
    """One who tells, in a process of its own as far as the database sees; its clock may be ahead."""
    log, watch = EventLog(url), Watch(url)
    directory = Directory(log)
    views = Views(url, watch, directory)
    async with log:
        await directory.refresh()
        watching = asyncio.create_task(watch.run())
        yield Notices(log, views, watch, directory, lambda: leads, lambda: datetime.now(UTC) + later)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await views.close()


async def _notices(house: House) -> list[tuple[Record, DutyMissed]]:
    records = [record for record in await house.services.log.read.after(0, 100_000) if record.name == "duty_missed"]
    found = [(record, decode(record.name, record.schema, record.body)) for record in records]
    return [(record, said) for record, said in found if isinstance(said, DutyMissed)]


async def _told(house: House) -> list[DutyMissed]:
    return [said for _, said in await _notices(house)]


async def _story(house: House, **fields: Any) -> Story:
    region = await house.region()
    manager = house.manager(region)
    return Story(manager, await manager.case(region, **fields))


async def _reached(house: House) -> None:
    """The views have come to the ledger's end."""
    assert await house.services.watch.reached((await house.services.log.read.head()).position, 5)


def _ago(since: timedelta) -> str:
    return format_instant(datetime.now(UTC) - since)


async def test_a_missed_duty_is_told_in_its_region_s_stream_and_nowhere_else(house: House, database_url: str) -> None:
    told = await _story(house, obtained_at=day(1))
    before = await told.seen()
    async with teller(database_url) as one:
        await one.tell()
        await one.tell()
    ((record, said),) = await _notices(house)
    region = told.case["region"]
    assert (record.stream, record.version, record.region) == (notices_stream(region), 1, region)
    assert record.actor == "system/group/anjuan"
    assert (said.duty, said.cycle, said.due_at) == ("respond", 1, datetime(2026, 3, 1, 9, tzinfo=UTC))
    assert str(said.case_id) == told.case["case_id"]
    assert str(said.complaint_id) == told.case["complaints"][0]["complaint_id"]
    # No verdict, no version and no list of the case knows of it.
    assert await told.seen() == before
    assert [one["type"] for one in (await told.caller.get(f"{told.path}/actions")).json()["items"]] == ["received"]


async def test_that_it_was_told_is_known_of_a_duty_whose_case_goes_on(house: House, database_url: str) -> None:
    told = await _story(house, obtained_at=day(1))

    async def marked() -> list[Any]:
        await _reached(house)
        return await house.services.log.read.rows("SELECT noticed FROM view_1.duties", [])

    assert await marked() == [(False,)]
    async with teller(database_url) as one:
        await one.tell()
        assert await marked() == [(True,)]
        await told.act("responded", day(1, 9, 1), complaints="all", contact_person=CONTACT)
        assert await marked() == [(True,)]
        # The mark makes it cheap to find what is not told; whether it is, the notices say.
        await house.by_hand("UPDATE view_1.duties SET noticed = false", [])
        await one.tell()
    assert len(await _told(house)) == 1


async def test_what_is_not_told_is_found_by_its_own_index(house: House, database_url: str) -> None:
    asked = {"regions": ["X", "Y"], "now": datetime.now(UTC), "generation": 1}
    async with await connect(database_url, "-c enable_seqscan=off -c enable_bitmapscan=off", role=None) as connection:
        plan = await connection.execute("EXPLAIN " + notices._UNTOLD.format(view="view_1"), asked)
        assert any("duties_untold" in line for (line,) in await plan.fetchall())


async def test_it_is_told_within_a_second_of_its_time(database_url: str, tmp_path: Path) -> None:
    async with open_house(database_url, tmp_path, ANJUAN_NOTICES="on") as house:
        due = datetime.now(UTC) + timedelta(seconds=1.5)
        await _story(house, obtained_at=format_instant(due - HOUR))
        await asyncio.sleep(2.6)
        ((record, said),) = await _notices(house)
    assert said.due_at == due < record.recorded_at < due + timedelta(seconds=1)


async def test_of_three_who_tell_at_once_each_duty_is_told_once(
    house: House, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are small, so that there is much to race for; cases keep coming."""
    monkeypatch.setattr(notices, "_UNTOLD", notices._UNTOLD.replace("LIMIT 100", "LIMIT 5"))
    monkeypatch.setattr(notices, "_PAUSE", 0.0)
    monkeypatch.setattr(notices, "_BEAT", 0.02)
    regions = [await house.region() for _ in range(2)]
    agent = house.agent(*regions)
    for number in range(40):
        await agent.case(regions[number % 2], obtained_at=day(1 + number // 8))
    async with teller(database_url) as one, teller(database_url) as two, teller(database_url) as three:
        tasks = [asyncio.create_task(each.run()) for each in (one, two, three)]
        for number in range(40):
            await agent.case(regions[number % 2], obtained_at=day(1 + number // 8))
        for _ in range(200):
            if len(await _notices(house)) >= 80:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    told = Counter(said.notice_id for said in await _told(house))
    assert (len(told), set(told.values())) == (80, {1})


async def test_what_was_missed_while_nothing_ran_is_told_after_the_start(database_url: str, tmp_path: Path) -> None:
    async with open_house(database_url, tmp_path, ANJUAN_NOTICES="on") as house:
        due = datetime.now(UTC) + timedelta(seconds=0.8)
        await _story(house, obtained_at=format_instant(due - HOUR))
        assert await _told(house) == []
    await asyncio.sleep(1.2)
    async with open_house(database_url, tmp_path, ANJUAN_NOTICES="on") as house:
        await asyncio.sleep(1.5)
        assert [said.due_at for said in await _told(house)] == [due]


async def test_who_was_answered_in_time_by_a_proof_that_came_late_was_not_missed(
    house: House, database_url: str
) -> None:
    told = await _story(house, obtained_at=day(1))
    await told.act("responded", day(1, 9), complaints="all", contact_person=CONTACT)
    late = await _story(house, obtained_at=day(1))
    await late.act("responded", day(1, 9, 1), complaints="all", contact_person=CONTACT)
    async with teller(database_url) as one:
        await one.tell()
    assert [str(said.case_id) for said in await _told(house)] == [late.case["case_id"]]


@pytest.mark.parametrize("heard", [False, True])
async def test_a_proof_that_the_views_don_t_show_yet_counts(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """The views lag: whoever tells waits for them, and makes sure that what is seen is what was heard of."""
    monkeypatch.setattr(notices, "_PATIENCE", 0.3)
    async with open_house(database_url, tmp_path, ANJUAN_FOLLOW="off") as house, teller(database_url) as one:
        if heard:
            monkeypatch.setattr(one._watch, "reached", lambda *_: asyncio.sleep(0, True))
        told = await _story(house, obtained_at=day(1))
        following = asyncio.create_task(house.services.follower.run())
        assert len((await told.caller.get("/v1/breaches")).json()["items"]) == 1
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await told.act("responded", day(1, 9), complaints="all", contact_person=CONTACT)
        # The first time it hears of the region.
        await one.tell()
        await one.tell()
        assert await _told(house) == []
        following = asyncio.create_task(house.services.follower.run())
        assert (await told.caller.get("/v1/breaches")).json()["items"] == []
        await one.tell()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert await _told(house) == []


async def test_each_cycle_s_duty_is_told_once(house: House, database_url: str) -> None:
    """Under a policy by which accountability is due an hour after closing."""
    policy = {**document(), "version": "V-hour", "effective_from": _ago(timedelta(seconds=-0.3))}
    (blame,) = [one for one in policy["duties"] if one["duty"] == "hold_accountable"]
    blame["within"] = {"amount": 1, "unit": "hours", "clause": "4.5", "source": "stated"}
    assert (await house.caller("admin").post("/v1/policies", policy)).status_code == 201
    await asyncio.sleep(0.4)

    async def close(told: Story) -> None:
        await told.act("responded", _ago(0 * HOUR), complaints="all", contact_person=CONTACT)
        plan = await told.act("plan_proposed", summary="重做")
        official = {"name": "郑七", "title": "区域总裁"}
        await told.act("plan_approved", plan=plan["action_id"], approver=official)
        await told.act("plan_answered", households=["3-1-201"], accepted=True)
        await told.act("closed", decision="完成", recurrence_expected=False)

    told = await _story(house, obtained_at=_ago(0 * HOUR))
    async with teller(database_url, 2 * HOUR) as one:
        await close(told)
        await one.tell()
        await told.act("reopened", reason="再漏")
        await one.tell()
        await close(told)
        await one.tell()
        await one.tell()
    assert [(said.duty, said.cycle) for said in await _told(house)] == [
        ("hold_accountable", 1),
        ("hold_accountable", 2),
    ]


async def test_a_later_correction_leaves_the_notice_and_brings_no_other(house: House, database_url: str) -> None:
    told = await _story(house, obtained_at=day(1))
    wrong = await told.act("received", day(2), channel="app", household="9-9")
    async with teller(database_url) as one:
        await one.tell()
        first = await _told(house)
        assert len(first) == 2
        retraction = await told.act("corrected", action=wrong["action_id"], retract=True, reason="误录")
        await told.act("responded", day(1, 9), complaints="all", contact_person=CONTACT)
        await one.tell()
        await told.act("corrected", action=retraction["action_id"], retract=True, reason="并非误录")
        await one.tell()
        moved = {"obtained_at": day(3)}
        await told.act("corrected", action=wrong["action_id"], replacement=moved, reason="日期错")
        await one.tell()
    assert await _told(house) == first
    assert len((await told.caller.get("/v1/breaches")).json()["items"]) == 1


async def test_what_was_told_is_not_told_again_of_the_case_that_it_is_merged_into(
    house: House, database_url: str
) -> None:
    told = await _story(house, obtained_at=day(1))
    other = Story(told.caller, await told.caller.case(told.case["region"], obtained_at=day(2)))
    async with teller(database_url) as one:
        await one.tell()
        link = {"case": other.case["case_id"], "kind": "merged_into", "reason": "同一渗水"}
        await told.act("linked", **link)
        await one.tell()
        assert [one["case_id"] for one in (await told.caller.get("/v1/breaches")).json()["items"]] == [
            other.case["case_id"]
        ] * 2
        await told.act("unlinked", **link)
        await one.tell()
    assert len(await _told(house)) == 2
    listed = (await told.caller.get("/v1/breaches")).json()["items"]
    assert {one["case_id"] for one in listed} == {told.case["case_id"], other.case["case_id"]}


async def test_a_complaint_of_a_merged_case_that_is_void_is_listed_once(house: House) -> None:
    told = await _story(house, obtained_at=day(1))
    await told.act("received", day(1, 9), channel="app", household="7-7")
    other = Story(told.caller, await told.caller.case(told.case["region"], obtained_at=day(2)))
    await told.act("linked", case=other.case["case_id"], kind="merged_into", reason="同一渗水")
    opening = (await told.caller.get(f"{told.path}/actions")).json()["items"][0]
    await told.act("corrected", action=opening["action_id"], retract=True, reason="误建")
    listed = (await told.caller.get("/v1/duties")).json()["items"]
    assert len({one["complaint_id"] for one in listed}) == len(listed) == 3
    assert [one["state"] for one in listed] == ["void", "overdue", "overdue"]
    head = await house.services.log.read.head()
    moved = await house.services.follower._folder.whole([UUID(told.case["case_id"])], head.position)
    names = [row[0] for held, _ in moved.rows for row in held.duties]
    assert len(names) == len(set(names)) == 3


async def test_of_a_parked_case_nothing_is_told_until_it_is_free(house: House, database_url: str) -> None:
    told = await _story(house, obtained_at=day(1))
    other = Story(told.caller, await told.caller.case(told.case["region"], obtained_at=day(2)))
    await _reached(house)
    async with teller(database_url) as one, await psycopg.AsyncConnection.connect(database_url) as database:
        await database.set_autocommit(True)
        park = "INSERT INTO parked_cases VALUES (1, %s, 'X', 1, 'x', now(), 'parked')"
        await database.execute(park, [told.case["case_id"]])
        await one.tell()
        assert [str(said.case_id) for said in await _told(house)] == [other.case["case_id"]]
        await database.execute("DELETE FROM parked_cases")
        await one.tell()
    assert [str(said.case_id) for said in await _told(house)] == [other.case["case_id"], told.case["case_id"]]


@pytest.mark.parametrize("notices_first", [False, True])
async def test_another_generation_of_the_views_tells_nothing_again(
    house: House, database_url: str, notices_first: bool
) -> None:
    told = await _story(house, obtained_at=day(1))
    await up_to_closure(told)
    await told.caller.case(told.case["region"], obtained_at=day(2))
    async with teller(database_url) as one:
        await one.tell()
        await one.tell()
        first = await _told(house)
        assert len(first) == 2
        await _reached(house)
        records = await house.services.log.read.after(0)
        folder = house.services.follower._folder
        async with await connect(database_url, SESSION, role=None) as connection, connection.transaction():
            writer = Writer(connection, 2)
            moved = await folder.take(records)
            if notices_first:
                await writer.note(moved.notices)
            await writer.add(moved.rows)
            if not notices_first:
                await writer.note(moved.notices)
            await writer.count_all()
            noticed = [
                await (
                    await connection.execute(f"SELECT duty_id, noticed FROM {view.duties.fullname} ORDER BY duty_id")
                ).fetchall()
                for view in tables.VIEWS.values()
            ]
            assert noticed[0] == noticed[1]
            await connection.execute(
                "UPDATE projection_checkpoints AS c SET position = p.position FROM projection_checkpoints AS p"
                " WHERE c.generation = 2 AND p.generation = 1"
            )
            await connection.execute("UPDATE projections SET live = 2")
        await told.caller.case(told.case["region"], obtained_at=day(3))
        await one.tell()
        await one.tell()
        assert one._watch.view.generation == 2
    assert (await _told(house))[:2] == first
    assert len(await _told(house)) == 3


async def test_a_backlog_is_worked_through_region_by_region(house: House, database_url: str) -> None:
    """No region waits for another's backlog."""
    regions = [await house.region() for _ in range(2)]
    agent = house.agent(*regions)
    case = Story(agent, await agent.case(regions[0], obtained_at=day(1)))
    for number in range(129):
        await case.act("received", day(2), channel="app", household=f"1-{number}")
    await agent.case(regions[1], obtained_at=day(3))
    async with teller(database_url) as one:
        await one.tell()
        assert Counter(record.region for record, _ in await _notices(house)) == {regions[0]: 100, regions[1]: 1}
        assert await one.tell() == notices._PAUSE
        assert await one.tell() == notices._BEAT
    assert Counter(record.region for record, _ in await _notices(house)) == {regions[0]: 130, regions[1]: 1}


async def test_who_does_not_lead_tells_what_the_leader_leaves_untold(house: House, database_url: str) -> None:
    due = datetime.now(UTC) - timedelta(seconds=1)
    await _story(house, obtained_at=format_instant(due - HOUR))
    async with teller(database_url, leads=False) as one:
        await one.tell()
        assert await _told(house) == []
    async with teller(database_url, timedelta(seconds=3), leads=False) as one:
        await one.tell()
    assert [said.due_at for said in await _told(house)] == [due]


async def test_a_service_may_leave_it_to_others(house: House) -> None:
    await _story(house, obtained_at=day(1))
    await asyncio.sleep(1.5)
    assert await _told(house) == []
