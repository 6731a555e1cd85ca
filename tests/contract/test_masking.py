"""A dashboard sees personal data in part, and no free text at all."""

import pytest

from tests.contract.house import RESPONSE, House

pytestmark = pytest.mark.anyio

HIDDEN = [
    "李小明",
    "13812345678",
    "138-1234-5678",
    "业主的女儿",
    "外墙渗水",
    "从去年",
    "周末",
    "情绪",
    "录音-1",
    "22334455",
    "13900001111",
]


async def _told(house: House) -> tuple[str, str]:
    """A region and its case in which everything personal was said."""
    region = await house.region(managers={"project": {"name": "孙六", "phone": "139-0000-1111"}})
    agent = house.agent(region)
    case = await agent.case(
        region,
        title="外墙渗水",
        description="从去年开始",
        unrest="周末聚集",
        note="情绪激动",
        evidence=[{"kind": "recording", "ref": "录音-1"}],
        complainant={"name": "李小明", "phone": "138-1234-5678", "relation": "业主的女儿"},
    )
    answers = [
        await agent.act(case, "responded", **RESPONSE, note="情绪平复"),
        await agent.act(case, "noted", text="情绪稳定", complaint=case["complaints"][0]["complaint_id"]),
        await agent.act(
            case,
            "received",
            obtained_at=RESPONSE["contacted_at"],
            channel="app",
            complainant={"name": "欧阳娜", "phone": "0757-22334455转8001"},
        ),
    ]
    assert [answer.status_code for answer in answers] == [201] * 3
    return region, case["case_id"]


async def test_a_dashboard_sees_names_and_numbers_in_part(house: House) -> None:
    region, case_id = await _told(house)
    seen = (await house.caller("dashboard", region).get(f"/v1/cases/{case_id}/complaints")).json()["items"]
    assert [one["complainant"] for one in seen] == [
        {"name": "李**", "phone": "138****5678", "relation": None},
        {"name": "欧**", "phone": "0757-****4455", "relation": None},
    ]


@pytest.mark.parametrize(
    "path", ["/v1/cases/{case}", "/v1/cases/{case}/actions", "/v1/cases/{case}/complaints", "/v1/cases"]
)
async def test_nothing_hidden_reaches_a_dashboard(house: House, path: str) -> None:
    region, case_id = await _told(house)
    answer = await house.caller("dashboard", region).get(path.format(case=case_id))
    assert answer.status_code == 200
    assert [text for text in HIDDEN if text in answer.text] == []


async def test_the_search_for_hidden_words_would_find_them(house: House) -> None:
    region, case_id = await _told(house)
    agent = house.agent(region)
    shown = "".join([(await agent.get(f"/v1/cases/{case_id}{path}")).text for path in ("", "/actions")])
    assert [text for text in HIDDEN if text not in shown] == ["13812345678", "13900001111"]


async def test_a_dashboard_sees_households_counts_and_clocks(house: House) -> None:
    region, case_id = await _told(house)
    seen = (await house.caller("dashboard", region).get(f"/v1/cases/{case_id}")).json()
    assert (seen["title"], seen["description"], seen["household_count"], seen["complaint_count"]) == (None, None, 1, 2)
    assert seen["complaints"][0]["household"] == "3栋1单元201室"
    assert seen["responsible"]["phone"] == "139****1111"


@pytest.mark.parametrize("role", ["agent", "manager", "auditor"])
async def test_others_see_everything(house: House, role: str) -> None:
    region, case_id = await _told(house)
    seen = (await house.caller(role, region).get(f"/v1/cases/{case_id}")).json()
    assert seen["complaints"][0]["complainant"] == {
        "name": "李小明",
        "phone": "138-1234-5678",
        "relation": "业主的女儿",
    }
    assert (seen["title"], seen["description"]) == ("外墙渗水", "从去年开始")


async def test_the_directory_s_numbers_are_masked_too(house: House) -> None:
    region, _ = await _told(house)
    path = f"/v1/projects/{region}-1"
    seen = [
        (await house.caller(role, region).get(path)).json()["managers"]["project"] for role in ("dashboard", "agent")
    ]
    assert seen == [{"name": "孙六", "phone": "139****1111"}, {"name": "孙六", "phone": "139-0000-1111"}]
