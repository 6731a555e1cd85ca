"""户: one household, however its address was written down (house rule; counted distinct within a project)."""

import re
import unicodedata

# The word after the figure says which level it is; only the order of the figures matters.
_WORDS = re.compile(r"号楼|单元|[栋幢座#室房号]|[\s‐‑‒–—―−_/,,、.·]+")
_DASHES = re.compile(r"-+")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def household_key(address: str) -> str:
    """``3栋1单元0201室``, ``３-１-201`` and ``3座 1单元 201房`` are all ``3-1-201``."""
    text = unicodedata.normalize("NFKC", address).upper()
    text = _DASHES.sub("-", _WORDS.sub("-", text)).strip("-")
    return _LEADING_ZEROS.sub("", text) or address
