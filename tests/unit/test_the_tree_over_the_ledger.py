"""The tree: published vectors, the standard's own recursive definitions, and what an append leaves behind."""

from hashlib import sha256

import pytest

from services.event_log.merkle import (
    STRIDE,
    Frontier,
    Node,
    consistency,
    folded,
    inclusion,
    kept_frontier,
    leaf_hash,
    node_hash,
    root_of,
    stored_below,
    subtrees,
)

# The inputs and roots with which the logs of Certificate Transparency test themselves.
_INPUTS = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
_LEAVES = [sha256(b"%d" % n).digest() for n in range(300)]


def _split(leaves: list[bytes]) -> int:
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return half


def _root(leaves: list[bytes]) -> bytes:
    """MTH, as 2.1.1 writes it."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    half = _split(leaves)
    return node_hash(_root(leaves[:half]), _root(leaves[half:]))


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH, as 2.1.3.1 writes it."""
    if len(leaves) == 1:
        return []
    half = _split(leaves)
    if index < half:
        return [*_path(index, leaves[:half]), _root(leaves[half:])]
    return [*_path(index - half, leaves[half:]), _root(leaves[:half])]


def _subproof(first: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF, as 2.1.4.1 writes it."""
    if first == len(leaves):
        return [] if whole else [_root(leaves)]
    half = _split(leaves)
    if first <= half:
        return [*_subproof(first, leaves[:half], whole), _root(leaves[half:])]
    return [*_subproof(first - half, leaves[half:], False), _root(leaves[:half])]


def _hashes(nodes: list[Node]) -> dict[Node, bytes]:
    return {node: _root(_LEAVES[node.begin : node.end]) for node in nodes}


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    leaves = [bytes.fromhex(one) for one in _INPUTS[:size]]
    assert Frontier.of(leaves).root().hex() == _ROOTS[size]


def test_proofs_are_those_of_the_standard() -> None:
    for size in range(1, 40):
        leaves = _LEAVES[:size]
        for index in range(size):
            named = inclusion(index, size)
            assert [root_of(one, _hashes(subtrees(one))) for one in named] == _path(index, leaves)
        for first in range(1, size + 1):
            named = consistency(first, size)
            assert [root_of(one, _hashes(subtrees(one))) for one in named] == _subproof(first, leaves, True)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_what_is_not_in_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="leaf"):
        inclusion(index, size)
    with pytest.raises(ValueError, match="tree"):
        consistency(size + 1, size)


def test_a_frontier_goes_on_from_what_was_stored_of_it() -> None:
    tree = Frontier()
    for size, leaf in enumerate(_LEAVES):
        tree = Frontier(tree.size, tree.peaks)
        tree.append([leaf])
        assert tree.root() == _root(_LEAVES[: size + 1])


def test_every_eighth_level_is_kept_once_complete() -> None:
    leaves = _LEAVES * 4
    tree = Frontier.of(leaves)
    assert [node for node, _ in tree.completed] == [Node(STRIDE, n) for n in range(len(leaves) >> STRIDE)]
    for node, digest in tree.completed:
        assert digest == _root(leaves[node.begin : node.end])


def test_a_node_is_folded_from_those_stored_below_it() -> None:
    assert stored_below(Node(3, 5)) == (0, 40, 48)
    assert stored_below(Node(8, 5)) == (8, 5, 6)
    assert stored_below(Node(11, 1)) == (8, 8, 16)
    assert folded([leaf_hash(one) for one in _LEAVES[40:48]]) == _root(_LEAVES[40:48])


@pytest.mark.parametrize(("position", "size", "peaks"), [(2, 3, 64), (5, 3, 32), (5, 3, 96)])
def test_a_frontier_that_cannot_be_is_made_from_the_leaves(position: int, size: int, peaks: int) -> None:
    assert kept_frontier(position, size, bytes(peaks)).size == 0
    assert kept_frontier(5, 3, bytes(64)).size == 3
