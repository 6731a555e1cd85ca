"""The ledger as an event log in XES (IEEE 1849-2016): a trace is a case, an event an action, in the order of folding.

`time:timestamp` is the action's fold instant: `occurred_at`, never later than `recorded_at`, so that the times of a
trace rise with its events. Every line is written once and forgotten: memory does not grow with the log.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import BinaryIO
from uuid import UUID

from projections.markup import spelled
from projections.mined import CHANGING, Act, Mined, state
from projections.mined_fields import Value, own_fields
from projections.pseudonyms import Pseudonyms

_SECOND = timedelta(seconds=1)
_EXTENSIONS = (
    ("Concept", "concept"),
    ("Time", "time"),
    ("Lifecycle", "lifecycle"),
    ("Organizational", "org"),
    ("Identity", "identity"),
)
_EPOCH = '<date key="{}" value="1970-01-01T00:00:00Z"/>'
# What every trace and every event has, with what a reader takes for one that has none.
_OF_TRACES = ("concept:name", "region", "project", "category", *CHANGING)
_OF_EVENTS = ("concept:name", "lifecycle:transition", "org:resource", "org:role", "org:group")
_TAGS = {int: "int", bool: "boolean", Decimal: "float", datetime: "date", str: "string", UUID: "id"}


class Xes:
    """Writes one log: `begin`, `add` for each case, `end`."""

    def __init__(self, out: BinaryIO, pseudonyms: Pseudonyms) -> None:
        self._out, self._pseudonyms = out, pseudonyms

    def begin(self, position: int) -> None:
        """What the log is, and that it holds what was recorded up to a position of the ledger."""
        self._write(_head(position))

    def add(self, one: Mined) -> None:
        """A trace."""
        self._write(self._trace(one))

    def end(self) -> None:
        self._write(["</log>"])

    def _write(self, lines: Iterable[str]) -> None:
        self._out.write("".join(f"{line}\n" for line in lines).encode())

    def _trace(self, one: Mined) -> Iterator[str]:
        case, opening = one.case, one.case.opened
        yield "<trace>"
        yield _attribute("concept:name", case.case_no or str(case.case_id))
        yield _attribute("identity:id", case.case_id)
        yield _attribute("region", case.region)
        yield _attribute("project", opening.project)
        yield _attribute("category", opening.category)
        for name, value in zip(CHANGING, state(case), strict=True):
            yield _attribute(name, value)
        yield _attribute("households", len(case.households))
        yield _attribute("complaints", len(case.complaints))
        if opening.tags:
            yield _attribute("tags", " | ".join(opening.tags))
        for act in one.acts:
            yield self._event(one, act)
        yield "</trace>"

    def _event(self, one: Mined, act: Act) -> str:
        entry = act.entry
        role, unit, subject = entry.actor.split("/", 2)
        said: list[tuple[str, Value | UUID]] = [
            ("concept:name", entry.action.name),
            ("time:timestamp", entry.at),
            ("lifecycle:transition", "complete"),
            ("identity:id", entry.action.action_id),
            ("org:resource", self._pseudonyms.of("resource", subject)),
            ("org:role", role),
            ("org:group", unit),
            ("recorded_at", entry.recorded_at),
            ("delay_seconds", max(0, (entry.recorded_at - entry.action.occurred_at) // _SECOND)),
            *((field.name, value) for field, value in own_fields(entry.action)),
            *self._about(one, act),
        ]
        return f"<event>{''.join(_attribute(key, value) for key, value in said)}</event>"

    def _about(self, one: Mined, act: Act) -> Iterator[tuple[str, Value]]:
        if act.complaints:
            yield "complaints", len(act.complaints)
        if act.entry.action.name == "received" and act.households:
            yield "household", self._pseudonyms.of("household", one.case.opened.project, act.households[0])
        if act.corrected_by:
            yield "corrected_by", str(act.corrected_by)
            yield "retracted", act.retracted


def _head(position: int) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<log xes.version="1849.2016" xes.features="">'
    for name, prefix in _EXTENSIONS:
        yield f'<extension name="{name}" prefix="{prefix}" uri="http://www.xes-standard.org/{prefix}.xesext"/>'
    yield f'<global scope="trace">{_unknown(_OF_TRACES)}</global>'
    instants = _EPOCH.format("time:timestamp") + _EPOCH.format("recorded_at")
    yield f'<global scope="event">{_unknown(_OF_EVENTS)}{instants}<int key="delay_seconds" value="0"/></global>'
    yield '<classifier name="Activity" scope="event" keys="concept:name"/>'
    yield '<classifier name="Resource" scope="event" keys="org:resource"/>'
    yield _attribute("concept:name", "anjuan")
    yield _attribute("lifecycle:model", "standard")
    yield _attribute("ledger_position", position)


def _unknown(keys: Iterable[str]) -> str:
    return "".join(f'<string key="{key}" value="UNKNOWN"/>' for key in keys)


def _attribute(key: str, value: Value | UUID) -> str:
    return f'<{_TAGS[type(value)]} key="{key}" value="{spelled(value)}"/>'
