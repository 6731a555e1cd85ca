"""The tree over the ledger (RFC 9162, section 2.1): every event's `header_hash` is one leaf, in order of position.

A leaf's hash is SHA-256(00 ‖ header_hash), an inner one SHA-256(01 ‖ left ‖ right). `Frontier` is all that an append
needs of the tree; `Node` (level, n) names the complete subtree over the leaves n·2^level … (n+1)·2^level,
counted from 0, so position p is leaf p − 1.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple, Self

_SIZE = 32
# Every so many levels nodes are stored; those between are made from at most 2**7 others.
STRIDE = 8


class Node(NamedTuple):
    """A complete subtree: 2^level leaves, the n-th of its level."""

    level: int
    number: int

    @property
    def begin(self) -> int:
        return self.number << self.level

    @property
    def end(self) -> int:
        return (self.number + 1) << self.level


# A stretch of leaves, the end left out, whose root a proof names.
Stretch = tuple[int, int]


def leaf_hash(header_hash: bytes) -> bytes:
    """Of one event; 32 bytes."""
    return sha256(b"\0" + header_hash).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two subtrees side by side; 32 bytes."""
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """The roots of the complete subtrees that a tree of `size` leaves is made of, the largest first."""

    def __init__(self, size: int = 0, peaks: bytes = b"") -> None:
        if len(peaks) != _SIZE * size.bit_count():
            raise ValueError("peaks that are not of a tree of this size")
        self.size = size
        self._peaks = [peaks[at : at + _SIZE] for at in range(0, len(peaks), _SIZE)]
        self.completed: list[tuple[Node, bytes]] = []
        """The nodes that became complete here and are to be stored."""

    def append(self, header_hashes: Iterable[bytes]) -> None:
        """Add leaves."""
        peaks, size = self._peaks, self.size
        for header_hash in header_hashes:
            digest, left, level = sha256(b"\0" + header_hash).digest(), size, 0
            while left & 1:
                digest = sha256(b"\1" + peaks.pop() + digest).digest()
                left >>= 1
                level += 1
                if not level % STRIDE:
                    self.completed.append((Node(level, left), digest))
            peaks.append(digest)
            size += 1
        self.size = size

    @property
    def peaks(self) -> bytes:
        """As it is stored: 32 bytes each."""
        return b"".join(self._peaks)

    def root(self) -> bytes:
        """The tree's root; of no leaves the hash of nothing."""
        return _joined(self._peaks)

    @classmethod
    def of(cls, header_hashes: Iterable[bytes]) -> Self:
        """Of all leaves from the first on."""
        made = cls()
        made.append(header_hashes)
        return made


def kept_frontier(position: int, size: int, peaks: bytes) -> Frontier:
    """The tree as the head row has it, or an empty one if that cannot be; what it lacks up to the position is added."""
    fits = size <= position and len(peaks) == 32 * size.bit_count()
    return Frontier(size, peaks) if fits else Frontier()


def inclusion(index: int, size: int) -> list[Stretch]:
    """The stretches whose roots are the inclusion path of a leaf (2.1.3.1), in the path's order.

    `index` counts from 0 and is below `size`.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    begin, end, path = 0, size, list[Stretch]()
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((begin, middle))
            begin = middle
    return path[::-1]


def consistency(first: int, size: int) -> list[Stretch]:
    """The stretches whose roots prove that a tree of `size` leaves extends one of its first ones (2.1.4.1).

    `first` is above 0 and not above `size`; of equal trees there is nothing to prove.
    """
    if not 0 < first <= size:
        raise ValueError("no such tree")
    begin, end, path, whole = 0, size, list[Stretch](), True
    while first < end:
        middle = begin + _split(end - begin)
        if first <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((begin, middle))
            begin, whole = middle, False
    if not whole:
        path.append((begin, end))
    return path[::-1]


def subtrees(stretch: Stretch) -> list[Node]:
    """The complete subtrees of a stretch as the functions above name them, or of one from 0 on: the largest first."""
    begin, end = stretch
    found = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        found.append(Node(level, begin >> level))
        begin += 1 << level
    return found


def root_of(stretch: Stretch, hashes: Mapping[Node, bytes]) -> bytes:
    """The root over a stretch, from those of its subtrees."""
    return _joined([hashes[node] for node in subtrees(stretch)])


def stored_below(node: Node) -> tuple[int, int, int]:
    """Which stored hashes a node is made of: their level (0: leaves), the first one, and the one behind the last."""
    level = node.level - node.level % STRIDE
    return level, node.begin >> level, node.end >> level


def folded(hashes: list[bytes]) -> bytes:
    """The root over 2^n neighbours of one level."""
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def _joined(peaks: list[bytes]) -> bytes:
    if not peaks:
        return sha256().digest()
    root = peaks[-1]
    for left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def _split(count: int) -> int:
    """The largest power of two below a count."""
    return 1 << (count - 1).bit_length() - 1
