"""A replay as a file for machines, for spreadsheets, or for people; whole when it has its name."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from intake_api.command_line.replay_report import report
from projections.export_columns import Reader
from projections.replay import Question
from projections.replay_answer import pieces
from projections.replay_columns import COLUMNS, rows
from projections.replay_kept import KINDS, Kept
from projections.spreadsheets import heading_lines, lines
from services.event_log import Head
from services.policies import PolicyBook


def written(
    kept: Kept, question: Question, head: Head, file: Path, format: str, language: str, policies: PolicyBook
) -> list[Path]:
    """The files that were made."""
    reader = Reader(language, question.as_of, policies.policies)
    if format == "csv":
        return [_put(_named(file, KINDS[kind]), _table(kept, kind, reader)) for kind in KINDS]
    if format == "html":
        return [_put(file, report(kept, question, head, reader))]
    return [_put(file, pieces(kept, question, head, None))]


def _table(kept: Kept, kind: bytes, reader: Reader) -> Iterator[bytes]:
    columns = COLUMNS[kind]
    yield heading_lines(columns, reader.language)
    for item in kept.items(kind):
        told = rows(kind, msgspec.json.decode(item))
        yield lines(columns, [[column.cell(row, reader) for column in columns] for row in told])


def _named(file: Path, kind: str) -> Path:
    return file.with_name(f"{file.stem}-{kind}{file.suffix or '.csv'}")


def _put(file: Path, content: Iterator[bytes]) -> Path:
    made = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with made.open("wb") as out:
            out.writelines(content)
        made.replace(file)
    finally:
        made.unlink(missing_ok=True)
    return file
