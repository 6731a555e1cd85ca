"""The stored form of an event. A failure here means that proofs made yesterday no longer hold: the code is wrong."""

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from services.event_log.record import Record, header_hash, is_intact, microseconds

RECEIVED: dict[str, Any] = {
    "position": 4711,
    "stream": UUID("019ab3c4-5d6e-7f80-9123-456789abcdef"),
    "version": 3,
    "name": "received",
    "schema": 1,
    "actor": "agent/north/li.wei",
    "region": "华北",
    "recorded_at": datetime(2026, 11, 23, 8, 5, 59, 123456, tzinfo=UTC),
    "body": '{"case_no":"north-20261123-0001","text":"漏水"}'.encode(),
}
GOLDEN = "22d1ab4595116e92a4bac26209546417afc3ad31952191cedd0c1bbc46125bc6"

# As RECEIVED is laid down by hand, field by field.
LAID_DOWN = (
    b"anjuan.event.1\0"
    + bytes.fromhex("0000000000001267")
    + bytes.fromhex("019ab3c45d6e7f809123456789abcdef")
    + bytes.fromhex("00000003")
    + bytes.fromhex("0001")
    + (1795421159123456).to_bytes(8, "big")
    + b"\x00\x08received"
    + b"\x00\x12agent/north/li.wei"
    + b"\x00\x06"
    + "华北".encode()
    + sha256(RECEIVED["body"]).digest()
)

CHANGED = {
    "position": 4712,
    "stream": UUID("019ab3c4-5d6e-7f80-9123-456789abcdee"),
    "version": 4,
    "name": "receive",
    "schema": 2,
    "actor": "agent/north/li.we",
    "region": "华",
    "recorded_at": RECEIVED["recorded_at"] + timedelta(microseconds=1),
    "body": RECEIVED["body"] + b" ",
}


def test_the_hash_of_a_known_event_never_changes() -> None:
    assert header_hash(**RECEIVED).hex() == GOLDEN


def test_the_hash_is_that_of_the_documented_bytes() -> None:
    assert header_hash(**RECEIVED) == sha256(LAID_DOWN).digest()


@pytest.mark.parametrize("field", RECEIVED)
def test_another_value_in_any_field_is_another_hash(field: str) -> None:
    assert header_hash(**{**RECEIVED, field: CHANGED[field]}) != header_hash(**RECEIVED)


def test_a_letter_moved_from_one_text_to_the_next_is_another_hash() -> None:
    moved = {"name": "receive", "actor": "d" + RECEIVED["actor"]}
    assert header_hash(**{**RECEIVED, **moved}) != header_hash(**RECEIVED)


def test_the_same_instant_in_another_zone_is_the_same_hash() -> None:
    in_beijing = RECEIVED["recorded_at"].astimezone(timezone(timedelta(hours=8)))
    assert header_hash(**{**RECEIVED, "recorded_at": in_beijing}) == header_hash(**RECEIVED)


def test_an_event_as_stored_is_intact() -> None:
    assert is_intact(Record(**RECEIVED, header_hash=header_hash(**RECEIVED)))


@pytest.mark.parametrize("field", RECEIVED)
def test_an_event_of_which_anything_was_changed_is_not_intact(field: str) -> None:
    tampered = {**RECEIVED, field: CHANGED[field]}
    assert not is_intact(Record(**tampered, header_hash=header_hash(**RECEIVED)))


def test_microseconds_are_exact_far_from_1970() -> None:
    assert microseconds(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == 253402300799999999
    assert microseconds(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1
