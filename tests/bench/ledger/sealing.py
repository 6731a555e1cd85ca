"""Sealed texts as the vault seals them (`services.vault`), with keys and nonces that follow from a seed.

So any process can seal any text of the ledger, and the same seed seals the same. Only for made-up people.
"""

import hmac
from binascii import b2a_base64
from functools import lru_cache
from hashlib import blake2b, sha256
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_WRAP = b"anjuan.data-key.1"
_BOUND = b"anjuan.field.1"


class Sealer:
    """Data keys under a master key, and tokens under data keys."""

    def __init__(self, seed: bytes, master: bytes, phones: bytes) -> None:
        self._seed = seed
        self._master = AESGCM(master)
        self._generation = sha256(_WRAP + master).digest()[:4]
        self._phones = phones
        self._cipher = lru_cache(maxsize=20_000)(self._made)

    def key_of(self, phone: str) -> UUID:
        """The data key of the person with that telephone number."""
        made = int.from_bytes(self._derived(b"person", phone.encode(), 16))
        return UUID(int=made & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0b10 << 62)

    def person(self, phone: str) -> bytes:
        """The keyed hash by which that person is found."""
        return hmac.digest(self._phones, phone.encode(), "sha256")

    def token(self, key_id: UUID, text: str, stream: UUID, version: int, path: bytes) -> bytes:
        """A text sealed at its place."""
        ident = key_id.bytes
        place = _BOUND + stream.bytes + version.to_bytes(4) + path
        nonce = self._derived(b"nonce", place, 12)
        closed = self._cipher(ident).encrypt(nonce, text.encode(), place)
        return b"1" + b2a_base64(ident + nonce + closed, newline=False)

    def wrapped(self, key_id: UUID) -> bytes:
        """A data key as the ledger keeps it."""
        ident = key_id.bytes
        nonce = self._derived(b"wrap", ident, 12)
        closed = self._master.encrypt(nonce, self._derived(b"key", ident, 32), _WRAP + ident)
        return b"\x01" + self._generation + nonce + closed

    def _made(self, ident: bytes) -> AESGCM:
        return AESGCM(self._derived(b"key", ident, 32))

    def _derived(self, use: bytes, about: bytes, size: int) -> bytes:
        return blake2b(about, key=self._seed, person=use, digest_size=size).digest()
