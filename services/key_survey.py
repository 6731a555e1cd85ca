"""What there is of data keys: how many, under which master keys, which were destroyed, and which are lost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from services.event_log import EventLog, Reader, Record
from services.events import KINDS, decode
from services.personal import SealedField, fields_of, transform
from services.vault import key_of

_PAGE = 5_000
_AT_ONCE = 500
_BY_MASTER = "SELECT encode(substring(wrapped FROM 2 FOR 4), 'hex'), count(*) FROM data_keys GROUP BY 1 ORDER BY 1"
_THERE = """
SELECT key_id FROM data_keys WHERE key_id = ANY(%b::uuid[])
UNION ALL SELECT key_id FROM erased_keys WHERE key_id = ANY(%b::uuid[])
"""


class Survey(NamedTuple):
    """`by_master`: how many data keys each generation of the master key wraps."""

    by_master: Mapping[str, int]
    erased: int
    lost: Sequence[UUID]


async def survey(log: EventLog, with_lost: bool = True) -> Survey:
    """Count; to find what is lost, every event is read for the keys that it rests on."""
    by_master = {str(generation): int(count) for generation, count in await log.read.rows(_BY_MASTER, [])}
    lost = await _lost(log.read) if with_lost else []
    return Survey(by_master, len(await log.read.erased()), lost)


async def _lost(read: Reader) -> list[UUID]:
    position, used = 0, Counter[UUID]()
    while records := await read.after(position, _PAGE):
        for record in records:
            used.update(_keys_in(record))
        position = records[-1].position
    asked, lost = list(used), set(used)
    for begin in range(0, len(asked), _AT_ONCE):
        some = asked[begin : begin + _AT_ONCE]
        lost -= {row[0] for row in await read.rows(_THERE, [some, some])}
    return sorted(lost)


def _keys_in(record: Record) -> set[UUID]:
    kind = KINDS.get(record.name)
    if kind is None or not (fields := fields_of(kind)):
        return set()
    found: set[UUID] = set()

    def note(token: str, field: SealedField, *_: object) -> str:
        if field.kind != "staff":
            found.add(key_of(token))
        return token

    fact = decode(record.name, record.schema, record.body)
    transform(fact, fields, note)
    return found
