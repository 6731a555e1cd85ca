"""A signed tree head as text: a checkpoint (c2sp.org/tlog-checkpoint) in a signed note (c2sp.org/signed-note).

::

    anjuan/<ledger id>                  origin
    1979                                size: how many events
    <root, base64>                      over them (RFC 9162)
    epoch 1                             raised by a restore
    time 2026-11-25T00:00:00.000000Z    when it was signed
                                        an empty line; all above, its last line feed included, is what is signed
    — anjuan/<ledger id> <base64 of key id (4 bytes) and Ed25519 signature (64 bytes)>

The key id is the beginning of SHA-256(name LF 01 public key). A public key is written ``name+key id+base64(01 key)``.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.instants import format_instant, parse_instant

_ED25519 = b"\1"


class TreeHead(NamedTuple):
    """What is said of a tree: that its first `size` events have this root."""

    origin: str
    epoch: int
    size: int
    root: bytes
    signed_at: datetime

    def text(self) -> str:
        """What is signed."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\nepoch {self.epoch}\ntime {format_instant(self.signed_at)}\n"


def origin_of(ledger_id: UUID) -> str:
    """The name under which a ledger's heads are signed."""
    return f"anjuan/{ledger_id}"


class HeadKey:
    """The key that signs heads; made from 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def signed(self, head: TreeHead) -> str:
        """The head as a note that anybody can verify."""
        return _note(head, key_id(head.origin, self.public) + self._key.sign(head.text().encode()))

    def written(self, origin: str) -> str:
        """The public key in one line."""
        return written(origin, self.public)


def _note(head: TreeHead, signature: bytes) -> str:
    return f"{head.text()}\n— {head.origin} {base64.b64encode(signature).decode()}\n"


def key_id(name: str, public: bytes) -> bytes:
    """Four bytes by which a signature says which key made it."""
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def written(origin: str, public: bytes) -> str:
    """A public key in one line."""
    return f"{origin}+{key_id(origin, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def opened_by(note: str, publics: Sequence[bytes]) -> TreeHead | None:
    """The head of a note that one of these keys signed."""
    return next((head for public in publics if (head := opened(note, public))), None)


def opened(note: str, public: bytes) -> TreeHead | None:
    """The head of a note that this key signed; None if it did not, or if it is no such note."""
    try:
        text, signatures = note.split("\n\n", 1)
        origin, size, root, epoch, time = text.split("\n")
        head = TreeHead(
            origin,
            int(epoch.removeprefix("epoch ")),
            int(size),
            base64.b64decode(root, validate=True),
            parse_instant(time.removeprefix("time ")),
        )
        signature = signatures.removeprefix(f"— {origin} ").removesuffix("\n")
        signed = base64.b64decode(signature, validate=True)
        # Written in no other way than ours, so that what one reader takes, every reader takes.
        if _note(head, signed) != note or signed[:4] != key_id(origin, public):
            return None
        Ed25519PublicKey.from_public_bytes(public).verify(signed[4:], f"{text}\n".encode())
    except (ValueError, InvalidSignature):
        return None
    return head
