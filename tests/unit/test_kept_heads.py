"""Heads kept in a folder survive writers that were killed in the middle of a note or of a leaf."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from services.checkpoints import HeadKey, TreeHead, origin_of
from services.kept_heads import KeptHeads

_ID = UUID(int=7)
_KEY = HeadKey(b"k" * 32)
_AT = datetime(2026, 11, 25, 8, tzinfo=UTC)


def _head(size: int) -> TreeHead:
    return TreeHead(origin_of(_ID), 1, size, sha256(b"%d" % size).digest(), _AT + timedelta(seconds=size))


def test_a_note_that_was_cut_hides_none_of_those_behind_it(tmp_path: Path) -> None:
    whole = _KEY.signed(_head(2)).encode()
    for cut in range(len(whole)):
        kept = KeptHeads(tmp_path / str(cut), _ID)
        kept.keep(_head(1), _KEY.signed(_head(1)), _KEY.public)
        with next(kept.folder.glob("heads-*")).open("ab") as out:
            out.write(whole[:cut])
        for size in (3, 4):
            kept.keep(_head(size), _KEY.signed(_head(size)), _KEY.public)
        assert kept.newest(_KEY.public) == _head(4), f"cut behind {cut} bytes"
        assert list(kept.notes()) == [_KEY.signed(_head(size)) for size in (1, 3, 4)]


def test_a_leaf_that_was_cut_is_written_again(tmp_path: Path) -> None:
    kept = KeptHeads(tmp_path, _ID)
    leaves = [sha256(b"%d" % n).digest() for n in range(5)]
    kept.keep_leaves(1, 0, leaves[:2])
    with (kept.folder / "leaves-1").open("ab") as out:
        out.write(leaves[2][:17])
    kept.keep_leaves(1, 2, leaves[2:])
    kept.keep_leaves(1, 1, leaves[1:])
    assert (kept.folder / "leaves-1").read_bytes() == b"".join(leaves)
