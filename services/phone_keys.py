"""The key of telephone numbers' hashes, and others under which a number may still stand, or stands already elsewhere.

A number is found by HMAC-SHA-256 under a key of its own, so it is stored nowhere. While one key takes the place of
another, everybody asks for a number under both, and whichever stands there is the person: nobody becomes two.
"""

import hmac
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from services.event_log import Reader
from services.telephones import normalised_phone

_NAME = b"anjuan.phone-key.1"
_REMEMBERED = 50_000
_NAMED = "SELECT name FROM phone_keys ORDER BY since, name"
_IN_USE = "INSERT INTO phone_keys (name, since) VALUES (%b, now()) ON CONFLICT DO NOTHING"
_OUT_OF_USE = "DELETE FROM phone_keys WHERE name <> %b"


def name_of(key: bytes) -> str:
    """Eight hexadecimal digits that name a phone key and tell nothing of it."""
    return sha256(_NAME + key).hexdigest()[:8]


class PhoneHashes(NamedTuple):
    """One number's hashes: under the current key, and under others."""

    current: bytes
    others: tuple[bytes, ...]

    @property
    def all(self) -> tuple[bytes, ...]:
        return (self.current, *self.others)


class PhoneKeys:
    """`current` is what new numbers are hashed under; `others` are only asked for."""

    def __init__(self, current: bytes, others: Iterable[bytes] = ()) -> None:
        self.name = name_of(current)
        self.names = [name_of(key) for key in dict.fromkeys((current, *others))]
        self._current = current
        self._others = tuple(key for key in dict.fromkeys(others) if key != current)
        self._known: dict[str, PhoneHashes] = {}

    def hashes(self, phone: str) -> PhoneHashes:
        """In whatever way the number is written."""
        known = self._known.get(phone)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            said = (normalised_phone(phone) or phone).encode()
            known = self._known[phone] = PhoneHashes(
                hmac.digest(self._current, said, "sha256"),
                tuple(hmac.digest(key, said, "sha256") for key in self._others),
            )
        return known

    def forget(self) -> None:
        """Remember no number any more."""
        self._known.clear()


class UnknownPhoneKey(Exception):
    """Numbers of this ledger stand under a phone key that is not given; the message names it."""


async def named(read: Reader) -> list[str]:
    """The names of the keys under which numbers stand, the first one first."""
    return [row[0] for row in await read.rows(_NAMED, [])]


async def take_into_use(read: Reader, keys: PhoneKeys) -> None:
    """Note the current key; raises `UnknownPhoneKey`: with another key each person would become a second one."""
    if missing := [name for name in await named(read) if name not in keys.names]:
        raise UnknownPhoneKey(", ".join(missing))
    await read.do(_IN_USE, [keys.name])


async def out_of_use(read: Reader, keys: PhoneKeys) -> Sequence[str]:
    """Forget the names of all keys but the current one, under which every number stands now; gives those."""
    gone = [name for name in await named(read) if name != keys.name]
    await read.do(_OUT_OF_USE, [keys.name])
    return gone
