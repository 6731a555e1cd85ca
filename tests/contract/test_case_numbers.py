"""A case has a number that can be read over the telephone, and is found by it however it was heard."""

from datetime import UTC, datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from tests.contract.house import House, codes

pytestmark = pytest.mark.anyio


async def test_numbers_run_per_region_and_day_of_shanghai(house: House) -> None:
    one, other = await house.region(), await house.region()
    before = datetime.now(UTC).astimezone(ZoneInfo("Asia/Shanghai"))
    numbers = [(await house.agent(region).case(region))["case_no"] for region in (one, other, one, one, other)]
    if before.date() == datetime.now(UTC).astimezone(ZoneInfo("Asia/Shanghai")).date():
        day = f"{before:%Y%m%d}"
        assert numbers == [
            f"{one}-{day}-0001",
            f"{other}-{day}-0001",
            *(f"{one}-{day}-000{n}" for n in (2, 3)),
            f"{other}-{day}-0002",
        ]
    assert len(set(numbers)) == 5


HEARD = {
    "as it is": lambda no: no,
    "lower case": str.lower,
    "full width": lambda no: "".join(chr(ord(c) + 0xFEE0) for c in no),
    "full width and lower case": lambda no: "".join(chr(ord(c) + 0xFEE0) for c in no.lower()),
    "without leading zeros": lambda no: no.replace("-0001", "-1"),
    "with more of them": lambda no: no.replace("-0001", "-00000001"),
    "with long dashes": lambda no: no.replace("-", "—"),
    "with spaces around": lambda no: f" {no} ",
}


@pytest.mark.parametrize("heard", HEARD)
async def test_a_number_stands_wherever_an_id_does(house: House, heard: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    name = quote(HEARD[heard](case["case_no"]))  # type: ignore[no-untyped-call]
    answers = [
        await agent.get(f"/v1/cases/{name}"),
        await agent.get(f"/v1/cases/{name}/actions"),
        await agent.get(f"/v1/cases/{name}/complaints"),
        await agent.post(f"/v1/cases/{name}/actions", {"type": "noted", "text": "一"}),
    ]
    assert codes(answers) == [200, 200, 200, 201]
    assert answers[0].json()["case_id"] == answers[3].json()["case"]["case_id"] == case["case_id"]


@pytest.mark.parametrize(
    "name",
    [
        "019ab3c4-5d6e-7f80-9123-456789abcdef",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "GD-19990101-0001",
        "GD-99999999-999999999999",
        "1",
        "x",
        "-",
        "null",
    ],
)
async def test_a_name_that_no_case_has_is_not_found(house: House, name: str) -> None:
    agent = house.agent()
    answers = [await agent.get(f"/v1/cases/{name}"), await agent.post(f"/v1/cases/{name}/actions", {"type": "noted"})]
    assert codes(answers) == ["not_found"] * 2


async def test_an_id_is_known_in_upper_case(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    assert codes([await agent.get(f"/v1/cases/{case['case_id'].upper()}")]) == [200]


async def test_the_id_of_a_directory_entry_is_no_case(house: House) -> None:
    from services.directory import region_stream

    region = await house.region()
    agent = house.agent(region)
    stream = region_stream(region)
    answers = [
        await agent.get(f"/v1/cases/{stream}"),
        await agent.post(f"/v1/cases/{stream}/actions", {"type": "noted", "text": "一"}),
    ]
    assert codes(answers) == ["not_found"] * 2


async def test_a_reference_is_unique_in_its_region(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region, external_ref="HL-2026-001")
    answer = await agent.post("/v1/cases", _with_reference(region, "HL-2026-001"))
    assert (answer.status_code, answer.json()["code"], answer.json()["case_id"]) == (
        409,
        "duplicate_external_ref",
        case["case_id"],
    )
    assert codes([await agent.post("/v1/cases", _with_reference(region, "HL-2026-002"))]) == [201]
    assert (await agent.get("/v1/cases?count=true")).json()["total"] == 2


async def test_a_refused_reference_uses_up_no_number(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    first = await agent.case(region, external_ref="HL-1")
    await agent.post("/v1/cases", _with_reference(region, "HL-1"))
    second = await agent.case(region)
    assert [case["case_no"][-4:] for case in (first, second)] == ["0001", "0002"]


async def test_an_opening_with_a_reference_may_be_replayed(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    answers = [
        await agent.post("/v1/cases", _with_reference(region, "HL-1"), f"replay {region}".replace(" ", "-"))
        for _ in range(2)
    ]
    assert [answer.content for answer in answers] == [answers[0].content] * 2
    assert codes(answers) == [201, 201]


def _with_reference(region: str, reference: str) -> dict[str, object]:
    from tests.contract.house import opening

    return opening(region, external_ref=reference)
