"""Times as RFC 3339 writes them, and texts that show something."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic_core import PydanticCustomError

from services.instants import format_instant, parse_instant
from services.texts import is_blank

EIGHT = datetime(2026, 11, 23, 8, 5, 0, tzinfo=UTC)

INSTANTS = {
    "2026-11-23T08:05:00Z": EIGHT,
    "2026-11-23t08:05:00z": EIGHT,
    "2026-11-23 08:05:00Z": EIGHT,
    "2026-11-23T16:05:00+08:00": EIGHT,
    "2026-11-23T00:05:00-08:00": EIGHT,
    "2026-11-23T08:05:00-00:00": EIGHT,
    "2026-11-23T13:50:00+05:45": EIGHT,
    "2026-11-23T08:05:00.1Z": EIGHT + timedelta(microseconds=100_000),
    "2026-11-23T08:05:00.123Z": EIGHT + timedelta(microseconds=123_000),
    "2026-11-23T08:05:00.1234Z": EIGHT + timedelta(microseconds=123_400),
    "2026-11-23T08:05:00.000001Z": EIGHT + timedelta(microseconds=1),
    "2026-11-24T00:00:00+08:00": datetime(2026, 11, 23, 16, tzinfo=UTC),
    "2024-02-29T12:00:00Z": datetime(2024, 2, 29, 12, tzinfo=UTC),
}
REFUSED = {
    "2026-11-23T08:05:00": "instant_without_offset",
    "2026-11-23T08:05:00.5": "instant_without_offset",
    "2026-11-23T08:05:00.1234567Z": "instant_too_fine",
    "2026-11-23T08:05:00.0000000Z": "instant_too_fine",
    "2026-11-23": "instant_malformed",
    "2026-11-23T08:05Z": "instant_malformed",
    "2026-11-23T08:05:00.Z": "instant_malformed",
    "2026-11-23T08:05:00+0800": "instant_malformed",
    "2026-11-23T08:05:00+08": "instant_malformed",
    "2026-11-23T08:05:00 +08:00": "instant_malformed",
    "20261123T080500Z": "instant_malformed",
    "2026-W48-1T08:05:00Z": "instant_malformed",
    "2026-11-23T08:05:00,5Z": "instant_malformed",
    "２０２６-11-23T08:05:00Z": "instant_malformed",
    "2026-02-29T08:05:00Z": "instant_malformed",
    "2026-13-01T08:05:00Z": "instant_malformed",
    "2026-11-23T25:00:00Z": "instant_malformed",
    "2026-11-23T08:60:00Z": "instant_malformed",
    "2026-11-23T08:05:00+24:00": "instant_malformed",
    "2026-11-23T08:05:00+08:60": "instant_malformed",
    "0000-01-01T00:00:00Z": "instant_malformed",
    "0001-01-01T00:00:00+08:00": "instant_malformed",
    "9999-12-31T23:59:59-08:00": "instant_malformed",
    " 2026-11-23T08:05:00Z": "instant_malformed",
    "2026-11-23T08:05:00Z\n": "instant_malformed",
    "now": "instant_malformed",
    "": "instant_malformed",
}


@pytest.mark.parametrize(("written", "instant"), INSTANTS.items())
def test_an_rfc_3339_instant_is_understood(written: str, instant: datetime) -> None:
    found = parse_instant(written)
    assert (found, found.utcoffset()) == (instant, timedelta(0))


@pytest.mark.parametrize(("written", "fault"), REFUSED.items())
def test_anything_else_says_what_is_wrong(written: str, fault: str) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        parse_instant(written)
    assert refused.value.type == fault


@pytest.mark.parametrize("value", [1795421100, 1795421100.5, True, None, [], {}, datetime(2026, 11, 23)])  # noqa: DTZ001
def test_what_is_no_text_is_no_instant(value: object) -> None:
    with pytest.raises(PydanticCustomError, match="RFC 3339"):
        parse_instant(value)


@pytest.mark.parametrize(
    ("instant", "written"),
    [
        (EIGHT, "2026-11-23T08:05:00Z"),
        (EIGHT.astimezone(timezone(timedelta(hours=8))), "2026-11-23T08:05:00Z"),
        (EIGHT + timedelta(microseconds=120_000), "2026-11-23T08:05:00.120000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_an_instant_is_written_in_utc(instant: datetime, written: str) -> None:
    assert format_instant(instant) == written
    assert parse_instant(written) == instant


BLANK = {
    "nothing": "",
    "spaces": "  \t\r\n",
    "ideographic space": "\u3000",
    "no-break space": "\u00a0",
    "zero width space": "\u200b",
    "zero width joiners": "\u200c\u200d",
    "byte order mark": "\ufeff",
    "word joiner": "\u2060",
    "soft hyphen": "\u00ad",
    "direction marks": "\u200e\u202e",
    "hangul filler": "\u3164",
    "half width filler": "\uffa0",
    "blank braille cell": "\u2800",
    "variation selector": "\ufe0f",
    "variation selector of the supplement": "\U000e0100",
    "mongolian variation selector": "\u180b",
    "tag characters": "\U000e0020\U000e0041",
    "all together": " \u200b\u3000\u3164\ufeff",
}
SEEN = ["a", "李", "0", "-", ".", "\u200b李\u200b", " 。", "☹", "👨\u200d👩\u200d👧", "é", "ｱ", "\u0301"]
# A surname in a plane that this Python's Unicode may not know yet (extension I), and one in a private use area.
SEEN += ["\U0002ebf0", "\U00031350", "\ue863"]


@pytest.mark.parametrize("name", BLANK)
def test_a_text_that_shows_nothing_is_blank(name: str) -> None:
    assert is_blank(BLANK[name])


@pytest.mark.parametrize("text", SEEN)
def test_a_text_that_shows_something_is_not_blank(text: str) -> None:
    assert not is_blank(text)
