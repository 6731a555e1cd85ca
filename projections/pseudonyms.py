"""Names that tell two apart and nobody who they are."""

import secrets
from functools import lru_cache
from hashlib import blake2b


class Pseudonyms:
    """Keyed hashes under a key that is made for one file and forgotten with it.

    A house has few households and a company few centres: without a key, or with one that is kept, whoever holds the
    file and a list could find them by trying. Two files can't be joined by them for the same reason.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self.of = lru_cache(maxsize=50_000)(self._of)

    def _of(self, kind: str, *said: str) -> str:
        """The same 96 bits, in hexadecimal, for the same words of the same kind."""
        # No text of the ledger holds NUL.
        return blake2b("\0".join((kind, *said)).encode(), digest_size=12, key=self._key).hexdigest()
