"""Telephone numbers: one person is one normalised number."""

import re
import unicodedata
from functools import lru_cache

_EXTENSION = re.compile(r"(?:转|分机|EXT\.?|X|#)\s*(\d{1,8})\s*$", re.IGNORECASE)
_NOT_DIGITS = re.compile(r"\D+")
# A Chinese mobile number has eleven digits and begins with 1; a landline's area code has three or four, led by 0.
_MOBILE = re.compile(r"1\d{10}")
_LONG_AREA = re.compile(r"0(?:10|2\d)\d{7,8}")


@lru_cache(maxsize=10_000)
def normalised_phone(text: str) -> str | None:
    """Digits only, without +86, extension after a hyphen; ``+`` stays before other countries. None: no number."""
    plain = unicodedata.normalize("NFKC", text).strip()
    extension = _EXTENSION.search(plain)
    stem = plain[: extension.start()] if extension else plain
    digits = _NOT_DIGITS.sub("", stem)
    foreign = stem.lstrip("( ").startswith("+") or digits.startswith("00")
    if foreign:
        digits = digits.removeprefix("00") if digits.startswith("00") else digits
        if digits.startswith("86"):
            digits, foreign = digits[2:], False
            # After the country code the landline's 0 is dropped in speech and must be put back.
            if not digits.startswith(("0", "1")) or (digits.startswith("10") and len(digits) < 11):
                digits = "0" + digits
    elif len(digits) == 13 and digits.startswith("861"):
        digits = digits[2:]
    if not 5 <= len(digits) <= 20:
        return None
    number = ("+" if foreign else "") + digits
    return f"{number}-{extension.group(1)}" if extension else number


def masked_phone(text: str) -> str:
    """``138****5678``, ``0757-****4455``; a number that is too short shows nothing."""
    number = (normalised_phone(text) or "").split("-")[0]
    if _MOBILE.fullmatch(number):
        return f"{number[:3]}****{number[-4:]}"
    if number.startswith("0") and len(number) >= 10:
        area = number[:3] if _LONG_AREA.fullmatch(number) else number[:4]
        return f"{area}-****{number[-4:]}"
    return f"****{number[-4:]}" if len(number) >= 8 else "****"


def masked_name(text: str) -> str:
    """The first character and two stars: ``李**``."""
    return f"{text[:1]}**"
