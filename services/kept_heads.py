"""Signed tree heads outside the database: what a database administrator cannot rewrite.

One folder per ledger, named by its id. ``heads-2026-11-25.txt`` holds the notes signed that day (UTC), one after
another with an empty line behind each; ``leaves-1`` the header hashes of epoch 1, 32 bytes an event. The leaves need no
trust: they are right if the heads' roots are theirs, and then they tell which event was changed.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from services.checkpoints import TreeHead, opened_by

_LEAF = 32
# A piece of one, left by a writer that was killed, may stand before a note without a line feed between.
_ID = "anjuan/[0-9a-f-]{36}"
_NOTE = re.compile(rf"{_ID}\n\d+\n[^\n]+\nepoch \d+\ntime [^\n]+\n\n— {_ID} [A-Za-z0-9+/]{{91}}=\n")


class KeptHeads:
    """The folder of one ledger; several processes may keep heads in it."""

    def __init__(self, folder: Path, ledger_id: UUID) -> None:
        self.folder = folder / str(ledger_id)

    def notes(self) -> Iterator[str]:
        """All that are kept, oldest first."""
        for file in sorted(self.folder.glob("heads-*.txt")):
            yield from _NOTE.findall(file.read_text(encoding="utf-8", errors="replace"))

    def newest(self, *publics: bytes) -> TreeHead | None:
        """The last one that one of these keys signed."""
        for file in sorted(self.folder.glob("heads-*.txt"), reverse=True):
            for note in reversed(_NOTE.findall(file.read_text(encoding="utf-8", errors="replace"))):
                if head := opened_by(note, publics):
                    return head
        return None

    def keep(self, head: TreeHead, note: str, *publics: bytes) -> None:
        """Add a note, on disk when this returns, unless another process did."""
        day = f"{head.signed_at:%Y-%m-%d}"
        with self._locked():
            newest = self.newest(*publics)
            if newest is None or (newest.epoch, newest.size) < (head.epoch, head.size):
                _append(self.folder / f"heads-{day}.txt", f"{note}\n".encode())

    def leaf_count(self, epoch: int) -> int:
        """How many leaves of an epoch are kept."""
        try:
            return (self.folder / f"leaves-{epoch}").stat().st_size // _LEAF
        except FileNotFoundError:
            return 0

    def keep_leaves(self, epoch: int, begin: int, leaves: Sequence[bytes]) -> None:
        """Add leaves from `begin` on, unless somebody else did."""
        with self._locked():
            known, file = self.leaf_count(epoch), self.folder / f"leaves-{epoch}"
            if known >= begin:
                if file.exists():
                    # Part of a leaf is what a writer left that was killed.
                    os.truncate(file, known * _LEAF)
                _append(file, b"".join(leaves[known - begin :]))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _append(file: Path, content: bytes) -> None:
    with file.open("ab") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
