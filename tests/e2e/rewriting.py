"""What a database's superuser can do to a ledger, each with what its verification must name."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from services.event_log.merkle import Frontier
from services.event_log.record import header_hash

_COLUMNS = ("stream", "version", "name", "schema", "actor", "region", "recorded_at", "body")


class Found(NamedTuple):
    """The first bad position; None: what is bad is no event, and `named` is told of it."""

    position: int | None
    named: str = ""

    def fits(self, position: int | None, what: str) -> bool:
        return position == self.position and re.search(self.named, what) is not None


class Scene(NamedTuple):
    """A ledger of `size` events in an open session without triggers; heads were signed of the first `signed`."""

    session: psycopg.Connection[tuple[Any, ...]]
    rng: Random
    size: int
    signed: Sequence[int]

    def do(self, statement: str, *values: object) -> None:
        done = self.session.execute(statement.encode(), values)
        assert done.rowcount, f"nothing was changed by {statement}"

    def position(self, last: int | None = None) -> int:
        return self.rng.randint(1, last or self.size)


Edit = Callable[[Scene], Found]


def changed(scene: Scene, column: str, position: int) -> None:
    """One field of one event becomes another."""
    changes: dict[str, tuple[str, object]] = {
        "stream": ("%s", UUID(int=scene.rng.getrandbits(128))),
        "version": ("version + %s", scene.rng.randint(1000, 9999)),
        "name": ("%s", scene.rng.choice(["closed", "noted ", "Noted", ""])),
        "schema": ("schema + %s", scene.rng.randint(1, 9)),
        "actor": ("actor || %s", scene.rng.choice(["x", " ", "李"])),
        "region": ("region || %s", scene.rng.choice(["x", " ", "粤"])),
        "recorded_at": ("recorded_at + %s", timedelta(microseconds=scene.rng.choice([1, 7, 10**9]))),
        "body": ("body || %s", scene.rng.choice([b" ", b"\0", b"x"])),
        "header_hash": ("set_byte(header_hash, %s, get_byte(header_hash, 5) # 1)", 5),
    }
    written, value = changes[column]
    scene.do(f"UPDATE events SET {column} = {written} WHERE position = %s", value, position)


def field(column: str) -> Edit:
    def edit(scene: Scene) -> Found:
        position = scene.position()
        changed(scene, column, position)
        return Found(position)

    return edit


def moved(scene: Scene) -> Found:
    position = scene.position()
    scene.do("UPDATE events SET position = position + 100000 WHERE position = %s", position)
    return Found(position, "there is no such event")


def before_all(scene: Scene) -> Found:
    to = -scene.rng.randint(0, 9)
    scene.do("UPDATE events SET position = %s WHERE position = %s", to, scene.position())
    return Found(to)


def deleted(scene: Scene) -> Found:
    position = scene.position()
    scene.do("DELETE FROM events WHERE position = %s", position)
    return Found(position)


def cut(scene: Scene) -> Found:
    last = scene.position(scene.size - 1)
    scene.do("DELETE FROM events WHERE position > %s", last)
    return Found(last + 1)


def inserted_behind(scene: Scene) -> Found:
    insert(scene, scene.size + 1)
    return Found(scene.size + 1)


def swapped(scene: Scene) -> Found:
    return Found(swap(scene))


def swap(scene: Scene) -> int:
    """Two events take each other's place; the first place."""
    one, other = sorted(scene.rng.sample(range(1, scene.size + 1), 2))
    scene.do("UPDATE events SET position = -1 WHERE position = %s", one)
    scene.do("UPDATE events SET position = %s WHERE position = %s", one, other)
    scene.do("UPDATE events SET position = %s WHERE position = -1", other)
    return one


def insert(scene: Scene, position: int) -> None:
    """An event with a hash that is right."""
    stream = UUID(int=scene.rng.getrandbits(128))
    (at,) = scene.session.execute("SELECT max(recorded_at) FROM events").fetchone() or (None,)
    row = (position, stream, 1, "noted", 1, "agent/x/y", "GD", at + timedelta(seconds=1), b"{}")
    scene.do("INSERT INTO events VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", *row, header_hash(*row))


# The same, and everything that follows from it made right by the service's own code ------------------------------


def recomputed(edit: Edit) -> Edit:
    def both(scene: Scene) -> Found:
        found = edit(scene)
        recompute(scene)
        return found

    return both


def recompute(scene: Scene) -> None:
    """Positions without gaps, versions, hashes, the tree and the head row: all of it consistent."""
    rows = scene.session.execute(
        "SELECT position, stream, version, name, schema, actor, region, recorded_at, body FROM events ORDER BY position"
    ).fetchall()
    versions: dict[UUID, int] = {}
    last = None
    tree = Frontier()
    scene.session.execute("DELETE FROM events")
    for position, (_, stream, _, name, schema, actor, region, recorded_at, body) in enumerate(rows, start=1):
        version = versions[stream] = versions.get(stream, 0) + 1
        last = recorded_at if last is None or recorded_at > last else last + timedelta(microseconds=1)
        row = (position, stream, version, name, schema, actor, region, last, body)
        digest = header_hash(*row)
        tree.append([digest])
        scene.do("INSERT INTO events VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", *row, digest)
    scene.session.execute("DELETE FROM tree_nodes")
    for node, digest in tree.completed:
        scene.do("INSERT INTO tree_nodes VALUES (%s, %s, %s)", node.level, node.number, digest)
    head = "UPDATE ledger_head SET position = %s, recorded_at = %s, tree_size = %s, peaks = %s"
    scene.do(head, tree.size, last, tree.size, tree.peaks)


def inserted_within(scene: Scene) -> Found:
    position = scene.position()
    scene.do("UPDATE events SET position = -position - 1 WHERE position >= %s", position)
    scene.do("UPDATE events SET position = -position WHERE position < 0")
    insert(scene, position)
    return Found(position)


def unsigned(edit: Edit) -> Edit:
    """What was signed is deleted as well."""

    def both(scene: Scene) -> Found:
        found = edit(scene)
        scene.do("DELETE FROM tree_heads")
        return found

    return both


def in_another_epoch(edit: Edit) -> Edit:
    """As if a backup had been restored, of which nothing tells."""

    def both(scene: Scene) -> Found:
        found = edit(scene)
        scene.do("UPDATE ledger_head SET epoch = epoch + 1")
        return found

    return both


# The tables beside the events -------------------------------------------------------------------------------------


def head_row(column: str, written: str, named: str = "") -> Edit:
    def edit(scene: Scene) -> Found:
        scene.do(f"UPDATE ledger_head SET {column} = {written}")
        return Found(None, rf"^ledger_head\.{named or column}")

    return edit


def head_position(scene: Scene) -> Found:
    by = scene.rng.choice([-3, -1, 1, 5])
    scene.do("UPDATE ledger_head SET position = position + %s", by)
    return Found(scene.size + min(by, 0) + 1, r"ledger_head\.position")


def head_gone(scene: Scene) -> Found:
    scene.do("DELETE FROM ledger_head")
    return Found(None, "^ledger_head: the row is gone")


def node(statement: str) -> Edit:
    def edit(scene: Scene) -> Found:
        scene.do(statement.replace("$", str(scene.rng.randrange(2))))
        return Found(None, "^tree_nodes, level")

    return edit


def signed(statement: str) -> Edit:
    def edit(scene: Scene) -> Found:
        scene.do(statement, scene.rng.choice(scene.signed))
        return Found(None, "^tree_heads, epoch")

    return edit


_FIELDS: Mapping[str, Edit] = {f"events.{column}": field(column) for column in (*_COLUMNS, "header_hash")}
_ROWS: Mapping[str, Edit] = {
    "moved": moved,
    "moved before all": before_all,
    "deleted": deleted,
    "cut": cut,
    "inserted behind": inserted_behind,
    "swapped": swapped,
}
_RECOMPUTED: Mapping[str, Edit] = {
    **{f"recomputed {column}": recomputed(field(column)) for column in _COLUMNS if column != "version"},
    "recomputed deletion": recomputed(deleted),
    "recomputed insertion": recomputed(inserted_within),
    "recomputed swap": recomputed(swapped),
    "recomputed cut": recomputed(cut),
    "recomputed and unsigned": unsigned(recomputed(field("body"))),
    "cut and unsigned": unsigned(recomputed(cut)),
    "recomputed, another epoch": in_another_epoch(recomputed(field("actor"))),
}
_BESIDE: Mapping[str, Edit] = {
    "ledger_head.position": head_position,
    "ledger_head.recorded_at": head_row("recorded_at", "recorded_at + interval '1 us'"),
    "ledger_head.epoch up": head_row("epoch", "epoch + 1"),
    "ledger_head.epoch down": head_row("epoch", "epoch - 1"),
    "ledger_head.ledger_id": head_row("ledger_id", "gen_random_uuid()"),
    "ledger_head.tree_size up": head_row("tree_size", "tree_size + 2"),
    "ledger_head.tree_size down": head_row("tree_size", "tree_size - 4", "peaks"),
    "ledger_head.tree_size 0": head_row("tree_size", "0", "peaks"),
    "ledger_head.peaks": head_row("peaks", "set_byte(peaks, 40, get_byte(peaks, 40) # 128)"),
    "ledger_head gone": head_gone,
    "tree_nodes.hash": node("UPDATE tree_nodes SET hash = set_byte(hash, 7, get_byte(hash, 7) # 1) WHERE index = $"),
    "tree_nodes.level": node("UPDATE tree_nodes SET level = 16 WHERE index = $"),
    "tree_nodes.index": node("UPDATE tree_nodes SET index = index + 5 WHERE index = $"),
    "tree_nodes deleted": node("DELETE FROM tree_nodes WHERE index = $"),
    "tree_nodes inserted": node("INSERT INTO tree_nodes SELECT level, index + 7, hash FROM tree_nodes WHERE index = $"),
    "tree_heads.epoch": signed("UPDATE tree_heads SET epoch = 0 WHERE size = %s"),
    "tree_heads.size": signed("UPDATE tree_heads SET size = size + 3 WHERE size = %s"),
    "tree_heads.root": signed("UPDATE tree_heads SET root = sha256(root) WHERE size = %s"),
    "tree_heads.signed_at": signed("UPDATE tree_heads SET signed_at = signed_at + interval '1 us' WHERE size = %s"),
    "tree_heads.note": signed("UPDATE tree_heads SET note = replace(note, 'epoch 1', 'epoch 2') WHERE size = %s"),
    "tree_heads deleted": signed("DELETE FROM tree_heads WHERE size = %s"),
    "tree_heads inserted": signed(
        "INSERT INTO tree_heads SELECT epoch, size + 2, root, signed_at, note FROM tree_heads WHERE size = %s"
    ),
}
EDITS: Mapping[str, Edit] = {**_FIELDS, **_ROWS, **_RECOMPUTED, **_BESIDE}
