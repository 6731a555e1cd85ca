"""Personal data: sealed before anything is written, opened when read (AES-256-GCM).

Each person has a data key, wrapped by the master key. A person is a normalised telephone number, found again by its
keyed hash; a complainant without one is that complaint; free texts belong to the complaint that they are about, else
to the case. Destroying a data key erases what it sealed, wherever a copy lies, and leaves every proof whole. A key that
was destroyed for somebody to be forgotten is never made again: what is said later of that subject has a key of its own.

Sealed in a body: a token, ``1`` + base64(key id 16 | nonce 12 | ciphertext and tag), bound to stream, version and
field path. In documents made from events (answers, kept answers, later the read tables) a token stands between two
``0xFF`` bytes, which no UTF-8 text contains, with its kind and what it is bound to.
"""

import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID, uuid5

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.event_log import WrappedKey
from services.events import Complainant, ContactPerson, Fact, Opening, Person
from services.identifiers import uuid7
from services.master_keys import MasterKeys
from services.personal import SealedField, fields_of, transform
from services.phone_keys import PhoneHashes, PhoneKeys
from services.telephones import masked_name, masked_phone

_BOUND = b"anjuan.field.1"
# Under it lie the ids of keys of a subject whose earlier key was destroyed.
_AGAIN = UUID("6a1de9b0-5c5f-5a0b-8a53-5d3f0f0c5e11")
_MARK = b"\xff"
# In clear, but withheld from readers who see no names in accountability.
_STAFF = b"staff|"
_JSON = msgspec.json.Encoder()
_JSON_TEXT = msgspec.json.Decoder(str)
_CACHED_KEYS = 50_000
_RECENT_TEXTS = 20_000

_F = TypeVar("_F", bound=Fact)


class Seals(msgspec.Struct, frozen=True):
    """Which data keys a sealed fact rests on: those to store with it, and all of them."""

    new: tuple[WrappedKey, ...]
    used: tuple[UUID, ...]

    def joined(self, other: "Seals") -> "Seals":
        """Of two sealed facts that are stored together."""
        new = {key.key_id: key for key in (*self.new, *other.new)}
        return Seals(tuple(new.values()), tuple({*self.used, *other.used}))


class _DataKey:
    __slots__ = ("cipher", "ident", "stored", "wrapped")

    def __init__(self, cipher: AESGCM, wrapped: WrappedKey, stored: bool) -> None:
        self.cipher, self.wrapped, self.stored = cipher, wrapped, stored
        self.ident = wrapped.key_id.bytes


class Vault:
    """Seals and opens. `fetch` reads wrapped keys by id from the ledger, `erased` those that were destroyed for ever.

    `lost` is called once with each key that should be there: neither stored nor destroyed for anybody.
    """

    def __init__(
        self,
        master_key: bytes | MasterKeys,
        phone_key: bytes | PhoneKeys,
        fetch: Callable[[Sequence[UUID]], Awaitable[list[WrappedKey]]],
        erased: Callable[[Sequence[UUID]], Awaitable[Collection[UUID]]] | None = None,
        lost: Callable[[UUID], None] = lambda _: None,
    ) -> None:
        self._master = master_key if isinstance(master_key, MasterKeys) else MasterKeys(master_key)
        self._phones = phone_key if isinstance(phone_key, PhoneKeys) else PhoneKeys(phone_key)
        self._fetch, self._ask_erased, self._tell_lost = fetch, erased, lost
        self._erased: set[bytes] = set()
        self._lost: set[bytes] = set()
        self._keys: dict[bytes, _DataKey] = {}
        self._by_person: dict[bytes, bytes] = {}
        # Texts opened lately, as JSON, by their mark. They live no longer than the keys that would open them again.
        self._recent: dict[bytes, bytes] = {}
        # Rises whenever another process's word about keys is taken: what was opened before may not be opened now.
        self.changes = 0

    async def seal(self, fact: _F, stream: UUID, version: int, fresh: Collection[UUID] = ()) -> tuple[_F, Seals]:
        """The fact with every personal field as a token. `fresh`: cases and complaints that this very fact begins."""
        fields = fields_of(fact.__class__)
        if not fields:
            return fact, Seals((), ())
        await self._know(
            {self.key_of_subject(one).bytes for one in (fact.about() or stream, stream) if one not in fresh}
        )
        used: dict[bytes, _DataKey] = {}
        place = _place(stream, version)
        shown_at = place.hex()

        def close(text: str, field: SealedField, path: str, owner: Any) -> str:
            if field.kind == "staff":
                return text
            key = self._key_for(fact, stream, field, owner)
            used[key.ident] = key
            token = _closed(key, text, place + path.encode())
            # Its answer shows it at once.
            self._noted(_mark(field.kind, shown_at, path, token), text)
            return token

        sealed = transform(fact, fields, close)
        new = tuple([key.wrapped for key in used.values() if not key.stored])
        return sealed, Seals(new, tuple([key.wrapped.key_id for key in used.values()]))

    async def open_document(self, document: bytes, masked: bool = False) -> bytes:
        """The document with every token replaced by its JSON text; null where the key is gone or the reader may not.

        `masked`: names and telephone numbers in part, free texts not at all.
        """
        parts = document.split(_MARK)
        if len(parts) == 1:
            return document
        recent = self._recent
        await self._seek([_key_id(mark) for mark in parts[1::2] if mark not in recent and mark[:6] != _STAFF])
        parts[1::2] = [self._shown(mark, masked) for mark in parts[1::2]]
        return b"".join(parts)

    async def plain(self, fact: _F, stream: UUID, version: int) -> _F:
        """A stored fact with its texts opened, for comparing; what cannot be opened is empty."""
        fields = fields_of(fact.__class__)
        sealed: list[bytes] = []

        def collect(token: str, field: SealedField, *_: object) -> str:
            if field.kind != "staff":
                sealed.append(_raw(token.encode()))
            return token

        transform(fact, fields, collect)
        await self._seek({raw[:16] for raw in sealed})
        place = _place(stream, version)

        def opened(token: str, field: SealedField, path: str, _owner: object) -> str:
            if field.kind == "staff":
                return token
            return self._opened(_raw(token.encode()), place + path.encode()) or ""

        return transform(fact, fields, opened)

    def confirm(self, seals: Seals) -> None:
        """The keys are on disk now."""
        for wrapped in seals.new:
            if key := self._keys.get(wrapped.key_id.bytes):
                key.stored = True

    def learn(self, existing: Iterable[WrappedKey], missing: Iterable[UUID], erased: Iterable[UUID] = ()) -> None:
        """Another process was first with a key, or destroyed one: take its word."""
        self._recent.clear()
        self.changes += 1
        self.erase(erased)
        for key_id in missing:
            self._keys.pop(key_id.bytes, None)
        for wrapped in existing:
            self._remember(wrapped)

    def erase(self, key_ids: Iterable[UUID]) -> None:
        """These keys were destroyed for ever: forget them and what they opened, even if a copy turns up again."""
        new = {key_id.bytes for key_id in key_ids} - self._erased
        if not new:
            return
        self._erased |= new
        for key_id in new:
            if key := self._keys.pop(key_id, None):
                self._by_person.pop(key.wrapped.person or b"", None)
        self._recent.clear()
        self._phones.forget()
        self.changes += 1

    def is_erased(self, key_id: UUID) -> bool:
        """Whether a key was destroyed for ever, as far as this process knows."""
        return key_id.bytes in self._erased

    def key_of_subject(self, subject: UUID) -> UUID:
        """The key under which texts of a case or a complaint are sealed now: its own, or the next one after that."""
        while subject.bytes in self._erased:
            subject = uuid5(_AGAIN, subject.hex)
        return subject

    def person_hashes(self, phone: str) -> PhoneHashes:
        """The keyed hashes under one of which a telephone number's person is found."""
        return self._phones.hashes(phone)

    async def texts(self, sealed: Sequence[tuple[str, UUID, int, str]]) -> list[str]:
        """The texts of tokens, each given with its stream, version and path; what cannot be opened is empty."""
        raw = [_raw(token.encode()) for token, *_ in sealed]
        await self._seek({one[:16] for one in raw})
        return [
            self._opened(one, _place(stream, version) + path.encode()) or ""
            for one, (_, stream, version, path) in zip(raw, sealed, strict=True)
        ]

    def seal_file(self, content: bytes, whose: bytes) -> bytes:
        """A file made of opened texts, closed again while it waits for whom it was made: no copy lies in clear."""
        return self._master.seal_file(content, whose)

    def open_file(self, sealed: bytes, whose: bytes) -> bytes | None:
        """The file; None for anybody else, or under another master key."""
        return self._master.open_file(sealed, whose)

    async def _know(self, key_ids: Iterable[bytes]) -> list[UUID]:
        """Have these keys at hand if they exist; gives those that had to be asked for."""
        unknown = [UUID(bytes=one) for one in key_ids if one not in self._keys and one not in self._erased]
        if unknown:
            for wrapped in await self._fetch(unknown):
                self._remember(wrapped)
        return unknown

    async def _seek(self, key_ids: Collection[bytes]) -> None:
        """As `_know`, for keys under which something was sealed: one that is not there was destroyed, or is lost."""
        asked = await self._know(key_ids)
        missing = {one.bytes for one in asked if one.bytes not in self._keys} - self._lost
        if not missing or self._ask_erased is None:
            return
        self.erase(await self._ask_erased([UUID(bytes=one) for one in missing]))
        # Stored meanwhile: what was asked about may have been on its way.
        await self._know(missing)
        for one in missing - self._erased - self._keys.keys():
            self._lost.add(one)
            self._tell_lost(UUID(bytes=one))

    def _remember(self, wrapped: WrappedKey) -> None:
        if wrapped.key_id.bytes in self._erased:
            return
        secret = self._master.unwrap(wrapped.key_id.bytes, wrapped.wrapped)
        self._keep(_DataKey(AESGCM(secret), wrapped, stored=True))

    def _keep(self, key: _DataKey) -> None:
        while len(self._keys) >= _CACHED_KEYS:
            oldest = self._keys.pop(next(iter(self._keys)))
            self._by_person.pop(oldest.wrapped.person or b"", None)
        self._keys[key.ident] = key
        if key.wrapped.person:
            self._by_person[key.wrapped.person] = key.ident

    def _key_for(self, fact: Fact, stream: UUID, field: SealedField, owner: Any) -> _DataKey:
        if isinstance(owner, (Complainant, ContactPerson, Person)) and owner.phone:
            return self._persons_key(self.person_hashes(owner.phone))
        subject = stream if isinstance(owner, Opening) else fact.about() or stream
        subject = self.key_of_subject(subject)
        return self._keys.get(subject.bytes) or self._made(subject, None)

    def _persons_key(self, person: PhoneHashes) -> _DataKey:
        # A person not known here gets a new key; if another process gave one, the append says so and we start over.
        for hashed in person.all:
            key_id = self._by_person.get(hashed)
            if key_id and (key := self._keys.get(key_id)):
                return key
        return self._made(uuid7(), *person)

    def _made(self, key_id: UUID, person: bytes | None, others: tuple[bytes, ...] = ()) -> _DataKey:
        secret = AESGCM.generate_key(256)
        wrapped = WrappedKey(key_id, person, self._master.wrap(key_id.bytes, secret), others)
        key = _DataKey(AESGCM(secret), wrapped, stored=False)
        self._keep(key)
        return key

    def _shown(self, mark: bytes, masked: bool) -> bytes:
        if masked and mark.startswith((b"text|", _STAFF)):
            return b"null"
        if mark.startswith(_STAFF):
            return mark[len(_STAFF) :]
        known = self._recent.get(mark)
        if known is None:
            _, binding, token = mark.split(b"|")
            text = self._opened(_raw(token), bytes.fromhex(binding.decode()))
            if text is None:
                return b"null"
            known = self._noted(mark, text)
        return _JSON.encode(_masked(mark, _JSON_TEXT.decode(known))) if masked else known

    def _noted(self, mark: bytes, text: str) -> bytes:
        if len(self._recent) >= _RECENT_TEXTS:
            self._recent.clear()
        known = self._recent[mark] = _JSON.encode(text)
        return known

    def _opened(self, raw: bytes, binding: bytes) -> str | None:
        key = self._keys.get(raw[:16])
        if key is None:
            return None
        try:
            return key.cipher.decrypt(raw[16:28], raw[28:], binding).decode()
        except InvalidTag:
            # Moved or altered: shown as nothing; the hash of the event tells which.
            return None


def _mark(kind: str, place: str, path: str, token: str) -> bytes:
    """`place` in hexadecimal: it is the same for all fields of an event."""
    return f"{kind}|{place}{_hex(path)}|{token}".encode()


# Paths are few, but those in lists are numbered.
@lru_cache(maxsize=1_000)
def _hex(path: str) -> str:
    return path.encode().hex()


def marked(kind: str, stream: UUID, version: int, path: str, token: str | None) -> msgspec.Raw | None:
    """A sealed text as it stands in a document."""
    if token is None:
        return None
    return msgspec.Raw(_MARK + _mark(kind, _place(stream, version).hex(), path, token) + _MARK)


def staff(name: str) -> msgspec.Raw:
    """A name of staff as it stands in a document: in clear, but not for every reader."""
    return msgspec.Raw(_MARK + _STAFF + _JSON.encode(name) + _MARK)


def marked_fact(fact: _F, stream: UUID, version: int, prefix: str = "") -> _F:
    """The fact with every sealed field as it stands in a document; only for encoding.

    `prefix` leads to it where it is a part of the fact that was sealed.
    """
    place = _place(stream, version).hex()

    def show(token: str, field: SealedField, path: str, _owner: Any) -> Any:
        if field.kind == "staff":
            return staff(token)
        return msgspec.Raw(_MARK + _mark(field.kind, place, path, token) + _MARK)

    return transform(fact, fields_of(fact.__class__), show, prefix)


def _masked(mark: bytes, text: str) -> str:
    return masked_phone(text) if mark.startswith(b"phone|") else masked_name(text)


def key_of(token: str) -> UUID:
    """The data key that opens a sealed text."""
    return UUID(bytes=_raw(token.encode())[:16])


def _key_id(mark: bytes) -> bytes:
    return _raw(mark[mark.rindex(b"|") + 1 :])[:16]


def _raw(token: bytes) -> bytes:
    return a2b_base64(token[1:])


def _place(stream: UUID, version: int) -> bytes:
    """What every token of an event is bound to; its field's path follows."""
    return _BOUND + stream.bytes + version.to_bytes(4)


def _closed(key: _DataKey, text: str, binding: bytes) -> str:
    nonce = os.urandom(12)
    closed = key.cipher.encrypt(nonce, text.encode(), binding)
    return "1" + b2a_base64(key.ident + nonce + closed, newline=False).decode()
