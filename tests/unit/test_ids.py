"""UUIDv7, and case numbers that survive a telephone call."""

import time
from uuid import UUID

import pytest

from services.identifiers import parse_case_no, parse_uuid, uuid7


def test_a_new_id_is_a_uuid_of_version_7_and_of_this_moment() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= after


def test_new_ids_never_repeat_and_sort_by_the_millisecond() -> None:
    made = [uuid7() for _ in range(20_000)]
    assert len(set(made)) == len(made)
    milliseconds = [one.int >> 80 for one in made]
    assert milliseconds == sorted(milliseconds)


def test_every_random_bit_is_used() -> None:
    fixed = 0xFFFFFFFFFFFF << 80 | 0xF << 76 | 0b11 << 62
    ones, zeros = 0, 0
    for _ in range(200):
        bits = uuid7().int
        ones, zeros = ones | bits, zeros | ~bits
    free = ((1 << 128) - 1) & ~fixed
    assert (ones & free, zeros & free) == (free, free)


SAME_ID = UUID("019ab3c4-5d6e-7f80-9123-456789abcdef")


@pytest.mark.parametrize("written", [str(SAME_ID), str(SAME_ID).upper()])
def test_an_id_is_known_in_any_letter_case(written: str) -> None:
    assert parse_uuid(written) == SAME_ID


@pytest.mark.parametrize(
    "written",
    [SAME_ID.hex, f"{{{SAME_ID}}}", f"urn:uuid:{SAME_ID}", str(SAME_ID)[:-1], str(SAME_ID)[:-1] + "g", "", "x" * 36],
)
def test_anything_else_is_no_id(written: str) -> None:
    assert parse_uuid(written) is None


SPOKEN = [
    "GD-20261123-0042",
    "gd-20261123-0042",
    "GD-20261123-42",
    "GD-20261123-000000042",
    "ＧＤ－２０２６１１２３－００４２",
    "ｇｄ-20261123-0042",
    "GD—20261123—0042",
    "GD–20261123‑0042",
    " GD-20261123-0042 ",
]


@pytest.mark.parametrize("written", SPOKEN)
def test_a_case_number_is_known_in_any_width_letter_case_and_number_of_zeros(written: str) -> None:
    assert parse_case_no(written) == "GD-20261123-0042"


@pytest.mark.parametrize(
    ("written", "kept"),
    [("GD-20261123-10042", "GD-20261123-10042"), ("A_1-20261123-0001", "A_1-20261123-0001")],
)
def test_a_running_number_has_four_digits_or_more(written: str, kept: str) -> None:
    assert parse_case_no(written) == kept


@pytest.mark.parametrize(
    "written",
    ["GD-2026112-0042", "GD-20261123", "GD20261123-0042", "-20261123-0042", "GD-20261123-", "广东-20261123-0042", ""],
)
def test_anything_else_is_no_case_number(written: str) -> None:
    assert parse_case_no(written) is None
