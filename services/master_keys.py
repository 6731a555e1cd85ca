"""The master key and those before it: what wraps data keys now, and what may still have wrapped some.

A wrapped key is ``01 | generation (4) | nonce (12) | ciphertext and tag``. The generation tells which master key made
it, so that one takes the place of another step by step, while everybody goes on reading and writing.
"""

import os
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_WRAP = b"anjuan.data-key.1"
_FILE = b"anjuan.file.1"
_FORM = b"\x01"


def generation_of(master: bytes) -> bytes:
    """Four bytes that name a master key and tell nothing of it."""
    return sha256(_WRAP + master).digest()[:4]


class UnknownMaster(Exception):
    """A data key was wrapped by a master key that is not given here; the message is its generation."""


class MasterKeys:
    """`current` wraps; `former` ones only unwrap."""

    def __init__(self, current: bytes, former: Sequence[bytes] = ()) -> None:
        self.generation = generation_of(current)
        self._current = AESGCM(current)
        self._all = {generation_of(key): AESGCM(key) for key in (*former, current)}

    @property
    def generations(self) -> list[bytes]:
        """Of all that are given, the current one last."""
        return list(self._all)

    def wrap(self, key_id: bytes, secret: bytes) -> bytes:
        nonce = os.urandom(12)
        return _FORM + self.generation + nonce + self._current.encrypt(nonce, secret, _WRAP + key_id)

    def unwrap(self, key_id: bytes, wrapped: bytes) -> bytes:
        """The secret; raises `UnknownMaster`."""
        master = self._all.get(wrapped[1:5])
        if master is None:
            raise UnknownMaster(wrapped[1:5].hex())
        return master.decrypt(wrapped[5:17], wrapped[17:], _WRAP + key_id)

    def rewrap(self, key_id: bytes, wrapped: bytes) -> bytes:
        """The same secret under the current master key."""
        return self.wrap(key_id, self.unwrap(key_id, wrapped))

    def seal_file(self, content: bytes, whose: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._current.encrypt(nonce, content, _FILE + whose)

    def open_file(self, sealed: bytes, whose: bytes) -> bytes | None:
        """The file; None for anybody else, or under a master key that is not known here."""
        for master in reversed(self._all.values()):
            try:
                return master.decrypt(sealed[:12], sealed[12:], _FILE + whose)
            except InvalidTag:
                continue
        return None
