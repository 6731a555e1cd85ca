"""Rows as files that a spreadsheet opens: nothing in them is computed, and no text becomes a number or a date."""

import csv
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from projections.export_columns import Cell, Column

BOM = "\ufeff"
_BEIJING = ZoneInfo("Asia/Shanghai")
# What a spreadsheet would compute (OWASP, CSV injection), full width too; and what it would make a number or a date.
_COMPUTED = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_CONVERTED = re.compile(
    r"\s*(?:[()\d.,:/\\\-\s%eE￥¥$年月日时分秒]*\d[()\d.,:/\\\-\s%eE￥¥$年月日时分秒apm]*|true|false"
    r"|(?=\D*\d)\d*[\s\-/]*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[\s\-/,]*\d*[\s\-/,]*\d*)\s*",
    re.IGNORECASE,
)
# Not characters of XML 1.0; the others below a space are escaped by the writer.
_NO_XML = re.compile("[\ufffe\uffff]")
_LONGEST_CELL = 32_767
_LONGEST_SHEET = 1_048_576
_FIRST_YEAR = 1901


def beijing(instant: datetime) -> datetime:
    """The clock in Beijing, whole seconds, with no zone: as people there write it down."""
    return instant.astimezone(_BEIJING).replace(microsecond=0, tzinfo=None)


def heading_lines(columns: Sequence[Column], language: str) -> bytes:
    """How a CSV file begins."""
    return (BOM + _lines([[column.heading(language) for column in columns]])).encode()


def lines(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Rows of a CSV file."""
    written = [[_field(column, cell) for column, cell in zip(columns, row, strict=True)] for row in rows]
    return _lines(written).encode("utf-8", "replace")


def _lines(rows: Iterable[Sequence[str]]) -> str:
    out = StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def _field(column: Column, cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return beijing(cell).isoformat(sep=" ")
    return as_text(str(cell)) if column.kind == "text" else str(cell)


def as_text(text: str) -> str:
    """The text behind an apostrophe where a spreadsheet would make something else of it."""
    return f"'{text}" if _COMPUTED.match(text) or _CONVERTED.fullmatch(text) else text


class Workbook:
    """An XLSX file, written row by row: one row is in memory, the others in files of its folder until it is closed.

    Instants are real dates (Beijing time), so that they sort and filter; texts are typed as such, and those that would
    be computed once somebody edits them carry the mark that Excel itself gives to what is typed behind an apostrophe.
    """

    def __init__(self, folder: Path, name: str, columns: Sequence[Column], language: str) -> None:
        # Takes a tenth of a second to load, and most processes never write one.
        import xlsxwriter

        self.path = folder / "made.xlsx"
        self._name, self._columns, self._language = name, columns, language
        self._book = xlsxwriter.Workbook(str(self.path), {"constant_memory": True, "tmpdir": str(folder)})
        self._book.set_size(2400, 1600)
        self._heading = self._book.add_format({"bold": True, "bg_color": "#D9E1F2", "border": 1})
        self._text = self._book.add_format({"num_format": "@"})
        self._quoted = self._book.add_format({"num_format": "@", "quote_prefix": True})
        self._time = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._sheets = 0
        self._next_sheet()

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Some more rows; a sheet that is full is followed by another."""
        for row in rows:
            if self._row == _LONGEST_SHEET:
                self._end_sheet()
                self._next_sheet()
            for place, cell in enumerate(row):
                if cell is not None and cell != "":
                    self._cell(place, cell)
            self._row += 1

    def close(self) -> None:
        """The file is whole now."""
        self._end_sheet()
        self._book.close()

    def abandon(self) -> None:
        """Nobody wants it any more; once it is closed this does nothing."""
        for sheet in self._book.worksheets():
            sheet.row_data_fh.close()
        self._book.fileclosed = True

    def _next_sheet(self) -> None:
        self._sheets += 1
        name = self._name if self._sheets == 1 else f"{self._name} {self._sheets}"
        self._sheet: Any = self._book.add_worksheet(name)
        self._sheet.freeze_panes(1, 0)
        for place, column in enumerate(self._columns):
            self._sheet.set_column(place, place, column.width)
            self._sheet.write_string(0, place, column.heading(self._language), self._heading)
        self._row = 1

    def _end_sheet(self) -> None:
        self._sheet.autofilter(0, 0, max(self._row - 1, 1), len(self._columns) - 1)

    def _cell(self, place: int, cell: str | int | datetime) -> None:
        if isinstance(cell, datetime):
            here = beijing(cell)
            if here.year >= _FIRST_YEAR:
                self._sheet.write_datetime(self._row, place, here, self._time)
                return
            # Before the days that every spreadsheet counts alike.
            cell = here.isoformat(sep=" ")
        if isinstance(cell, int):
            self._sheet.write_number(self._row, place, cell)
            return
        style = self._quoted if _COMPUTED.match(cell) else self._text
        self._sheet.write_string(self._row, place, _NO_XML.sub("\ufffd", cell)[:_LONGEST_CELL], style)
