"""The file of service requests, and the report of what was refused: itself a file that can be corrected and fed again.

Bytes that are no UTF-8 survive the way through both (surrogateescape). Read whole: cases are gathered across the file.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

REPORT = ("row", "step", "rule", "clause", "reason")
NEEDED = (
    "Unique Key",
    "Created Date",
    "Closed Date",
    "Agency",
    "Complaint Type",
    "Descriptor",
    "Incident Address",
    "Status",
    "Resolution Description",
    "Resolution Action Updated Date",
    "BBL",
    "Borough",
    "Open Data Channel Type",
)
# One cell; an unclosed quotation mark swallows the rest of the file and is found by this.
_LARGEST_CELL = 1 << 20


class Unreadable(Exception):
    """The file as a whole cannot be read; the message says what is wrong with it."""


class Row(NamedTuple):
    """One service request: its cells without the report's columns, and by name what the mapping reads, trimmed."""

    line: int
    cells: tuple[str, ...]
    values: Mapping[str, str]
    whole: bool = True


class Refused(NamedTuple):
    """One step of a row that is not in the ledger, and why."""

    row: Row
    step: str
    rule: str
    clause: str | None
    reason: str


class Sheet(NamedTuple):
    """The columns (without the report's) and the rows."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]


def read(file: Path) -> Sheet:
    """The rows of a CSV file, compressed or not; raises `Unreadable`."""
    csv.field_size_limit(_LARGEST_CELL)
    try:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8", "surrogateescape")
        lines = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
        header = next(lines, [])
        if missing := [column for column in NEEDED if column not in header]:
            raise Unreadable(f"{file.name} has no column {', '.join(missing)}")
        own = [index for index, column in enumerate(header) if column not in REPORT]
        rows = tuple(_row(lines.line_num, header, own, cells) for cells in lines if cells)
    except (OSError, EOFError, zlib.error) as failure:
        raise Unreadable(f"{file.name} cannot be read: {failure}") from None
    except csv.Error as failure:
        raise Unreadable(f"{file.name}, line {lines.line_num}: {failure}") from None
    return Sheet(tuple(header[index] for index in own), rows)


def _row(line: int, header: Sequence[str], own: Sequence[int], cells: Sequence[str]) -> Row:
    values = {header[index]: cells[index].strip() for index in own if index < len(cells)}
    kept = (*(cells[index] for index in own if index < len(cells)), *cells[len(header) :])
    return Row(line, kept, values, len(cells) == len(header))


def write_report(file: Path, header: Sequence[str], refused: Iterable[Refused]) -> None:
    """One line per row and step. Made under another name first: it may replace the very file that was read."""
    draft = file.with_name(f".{file.name}.draft")
    with draft.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow((*REPORT, *header))
        for one in refused:
            said = (one.row.values.get("Unique Key", ""), one.step, one.rule, one.clause or "", one.reason)
            lines.writerow((*said, *one.row.cells))
    draft.replace(file)
