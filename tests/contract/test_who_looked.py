"""Who looked: reads of personal data and refusals can be audited, and no row repeats what was asked."""

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import psycopg
import pytest

from intake_api.command_line.revoking import revoke_token
from intake_api.looked import UNWATCHED, cases_in
from intake_api.openapi import document
from services.access_log import AccessLog, Noted, Wanted
from services.event_log import EventLog, Unavailable
from tests.contract.house import Caller, House, codes, open_house, opening
from tests.contract.test_tokens_that_are_revoked import refused, revoked

pytestmark = pytest.mark.anyio
PHONE = "13987654321"


async def looks(house: House, **query: Any) -> list[dict[str, Any]]:
    """What an auditor is told, newest first."""
    answer = await house.caller("auditor").get(f"/v1/audit/access?{urlencode(query, doseq=True)}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def named(house: House, role: str, *regions: str) -> tuple[Caller, str]:
    """A caller, and the subject that only this test knows."""
    subject = f"looker-{uuid4()}"
    return house.caller(role, *regions, subject=subject), subject


@pytest.mark.parametrize("role", ["agent", "manager", "auditor"])
async def test_each_way_to_read_a_case_says_who_read_it(house: House, role: str) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    caller, subject = named(house, role, region)
    for path in ("", "/grade", "/actions", "/complaints"):
        assert (await caller.get(f"/v1/cases/{case['case_no']}{path}")).status_code == 200
    rows = await looks(house, subject=subject)
    assert [row["operation"] for row in rows] == ["list_complaints", "list_actions", "get_grade", "get_case"]
    for row in rows:
        assert row["actor"] == {"sub": subject, "role": role, "unit": "region"}
        assert (row["outcome"], row["status"], row["shown"]) == ("shown", 200, 1)
        assert (row["regions"], row["cases"], row["address"]) == ([region], [case["case_id"]], "127.0.0.1")


async def test_lists_searches_and_exports_name_the_cases_they_showed(house: House) -> None:
    region = await house.region()
    owner = house.agent(region)
    made = [await owner.case(region, complainant={"name": "周八", "phone": PHONE}) for _ in range(2)]
    ids = {case["case_id"] for case in made}
    caller, subject = named(house, "manager", region)
    assert (await caller.get("/v1/cases?sort=opened_at&limit=10")).status_code == 200
    assert (await caller.get("/v1/duties?limit=100")).status_code == 200
    assert (await caller.get(f"/v1/breaches?region={region}")).status_code == 200
    assert (await caller.post("/v1/cases/search", {"phone": PHONE}, None)).status_code == 200
    assert (await caller.get("/v1/cases.csv?status=open")).status_code == 200
    assert (await caller.get("/v1/cases.xlsx")).status_code == 200
    rows = {row["operation"]: row for row in await looks(house, subject=subject)}
    for operation in ("list_cases", "list_duties", "list_breaches", "search_cases"):
        assert set(rows[operation]["cases"]) == ids, operation
        assert rows[operation]["shown"] == 2
    assert all(row["regions"] == [region] for row in rows.values())
    assert rows["list_cases"]["asked"] == {"sort": ["opened_at"], "limit": ["10"], "min_position": []}
    assert rows["cases_csv"]["asked"] == {"status": ["open"], "min_position": []}
    assert rows["cases_xlsx"]["shown"] == 2
    assert {row["actor"]["sub"] for row in await looks(house, case=made[0]["case_no"], subject=subject)} == {subject}


async def test_neither_a_telephone_number_nor_a_text_is_kept(house: House) -> None:
    region = await house.region()
    caller, subject = named(house, "manager", region)
    word = "只此一处的话"
    for body in ({"phone": PHONE}, {"phone": f"+86 {PHONE}"}, {"q": word}, {"phone": PHONE}):
        assert (await caller.post("/v1/cases/search", body, None)).status_code == 200
    for name in ("q", "tag", "city", "area", "project", "region"):
        assert (await caller.get(f"/v1/cases?{urlencode({name: f'{word}{PHONE}'})}")).status_code == 200
    everywhere, other = named(house, "manager", "*")
    assert (await everywhere.get(f"/v1/cases?region={PHONE}&project={PHONE}")).status_code == 200
    assert codes([await caller.get(f"/v1/cases/{PHONE}?{PHONE}={PHONE}")]) == ["unknown_parameter"]
    assert codes([await caller.get(f"/v1/cases/{PHONE}")]) == ["not_found"]
    rows = await looks(house, subject=[subject, other])
    assert len(rows) == 12
    assert PHONE not in str(rows) and word not in str(rows)
    searches = [row["question"] for row in rows if row["operation"] == "search_cases"]
    assert searches[0] == searches[2] == searches[3] != searches[1]
    with psycopg.connect(house.services.url) as connection:
        stored = connection.execute("SELECT access_log::text FROM access_log WHERE subject = %s", [subject]).fetchall()
    assert PHONE not in str(stored) and word not in str(stored)


async def test_refusals_are_kept_and_a_foreign_case_names_its_region(house: House) -> None:
    mine, foreign = await house.region(), await house.region()
    case = await house.agent(foreign).case(foreign)
    caller, subject = named(house, "agent", mine)
    unknown = str(uuid4())
    asked = [
        await caller.get(f"/v1/cases/{case['case_no']}"),
        await caller.act(case, "noted", text="一"),
        await caller.get(f"/v1/cases/{unknown}"),
        await caller.get("/v1/audit/head"),
        await caller.put(f"/v1/regions/{mine}", {"name": "一"}),
    ]
    assert codes(asked) == ["not_found"] * 3 + ["forbidden"] * 2
    action = {"type": "noted", "text": "一"}
    items = [{"idempotency_key": one, "case_id": one, "action": action} for one in (case["case_id"], unknown)]
    assert codes([await caller.post("/v1/actions/batch", items, None)]) == [200]
    own = await house.agent(mine).case(mine)
    manager = house.caller("manager", mine, subject=subject)
    linked = await manager.act(own, "linked", case=case["case_id"], kind="related", reason="同")
    assert codes([linked]) == ["unknown_case"]
    rows = await looks(house, subject=subject, outcome="refused")
    assert [(row["operation"], row["status"], row["regions"], row["cases"]) for row in reversed(rows)] == [
        ("get_case", 404, [foreign], [case["case_id"]]),
        ("append_action", 404, [foreign], [case["case_id"]]),
        ("get_case", 404, [], [unknown]),
        ("get_head", 403, [], []),
        ("put_region", 403, [], []),
        ("upload", 404, [foreign], [case["case_id"], unknown]),
        ("append_action", 422, [mine], [own["case_id"]]),
    ]
    assert len(await looks(house, subject=subject, region=foreign)) == 3


async def test_a_token_that_is_over_has_a_name_still_and_a_made_up_one_has_none(house: House) -> None:
    subject = f"gone-{uuid4()}"
    over = house.services.tokens.issue("agent", ["*"], "region", subject, -1)
    head, claims, signature = over.split(".")
    for token in (over, f"{head}.{claims}.{signature[:-6]}AAAAAA", "x"):
        answer = await house.client.get("/v1/cases", headers={"authorization": f"Bearer {token}"})
        assert codes([answer]) == ["unauthenticated"]
    rows = await looks(house, subject=subject)
    assert [(row["status"], row["actor"]) for row in rows] == [(401, {"sub": subject, "role": None, "unit": None})]


async def test_whose_token_is_revoked_and_goes_on_asking_is_named(house: House) -> None:
    caller, subject = named(house, "agent", "GD")
    assert (await caller.get("/v1/cases")).status_code == 200
    await revoked(house, revoke_token, caller.token)
    await refused(caller)
    rows = await looks(house, subject=subject, outcome="refused")
    assert rows and {(row["status"], row["actor"]["sub"]) for row in rows} == {(401, subject)}


async def test_no_header_says_whose_address_it_is(house: House) -> None:
    region = await house.region()
    caller, subject = named(house, "agent", region)
    claimed = {"x_forwarded_for": "203.0.113.9", "forwarded": "for=203.0.113.9", "x_real_ip": "203.0.113.9"}
    assert (await caller.get("/v1/cases", **claimed)).status_code == 200
    assert [row["address"] for row in await looks(house, subject=subject)] == ["127.0.0.1"]


async def test_a_poll_is_noted_once_for_each_caller_question_and_version(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    path = f"/v1/cases/{case['case_id']}"
    (first, subject), (second, other) = named(house, "agent", region), named(house, "agent", region)
    tag = (await first.get(path)).headers["etag"]
    for caller in (first, first, second, second):
        assert (await caller.get(path, if_none_match=tag)).status_code == 304
    assert [row["outcome"] for row in await looks(house, subject=subject)] == ["shown"]
    # Who never was shown it, and yet knows its tag, learns that it still holds.
    assert [row["outcome"] for row in await looks(house, subject=other)] == ["unchanged"]
    assert (await first.act(case, "noted", text="一")).status_code == 201
    assert (await first.get(path, if_none_match=tag)).status_code == 200
    assert [row["outcome"] for row in await looks(house, subject=subject)] == ["shown", "shown"]


async def test_what_shows_nothing_personal_is_not_noted(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    dashboard, subject = named(house, "dashboard", region)
    manager, other = named(house, "manager", region)
    for path in (f"/v1/cases/{case['case_id']}", "/v1/cases", "/v1/duties"):
        assert (await dashboard.get(path)).status_code == 200
    assert codes([await dashboard.get(f"/v1/cases/{uuid4()}")]) == ["not_found"]
    assert codes([await manager.get("/v1/cases?typo=1"), await manager.get("/v1/labels")]) == ["unknown_parameter", 200]
    assert (await manager.act(case, "noted", text="一")).status_code == 201
    assert [row["status"] for row in await looks(house, subject=[subject, other])] == [404]


async def test_every_operation_is_watched_or_has_a_reason_why_not(house: House) -> None:
    operations = {
        operation["operationId"].rpartition("_v1")[0]
        for operations in document(house.app)["paths"].values()
        for operation in operations.values()
        if operation.get("security")
    }
    assert set(UNWATCHED) <= operations
    assert operations - set(UNWATCHED) == {
        *("get_case", "get_grade", "list_actions", "list_complaints", "list_cases", "search_cases", "summarise"),
        *("list_breaches", "list_duties", "cases_csv", "cases_xlsx", "breaches_csv", "breaches_xlsx"),
        *("get_job_result", "replay_ledger", "list_events", "get_head", "get_proof", "list_keys", "list_looks"),
        "erase_person",
    }


# Asking who looked -----------------------------------------------------------------------------------------------


async def test_auditing_is_a_look_too(house: House) -> None:
    auditor, subject = named(house, "auditor")
    region = await house.region()
    paths = ("events?limit=1", f"access?region={region}&outcome=refused", "head", "keys", "access")
    for path in paths:
        assert (await auditor.get(f"/v1/audit/{path}")).status_code == 200
    assert (await auditor.post("/v1/audit/replay", {"region": region}, None)).status_code == 200
    rows = await looks(house, subject=subject)
    operations = ["replay_ledger", "list_looks", "list_keys", "get_head", "list_looks", "list_events"]
    assert [row["operation"] for row in rows] == operations
    assert rows[0]["regions"] == [region]
    assert rows[4]["asked"] == {"region": [region], "outcome": ["refused"]}


async def test_pages_go_back_through_all_looks_without_a_gap(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    caller, subject = named(house, "agent", region)
    for path in ("", "/grade", "/actions", "/complaints", "", "/grade", "/actions"):
        assert (await caller.get(f"/v1/cases/{case['case_id']}{path}")).status_code == 200
    auditor, path = house.caller("auditor"), f"/v1/audit/access?subject={subject}&limit=2"
    found, cursor = [], ""
    while cursor is not None:
        answer = (await auditor.get(path + (f"&cursor={cursor}" if cursor else ""))).json()
        found += answer["items"]
        cursor = answer["next_cursor"]
        # What is noted meanwhile stands before the first page.
        assert (await caller.get(f"/v1/cases/{case['case_id']}")).status_code == 200
    assert len(found) == 7
    assert [row["looked_at"] for row in found] == sorted((row["looked_at"] for row in found), reverse=True)


async def test_looks_are_found_by_time_operation_and_outcome(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    caller, subject = named(house, "agent", region)
    await caller.get(f"/v1/cases/{case['case_id']}")
    await caller.get(f"/v1/cases/{uuid4()}")
    (refused, shown) = await looks(house, subject=subject)
    assert await looks(house, subject=subject, **{"from": refused["looked_at"]}) == [refused]
    assert await looks(house, subject=subject, to=refused["looked_at"]) == [shown]
    assert await looks(house, subject=subject, outcome="shown") == [shown]
    assert await looks(house, subject=subject, outcome="refused", operation=["get_case", "x"]) == [refused]
    assert await looks(house, subject=subject, operation="x") == []
    assert await looks(house, subject=subject, case=str(uuid4())) == []


@pytest.mark.parametrize(
    "query",
    [
        "typo=1",
        "case=x",
        "case=a&case=b",
        "from=yesterday",
        "outcome=x",
        "limit=0",
        "cursor=x",
        "case=GD-20260101-0001",
    ],
)
async def test_a_question_that_cannot_be_is_refused_by_name(house: House, query: str) -> None:
    answer = await house.caller("auditor").get(f"/v1/audit/access?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.text


# The rows themselves ---------------------------------------------------------------------------------------------


def _noted(house: House, subject: str, days: int = 0) -> Noted:
    return Noted(house.services.now() - timedelta(days=days), subject, "agent", "region", "get_case", 200, ["GD"], [])


async def test_no_row_changes_and_none_goes_before_half_a_year(house: House) -> None:
    subject = f"kept-{uuid4()}"
    log = house.services.looked.log
    for days in (0, 179, 181, 400):
        log.note(_noted(house, subject, days))
    await log.flush()
    for statement in (
        "UPDATE access_log SET subject = 'x'",
        "TRUNCATE access_log",
        f"DELETE FROM access_log WHERE subject = '{subject}'",
    ):
        with (
            psycopg.connect(house.services.url, autocommit=True) as connection,
            pytest.raises(psycopg.errors.RestrictViolation),
        ):
            connection.execute(statement)
    await log.forget(house.services.now(), 365)
    assert len(await log.find(Wanted([subject]), None, 10)) == 3
    await log.forget(house.services.now(), 180)
    assert len(await log.find(Wanted([subject]), None, 10)) == 2


class _Away:
    """A database that is not there until it is told to be."""

    def __init__(self, log: EventLog, fault: Exception) -> None:
        self.read, self._log, self.fault = self, log, fault
        self.here = False

    async def copy(self, statement: str, rows: bytes) -> None:
        if not self.here:
            raise self.fault
        await self._log.read.copy(statement, rows)


async def test_an_outage_keeps_what_there_is_room_for_and_counts_the_rest(house: House) -> None:
    subject = f"away-{uuid4()}"
    away = _Away(house.services.log, Unavailable("away"))
    log = AccessLog(away, most=1_200)  # type: ignore[arg-type]
    for _ in range(1_300):
        log.note(_noted(house, subject))
    assert not await log.flush()
    assert (log.waiting, log.dropped) == (1_200, 100)
    away.here = True
    assert await log.flush()
    assert log.waiting == 0
    assert len(await house.services.looked.log.find(Wanted([subject]), None, 5_000)) == 1_200


async def test_rows_that_can_never_be_stored_hold_up_no_others(house: House) -> None:
    subject = f"sound-{uuid4()}"
    away = _Away(house.services.log, psycopg.DataError("no"))
    log = AccessLog(away)  # type: ignore[arg-type]
    log.note(_noted(house, subject))
    assert await log.flush()
    assert (log.waiting, log.dropped) == (0, 1)


async def test_any_subject_that_a_token_can_name_is_stored(house: House) -> None:
    subject = f"'\"\\{uuid4()}\ud800"
    region = await house.region()
    caller = house.caller("agent", region, subject=subject.replace("\ud800", ""))
    assert (await caller.get("/v1/cases")).status_code == 200
    assert len(await looks(house, subject=subject.replace("\0", "\ufffd").replace("\ud800", ""))) == 1


# What ends a value, a row, an array or an element of one in the format that rows are stored by, and what escapes it.
_AWKWARD = ["\\", "\t", "\n", "\r", '"', "{", "}", ",", "'", " ", "N", r"\N", r"\.", "NULL", "\b", "案", "x", ""]


def _awkward(rng: random.Random) -> str:
    return "".join(rng.choices(_AWKWARD, k=rng.randrange(6)))


def _any_row(rng: random.Random, at: datetime, subject: str) -> Noted:
    return Noted(
        at,
        subject + _awkward(rng),
        rng.choice([None, _awkward(rng)]),
        rng.choice([None, _awkward(rng)]),
        _awkward(rng),
        rng.choice([200, 304, 404]),
        [_awkward(rng) for _ in range(rng.randrange(4))],
        [str(uuid4()) for _ in range(rng.randrange(4))],
        rng.choice([None, 0, 500]),
        rng.choice([None, _awkward(rng)]),
        rng.choice([None, rng.randbytes(12).hex()]),
        rng.choice([None, "::1", _awkward(rng)]),
    )


async def test_rows_are_read_as_they_were_noted_whatever_is_in_them(house: House) -> None:
    seed = int(os.environ.get("ANJUAN_SEED") or secrets.randbelow(1 << 40))
    print(f"ANJUAN_SEED={seed}")
    rng, subject, now = random.Random(seed), f"any-{uuid4()}", house.services.now()
    noted = [_any_row(rng, now - timedelta(microseconds=number), subject) for number in range(300)]
    log = house.services.looked.log
    for one in noted:
        log.note(one)
    assert await log.flush()
    found = await log.find(Wanted([one.subject for one in noted]), None, 1_000)
    assert [look[:1] + look[2:-2] + (look.question and look.question.hex(), look.address) for look in found] == [
        (*one[:6], list(one.regions), [UUID(case) for case in one.cases], *one[8:]) for one in noted
    ]


@asynccontextmanager
async def _running(log: AccessLog) -> AsyncIterator[None]:
    task = asyncio.create_task(log.run())
    try:
        yield
    finally:
        log.stop()
        await task


async def test_rows_are_stored_by_themselves_and_many_at_a_time(house: House, tmp_path: Path) -> None:
    subject = f"batch-{uuid4()}"
    away = _Away(house.services.log, Unavailable("away"))
    away.here = True
    log = AccessLog(away)  # type: ignore[arg-type]
    async with _running(log):
        for _ in range(501):
            log.note(_noted(house, subject))
        async with asyncio.timeout(20):
            while log.waiting:  # noqa: ASYNC110 - the log tells nobody
                await asyncio.sleep(0.05)
    assert len(await house.services.looked.log.find(Wanted([subject]), None, 5_000)) == 501


async def test_what_was_noted_last_is_stored_at_the_end(database_url: str, tmp_path: Path) -> None:
    async with open_house(database_url, tmp_path) as opened:
        region = await opened.region()
        assert (await opened.agent(region).get("/v1/cases")).status_code == 200
        assert opened.services.looked.log.waiting >= 1
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("SELECT operation FROM access_log").fetchall()
    assert stored == [("list_cases",)]


async def test_a_text_that_looks_like_a_case_is_none(house: House) -> None:
    region = await house.region()
    planted = '"case_id":"019ab3c4-5d6e-7f80-9123-456789abcdef"'
    caller = house.agent(region)
    case = await caller.post("/v1/cases", opening(region, title=planted))
    assert case.status_code == 201
    assert list(cases_in((await caller.get("/v1/cases")).content)) == [case.json()["case_id"]]
