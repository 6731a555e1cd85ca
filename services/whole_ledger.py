"""The ledger as it lies in the database, all of it in one snapshot, judged by the verifier and by heads kept outside.

Nothing of how the service reads or writes is trusted: each row is judged as a file's line would be, then the tables
beside the events. Who writes meanwhile is not in the snapshot, and the kept heads are read before it is taken.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from services.checkpoints import origin_of
from services.event_log.record import microseconds
from services.restorations import STREAM
from services.verifier import (
    Event,
    Fault,
    Frontier,
    Head,
    Judge,
    Kept,
    KeptLeaves,
    Key,
    Restoration,
    Restorations,
    Verified,
    distinct,
    lost_by,
    open_head,
    read_kept,
    restoration_of,
)

_Connection = psycopg.Connection[tuple[Any, ...]]
_STRIDE = 8
_AT_ONCE = 2_000
_EMPTY = datetime(2000, 1, 1, tzinfo=UTC)

_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_HEAD = "SELECT ledger_id, position, recorded_at, epoch, tree_size, peaks FROM ledger_head"
_COLUMNS = "position, stream, version, name, schema, actor, region, recorded_at, body, header_hash"
_EVENTS = f"SELECT {_COLUMNS} FROM events ORDER BY position"
_RESTORED = f"SELECT {_COLUMNS} FROM events WHERE stream = %s ORDER BY version"
_HEADS = "SELECT epoch, size, root, signed_at, note FROM tree_heads ORDER BY epoch, size"
_NODES = "SELECT level, index, hash FROM tree_nodes"


class HeadRow(NamedTuple):
    """The one row of `ledger_head`."""

    ledger_id: UUID
    position: int
    recorded_at: datetime
    epoch: int
    tree_size: int
    peaks: bytes


def verify_ledger(
    url: str,
    keys: Callable[[str], Sequence[Key]],
    place: Path,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Verified:
    """Verify everything; raises `Fault`. `keys`: those that may sign for an origin; `place`: where heads are kept."""
    with psycopg.connect(url, autocommit=True) as connection:
        origin = origin_of(_head_row(connection).ledger_id)
        used = keys(origin)
        kept = read_kept(place, origin, used) if place.exists() else Kept()
        with _snapshot(connection):
            return _Whole(connection, origin, used, kept, place).verify(told)


@contextmanager
def _snapshot(connection: _Connection) -> Iterator[None]:
    connection.execute(_SNAPSHOT)
    connection.execute("SET LOCAL TimeZone = 'UTC'")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _head_row(connection: _Connection) -> HeadRow:
    row = connection.execute(_HEAD, binary=True).fetchone()
    if row is None:
        raise Fault(None, "ledger_head: the row is gone")
    return HeadRow(*row)


class _Whole:
    def __init__(self, connection: _Connection, origin: str, keys: Sequence[Key], kept: Kept, place: Path) -> None:
        self._connection, self._origin, self._keys, self._kept, self._place = connection, origin, keys, kept, place
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._bad: list[Fault] = []
        self._peaks: tuple[int, list[bytes]] = (0, [])
        self._last = _EMPTY

    def verify(self, told: Callable[[int, int], None]) -> Verified:
        """Events first, so that the first bad position is named even where the tables beside them are bad too."""
        self._row = _head_row(self._connection)
        recorded = self._restorations()
        restorations = Restorations(recorded, recorded[-1].epoch if recorded else 1)
        signed = self._signed(restorations.epoch)
        heads = distinct([*signed, *self._kept.heads])
        tree = Frontier()
        tree.completed = self._note
        with KeptLeaves(self._kept, restorations, 1) as leaves:
            judge = Judge(tree, heads, restorations, restorations.epoch, leaves)
            self._events(judge, told)
            self._check_end(judge)
        self._check_head_row(judge, restorations)
        self._check_identity()
        if self._bad:
            raise self._bad[0]
        self._check_nodes()
        return self._summed(judge, restorations, heads)

    def _restorations(self) -> list[Restoration]:
        rows = self._connection.execute(_RESTORED, [STREAM], binary=True)
        return [restoration_of(*_event(row)) for row in rows]

    def _signed(self, epoch: int) -> list[Head]:
        """The heads in `tree_heads`; what is wrong with its rows is told behind what is wrong with events."""
        heads = []
        for row in self._connection.execute(_HEADS, binary=True):
            head = open_head(row[4], self._keys)
            said = Head(self._origin, row[0], row[1], row[2], microseconds(row[3]))
            if head != said:
                what = "not what was signed" if head else "not signed by this service's key"
                self._bad.append(Fault(None, f"tree_heads, epoch {row[0]}, size {row[1]}: {what}"))
            else:
                heads.append(said)
        known = set(heads)
        for head in self._kept.heads:
            # What was signed after a backup was made is kept outside only.
            if head.epoch == epoch and head not in known:
                missing = f"tree_heads, epoch {head.epoch}, size {head.size}: the row is gone; it is kept outside"
                self._bad.append(Fault(None, missing))
        return heads

    def _events(self, judge: Judge, told: Callable[[int, int], None]) -> None:
        total = self._row.position
        if self._row.tree_size == 0:
            self._peaks = (0, [])
        with self._connection.cursor("events", binary=True) as rows:
            rows.itersize = _AT_ONCE
            for done, row in enumerate(rows.execute(_EVENTS), start=1):
                event, _ = _event(row)
                judge.take(event)
                self._last = row[7]
                if done == self._row.tree_size:
                    self._peaks = (done, list(judge.tree.peaks))
                if not done % 10_000:
                    told(done, total)

    def _note(self, level: int, index: int, digest: bytes) -> None:
        if not level % _STRIDE and (index + 1) << level <= self._row.tree_size:
            self._nodes[level, index] = digest

    def _check_end(self, judge: Judge) -> None:
        count = judge.tree.size
        if later := judge.left():
            judge.refuse(count + 1, f"there is no such event, but a head of {later[-1].size} was signed")
        if self._row.position != count:
            said = f"ledger_head.position is {self._row.position}, the last event {count}"
            judge.refuse(min(self._row.position, count) + 1, said)

    def _check_head_row(self, judge: Judge, restorations: Restorations) -> None:
        row, count = self._row, judge.tree.size
        if row.epoch != restorations.epoch:
            self._refuse("epoch", f"{row.epoch}, but the last recorded restore began epoch {restorations.epoch}")
        if row.recorded_at != self._last:
            self._refuse("recorded_at", "not when the last event was recorded")
        if row.tree_size > count:
            self._refuse("tree_size", f"{row.tree_size}, but there are {count} events")
        if row.peaks != b"".join(self._peaks[1]):
            self._refuse("peaks", "not the subtrees of the events")

    def _refuse(self, column: str, what: str) -> None:
        self._bad.append(Fault(None, f"ledger_head.{column}: {what}"))

    def _check_nodes(self) -> None:
        for level, index, digest in self._connection.execute(_NODES, binary=True):
            if self._nodes.pop((level, index), None) != digest:
                raise Fault(None, f"tree_nodes, {_node(level, index)}: not the subtree of these events")
        if self._nodes:
            raise Fault(None, f"tree_nodes, {_node(*min(self._nodes))}: the row is gone")

    def _check_identity(self) -> None:
        """No other ledger's leaves begin with this ledger's first event: its id would have been changed."""
        row = self._connection.execute("SELECT header_hash FROM events WHERE position = 1").fetchone()
        own = str(self._row.ledger_id)
        for root in (self._place, self._place.parent) if row else ():
            for file in root.glob("*-*-*-*-*/leaves-*"):
                with file.open("rb") as leaves:
                    if file.parent.name != own and leaves.read(32) == bytes(row[0] if row else b""):
                        raise Fault(
                            None, f"ledger_head.ledger_id: {own}, but its events are kept as {file.parent.name}"
                        )

    def _summed(self, judge: Judge, restorations: Restorations, heads: Sequence[Head]) -> Verified:
        count = judge.tree.size
        found = Verified(self._origin, restorations.epoch, count, 1, count, count, judge.heads)
        found.kept = sum(map(restorations.holds, set(self._kept.heads)))
        found.keys = [f"{key.name}+{key.key_id.hex()}" for key in self._keys]
        found.restorations = lost_by(restorations, heads)
        if self._row.tree_size < count:
            # A release of before the tree leaves it behind. What is said of it is right; proofs need no more.
            found.remarks.append(
                f"the tree in the head row is of {self._row.tree_size} events; the next append mends it"
            )
        if not self._kept.heads:
            found.remarks.append(
                f"no heads of this ledger are kept in {self._place}: somebody who changed the database and all its "
                "hashes would not be found"
            )
        return found


def _event(row: tuple[Any, ...]) -> tuple[Event, bytes]:
    position, stream, version, name, schema, actor, region, recorded_at, body, header_hash = row
    at = microseconds(recorded_at)
    return Event(
        position, stream.bytes, version, name, schema, actor, region, at, sha256(body).digest(), header_hash
    ), body


def _node(level: int, index: int) -> str:
    return f"level {level}, index {index} (positions {(index << level) + 1} to {(index + 1) << level})"
