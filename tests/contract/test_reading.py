"""Reads reflect every write acknowledged before, change their tag when they change, and cost nothing otherwise."""

import pytest

from tests.contract.house import RESPONSE, House, codes

pytestmark = pytest.mark.anyio


async def test_a_case_reads_as_its_writes_said(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    opened = await agent.post("/v1/cases", {**_opening(region)})
    read = await agent.get(opened.headers["location"])
    assert (opened.status_code, read.status_code) == (201, 200)
    clocks = {"duties"}
    same = {k: v for k, v in read.json().items() if k not in clocks}
    assert same == {k: v for k, v in opened.json().items() if k in same}


def _opening(region: str) -> dict[str, object]:
    from tests.contract.house import opening

    return opening(region, tags=["渗水", "群诉"], external_ref=f"HL-{region}", description="三户", unrest="无")


async def test_every_write_is_in_the_next_read(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    path = f"/v1/cases/{case['case_id']}"
    for version in range(2, 6):
        written = await agent.act(case, "noted", text=str(version))
        heads = [(await agent.get(path)).json(), written.json()["case"]]
        assert [head["version"] for head in heads] == [version, version]
        actions = (await agent.get(f"{path}/actions?count=true")).json()
        assert (actions["total"], actions["items"][-1]) == (version, written.json()["action"])


async def test_the_ledger_s_position_rises_with_each_write_and_covers_it_in_reads(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    positions = []
    for _ in range(3):
        written = await agent.act(case, "noted", text="一")
        position = int(written.headers["ledger-position"])
        assert position == written.json()["action"]["position"]
        for path in ("", "/actions", "/complaints"):
            read = await agent.get(f"/v1/cases/{case['case_id']}{path}")
            assert int(read.headers["ledger-position"]) >= position
        assert int((await agent.get("/v1/cases")).headers["ledger-position"]) >= position
        positions.append(position)
    assert positions == sorted(set(positions))


async def test_the_epoch_is_on_every_answer(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    answers = [
        await agent.get("/v1/cases"),
        await agent.post("/v1/cases", b"{"),
        await agent.get("/nowhere"),
        await house.client.get("/v1/cases"),
        await house.client.get("/livez"),
    ]
    assert [answer.headers["ledger-epoch"] for answer in answers] == ["1"] * 5


READS = [
    "/v1/cases/{case}",
    "/v1/cases/{case}/actions",
    "/v1/cases/{case}/complaints",
    "/v1/cases",
    "/v1/cases?count=true",
]


@pytest.mark.parametrize("path", READS)
async def test_what_did_not_change_is_304(house: House, path: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region, obtained_at="2026-01-15T16:05:00+08:00")
    asked = path.format(case=case["case_id"])
    first = await agent.get(asked)
    tag = first.headers["etag"]
    for header in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = await agent.get(asked, if_none_match=header)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == "private, no-cache"
    assert first.headers["vary"] == "Authorization, Accept-Language"
    assert (await agent.get(asked, if_none_match='"x"')).status_code == 200


@pytest.mark.parametrize("path", READS[:4])
async def test_what_changed_is_sent_whole(house: House, path: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    asked = path.format(case=case["case_id"])
    before = (await agent.get(asked)).headers["etag"]
    await agent.act(case, "responded", **RESPONSE)
    after = await agent.get(asked, if_none_match=before)
    assert after.status_code == 200
    assert after.headers["etag"] != before


async def test_the_tag_moves_with_the_directory(house: House) -> None:
    region = await house.region()
    agent, admin = house.agent(region), house.caller("admin")
    case = await agent.case(region)
    before = (await agent.get(f"/v1/cases/{case['case_id']}")).headers["etag"]
    managers = {"project": {"name": "孙六"}}
    past = "2020-01-01T00:00:00Z"
    project = {"name": "新名", "region": region, "managers": managers}
    assert codes([await admin.put(f"/v1/projects/{region}-1", project)]) == [200]
    assert codes([await admin.put(f"/v1/projects/{region}-1", {**project, "valid_from": past})]) == [200]
    await agent.act(case, "noted", text="一")
    after = await agent.get(f"/v1/cases/{case['case_id']}", if_none_match=before)
    assert after.status_code == 200
    assert after.json()["responsible"] == {
        "role": "project_general_manager",
        "name": "孙六",
        "phone": None,
        "clause": "4.4",
    }


async def test_the_tag_differs_for_who_sees_less(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(region)
    tags = {
        (await house.caller(role, region).get(f"/v1/cases/{case['case_id']}")).headers["etag"]
        for role in ("agent", "dashboard")
    }
    assert len(tags) == 2


async def test_a_write_is_stored_whatever_the_caller_has_already(house: House) -> None:
    region = await house.region()
    admin = house.caller("admin")
    answer = await admin.put(f"/v1/regions/{region}", {"name": "新名"}, if_none_match="*")
    assert (answer.status_code, answer.json()["name"]) == (200, "新名")


async def test_delay_says_how_late_an_action_was_recorded(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    late = (await agent.act(case, "noted", text="一", occurred_at="2026-01-15T08:06:00Z")).json()["action"]
    now = (await agent.act(case, "noted", text="一")).json()["action"]
    assert late["delay_seconds"] > 86_400
    assert now["delay_seconds"] == 0
    assert late["occurred_at"] == "2026-01-15T08:06:00Z"


async def test_times_are_answered_in_utc(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(region, obtained_at="2026-01-15T16:05:00.120000+08:00")
    assert case["complaints"][0]["obtained_at"] == "2026-01-15T08:05:00.120000Z"
    assert case["duties"][0]["due_at"] == "2026-01-15T09:05:00.120000Z"


async def test_a_case_that_is_overdue_says_so_and_a_later_proof_mends_it(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    path = f"/v1/cases/{case['case_id']}"
    waiting = (await agent.get(path)).json()
    await agent.act(case, "responded", **{**RESPONSE, "contacted_at": "2026-01-15T18:05:00+08:00"})
    late = (await agent.get(path)).json()
    await agent.act(case, "responded", **{**RESPONSE, "contacted_at": "2026-01-15T17:05:00+08:00"})
    mended = (await agent.get(path)).json()
    states = [
        (read["status"], read["duties"][0]["state"], read["duties"][0]["overdue_seconds"])
        for read in (waiting, late, mended)
    ]
    assert states == [("open", "overdue", None), ("responded", "met_late", 3600), ("responded", "met", 0)]


async def test_what_may_be_done_next_is_what_is_accepted(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    for stage in ("risk", "warning", "complaint"):
        case = await agent.case(region, stage=stage)
        offered = {one["type"]: one for one in case["next_actions"]}
        for kind, body in (("warned", {"unrest": "聚集"}), ("responded", RESPONSE), ("noted", {"text": "一"})):
            answer = await agent.act(case, kind, **body)
            assert (answer.status_code == 201) == offered[kind]["allowed"]
            if answer.status_code != 201:
                assert answer.json()["code"] == offered[kind]["code"]
                assert answer.json()["unmet"] == offered[kind]["unmet"]


async def test_readiness_names_the_position(house: House) -> None:
    answer = await house.client.get("/readyz")
    assert answer.json()["status"] == "ready"
    assert answer.json()["position"] > 0
