"""How the views stand, and building them anew, over HTTP."""

import asyncio
import re
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY, generate_latest

from projections import building
from tests.contract.house import Caller, House, codes

pytestmark = pytest.mark.anyio


async def _projection(caller: Caller) -> dict[str, Any]:
    response = await caller.get("/v1/projections")
    assert response.status_code == 200
    (found,) = response.json()["items"]
    assert isinstance(found, dict)
    return found


async def _settled(house: House) -> None:
    """Wait until nobody is behind."""
    position = (await house.services.log.read.head()).position
    assert await house.services.watch.reached(position, 10)


async def test_admin_and_auditor_see_how_the_views_stand_and_nobody_else(house: House) -> None:
    region = await house.region()
    await house.agent(region).case(region)
    await _settled(house)
    for role in ("admin", "auditor"):
        found = await _projection(house.caller(role))
        assert found["name"] == "cases"
        assert (found["lag_actions"], found["lag_seconds"]) == (0, 0)
        assert found["position"] == found["head"] > 0
        assert found["leading"] and found["leader"] and found["parked"] == 0
    refused = [await house.caller(role).get("/v1/projections") for role in ("agent", "manager", "dashboard")]
    refused.append(await house.client.get("/v1/projections"))
    assert codes(refused) == ["forbidden", "forbidden", "forbidden", "unauthenticated"]
    assert codes([await house.caller("admin").get("/v1/projections?x=1")]) == ["unknown_parameter"]


async def test_lag_counts_from_the_first_action_that_is_not_applied(house: House) -> None:
    region = await house.region()
    await house.agent(region).case(region)
    await _settled(house)
    read = house.services.log.read
    # The leader's next batch waits for this row, as it would for a swap.
    async with building.alone(house.services.url) as connection, connection.transaction():
        await connection.execute("SELECT FROM projections FOR UPDATE")
        await house.agent(region).case(region)
        await asyncio.sleep(0.2)
        await house.agent(region).case(region)
        found = await _projection(house.caller("admin"))
        assert found["lag_actions"] == 2
        assert 0.2 <= found["lag_seconds"] < 5
    await _settled(house)
    assert (await _projection(house.caller("admin")))["lag_seconds"] == 0
    assert (await read.head()).position == house.services.watch.view.position


async def test_a_rebuild_is_a_job_whose_views_are_read_from_then_on(house: House) -> None:
    region = await house.region()
    agent, admin = house.agent(region), house.caller("admin", subject="rebuilder")
    case = await agent.case(region)
    before = await _projection(admin)
    begun = await admin.send("POST", "/v1/projections/cases/rebuild")
    assert begun.status_code == 202
    job_id = begun.json()["job_id"]
    assert begun.headers["location"] == f"/v1/jobs/{job_id}"
    assert codes([await admin.send("POST", "/v1/projections/cases/rebuild")]) == ["rebuild_running"]
    # Everybody goes on meanwhile.
    assert (await agent.act(case, "noted", text="重建期间")).status_code == 201
    await house.services.jobs.settled(UUID(job_id), "rebuilder", 30)
    job = (await admin.get(f"/v1/jobs/{job_id}")).json()
    assert job["state"] == "done"
    result = (await admin.get(job["result_url"])).json()
    assert result["generation"] != before["generation"]
    assert result["rebuild"] == {"state": "empty", "running": False, "progress": None}
    page = (await agent.get(f"/v1/cases?region={region}")).json()
    assert [one["version"] for one in page["items"]] == [2]


async def test_one_rebuild_at_a_time_whoever_runs_it(house: House) -> None:
    admin = house.caller("admin")
    async with building.alone(house.services.url):
        assert (await _projection(admin))["rebuild"]["running"]
        assert codes([await admin.send("POST", "/v1/projections/cases/rebuild")]) == ["rebuild_running"]


async def test_only_admin_rebuilds_and_only_what_there_is(house: House) -> None:
    refused = [
        await house.caller(role).send("POST", "/v1/projections/cases/rebuild")
        for role in ("agent", "manager", "dashboard", "auditor")
    ]
    refused.append(await house.caller("admin").send("POST", "/v1/projections/others/rebuild"))
    refused.append(await house.caller("admin").send("POST", "/v1/projections/cases/rebuild?x=1"))
    assert codes(refused) == [*["forbidden"] * 4, "not_found", "unknown_parameter"]


async def test_ready_says_what_is_wrong_and_names_no_case(house: House) -> None:
    await _settled(house)
    ready = await house.client.get("/readyz/projections")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    region = await house.region()
    case = await house.agent(region).case(region)
    await _settled(house)
    live = house.services.watch.view.generation
    park = "INSERT INTO parked_cases VALUES (%b, %b::uuid, %b, 1, 'ValueError at fold.py:1', now(), 'parked')"
    await house.by_hand(park, [live, case["case_id"], region])
    try:
        found = await house.client.get("/readyz/projections", headers={"accept-language": "en"})
        assert codes([found]) == ["projections_not_ready"]
        assert [one["parameter"] for one in found.json()["errors"]] == ["parked"]
        assert "1 cases are set aside" in found.json()["detail"]
        assert case["case_id"] not in found.text and case["case_no"] not in found.text
        await asyncio.sleep(2.1)
        gauges = generate_latest(REGISTRY).decode()
        assert "anjuan_views_parked_cases 1.0" in gauges
        assert "anjuan_views_leading 1.0" in gauges
        assert re.search(r"anjuan_views_lag_seconds \d", gauges) and "anjuan_views_lag_actions 0.0" in gauges
    finally:
        await house.by_hand("DELETE FROM parked_cases WHERE case_id = %b::uuid", [case["case_id"]])
    assert (await house.client.get("/readyz/projections")).status_code == 200
