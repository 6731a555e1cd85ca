"""Reading the tree over the ledger: its root as it stands, and those that proofs are made of."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.event_log import statements as sql
from services.event_log.connections import Connection
from services.event_log.merkle import Node, Stretch, folded, kept_frontier, leaf_hash, root_of, stored_below, subtrees
from services.event_log.reader import Reader


class BrokenTree(Exception):
    """Nodes of the tree are gone that once were stored: somebody else changed the tables."""


class Tree(NamedTuple):
    """The tree over everything that is stored: which ledger, its epoch, how many events, and their root."""

    ledger_id: UUID
    epoch: int
    size: int
    root: bytes
    recorded_at: datetime


async def tree(reader: Reader) -> Tree:
    """As it stands now."""

    async def ask(connection: Connection) -> Tree:
        found = await (await connection.execute(sql.READ_TREE, binary=True)).fetchone()
        if found is None:
            raise RuntimeError("the ledger has no head row: run the migrations")
        ledger_id, epoch, position, recorded_at, size, peaks = found
        frontier = kept_frontier(position, size, peaks)
        if frontier.size < position:
            # Appended by a release that keeps no tree.
            leaves = await connection.execute(sql.LEAVES, [frontier.size, position], binary=True)
            frontier.append([header_hash for _, header_hash in await leaves.fetchall()])
        return Tree(ledger_id, epoch, position, frontier.root(), recorded_at)

    return await reader.look(ask)


async def roots(reader: Reader, stretches: Sequence[Stretch]) -> list[bytes]:
    """The root over each stretch of leaves; all of them are stored."""
    nodes = {node for stretch in stretches for node in subtrees(stretch)}
    hashes = await _hashes(reader, nodes)
    return [root_of(stretch, hashes) for stretch in stretches]


async def leaves(reader: Reader, begin: int, end: int) -> list[bytes]:
    """The header hashes of the leaves from `begin` on and before `end`, counted from 0; seldom fewer, never more."""
    return [header_hash for _, header_hash in await reader.rows(sql.LEAVES, [begin, end])]


async def _hashes(reader: Reader, nodes: Iterable[Node]) -> Mapping[Node, bytes]:
    wanted = {node: stored_below(node) for node in nodes}
    lowest = [(begin, end) for level, begin, end in wanted.values() if level == 0]
    higher = [below for below in wanted.values() if below[0] > 0]
    found: dict[tuple[int, int], bytes] = {}
    if lowest:
        columns = [[begin for begin, _ in lowest], [end for _, end in lowest]]
        for position, header_hash in await reader.rows(sql.LEAVES_OF, columns):
            found[0, position - 1] = leaf_hash(header_hash)
    if higher:
        columns = [[below[at] for below in higher] for at in range(3)]
        found |= {(level, index): digest for level, index, digest in await reader.rows(sql.NODES_OF, columns)}
    try:
        return {
            node: folded([found[level, number] for number in range(begin, end)])
            for node, (level, begin, end) in wanted.items()
        }
    except KeyError:
        raise BrokenTree from None
