"""区域与项目: who is where and answers for what, from an instant on."""

import pytest

from tests.contract.house import House, codes, opening

pytestmark = pytest.mark.anyio


async def test_an_entry_reads_as_it_was_described(house: House) -> None:
    admin = house.caller("admin")
    region = await house.region()
    body = {
        "name": "广东区域",
        "president": {"name": "赵一", "phone": "0757-22334455"},
        "customer_relations_executive": {"name": "钱二", "phone": None},
        "valid_from": "2026-01-01T00:00:00Z",
    }
    written = (await admin.put(f"/v1/regions/{region}", body)).json()
    assert written == {**body, "code": region, "customer_relations_lead": None}
    assert (await house.agent().get(f"/v1/regions/{region}?as_of=2026-01-02T00:00:00Z")).json() == written


async def test_the_entry_in_force_is_the_one_that_began_last(house: House) -> None:
    admin, agent = house.caller("admin"), house.agent()
    region = await house.region()
    for name, begins in (("二月", "2025-02-01"), ("一月", "2025-01-01"), ("三月", "2025-03-01")):
        await admin.put(f"/v1/regions/{region}", {"name": name, "valid_from": f"{begins}T00:00:00Z"})
    names = [
        (await agent.get(f"/v1/regions/{region}?as_of={at}T00:00:00Z")).json()["name"]
        for at in ("2025-01-01", "2025-01-31", "2025-02-01", "2025-03-01")
    ]
    assert names == ["一月", "一月", "二月", "三月"]


async def test_a_code_s_first_entry_reaches_back_without_limit(house: House) -> None:
    region = await house.region()
    answer = await house.agent().get(f"/v1/regions/{region}?as_of=1999-01-01T00:00:00Z")
    assert answer.json()["name"] == f"区域{region}"


async def test_the_same_description_again_stores_nothing(house: House) -> None:
    region = await house.region()
    admin = house.caller("admin")
    body = {"name": "新名", "region": region, "managers": {"project": {"name": "孙六", "phone": "13900001111"}}}
    answers = [await admin.put(f"/v1/projects/{region}-1", body) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["ledger-position"] == answers[1].headers["ledger-position"]


async def test_a_project_needs_a_region_that_exists(house: House) -> None:
    answer = await house.caller("admin").put("/v1/projects/P-1", {"name": "x", "region": "NOWHERE"})
    assert codes([answer]) == ["unknown_region"]


async def test_a_project_stays_in_its_region(house: House) -> None:
    one, other = await house.region(), await house.region()
    answer = await house.caller("admin").put(f"/v1/projects/{one}-1", {"name": "x", "region": other})
    assert codes([answer]) == ["region_is_fixed"]


@pytest.mark.parametrize("code", ["gd", "G D", "G" * 33, "广东", "GD;", "G-D"])
async def test_a_region_s_code_has_one_form(house: House, code: str) -> None:
    assert codes([await house.caller("admin").put(f"/v1/regions/{code}", {"name": "x"})]) == ["validation_failed"]


async def test_all_entries_are_listed_in_order_of_their_codes(house: House) -> None:
    made = [await house.region() for _ in range(3)]
    for path, suffix in (("/v1/regions", ""), ("/v1/projects", "-1")):
        listed = [item["code"] for item in (await house.agent().get(path)).json()["items"]]
        assert listed == sorted(listed)
        assert {f"{code}{suffix}" for code in made} <= set(listed)


MANAGERS = {"project": {"name": "甲"}, "city": {"name": "乙"}, "area": {"name": "丙"}}


@pytest.mark.parametrize(
    ("offices", "name"),
    [(("project", "city", "area"), "甲"), (("city", "area"), "乙"), (("area",), "丙"), ((), None)],
)
async def test_the_first_responsible_person_is_the_project_s_then_the_city_s_then_the_area_s(
    house: House, offices: tuple[str, ...], name: str | None
) -> None:
    region = await house.region(managers={office: MANAGERS[office] for office in offices})
    case = (await house.agent(region).post("/v1/cases", opening(region))).json()
    assert (case["responsible"] or {}).get("name") == name
