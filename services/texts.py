"""Texts that people type: kept code point for code point, refused where no text can be, missing where nothing shows."""

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

# Letters and marks by category, yet nothing is seen: fillers, the blank Braille cell, joiners, variation selectors.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(c) for c in range(0xFE00, 0xFE10)}


def is_blank(text: str) -> bool:
    """Whether nothing is left after removing white space and invisible characters."""
    if text and ("!" <= text[0] <= "~" or "\u4e00" <= text[0] <= "\u9fff"):
        return False
    return all(char in _UNSEEN or unicodedata.category(char)[0] in "ZC" for char in text)


def _shown(text: str) -> str:
    if is_blank(text):
        raise PydanticCustomError("missing", "Field required")
    return text


def _blank_is_missing(value: Any) -> Any:
    return None if isinstance(value, str) and is_blank(value) else value



Label = Annotated[str, StringConstraints(max_length=200), AfterValidator(_shown)]
Prose = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_shown)]
OptionalLabel = Annotated[Label | None, BeforeValidator(_blank_is_missing), Field(default=None)]
OptionalProse = Annotated[Prose | None, BeforeValidator(_blank_is_missing), Field(default=None)]
