"""Signed tree heads outside the database: what a database administrator cannot rewrite.

One folder per ledger, named by its id. ``heads-2026-11-25.txt`` holds the notes signed that day (UTC), one after
another with an empty line behind each; ``leaves-1`` the header hashes of epoch 1, 32 bytes an event. The leaves need no
trust: they are right if the heads' roots are theirs, and then they tell which event was changed.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from services.checkpoints import TreeHead, opened_by

_LEAF = 32


class KeptHeads:
    """The folder of one ledger; several processes may keep heads in it."""

    def __init__(self, folder: Path, ledger_id: UUID) -> None:
        self.folder = folder / str(ledger_id)

    def notes(self) -> Iterator[str]:
        """All that are kept, oldest first."""
        for file in sorted(self.folder.glob("heads-*.txt")):
            pieces = file.read_text(encoding="utf-8").split("\n\n")
            for text, signature in zip(pieces[::2], pieces[1::2], strict=False):
                yield f"{text}\n\n{signature}\n"

    def newest(self, *publics: bytes) -> TreeHead | None:
        """The last one that one of these keys signed."""
        for file in sorted(self.folder.glob("heads-*.txt"), reverse=True):
            pieces = file.read_text(encoding="utf-8").split("\n\n")
            for text, signature in reversed([*zip(pieces[::2], pieces[1::2], strict=False)]):
                if head := opened_by(f"{text}\n\n{signature}\n", publics):
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
            known = self.leaf_count(epoch)
            if known >= begin:
                _append(self.folder / f"leaves-{epoch}", b"".join(leaves[known - begin :]))

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
