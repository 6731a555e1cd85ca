"""Hashing every telephone number anew under the current phone key, while the service goes on.

No hash tells its number, but the ledger's sealed texts do: each key of a person has sealed that person's number. So not
even the former phone key is needed here. What was sealed stays as it is; only how a person is found changes.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from services.event_log import EventLog, Reader, Record
from services.events import KINDS, decode
from services.personal import SealedField, fields_of, transform
from services.phone_keys import PhoneKeys
from services.vault import Vault, key_of

_PAGE = 2_000
_STAND = "SELECT key_id, person FROM data_keys WHERE key_id = ANY(%b::uuid[]) AND person IS NOT NULL"
_TAKEN = "SELECT person, key_id FROM data_keys WHERE person = ANY(%b::bytea[])"
# Not where another key stands under that hash: the two would be one person twice.
_PUT = """
UPDATE data_keys AS d SET person = new.person
FROM unnest(%b::uuid[], %b::bytea[], %b::bytea[]) AS new (key_id, before, person)
WHERE d.key_id = new.key_id AND d.person = new.before
    AND NOT EXISTS (SELECT FROM data_keys AS k WHERE k.person = new.person)
"""
_COUNT = "SELECT count(*) FROM data_keys WHERE person IS NOT NULL"

# Stream, version, path and token: how a text is sealed.
_Place = tuple[str, UUID, int, str]


class Rehashed(NamedTuple):
    """How many persons' hashes were made anew, and how many stood under the current key before.

    `doubled`: keys of persons who have another key under the current phone key, since something was recorded by a
    service that did not know the former one. `unread`: how many persons' numbers could not be opened.
    """

    anew: int
    current: int
    doubled: Sequence[UUID]
    unread: int

    @property
    def is_complete(self) -> bool:
        return not self.doubled and not self.unread


async def rehash(log: EventLog, vault: Vault, phones: PhoneKeys) -> Rehashed:
    """Once through the ledger, to where it ends by then; may be repeated at any time."""
    anew, current, position = 0, 0, 0
    doubled: list[UUID] = []
    settled: set[UUID] = set()
    while records := await log.read.after(position, _PAGE):
        position = records[-1].position
        found = {key_id: place for record in records for key_id, place in _numbers_in(record) if key_id not in settled}
        opened = dict(zip(found, await vault.texts(list(found.values())), strict=True))
        settled.update(key_id for key_id, phone in opened.items() if phone)
        wanted = {key_id: phones.hashes(phone).current for key_id, phone in opened.items() if phone}
        moved = await _put(log.read, wanted)
        anew, current = anew + moved.anew, current + moved.current
        doubled += moved.doubled
    persons = int((await log.read.rows(_COUNT, []))[0][0])
    return Rehashed(anew, current, sorted(doubled), max(persons - anew - current - len(doubled), 0))


async def _put(read: Reader, wanted: dict[UUID, bytes]) -> Rehashed:
    stand: dict[UUID, bytes] = dict(await read.rows(_STAND, [list(wanted)]))
    older = {key_id: person for key_id, person in stand.items() if person != wanted[key_id]}
    taken: dict[bytes, UUID] = dict(await read.rows(_TAKEN, [[wanted[one] for one in older]]))
    doubled = []
    for key_id in older:
        if taken.setdefault(wanted[key_id], key_id) != key_id:
            doubled.append(key_id)
    movable = [key_id for key_id in older if key_id not in doubled]
    await read.do(_PUT, [movable, [older[one] for one in movable], [wanted[one] for one in movable]])
    return Rehashed(len(movable), len(stand) - len(older), doubled, 0)


def _numbers_in(record: Record) -> list[tuple[UUID, _Place]]:
    """The sealed telephone numbers of an event, by the key that sealed each."""
    kind = KINDS.get(record.name)
    if kind is None or not (fields := fields_of(kind)):
        return []
    found: list[tuple[UUID, _Place]] = []

    def note(token: str, field: SealedField, path: str, _owner: object) -> str:
        if field.kind == "phone":
            found.append((key_of(token), (token, record.stream, record.version, path)))
        return token

    transform(decode(record.name, record.schema, record.body), fields, note)
    return found
