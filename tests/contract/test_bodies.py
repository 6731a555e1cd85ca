"""What a body may be: strict, closed, and kept code point for code point."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.contract.house import RESPONSE, Caller, House, codes, opening

pytestmark = pytest.mark.anyio

MIB = 1 << 20


def _text(raw: str) -> bytes:
    """A note whose text is this JSON."""
    return f'{{"type":"noted","text":{raw}}}'.encode()


# As sent -> the code, and where the first fault is.
REFUSED: dict[str, tuple[bytes, str, str]] = {
    "no body": (b"", "malformed_json", ""),
    "half a body": (b'{"type":"noted"', "malformed_json", ""),
    "two bodies": (b"{}{}", "malformed_json", ""),
    "a trailing comma": (b'{"type":"noted","text":"a",}', "malformed_json", ""),
    "a comment": (b'{"type":"noted",/**/"text":"a"}', "malformed_json", ""),
    "single quotes": (b"{'type':'noted'}", "malformed_json", ""),
    "a byte order mark": (b"\xef\xbb\xbf" + _text('"a"'), "malformed_json", ""),
    "bytes that are no UTF-8": (b'{"type":"noted","text":"\xff\xfe"}', "malformed_json", ""),
    "an overlong form": (b'{"type":"noted","text":"\xc0\xaf"}', "malformed_json", ""),
    "UTF-16": (_text('"a"').decode().encode("utf-16"), "malformed_json", ""),
    "a raw control character": (_text('"a\nb"'), "malformed_json", ""),
    "a list": (b"[]", "validation_failed", ""),
    "a text": (b'"noted"', "validation_failed", ""),
    "null": (b"null", "validation_failed", ""),
    "a doubled key": (b'{"type":"noted","text":"a","text":"b"}', "validation_failed", ""),
    "a doubled key below": (
        b'{"type":"noted","text":"a","operator":{"id":"1","id":"2","name":"x"}}',
        "validation_failed",
        "",
    ),
    "a doubled key that is no text": (b'{"\\ud800":1,"\\ud800":2}', "validation_failed", ""),
    "a doubled key in another spelling": (b'{"type":"noted","text":"a","te\\u0078t":"b"}', "validation_failed", ""),
    "NaN": (_text("NaN"), "validation_failed", ""),
    "Infinity": (_text("-Infinity"), "validation_failed", ""),
    "a number beyond all floats": (_text("1e999"), "validation_failed", "/text"),
    "a lone surrogate": (_text('"\\ud800"'), "validation_failed", "/text"),
    "surrogates the wrong way round": (_text('"\\udc00\\ud800"'), "validation_failed", "/text"),
    "a lone surrogate as a key": (b'{"type":"noted","text":"a","\\ud800":1}', "validation_failed", ""),
    "NUL": (_text('"a\\u0000b"'), "validation_failed", "/text"),
    "NUL below": (
        b'{"type":"noted","text":"a","operator":{"id":"\\u0000","name":"x"}}',
        "validation_failed",
        "/operator/id",
    ),
    "an unknown field": (b'{"type":"noted","text":"a","txet":"b"}', "validation_failed", "/txet"),
    "an unknown field below": (
        b'{"type":"noted","text":"a","operator":{"id":"1","name":"x","age":3}}',
        "validation_failed",
        "/operator/age",
    ),
    "an unknown field with a slash": (b'{"type":"noted","text":"a","a/b~c":1}', "validation_failed", "/a~1b~0c"),
    "an unknown type": (b'{"type":"exploded"}', "validation_failed", "/type"),
    "a type that is a number": (b'{"type":1}', "validation_failed", "/type"),
    "no type": (b'{"text":"a"}', "validation_failed", "/type"),
    "a number for a text": (_text("1"), "validation_failed", "/text"),
    "a huge integer for a text": (_text("9" * 4000), "validation_failed", "/text"),
    "an integer of too many digits": (_text("9" * 5000), "malformed_json", ""),
    "a negative huge integer": (_text("-" + "9" * 30), "validation_failed", "/text"),
    "true for a text": (_text("true"), "validation_failed", "/text"),
    "a list for a text": (_text('["a"]'), "validation_failed", "/text"),
    "null for a required text": (_text("null"), "validation_failed", "/text"),
    "no text": (b'{"type":"noted"}', "validation_failed", "/text"),
    "an empty text": (_text('""'), "validation_failed", "/text"),
    "a blank text": (_text('" \\u3000\\u200b\\ufeff\\u2060"'), "validation_failed", "/text"),
    "a text that is too long": (_text('"' + "字" * 20_001 + '"'), "validation_failed", "/text"),
    "no offset": (
        b'{"type":"noted","text":"a","occurred_at":"2026-01-15T16:05:00"}',
        "validation_failed",
        "/occurred_at",
    ),
    "7 fractional digits": (
        b'{"type":"noted","text":"a","occurred_at":"2026-01-15T16:05:00.1234567Z"}',
        "validation_failed",
        "/occurred_at",
    ),
    "a number for an instant": (
        b'{"type":"noted","text":"a","occurred_at":1768464300}',
        "validation_failed",
        "/occurred_at",
    ),
    "no such day": (
        b'{"type":"noted","text":"a","occurred_at":"2026-02-30T16:05:00Z"}',
        "validation_failed",
        "/occurred_at",
    ),
    "the future": (
        b'{"type":"noted","text":"a","occurred_at":"2999-01-01T00:00:00Z"}',
        "in_the_future",
        "/occurred_at",
    ),
    "an id that is none": (b'{"type":"noted","text":"a","complaint":"7"}', "validation_failed", "/complaint"),
    "an id without hyphens": (
        b'{"type":"noted","text":"a","complaint":"019ab3c45d6e7f809123456789abcdef"}',
        "validation_failed",
        "/complaint",
    ),
    "a number in a list of evidence": (
        b'{"type":"noted","text":"a","evidence":[1]}',
        "validation_failed",
        "/evidence/0",
    ),
    "evidence without a reference": (
        b'{"type":"noted","text":"a","evidence":[{"kind":"k","ref":"r"},{"kind":"k"}]}',
        "validation_failed",
        "/evidence/1/ref",
    ),
    "a digest that is none": (
        b'{"type":"noted","text":"a","evidence":[{"kind":"k","ref":"r","sha256":"12"}]}',
        "validation_failed",
        "/evidence/0/sha256",
    ),
    "more evidence than anyone reads": (
        json.dumps({"type": "noted", "text": "a", "evidence": [{"kind": "k", "ref": "r"}] * 101}).encode(),
        "validation_failed",
        "/evidence",
    ),
    "100,000 open lists": (b"[" * 100_000, "malformed_json", ""),
    "100,000 lists": (b"[" * 100_000 + b"]" * 100_000, "malformed_json", ""),
    "100 lists": (_text("[" * 100 + "]" * 100), "validation_failed", "/text" + "/0" * 64),
    "100,000 objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "malformed_json", ""),
}


@pytest.fixture(scope="module")
async def desk(house: House) -> AsyncIterator[tuple[Caller, dict[str, Any]]]:
    """An agent, and a case that no refused body may move."""
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    yield agent, case
    assert (await agent.get(f"/v1/cases/{case['case_id']}")).json()["version"] == 1


@pytest.mark.parametrize("name", REFUSED)
async def test_a_body_that_no_honest_client_sends_is_refused(desk: tuple[Caller, dict[str, Any]], name: str) -> None:
    agent, case = desk
    raw, code, pointer = REFUSED[name]
    answer = await agent.post(f"/v1/cases/{case['case_id']}/actions", raw)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == (code, pointer)


ON_OPENING: dict[str, tuple[dict[str, Any], str]] = {
    "an amount in quotes that is none": ({"facts": {"compensation": "1e3"}}, "/facts/compensation"),
    "an amount as a number": ({"facts": {"compensation": 2000000}}, "/facts/compensation"),
    "an amount of three places": ({"facts": {"compensation": "1.234"}}, "/facts/compensation"),
    "a number in quotes": ({"facts": {"casualties": {"injured": "1", "dead": 0}}}, "/facts/casualties/injured"),
    "a number that is a float": ({"facts": {"casualties": {"injured": 1.5, "dead": 0}}}, "/facts/casualties/injured"),
    "a number beyond 64 bits": ({"facts": {"casualties": {"injured": 2**70, "dead": 0}}}, "/facts/casualties/injured"),
    "a negative number": ({"facts": {"casualties": {"injured": -1, "dead": 0}}}, "/facts/casualties/injured"),
    "true in quotes": ({"facts": {"title_deed_delayed": "true"}}, "/facts/title_deed_delayed"),
    "true as 1": ({"facts": {"title_deed_delayed": 1}}, "/facts/title_deed_delayed"),
    "a category that is none": ({"category": "Engineering"}, "/category"),
    "a channel that is none": ({"channel": "telepathy"}, "/channel"),
    "a stage that is none": ({"stage": "closed"}, "/stage"),
    "a telephone number that is none": ({"complainant": {"phone": "无"}}, "/complainant/phone"),
    "a telephone number as a number": ({"complainant": {"phone": 13812345678}}, "/complainant/phone"),
    "no channel": ({"channel": None}, "/channel"),
    "no instant": ({"obtained_at": None}, "/obtained_at"),
    "two instants": ({"occurred_at": "2026-01-15T08:05:01Z"}, ""),
    "no title": ({"title": None}, "/title"),
    "a blank title": ({"title": "\u200b"}, "/title"),
    "no project": ({"project": None}, "/project"),
    "a project that is unknown": ({"project": "NOWHERE-1"}, "/project"),
    "a region that is unknown": ({"region": "NOWHERE"}, "/region"),
    "too many tags": ({"tags": ["a"] * 51}, "/tags"),
    "a household on a risk": ({"stage": "risk", "household": "3-1-201"}, "/household"),
}


@pytest.mark.parametrize("name", ON_OPENING)
async def test_an_opening_that_is_wrong_says_where(house: House, name: str) -> None:
    region = await house.region()
    changes, pointer = ON_OPENING[name]
    body = {**opening(region, **{**changes, "household": None}), **{k: v for k, v in changes.items() if v is not None}}
    answer = await house.agent(region).post("/v1/cases", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_every_fault_of_a_body_is_named_at_once(house: House) -> None:
    region = await house.region()
    body = opening(region, category="x", title=" ", channel=1, extra=2, complainant={"phone": "无", "nmae": "李"})
    errors = (await house.agent(region).post("/v1/cases", body)).json()["errors"]
    named = {error["pointer"] for error in errors}
    assert named == {"/category", "/title", "/channel", "/extra", "/complainant/phone", "/complainant/nmae"}


async def test_an_amount_is_kept_without_a_float_on_the_way(house: House) -> None:
    region = await house.region()
    facts = {"compensation": [{"amount": "0.10", "form": "cash"}, {"amount": "123456789012345.67", "form": "goods"}]}
    assert (await house.agent(region).case(region, facts=facts))["facts"] == facts


async def test_the_same_instant_twice_is_no_contradiction(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(region, occurred_at="2026-01-15T08:05:00Z")
    assert case["opened_at"] == "2026-01-15T08:05:00Z"


NASTY = [
    "李\u200b小\u3000明",
    "e\u0301 is not é",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u202eabc\u202c",
    '"\\/\b\f\n\r\t\u2028\u2029',
    "ﬁ ＡＢＣ ｶﾞ",
    "\ue863\U00031350\ufffe\uffff\U0010ffff",
    "  spaces at both ends  ",
    "<script>alert(1)</script>'; DROP TABLE events; --",
    "%s %b {0} \\ud800",
]


@pytest.mark.parametrize("text", NASTY)
async def test_stored_text_comes_back_code_point_for_code_point(house: House, text: str) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region, title=text, household=text, tags=[text], complainant={"name": text})
    answer = await agent.act(case, "noted", text=text, note=text, operator={"id": text, "name": text})
    shown = answer.json()["action"]
    read = (await agent.get(f"/v1/cases/{case['case_id']}")).json()
    complaint = read["complaints"][0]
    assert {
        read["title"],
        *read["tags"],
        complaint["household"],
        complaint["complainant"]["name"],
        shown["text"],
        shown["note"],
        *shown["operator"].values(),
    } == {text}


async def test_optional_text_that_is_blank_counts_as_missing(house: House) -> None:
    region = await house.region()
    case = await house.agent(region).case(
        region, description=" \u3000", household="\u200b", external_ref="", complainant={"name": " ", "relation": ""}
    )
    complaint = case["complaints"][0]
    found = (case["description"], complaint["household"], case["external_ref"], case["household_count"])
    assert found == (None, None, None, 0)
    assert complaint["complainant"] == {"name": None, "phone": None, "relation": None}


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_a_body_that_is_not_said_to_be_json_is_refused(house: House, kind: str) -> None:
    region = await house.region()
    answer = await house.agent(region).post("/v1/cases", opening(region), content_type=kind)
    assert codes([answer]) == ["unsupported_media_type"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"])
async def test_json_may_be_said_in_any_way(house: House, kind: str) -> None:
    region = await house.region()
    assert codes([await house.agent(region).post("/v1/cases", opening(region), content_type=kind)]) == [201]


def _padded(region: str, size: int) -> bytes:
    return json.dumps(opening(region)).encode().ljust(size)


async def test_a_body_of_one_mebibyte_is_read(house: House) -> None:
    region = await house.region()
    assert codes([await house.agent(region).post("/v1/cases", _padded(region, MIB))]) == [201]


async def test_a_body_of_a_byte_more_is_refused(house: House) -> None:
    region = await house.region()
    answer = await house.agent(region).post("/v1/cases", _padded(region, MIB + 1))
    assert codes([answer]) == ["body_too_large"]


async def test_a_body_without_a_length_is_refused_where_it_passes_the_limit(house: House) -> None:
    region = await house.region()
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b" " * 65_536

    agent = house.agent(region)
    headers = {"authorization": f"Bearer {agent.token}", "idempotency-key": "endless"}
    # Read to its end by the transport of the tests; what counts is what the app took of it.
    request = house.client.build_request("POST", "/v1/cases", content=_bounded(endless(), 40), headers=headers)
    assert "content-length" not in request.headers
    assert codes([await house.client.send(request)]) == ["body_too_large"]
    assert taken <= 18


async def _bounded(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk
        most -= 1
        if not most:
            return


async def test_a_contact_person_is_what_makes_a_response(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    for missing in ("contact_person", "name", "title"):
        person = {k: v for k, v in RESPONSE["contact_person"].items() if k != missing}
        body = {**RESPONSE, "contact_person": person}
        if missing == "contact_person":
            del body["contact_person"]
        answer: httpx.Response = await agent.act(case, "responded", **body)
        assert (answer.json()["code"], answer.json()["clause"]) == ("contact_person_required", "3.1")


async def test_an_action_names_either_complaints_or_households(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    case = await agent.case(region)
    body = {k: v for k, v in RESPONSE.items() if k != "complaints"}
    answers = [
        await agent.act(case, "responded", **body),
        await agent.act(case, "responded", **body, complaints="all", households=["3-1-201"]),
        await agent.act(case, "responded", **body, complaints=[]),
        await agent.act(case, "responded", **body, complaints="some"),
        await agent.act(case, "responded", **body, households=[]),
    ]
    assert codes(answers) == ["validation_failed"] * 5


async def test_the_future_is_told_with_the_server_s_time(house: House) -> None:
    region = await house.region()
    agent = house.agent(region)
    answer = await agent.post("/v1/cases", opening(region, obtained_at="2999-01-01T00:00:00Z"))
    problem = answer.json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("in_the_future", "/obtained_at")
    assert problem["server_time"].endswith("Z")
