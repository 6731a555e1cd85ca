"""Who asks to be forgotten is: in each answer, search and file, while every proof and all other answers hold."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from services.erasure_list import ErasureList
from services.event_log import is_intact
from services.event_log.tree import tree
from services.events import DestroyedKey, Received
from services.jobs import File, Progress
from services.vault import key_of
from tests.contract.house import RESPONSE, Caller, House, opening

pytestmark = pytest.mark.anyio

NAME, PHONE = "司马相如", "13700001111"
WHO = {"name": NAME, "phone": PHONE, "relation": "业主"}
REASON = "当事人书面申请"


@pytest.fixture
def admin(house: House) -> Caller:
    return house.caller("admin")


def of(case: dict[str, Any], number: int = 0, **more: Any) -> dict[str, Any]:
    """The body that asks for the person of a case's complaint to be forgotten."""
    complaint = case["complaints"][number]["complaint_id"] if "complaints" in case else more.pop("complaint_id")
    return {"case_id": case["case_id"], "complaint_id": complaint, "reason": REASON, **more}


async def complained(house: House, agent: Caller, home: str, phone: str, **more: Any) -> dict[str, Any]:
    """A case and its whole answer."""
    case = await agent.case(home, complainant={**WHO, "phone": phone}, **more)
    found: dict[str, Any] = (await agent.get(f"/v1/cases/{case['case_id']}")).json()
    complaints = (await agent.get(f"/v1/cases/{case['case_id']}/complaints")).json()["items"]
    return {**found, "complaints": complaints}


def a_phone() -> str:
    return f"137{uuid4().int % 10**8:08d}"


async def everything(house: House, reader: Caller, case_id: str, home: str) -> str:
    """All that a reader is told of a case, and of the lists it is in."""
    paths = [f"/v1/cases/{case_id}{part}" for part in ("", "/actions", "/complaints", "/grade")]
    paths += [f"/v1/cases?region={home}", f"/v1/duties?region={home}", f"/v1/cases.csv?region={home}"]
    return "".join([(await reader.get(path)).text for path in paths])


async def test_a_person_is_forgotten_in_all_cases_and_nothing_else_changes(house: House, admin: Caller) -> None:
    home, other, phone = await house.region(), await house.region(), a_phone()
    agent, elsewhere = house.manager(home), house.manager(other)
    mine = await complained(house, agent, home, phone)
    also = await complained(house, elsewhere, other, f"+86 {phone[:3]} {phone[3:7]} {phone[7:]}")
    other_name = {"name": "卓文君", "phone": a_phone()}
    stranger = await agent.case(home, complainant=other_name)
    before = await everything(house, agent, mine["case_id"], home)
    assert NAME in before
    unmoved = (await agent.get(f"/v1/cases/{stranger['case_id']}")).content
    proof = [one.header_hash for one in await house.services.log.read.after(0, 100_000)]

    answer = await admin.post("/v1/erasures", of(mine))

    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert (said["result"], said["keys_destroyed"]) == ("erased", 1)
    assert {one["case_id"] for one in said["cases"]} == {mine["case_id"], also["case_id"]}
    assert said["cases"][0]["case_no"] == mine["case_no"]
    for reader, case in ((agent, mine), (elsewhere, also)):
        region = home if case is mine else other
        told = (await reader.get(f"/v1/cases/{case['case_id']}/complaints")).json()["items"][0]["complainant"]
        assert told in (None, {"name": None, "phone": None, "relation": None}), told
        text = await everything(house, reader, case["case_id"], region)
        assert NAME not in text and phone not in text
    assert (await agent.get(f"/v1/cases/{stranger['case_id']}")).content == unmoved
    records = await house.services.log.read.after(0, 100_000)
    assert [one.header_hash for one in records][: len(proof)] == proof
    assert all(is_intact(one) for one in records)


async def test_tags_change_and_kept_answers_go(house: House, admin: Caller) -> None:
    home, phone = await house.region(), a_phone()
    agent = house.manager(home)
    case = await complained(house, agent, home, phone)
    paths = [f"/v1/cases/{case['case_id']}", f"/v1/cases/{case['case_id']}/complaints", f"/v1/cases?region={home}"]
    await admin.get("/v1/policies")
    tags = [(await agent.get(path)).headers["etag"] for path in paths]
    body = of(case, texts=True)
    assert (await admin.post("/v1/erasures", body)).status_code == 201
    for path, tag in zip(paths, tags, strict=True):
        again = await agent.get(path, if_none_match=tag)
        assert again.status_code == 200, path
        assert NAME not in again.text and "外墙渗水" not in again.text


async def test_who_is_forgotten_is_found_by_no_telephone_and_may_come_again(house: House, admin: Caller) -> None:
    home, phone = await house.region(), a_phone()
    agent = house.manager(home)
    case = await complained(house, agent, home, phone)
    search = {"phone": phone}
    await agent.get(f"/v1/cases?region={home}")
    found = (await agent.post("/v1/cases/search", search, None)).json()["items"]
    assert [one["case_id"] for one in found] == [case["case_id"]]
    assert (await admin.post("/v1/erasures", of(case))).status_code == 201
    assert (await agent.post("/v1/cases/search", search, None)).json()["items"] == []
    again = await complained(house, agent, home, phone)
    await agent.get(f"/v1/cases?region={home}")
    found = (await agent.post("/v1/cases/search", search, None)).json()["items"]
    assert [one["case_id"] for one in found] == [again["case_id"]]
    assert again["complaints"][0]["complainant"]["name"] == NAME
    assert (await admin.post("/v1/erasures", of(again))).json()["keys_destroyed"] == 1


async def test_texts_go_if_that_is_asked_and_are_found_no_more(house: House, admin: Caller) -> None:
    home, word = await house.region(), "蟑螂成灾"
    agent = house.manager(home)
    case = await complained(house, agent, home, a_phone(), title=f"厨房{word}无人处理", description="很脏")
    kept = await complained(house, agent, home, a_phone(), title=f"阳台{word}")
    listed = f"/v1/cases?region={home}&q={word}"
    assert len((await agent.get(listed)).json()["items"]) == 2
    answer = await admin.post("/v1/erasures", of(case, texts=True))
    assert answer.json()["keys_destroyed"] == 2
    assert [one["case_id"] for one in (await agent.get(listed)).json()["items"]] == [kept["case_id"]]
    whole = (await agent.get(f"/v1/cases/{case['case_id']}")).json()
    assert whole["title"] is None
    for generation in (1, 2):
        rows = await house.services.log.read.rows(
            f"SELECT grams FROM view_{generation}.words WHERE case_id = %b::uuid", [UUID(case["case_id"])]
        )
        assert all(grams == [] for (grams,) in rows)
    # What is said from now on has a key of its own.
    assert (await agent.act(case, "noted", text="新的说明")).status_code == 201
    assert "新的说明" in (await agent.get(f"/v1/cases/{case['case_id']}/actions")).text
    await house.services.erasure_book.refresh()
    assert "新的说明" in (await agent.get(f"/v1/cases/{case['case_id']}/actions")).text
    assert (await admin.post("/v1/erasures", of(case, texts=True))).json()["keys_destroyed"] == 1
    assert "新的说明" not in (await agent.get(f"/v1/cases/{case['case_id']}/actions")).text


async def test_without_a_telephone_the_complaint_itself_is_forgotten(house: House, admin: Caller) -> None:
    home = await house.region()
    agent = house.manager(home)
    case = await agent.case(home, complainant={"name": NAME})
    complaint = (await agent.get(f"/v1/cases/{case['case_id']}/complaints")).json()["items"][0]
    answer = await admin.post("/v1/erasures", of(case, complaint_id=complaint["complaint_id"]))
    assert answer.json()["keys_destroyed"] == 1, answer.text
    assert NAME not in (await agent.get(f"/v1/cases/{case['case_id']}/actions")).text


async def test_a_corrected_complaint_is_forgotten_as_it_was_first_said_too(house: House, admin: Caller) -> None:
    home, wrong, right = await house.region(), a_phone(), a_phone()
    agent = house.manager(home)
    case = await complained(house, agent, home, wrong)
    action = (await agent.get(f"/v1/cases/{case['case_id']}/actions")).json()["items"][0]
    fixed = {"complainant": {"phone": right}}
    corrected = await agent.act(case, "corrected", action=action["action_id"], replacement=fixed, reason="号码写错")
    assert corrected.status_code == 201, corrected.text
    assert (await admin.post("/v1/erasures", of(case))).json()["keys_destroyed"] == 2
    told = (await agent.get(f"/v1/cases/{case['case_id']}/actions")).text
    assert NAME not in told and wrong not in told and right not in told


async def test_a_number_written_wrong_costs_nobody_else_their_name(house: House, admin: Caller) -> None:
    home, neighbours, right = await house.region(), a_phone(), a_phone()
    agent = house.manager(home)
    neighbour = await complained(house, agent, home, neighbours)
    case = await complained(house, agent, home, neighbours)
    action = (await agent.get(f"/v1/cases/{case['case_id']}/actions")).json()["items"][0]
    fixed = {"complainant": {"phone": right}}
    await agent.act(case, "corrected", action=action["action_id"], replacement=fixed, reason="号码写错")
    assert (await admin.post("/v1/erasures", of(case))).json()["keys_destroyed"] == 1
    assert NAME in (await agent.get(f"/v1/cases/{neighbour['case_id']}/complaints")).text


async def test_the_same_again_stores_nothing(house: House, admin: Caller) -> None:
    home = await house.region()
    case = await complained(house, house.manager(home), home, a_phone())
    first = await admin.post("/v1/erasures", of(case), "once")
    position = (await house.services.log.read.head()).position
    replay = await admin.post("/v1/erasures", of(case), "once")
    assert (replay.status_code, replay.content) == (201, first.content)
    assert replay.headers["idempotency-replayed"] == "true"
    again = await admin.post("/v1/erasures", of(case))
    assert (again.status_code, again.json()["result"], again.json()["keys_destroyed"]) == (200, "already_erased", 0)
    assert (await house.services.log.read.head()).position == position
    other = await admin.post("/v1/erasures", of(case, reason="别的"), "once")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_many_at_once_destroy_each_key_once(house: House, admin: Caller) -> None:
    home = await house.region()
    case = await complained(house, house.manager(home), home, a_phone())
    answers = await asyncio.gather(*(admin.post("/v1/erasures", of(case)) for _ in range(8)))
    assert sorted(one.status_code for one in answers) == [200] * 7 + [201]


async def test_a_stored_answer_tells_nothing_of_them(house: House, admin: Caller) -> None:
    home, key, phone = await house.region(), str(uuid4()), a_phone()
    agent = house.manager(home)
    body = opening(home, complainant={**WHO, "phone": phone})
    first = await agent.post("/v1/cases", body, key)
    assert NAME in first.text
    case_id = first.json()["case_id"]
    complaint = (await agent.get(f"/v1/cases/{case_id}/complaints")).json()["items"][0]["complaint_id"]
    await admin.post("/v1/erasures", {"case_id": case_id, "complaint_id": complaint, "reason": REASON})
    again = await agent.post("/v1/cases", body, key)
    assert again.status_code == 201 and again.headers["idempotency-replayed"] == "true"
    assert NAME not in again.text and phone not in again.text


async def test_who_may_and_what_is_refused(house: House, admin: Caller) -> None:
    home, phone = await house.region(), a_phone()
    agent = house.manager(home)
    case = await complained(house, agent, home, phone)
    for role in ("agent", "manager", "dashboard", "auditor"):
        assert (await house.caller(role, home).post("/v1/erasures", of(case))).status_code == 403
    refused: dict[str, list[dict[str, Any]]] = {
        "unknown_case": [{"case_id": str(uuid4())}, {"case_id": "GD-20261123-9999"}],
        "unknown_complaint": [{"complaint_id": str(uuid4())}],
        "validation_failed": [{"reason": ""}, {"reason": None}, {"complaint_id": "x"}, {"more": 1}, {"texts": "yes"}],
        "reason_names_person": [{"reason": f"{NAME[0]} {NAME[1:]}要求"}, {"reason": f"电话{phone[:3]}-{phone[3:]}"}],
    }
    for code, changes in refused.items():
        for change in changes:
            answer = await admin.post("/v1/erasures", {**of(case), **change})
            assert (answer.status_code, answer.json()["code"]) == (422, code), (change, answer.text)
    foreign = house.caller("admin", await house.region())
    assert (await foreign.post("/v1/erasures", of(case))).json()["code"] == "unknown_case"
    assert NAME in (await agent.get(f"/v1/cases/{case['case_id']}/complaints")).text
    by_number = await admin.post("/v1/erasures", {**of(case), "case_id": case["case_no"].lower()})
    assert by_number.status_code == 201, by_number.text


async def test_the_ledger_and_the_list_name_keys_and_nobody(house: House, admin: Caller) -> None:
    home, phone = await house.region(), a_phone()
    agent = house.manager(home)
    case = await complained(house, agent, home, phone)
    answer = await admin.post("/v1/erasures", of(case, reason="来信申请"))
    position = int(answer.headers["ledger-position"])
    (record,) = await house.services.log.read.after(position - 1, 1)
    assert (record.name, record.region) == ("person_erased", home)
    stored = json.loads(record.body)
    assert stored["case_id"] == case["case_id"] and "来信" not in record.body.decode()
    ledger_id = (await tree(house.services.log.read)).ledger_id
    listed = ErasureList(house.services.settings.erasures, ledger_id).entries()
    assert {str(key) for key in listed} >= {one["key_id"] for one in stored["destroyed"]}
    line = (await house.caller("auditor").get(f"/v1/audit/events?after={position - 1}&limit=1")).json()
    assert (line["type"], line["case_id"]) == ("person_erased", None)


async def test_a_person_who_is_written_of_while_being_forgotten(house: House, admin: Caller) -> None:
    """Whatever comes after the erasure has a key of its own: nothing is lost, nothing comes back."""
    home, phone = await house.region(), a_phone()
    agent = house.manager(home)
    case = await complained(house, agent, home, phone)
    more = {"obtained_at": "2026-01-15T18:00:00+08:00", "channel": "app", "complainant": {**WHO, "phone": phone}}
    writes = [agent.act(case, "received", **more, household=f"1-{n}") for n in range(10)]
    answers = await asyncio.gather(*writes[:5], admin.post("/v1/erasures", of(case, texts=True)), *writes[5:])
    assert all(one.status_code == 201 for one in answers), [one.text for one in answers]
    assert (await agent.act(case, "responded", **RESPONSE)).status_code == 201
    keys = await house.services.log.read.rows(
        "SELECT count(*) FROM data_keys AS d JOIN erased_keys AS e USING (key_id)", []
    )
    assert keys == [(0,)]


async def test_a_restored_database_serves_nothing_of_them(house: House, admin: Caller) -> None:
    """As if the database had been put back: the keys are there again, the event and the table of them are not."""
    home, phone = await house.region(), a_phone()
    agent = house.manager(home)
    case = await complained(house, agent, home, phone)
    await agent.get(f"/v1/cases?region={home}")
    read = house.services.log.read
    keys = "SELECT key_id, person, wrapped FROM data_keys"
    found_by = " UNION ALL ".join(f"SELECT grams FROM view_{n}.words WHERE case_id = %b::uuid" for n in (1, 2))
    case_id = UUID(case["case_id"])
    before = {row[0]: row for row in await read.rows(keys, [])}
    grams = await read.rows(found_by, [case_id, case_id])
    assert any(row[0] for row in grams)
    await admin.post("/v1/erasures", of(case, texts=True))
    await agent.get(f"/v1/cases?region={home}")
    assert not any(row[0] for row in await read.rows(found_by, [case_id, case_id]))
    after = {row[0] for row in await read.rows(keys, [])}
    gone = [row for key_id, row in before.items() if key_id not in after]
    assert len(gone) == 2
    with psycopg.connect(house.services.url) as connection:
        for row in gone:
            connection.execute("DELETE FROM erased_keys WHERE key_id = %s", [row[0]])
            connection.execute("INSERT INTO data_keys (key_id, person, wrapped) VALUES (%s, %s, %s)", row)
        for generation in (1, 2):
            said = f"UPDATE view_{generation}.words SET grams = %s WHERE case_id = %s"
            connection.execute(said, [grams[0][0], case_id])
    assert NAME not in (await agent.get(f"/v1/cases/{case['case_id']}/complaints")).text
    # Its next life begins with the list.
    for _ in range(20):
        # Unless the process was in the middle of a look that had begun before.
        house.services.erasure_book._enforced = False
        await house.services.erasure_book.refresh()
    assert {row[0] for row in gone}.isdisjoint({row[0] for row in await read.rows(keys, [])})
    assert not any(row[0] for row in await read.rows(found_by, [case_id, case_id]))
    assert (await agent.post("/v1/cases/search", {"phone": phone}, None)).json()["items"] == []


async def test_a_list_that_grows_is_heeded_and_one_that_was_lost_is_written_anew(house: House, admin: Caller) -> None:
    home = await house.region()
    agent = house.manager(home)
    case = await complained(house, agent, home, a_phone())
    path = f"/v1/cases/{case['case_id']}/complaints"
    tag = (await agent.get(path)).headers["etag"]
    (key,) = await _persons_key(house, case)
    ledger_id = (await tree(house.services.log.read)).ledger_id
    kept = ErasureList(house.services.settings.erasures, ledger_id)
    # As another process of a ledger that was put back since, or whoever brings the list along, would.
    kept.add([DestroyedKey(key)])
    await asyncio.sleep(1)
    again = await agent.get(path, if_none_match=tag)
    assert again.status_code == 200 and NAME not in again.text
    assert await house.services.log.read.keys([key]) == []
    other = await complained(house, agent, home, a_phone())
    assert (await admin.post("/v1/erasures", of(other))).status_code == 201
    listed = kept.entries().keys()
    (house.services.settings.erasures / str(ledger_id)).unlink()
    house.services.erasure_book._enforced = False
    await house.services.erasure_book.refresh()
    assert listed - kept.entries().keys() == {key}, "what no event names"


async def _persons_key(house: House, case: dict[str, Any]) -> set[UUID]:
    files = await house.services.cases.files(UUID(case["case_id"]))
    said = [one.action for held in files.values() for one in held]
    who = [one.complainant for one in said if isinstance(one, Received)]
    return {key_of(one.phone) for one in who if one and one.phone}


async def test_an_erasure_that_could_not_be_listed_is_listed_before_it_is_answered(
    house: House, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = await house.region()
    case = await complained(house, house.manager(home), home, a_phone())
    (key,) = await _persons_key(house, case)

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(ErasureList, "add", full)
        for _ in range(2):
            assert (await admin.post("/v1/erasures", of(case), "full")).status_code == 503
        await asyncio.sleep(0.5)
    ledger_id = (await tree(house.services.log.read)).ledger_id
    again = await admin.post("/v1/erasures", of(case), "full")
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert key in ErasureList(house.services.settings.erasures, ledger_id).entries()


async def test_files_made_before_are_dropped_and_one_under_way_is_not_kept(house: House, admin: Caller) -> None:
    home = await house.region()
    case = await complained(house, house.manager(home), home, a_phone())
    jobs, release = house.services.jobs, asyncio.Event()

    async def at_once(_: Progress) -> bytes:
        return b"sealed"

    async def slow(_: Progress) -> bytes:
        await release.wait()
        return b"sealed"

    file = File("text/plain", "a", "a")
    plain = await jobs.start("a", "me", at_once)
    made, under_way = await jobs.start("b", "me", at_once, file), await jobs.start("c", "me", slow, file)
    for one in (plain, made):
        assert (await jobs.settled(one, "me", 5)).state == "done"  # type: ignore[union-attr]
    assert (await admin.post("/v1/erasures", of(case))).status_code == 201
    release.set()
    await asyncio.sleep(0.3)
    assert [await jobs.look(one, "me") for one in (made, under_way)] == [None, None]
    assert await jobs.look(plain, "me")
