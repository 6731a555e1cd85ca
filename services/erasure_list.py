"""The list of destroyed data keys, kept apart from the database: what a restored backup cannot bring back.

One file per ledger, named by its id; a line names a key and, if it sealed the texts of a case, that case. It holds
nothing personal: a key's id says nothing without the key.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from services.events import DestroyedKey
from services.identifiers import parse_uuid


class ErasureList:
    """One ledger's; several processes may add to it."""

    def __init__(self, folder: Path, ledger_id: UUID) -> None:
        self._file = folder / str(ledger_id)

    @property
    def size(self) -> int:
        """In bytes; it only ever grows."""
        try:
            return self._file.stat().st_size
        except FileNotFoundError:
            return 0

    def entries(self) -> dict[UUID, DestroyedKey]:
        """All that are listed, by key."""
        try:
            text = self._file.read_text("ascii", "replace")
        except FileNotFoundError:
            return {}
        found = (_entry(line) for line in text.splitlines())
        return {one.key_id: one for one in found if one}

    def add(self, destroyed: Iterable[DestroyedKey]) -> None:
        """On disk when this returns; what is listed is not listed twice."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            known = self.entries()
            lines = [_line(one) for one in destroyed if one.key_id not in known]
            if lines:
                # Behind what a power cut may have torn off.
                out.write(("\n" + "".join(lines)).encode("ascii"))
                out.flush()
            # Also what another process wrote and has not brought to disk yet.
            os.fsync(out.fileno())
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def listed_anywhere(folder: Path) -> set[UUID]:
    """The keys in all lists of a folder, whichever ledger's."""
    found: set[UUID] = set()
    for file in folder.glob("*-*-*-*-*"):
        if ledger_id := parse_uuid(file.name):
            found.update(ErasureList(folder, ledger_id).entries())
    return found


def _line(one: DestroyedKey) -> str:
    return f"{one.key_id} {one.case_id or '-'}\n"


def _entry(line: str) -> DestroyedKey | None:
    """What a line says; None for what is no whole line."""
    parts = line.split(" ")
    try:
        if len(parts) == 2 and all(len(part) in (1, 36) for part in parts):
            return DestroyedKey(UUID(parts[0]), None if parts[1] == "-" else UUID(parts[1]))
    except ValueError:
        pass
    return None
