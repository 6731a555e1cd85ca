"""What was written last of the cases with very many rows, so that one more action does not write all of them again.

A mass complaint has hundreds of complaints and duties, of which an action moves a few. Only a saving: a case that is
not remembered is written whole, and what is there already is left alone by the database.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from projections.rows import CaseRows, FoundRows, Row

# Cases with fewer rows cost less than remembering them.
_MANY = 20
_KEPT = 300

_ByKey = Mapping[object, Row]


class Lean(NamedTuple):
    """Rows without those that are there already. Of the `known` cases only what is `gone` has to be taken away."""

    rows: Sequence[FoundRows]
    known: list[UUID]
    gone_complaints: list[object]
    gone_duties: list[object]


class Written:
    """The rows last written of each such case."""

    def __init__(self) -> None:
        self._held: OrderedDict[UUID, tuple[_ByKey, _ByKey]] = OrderedDict()

    def forget(self) -> None:
        """What was written may have been taken back."""
        self._held.clear()

    def less(self, rows: Sequence[FoundRows]) -> Lean:
        """What is left to write of these cases; from now on it counts as written."""
        lean = Lean([], [], [], [])
        found = [(self._less(held, lean), words) for held, words in rows]
        return lean._replace(rows=found)

    def _less(self, held: CaseRows, lean: Lean) -> CaseRows:
        before = self._held.pop(held.case_id, None)
        if len(held.complaints) + len(held.duties) < _MANY:
            return held
        now = _by_key(held.complaints), _by_key(held.duties)
        self._held[held.case_id] = now
        if len(self._held) > _KEPT:
            self._held.popitem(last=False)
        if before is None:
            return held
        lean.known.append(held.case_id)
        lean.gone_complaints.extend(before[0].keys() - now[0].keys())
        lean.gone_duties.extend(before[1].keys() - now[1].keys())
        return held._replace(complaints=_moved(before[0], now[0]), duties=_moved(before[1], now[1]))


def _by_key(rows: Sequence[Row]) -> _ByKey:
    """Both kinds of rows begin with their key."""
    return {row[0]: row for row in rows}


def _moved(before: _ByKey, now: _ByKey) -> list[Row]:
    return [row for key, row in now.items() if before.get(key) != row]
