"""RFC 9457 on every route: one shape, a stable code, Chinese or English, and never a word of the machine."""

from typing import Any

import pytest

from intake_api.problems import CODES
from services.rules import Rule
from tests.contract.house import House, opening

pytestmark = pytest.mark.anyio
UNKNOWN = "019ab3c4-5d6e-7f80-9123-456789abcdef"


def _has_chinese(text: str) -> bool:
    return any("\u4e00" <= char <= "\u9fff" for char in text)


def test_the_list_of_codes_is_published_and_complete(house: House) -> None:
    document = house.app.openapi()["components"]["schemas"]["Problem"]["properties"]["code"]
    assert document["enum"] == sorted(CODES)
    assert {rule.code for rule in Rule} <= set(CODES)


async def test_each_code_has_a_status_and_a_text_in_both_languages(house: House) -> None:
    items = (await house.client.get("/v1/problems")).json()["items"]
    assert {item["code"] for item in items} == set(CODES)
    assert all(400 <= item["status"] <= 599 for item in items)
    assert all(_has_chinese(item["zh"]) and not _has_chinese(item["en"]) for item in items)


ROUTES: dict[str, tuple[str, str, dict[str, str], object, int]] = {
    "no token": ("GET", "/v1/cases", {"authorization": ""}, None, 401),
    "no such path": ("GET", "/v2/cases", {}, None, 404),
    "no such path below": ("GET", "/v1/cases/x/y/z", {}, None, 404),
    "no such case": ("GET", f"/v1/cases/{UNKNOWN}", {}, None, 404),
    "no such region": ("GET", "/v1/regions/NOWHERE", {}, None, 404),
    "no such project": ("GET", "/v1/projects/NOWHERE", {}, None, 404),
    "no such method": ("DELETE", "/v1/cases", {}, None, 405),
    "no such method on a case": ("PATCH", f"/v1/cases/{UNKNOWN}", {}, None, 405),
    "a method of nobody": ("BREW", "/livez", {}, None, 405),
    "a role that may not": ("PUT", "/v1/regions/GD", {}, {"name": "x"}, 403),
    "a body that is wrong": ("POST", "/v1/cases", {}, {"title": 1}, 422),
    "a body that is no JSON": ("POST", "/v1/cases", {}, b"{", 422),
    "another content type": ("POST", "/v1/cases", {"content-type": "text/csv"}, b"a,b", 415),
    "a body that is too large": ("POST", "/v1/cases", {}, b" " * (1 << 20 | 1), 413),
    "a bad key": ("POST", "/v1/cases", {"idempotency-key": "a b"}, {}, 400),
    "an unknown parameter": ("GET", "/v1/cases?lmit=1", {}, None, 422),
}


@pytest.mark.parametrize("name", ROUTES)
async def test_every_route_tells_a_problem_in_one_shape_and_two_languages(house: House, name: str) -> None:
    method, path, headers, body, status = ROUTES[name]
    told = {}
    for language in ("zh-CN", "en-GB"):
        answer = await house.manager().send(method, path, body, accept_language=language, **headers)
        assert answer.status_code == status
        assert answer.headers["content-language"] == {"zh-CN": "zh-CN", "en-GB": "en"}[language]
        told[language] = answer.json()
    zh, en = told["zh-CN"], told["en-GB"]
    assert zh["code"] == en["code"]
    assert (zh["title"], en["title"]) == CODES[zh["code"]][1:]
    assert _has_chinese(zh["detail"])
    assert not _has_chinese(en["detail"])
    assert [e.get("pointer") for e in zh["errors"]] == [e.get("pointer") for e in en["errors"]]


LANGUAGES = {
    None: "zh",
    "": "zh",
    "en": "en",
    "EN-us": "en",
    "zh": "zh",
    "zh-Hant-TW": "zh",
    "fr": "zh",
    "fr, en;q=0.5": "en",
    "en;q=0.3, zh;q=0.8": "zh",
    "zh;q=0.3, en;q=0.8": "en",
    "en, zh": "en",
    "zh;q=0, en": "en",
    "*": "zh",
    "q=;;,,": "zh",
}


@pytest.mark.parametrize("asked", LANGUAGES)
async def test_the_language_is_the_one_that_weighs_most(house: House, asked: str | None) -> None:
    headers = {} if asked is None else {"accept-language": asked}
    problem = (await house.client.get("/v1/cases", headers=headers)).json()
    assert problem["title"] == CODES["unauthenticated"][1 if LANGUAGES[asked] == "zh" else 2]


async def test_every_message_of_a_fault_is_known_in_both_languages(house: House) -> None:
    region = await house.region()
    body: dict[str, Any] = opening(
        region,
        category="x",
        title=1,
        tags="x",
        facts={"compensation": [], "casualties": {"injured": -1, "dead": 2_000_001}, "title_deed_delayed": 1},
        operator=[],
        evidence=[{"kind": "k", "ref": "r", "sha256": "x", "at": "2026-01-15"}],
        complainant={"phone": "x"},
        extra=1,
    )
    for language, otherwise in (("zh", "无效"), ("en", "not valid")):
        errors = (await house.agent(region).post("/v1/cases", body, accept_language=language)).json()["errors"]
        assert len(errors) >= 11
        assert [error for error in errors if error["message"] == otherwise] == []


async def test_a_problem_never_repeats_what_the_client_wrote(house: House) -> None:
    region = await house.region()
    body = opening(region, title="秘密" * 200, channel="秘密", complainant={"phone": "秘密", "name": ["秘密"]})
    answer = await house.agent(region).post("/v1/cases", body)
    assert answer.status_code == 422
    assert "秘密" not in answer.text


async def test_a_wrong_method_says_which_are_right(house: House) -> None:
    answer = await house.manager().send("DELETE", f"/v1/cases/{UNKNOWN}/actions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_what_nobody_foresaw_is_a_problem_without_a_word_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def broken() -> None:
        raise RuntimeError("秘密 13812345678")

    monkeypatch.setattr(house.services.directory, "refresh", broken)
    house.client.event_hooks["response"].clear()
    try:
        answer = await house.manager().get("/v1/regions")
    finally:
        house.client.event_hooks = {"response": [house.judge.look_at]}
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    said = answer.text + "".join(capfd.readouterr())
    assert "RuntimeError" not in answer.text
    assert "秘密" not in said
    assert "13812345678" not in said


@pytest.mark.parametrize(
    "path",
    ["/v1/cases/%00", "/v1/cases/%ff%fe", "/v1/cases/..%2f..", "/v1/regions/%F0%9F%98%80", "/v1/cases/" + "x" * 3000],
)
async def test_a_strange_path_is_not_found(house: House, path: str) -> None:
    assert (await house.manager().get(path)).status_code == 404
