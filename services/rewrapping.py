"""Wrapping every data key anew under the current master key, a few at a time, while the service goes on.

What was sealed stays as it is: only the wrapping changes. Copies of the database from before need the former master
key; once that is destroyed they open nothing, which is how erased keys vanish from old copies and write-ahead logs too.
"""

from uuid import UUID

from services.event_log import Reader
from services.master_keys import MasterKeys

_AT_ONCE = 500
_FIRST = UUID(int=0)
_OLDER = """
SELECT key_id, wrapped FROM data_keys WHERE key_id > %b AND substring(wrapped FROM 2 FOR 4) <> %b
ORDER BY key_id LIMIT %b::int8
"""
# Unless somebody else was faster, or it was destroyed meanwhile.
_PUT = """
UPDATE data_keys AS d SET wrapped = new.wrapped
FROM unnest(%b::uuid[], %b::bytea[], %b::bytea[]) AS new (key_id, before, wrapped)
WHERE d.key_id = new.key_id AND d.wrapped = new.before
"""


async def rewrap(read: Reader, masters: MasterKeys) -> int:
    """How many were wrapped anew; raises `UnknownMaster` at one whose master key is not given."""
    done = 0
    while found := await _pass(read, masters):
        done += found
    return done


async def _pass(read: Reader, masters: MasterKeys) -> int:
    """Once through all keys; what a process under a former master key adds meanwhile is left for the next."""
    last, done = _FIRST, 0
    while rows := await read.rows(_OLDER, [last, masters.generation, _AT_ONCE]):
        keys = [key_id for key_id, _ in rows]
        anew = [masters.rewrap(key_id.bytes, wrapped) for key_id, wrapped in rows]
        await read.do(_PUT, [keys, [wrapped for _, wrapped in rows], anew])
        last, done = keys[-1], done + len(rows)
    return done
