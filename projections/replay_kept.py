"""Where a replay is put down while it runs: one item a line, so that memory stays flat, and what was begun can go on.

Each line is a letter, for the kind of the item, and JSON in one canonical form (sorted names, no blanks). The digest is
over these bytes, kind by kind: it says the same whenever, wherever and however often the question was replayed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

import msgspec

CASES, BREACHES, FINDINGS, DIFFERENCES, TAMPERED = b"c", b"b", b"f", b"d", b"t"
KINDS: Mapping[bytes, str] = {
    CASES: "cases",
    BREACHES: "breaches",
    FINDINGS: "findings",
    DIFFERENCES: "differences",
    TAMPERED: "tampered",
}
_PAGE = b"p"
_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical(document: object) -> bytes:
    """Equal documents in equal bytes."""
    return _ENCODER.encode(document)


class Walked(NamedTuple):
    """How far the ledger was walked: the last stream that is complete, and so many records.

    `known`: the last position that was known by the question's instant; `seen`: that which the views last reflected.
    """

    stream: UUID | None = None
    records: int = 0
    known: int = 0
    seen: int | None = None


class Region:
    """What is counted for a region."""

    __slots__ = ("breached", "breaches", "cases", "complaints", "findings")

    def __init__(self) -> None:
        self.cases = self.complaints = self.breached = self.breaches = self.findings = 0

    def shown(self, code: str) -> dict[str, Any]:
        return {"region": code, **{name: getattr(self, name) for name in self.__slots__}}


class Tally:
    """The sums of what was put down."""

    def __init__(self) -> None:
        self.regions: dict[str, Region] = {}
        self.breaches: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.grades: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.differences = self.unexplained = self.tampered = 0

    def take(self, kind: bytes, item: Mapping[str, Any]) -> None:
        """One more."""
        if kind == CASES:
            region = self._region(item)
            region.cases += 1
            region.complaints += item["complaint_count"]
            region.breached += item["breached"]
            self.grades[item["grade"]] += 1
            self.statuses[item["status"]] += 1
        elif kind == BREACHES:
            self._region(item).breaches += 1
            self.breaches[item["state"]] += 1
        elif kind == FINDINGS:
            self._region(item).findings += 1
            self.findings[item["kind"]] += 1
        elif kind == DIFFERENCES:
            self.differences += 1
            self.unexplained += any(field["unexplained"] for field in item["fields"])
        else:
            self.tampered += 1

    def _region(self, item: Mapping[str, Any]) -> Region:
        return self.regions.setdefault(item["region"], Region())

    def shown(self) -> dict[str, Any]:
        """As it is answered."""
        held = self.regions.values()
        return {
            "cases": sum(one.cases for one in held),
            "complaints": sum(one.complaints for one in held),
            "breached": sum(one.breached for one in held),
            "breaches": _sorted(self.breaches),
            "findings": _sorted(self.findings),
            "differences": self.differences,
            "unexplained": self.unexplained,
            "tampered": self.tampered,
            "grades": _sorted(self.grades),
            "statuses": _sorted(self.statuses),
            "regions": [one.shown(code) for code, one in sorted(self.regions.items())],
        }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


class Kept:
    """Items in a file that can be read and written; what it holds already, up to its last whole page, is taken over."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self._file = file
        self._hashes = {kind: sha256() for kind in KINDS}
        self.tally = Tally()
        self.walked = Walked()
        self._begin = len(head) + 1
        self._resume(head)

    def put(self, kind: bytes, item: Mapping[str, Any]) -> None:
        """One more item."""
        self._take(kind, item, encoded := canonical(item))
        self._file.write(b"%b%b\n" % (kind, encoded))

    def reached(self, walked: Walked) -> None:
        """All up to here is whole."""
        self.walked = walked
        self._file.write(b"%b%b\n" % (_PAGE, canonical(walked)))
        self._file.flush()

    def items(self, kind: bytes) -> Iterator[bytes]:
        """Each item of a kind, as JSON."""
        self._file.seek(self._begin)
        for line in self._file:
            if line[:1] == kind:
                yield line[1:-1]

    def digest(self, question: Mapping[str, Any]) -> str:
        """SHA-256 over the question, the position and each kind's own digest: not what the views said meanwhile."""
        parts = [canonical(question), b"%d" % self.walked.known]
        parts += [self._hashes[kind].hexdigest().encode() for kind in (CASES, BREACHES, FINDINGS, TAMPERED)]
        return sha256(b"\n".join(parts)).hexdigest()

    def _take(self, kind: bytes, item: Mapping[str, Any], encoded: bytes) -> None:
        self.tally.take(kind, item)
        # What was spoiled beyond the question's instant is told, but another time there may be more of it.
        if kind != TAMPERED or item["known"]:
            self._hashes[kind].update(encoded + b"\n")

    def _resume(self, head: bytes) -> None:
        self._file.seek(0)
        if self._file.readline() != head + b"\n":
            self._file.seek(0)
            self._file.truncate()
            self._file.write(head + b"\n")
            return
        whole = self._whole()
        self._file.seek(self._begin)
        while self._file.tell() < whole:
            line = self._file.readline()
            kind, encoded = line[:1], line[1:-1]
            if kind == _PAGE:
                self.walked = msgspec.json.decode(encoded, type=Walked)
            else:
                self._take(kind, msgspec.json.decode(encoded), encoded)
        self._file.seek(whole)
        self._file.truncate()

    def _whole(self) -> int:
        """Where the last whole page ends."""
        whole = self._file.tell()
        while line := self._file.readline():
            if line[:1] == _PAGE and line.endswith(b"\n"):
                whole = self._file.tell()
        return whole
