"""Of a case with very many rows only what moved is written again, and what is gone is named."""

from uuid import UUID

from projections.rows import CaseRows, FoundRows
from projections.written import Written

_CASE = UUID(int=1)


def _rows(complaints: dict[int, str], duties: int = 30) -> list[FoundRows]:
    said = [(UUID(int=key), text) for key, text in complaints.items()]
    owed = [(UUID(int=1_000 + key), "owed") for key in range(duties)]
    return [(CaseRows(_CASE, "GD", (_CASE,), said, owed, [], ()), None)]


def test_a_case_that_is_not_known_is_written_whole() -> None:
    rows = _rows({1: "a", 2: "b"})
    lean = Written().less(rows)
    assert lean.rows == rows
    assert not lean.known


def test_of_a_known_case_only_what_moved_is_written() -> None:
    written = Written()
    written.less(_rows({1: "a", 2: "b"}))
    lean = written.less(_rows({1: "a", 2: "c", 3: "d"}))
    ((held, _),) = lean.rows
    assert list(held.complaints) == [(UUID(int=2), "c"), (UUID(int=3), "d")]
    assert not held.duties
    assert lean.known == [_CASE]
    assert not lean.gone_complaints


def test_what_is_no_longer_there_is_named() -> None:
    written = Written()
    written.less(_rows({1: "a", 2: "b"}))
    lean = written.less(_rows({2: "b"}, duties=29))
    assert lean.gone_complaints == [UUID(int=1)]
    assert lean.gone_duties == [UUID(int=1_029)]


def test_after_an_undone_transaction_everything_is_written_again() -> None:
    written = Written()
    rows = _rows({1: "a"})
    written.less(rows)
    written.forget()
    assert written.less(rows).rows == rows


def test_a_case_that_became_small_is_written_whole() -> None:
    written = Written()
    written.less(_rows({1: "a"}))
    small = _rows({1: "a"}, duties=1)
    lean = written.less(small)
    assert lean.rows == small
    assert not lean.known
