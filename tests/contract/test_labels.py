"""What values are called: the same for every reader, whatever the language, and for every version of the policy."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.house import House, codes
from tests.unit.test_policy_documents import document

pytestmark = pytest.mark.anyio


async def test_every_role_reads_the_same_labels_in_whatever_language(house: House) -> None:
    roles = ("agent", "manager", "dashboard", "auditor", "admin")
    answers = [await house.caller(role, "NONE").get("/v1/labels") for role in roles]
    answers.append(await house.agent().get("/v1/labels", accept_language="en"))
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert answers[0].json()["labels"]["status"]["closed"] == {"zh": "已完结", "en": "closed"}


async def test_who_has_them_already_is_told_so(house: House) -> None:
    agent = house.agent()
    first = await agent.get("/v1/labels")
    again = await agent.get("/v1/labels", if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


async def test_it_takes_a_token_and_no_parameter(house: House) -> None:
    assert (await house.client.get("/v1/labels")).status_code == 401
    assert codes([await house.agent().get("/v1/labels?language=zh")]) == ["unknown_parameter"]


async def test_a_published_version_brings_its_own_names(house: House) -> None:
    made = document()
    made |= {"version": "V-labels", "effective_from": (datetime.now(UTC) + timedelta(days=900)).isoformat()}
    made["grades"][0]["code"] = "S-1"
    made["grades"][0]["label"] = {"zh": "特级", "en": "Special"}
    agent = house.agent()
    before = await agent.get("/v1/labels")
    assert (await house.caller("admin").post("/v1/policies", made)).status_code == 201
    after = await agent.get("/v1/labels")
    assert after.headers["etag"] != before.headers["etag"]
    found = after.json()
    assert found["labels"]["grade"]["S-1"] == {"zh": "特级", "en": "Special"}
    assert found["labels"]["grade"]["A-1"]["zh"] == "A类一级"
    own = next(one for one in found["policies"] if one["version"] == "V-labels")
    assert [*own["grades"]] == ["S-1", "A-2"]
    assert own["duties"]["respond"] == {"zh": "响应", "en": "respond"}
