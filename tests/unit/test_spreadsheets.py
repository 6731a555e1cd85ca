"""Files that a spreadsheet opens as they were meant: nothing computed, nothing converted, nothing cut off."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook
from openpyxl.utils.escape import unescape

from projections import spreadsheets
from projections.export_columns import Cell, Column
from projections.spreadsheets import BOM, Workbook, as_text, heading_lines, lines

TEXT = Column("标题", "Title", "text", 20, lambda document, _: document["title"])
NUMBER = Column("户数", "Households", "number", 8, lambda document, _: document["households"])
TIME = Column("时间", "Time", "instant", 20, lambda document, _: document["at"])

COMPUTED = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "＋1",
    "－1",
    "＠x",
    '=HYPERLINK("http://x")',
]
CONVERTED = [
    *("13800138000", "007", "1.50", "1,000", "1E5", "1e5", "3-1-201", "2026-01-15", "1/2", "16:05", "5%", "(5)"),
    *("2026年1月5日", "true", "FALSE", "MAR1", "1-Sep", "Dec 2026", " 12 ", "3PM", "￥5"),
]
PLAIN = [
    "3栋外墙渗水",
    "GD-20261123-0042",
    "138****5678",
    "0757-****4455",
    "R0001-1",
    "A-1.2",
    "Maria",
    "a=b",
    "",
    "e",
    ".",
]


@pytest.mark.parametrize("text", COMPUTED + CONVERTED)
def test_what_would_be_computed_or_converted_stands_behind_an_apostrophe(text: str) -> None:
    assert as_text(text) == f"'{text}"


@pytest.mark.parametrize("text", PLAIN)
def test_any_other_text_stands_as_it_is(text: str) -> None:
    assert as_text(text) == text


def _read(content: bytes) -> list[list[str]]:
    return list(csv.reader(StringIO(content.decode(), newline="")))


def test_a_csv_file_begins_with_its_mark_and_ends_its_lines_as_rfc_4180_has_it() -> None:
    content = heading_lines([TEXT, NUMBER], "zh") + lines([TEXT, NUMBER], [['多行\n文字, "引号"', 3], [None, None]])
    assert content.startswith(BOM.encode())
    assert content.decode() == f'{BOM}标题,户数\r\n"多行\n文字, ""引号""",3\r\n,\r\n'
    assert _read(heading_lines([TEXT, NUMBER], "en"))[0] == [f"{BOM}Title", "Households"]


def test_an_instant_is_told_by_the_clock_of_beijing_to_the_second() -> None:
    at = datetime(2026, 11, 23, 8, 4, 59, 999_999, tzinfo=UTC)
    assert _read(lines([TIME], [[at], [datetime(1, 1, 1, tzinfo=UTC)]])) == [
        ["2026-11-23 16:04:59"],
        ["0001-01-01 08:05:43"],
    ]


def _book(folder: Path, columns: Sequence[Column], rows: list[list[Cell]]) -> Any:
    book = Workbook(folder, "案卷", columns, "zh")
    book.write(rows)
    book.close()
    return load_workbook(book.path)


def test_in_a_workbook_every_text_is_the_text_and_what_would_be_computed_is_marked(tmp_path: Path) -> None:
    texts = [text for text in (*COMPUTED, *CONVERTED, *PLAIN, "a\x00b\x1f", "_x0041_", " 空格 ") if text]
    sheet = _book(tmp_path, [TEXT], [[text] for text in texts])["案卷"]
    cells = [row[0] for row in sheet.iter_rows(min_row=2)]
    assert [unescape(cell.value) for cell in cells] == texts
    assert {cell.data_type for cell in cells} == {"s"}
    assert {cell.number_format for cell in cells} == {"@"}
    assert [bool(cell.quotePrefix) for cell in cells] == [text in COMPUTED for text in texts]


def test_in_a_workbook_instants_are_dates_and_counts_are_numbers(tmp_path: Path) -> None:
    at, before = datetime(2026, 11, 23, 8, 5, 0, 1, tzinfo=UTC), datetime(1850, 1, 1, tzinfo=UTC)
    sheet = _book(tmp_path, [TIME, NUMBER], [[at, 7], [before, None]])["案卷"]
    rows = list(sheet.iter_rows(min_row=2, values_only=True))
    assert rows == [(datetime(2026, 11, 23, 16, 5), 7), ("1850-01-01 08:05:43", None)]  # noqa: DTZ001 - cells have none
    assert sheet["A2"].number_format == "yyyy-mm-dd hh:mm:ss"
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", "A1:B3")
    assert sheet.column_dimensions["A"].width > 20 and sheet["A1"].font.bold


def test_what_no_cell_or_file_can_hold_is_replaced_or_cut(tmp_path: Path) -> None:
    sheet = _book(tmp_path, [TEXT], [["a\ufffeb\uffff"], ["长" * 40_000]])["案卷"]
    assert sheet["A2"].value == "a\ufffdb\ufffd"
    assert sheet["A3"].value == "长" * 32_767


def test_a_full_sheet_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheets, "_LONGEST_SHEET", 4)
    book = _book(tmp_path, [NUMBER], [[number] for number in range(7)])
    assert book.sheetnames == ["案卷", "案卷 2", "案卷 3"]
    found = [[row[0] for row in sheet.iter_rows(min_row=2, values_only=True)] for sheet in book]
    assert found == [[0, 1, 2], [3, 4, 5], [6]]
    assert [sheet["A1"].value for sheet in book] == ["户数"] * 3


def test_nothing_of_a_workbook_is_left_but_the_file(tmp_path: Path) -> None:
    _book(tmp_path, [TEXT], [["一"]])
    assert [path.name for path in tmp_path.iterdir()] == ["made.xlsx"]
