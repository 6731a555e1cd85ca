"""What a draft of the policy would change: each case of a period judged by the document in force and by the draft."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from grading_engine.policy import Policy
from projections.dockets import dockets
from projections.duty_view import Regions, duties
from services.case import Case
from services.docket import Files, Policies, fold
from services.event_log import EventLog

_PAGE = 2_000
# Cases judged before others have a turn: some milliseconds.
_AT_ONCE = 50
_NOBODY: Regions = {}


class Difference(NamedTuple):
    """A case whose grade or duties would differ; each side's level with the criteria that decide it."""

    case_id: UUID
    case_no: str
    region: str
    opened_at: datetime | None
    grade_before: str
    criteria_before: tuple[str, ...]
    grade_after: str
    criteria_after: tuple[str, ...]
    duties_before: tuple[str, ...]
    duties_after: tuple[str, ...]


class Impact(NamedTuple):
    """Over all cases of the period: how many there are, those that differ, and levels per region before and after."""

    cases: int
    differences: list[Difference]
    before: Counter[tuple[str, str]]
    after: Counter[tuple[str, str]]


class Period(NamedTuple):
    """Which cases are looked at: opened from `begin` on and before `end`; no regions are all of them."""

    begin: datetime | None
    end: datetime | None
    regions: frozenset[str]

    def holds(self, case: Case) -> bool:
        opened_at = case.opened_at
        if opened_at is None or (self.regions and case.region not in self.regions):
            return False
        return (self.begin is None or self.begin <= opened_at) and (self.end is None or opened_at < self.end)


def impact(together: Sequence[Files], policies: Policies, draft: Policy, period: Period, now: datetime) -> Impact:
    """Judge each case twice. Nothing is written."""
    count = 0
    differences: list[Difference] = []
    before: Counter[tuple[str, str]] = Counter()
    after: Counter[tuple[str, str]] = Counter()
    for files in together:
        then = fold(files, policies=policies).docket
        concerned = [case for case in then.values() if case.version and period.holds(case)]
        if not concerned:
            continue
        drafted = fold(files, policies=(draft,)).docket
        for case in concerned:
            other = drafted[case.case_id]
            count += 1
            before[case.region, _code(case)] += 1
            after[case.region, _code(other)] += 1
            found = _difference(case, other, now)
            if found:
                differences.append(found)
    return Impact(count, differences, before, after)


def shown(found: Impact) -> dict[str, Any]:
    """The report as an answer: totals per region and grade, then each case that would differ."""
    totals = [
        {"region": region, "grade": code, "before": found.before[region, code], "after": found.after[region, code]}
        for region, code in sorted({*found.before, *found.after})
    ]
    items = [
        {
            "case_id": one.case_id,
            "case_no": one.case_no,
            "region": one.region,
            "opened_at": one.opened_at,
            "before": {"grade": one.grade_before, "criteria": one.criteria_before, "duties": one.duties_before},
            "after": {"grade": one.grade_after, "criteria": one.criteria_after, "duties": one.duties_after},
        }
        for one in found.differences
    ]
    return {"cases": found.cases, "differing": len(items), "totals": totals, "items": items}


async def over_ledger(
    url: str,
    log: EventLog,
    policies: Policies,
    draft: Policy,
    period: Period,
    now: datetime,
    told: Callable[[int, int], None],
) -> Impact:
    """Judge the whole ledger, page by page, giving way to others; `told` how far it has come."""
    head = (await log.read.head()).position
    total = Impact(0, [], Counter(), Counter())
    done = 0
    async with aclosing(dockets(url, log, head, _PAGE)) as walk:
        async for met in walk:
            together = met.first_met
            for start in range(0, len(together), _AT_ONCE):
                part = impact(together[start : start + _AT_ONCE], policies, draft, period, now)
                total.differences.extend(part.differences)
                total.before.update(part.before)
                total.after.update(part.after)
                total = total._replace(cases=total.cases + part.cases)
                await asyncio.sleep(0)
            done += len(met.records)
            told(done, head)
    return total


def _difference(case: Case, other: Case, now: datetime) -> Difference | None:
    owed, would_owe = _duties(case, now), _duties(other, now)
    same_grade = (_code(case), _criteria(case)) == (_code(other), _criteria(other))
    if same_grade and owed == would_owe:
        return None
    return Difference(
        case.case_id,
        case.case_no,
        case.region,
        case.opened_at,
        _code(case),
        _criteria(case),
        _code(other),
        _criteria(other),
        owed,
        would_owe,
    )


def _code(case: Case) -> str:
    return case.grading.code if case.grading else "ungraded"


def _criteria(case: Case) -> tuple[str, ...]:
    return case.grading.criteria if case.grading else ()


def _duties(case: Case, now: datetime) -> tuple[str, ...]:
    """Each duty's state, told so that two can be compared."""
    return tuple(
        f"{one['duty']}/{one['cycle']} {one['state']} due {one['due_at'] or 'open'}"
        for one in duties(case, _NOBODY, now)
    )
