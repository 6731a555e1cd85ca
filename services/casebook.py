"""Folded cases, kept in memory and brought up to date from their streams."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from uuid import UUID

from services.case import Case, evolve
from services.event_log import EventLog, Head, Record
from services.events import (
    ACTIONS,
    Action,
    ProjectDescribed,
    RegionDescribed,
    UnknownEvent,
    decode,
)

_KEPT = 20_000


def replay(case: Case, records: Iterable[Record]) -> Case:
    """The case after more records of its stream, in version order."""
    for record in records:
        case = step(case, record, decoded_action(record))
    return case


def decoded_action(record: Record) -> Action:
    """The action in a record of a case's stream, texts sealed."""
    fact = decode(record.name, record.schema, record.body)
    if isinstance(fact, (RegionDescribed, ProjectDescribed)):
        raise UnknownEvent(f"{record.name} in the stream of a case")
    return fact


def step(case: Case, record: Record, action: Action) -> Case:
    """The case after one record whose body is already decoded."""
    return evolve(case, action, record.version, record.position, record.region, record.recorded_at)


class Casebook:
    """Least recently used cases go first; a stale one is harmless, because every append checks versions."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._cases: OrderedDict[UUID, Case] = OrderedDict()

    async def last_known(self, case_id: UUID) -> Case:
        """The case as this process knows it, read only if it doesn't; version 0: there is none."""
        known = self._cases.get(case_id)
        if known:
            self._cases.move_to_end(case_id)
            return known
        return (await self.fresh(case_id))[0]

    async def fresh(self, case_id: UUID) -> tuple[Case, Head]:
        """The case with every write acknowledged before, by any process, and a head that it reflects at least."""
        known = self._cases.get(case_id) or Case(case_id)
        head, records = await self._log.read.history(case_id, known.version)
        if records and records[0].name not in ACTIONS:
            # Somebody asks for the directory's stream, whose id can be computed, as if it were a case.
            return known, head
        case = replay(known, records)
        self.keep(case)
        return case, head

    async def fresh_many(self, case_ids: Sequence[UUID]) -> list[Case]:
        """The cases, each up to date, in the order given: one question to the database."""
        known = {case_id: self._cases.get(case_id) or Case(case_id) for case_id in case_ids}
        records = await self._log.read.histories({case_id: case.version for case_id, case in known.items()})
        for record in records:
            known[record.stream] = step(known[record.stream], record, decoded_action(record))
        for case in known.values():
            self.keep(case)
        return list(known.values())

    def keep(self, case: Case) -> None:
        """Remember a newer state."""
        known = self._cases.get(case.case_id)
        if case.version and (known is None or known.version < case.version):
            self._cases[case.case_id] = case
            self._cases.move_to_end(case.case_id)
            if len(self._cases) > _KEPT:
                self._cases.popitem(last=False)
