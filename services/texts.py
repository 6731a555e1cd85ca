"""Texts that people type: kept code point for code point, refused where no text can be, missing where nothing shows."""

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

# Default_Ignorable_Code_Point (Unicode), as far as the category does not tell; and the blank Braille cell.
_UNSEEN = frozenset(map(chr, [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0])) | {
    chr(code)
    for first, last in ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF))
    for code in range(first, last + 1)
}
# White space, control and format characters. Not all of C: what this Python's Unicode has not assigned yet, or what is
# for private use, may well be the character of a rare surname.
_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


def is_blank(text: str) -> bool:
    """Whether nothing is left after removing white space and invisible characters."""
    if text and ("!" <= text[0] <= "~" or "\u4e00" <= text[0] <= "\u9fff"):
        return False
    return all(char in _UNSEEN or unicodedata.category(char) in _INVISIBLE for char in text)


def _shown(text: str) -> str:
    if is_blank(text):
        raise PydanticCustomError("missing", "Field required")
    return text


def _blank_is_missing(value: Any) -> Any:
    return None if isinstance(value, str) and is_blank(value) else value


Label = Annotated[str, StringConstraints(max_length=200), AfterValidator(_shown)]
Prose = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_shown)]
OptionalLabel = Annotated[Label | None, BeforeValidator(_blank_is_missing)]
OptionalProse = Annotated[Prose | None, BeforeValidator(_blank_is_missing)]
