"""Finding Chinese words without keeping them: keyed hashes of each character and of each two that stand together.

Two-character words are the commonest search, and what trigrams cannot serve. Titles are sealed, so their index holds
hashes that only who has the key can ask for. A word of one or two characters is found by its own hash; a longer one by
all of its pairs, and whoever searches looks into the opened text for the rest.
"""

import unicodedata
from collections.abc import Iterable
from hashlib import blake2b
from itertools import pairwise
from operator import add

_REMEMBERED = 200_000
# Of a longer word so many pairs narrow the search enough.
_ASKED = 16


def plain(text: str) -> str:
    """The text as it is searched: width, letter case and white space don't count."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


class Grams:
    """Hashes under one key; asked for also under `others`, until the views are built anew."""

    def __init__(self, key: bytes, others: Iterable[bytes] = ()) -> None:
        self._hashes, *self._others = [
            _Hashes(blake2b(b"anjuan.grams.1", key=one, digest_size=32).digest()) for one in (key, *others)
        ]

    def of(self, texts: Iterable[str]) -> list[int]:
        """What texts are found by: sorted, each once."""
        found: set[str] = set()
        for text in texts:
            said = plain(text)
            found.update(said)
            found.update(map(add, said, said[1:]))
        return sorted({*map(self._hashes.__getitem__, found)})

    def asked(self, word: str) -> tuple[tuple[int, ...], ...]:
        """The hashes that a text with that word has: all of those under one of the keys."""
        said = plain(word)
        if not said:
            return ()
        parts = [said] if len(said) <= 2 else list(dict.fromkeys(map("".join, pairwise(said))))[:_ASKED]
        return tuple(tuple(hashes[part] for part in parts) for hashes in (self._hashes, *self._others))


class _Hashes(dict[str, int]):
    """The hashes of the grams seen lately."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key

    def __missing__(self, gram: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        digest = blake2b(gram.encode("utf-8", "surrogatepass"), key=self._key, digest_size=4).digest()
        known = self[gram] = int.from_bytes(digest, signed=True)
        return known
