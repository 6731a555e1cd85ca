"""A client's clock may be five minutes fast; an instant beyond that lies in the future."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.instants import format_instant
from services.rules import Malformed
from tests.steps import NOW, command, complaint_id, given, opened, received, risk_identified

BOUND = NOW + timedelta(minutes=5)
BEYOND = BOUND + timedelta(microseconds=1)
COMPLAINTS = [str(complaint_id(1))]
WANG = {"name": "王五", "title": "专员"}

TIMED: list[tuple[str, str, dict[str, Any]]] = [
    ("received", "obtained_at", {"channel": "hotline"}),
    ("responded", "contacted_at", {"complaints": "all", "contact_person": WANG}),
    (
        "contact_attempted",
        "attempted_at",
        {"complaints": COMPLAINTS, "channel": "hotline", "outcome": "busy"},
    ),
    ("noted", "occurred_at", {"text": "看过"}),
    ("chased", "occurred_at", {"complaint": COMPLAINTS[0], "channel": "hotline"}),
]


@pytest.mark.parametrize(("kind", "field", "body"), TIMED)
def test_exactly_five_minutes_ahead_is_accepted(kind: str, field: str, body: dict[str, Any]) -> None:
    fact = given(received(1)).when(command(kind, **{field: BOUND}, **body)).fact
    assert fact is not None
    assert fact.occurred_at == BOUND


@pytest.mark.parametrize(("kind", "field", "body"), TIMED)
def test_one_microsecond_more_lies_in_the_future(kind: str, field: str, body: dict[str, Any]) -> None:
    asked = given(received(1)).when(command(kind, **{field: BEYOND}, **body))
    malformed = asked.is_malformed("in_the_future", f"/{field}")
    assert malformed.faults[0].given == format_instant(NOW)


def test_a_warning_from_the_future_is_refused_too() -> None:
    asked = given(risk_identified()).when(command("warned", unrest="聚集", occurred_at=BEYOND))
    asked.is_malformed("in_the_future", "/occurred_at")


@pytest.mark.parametrize(("stage", "field"), [("complaint", "obtained_at"), ("risk", "occurred_at")])
def test_a_case_opens_up_to_five_minutes_ahead(stage: str, field: str) -> None:
    assert _opened(stage, field, BOUND).occurred_at == BOUND
    with pytest.raises(Malformed, match="in_the_future"):
        _opened(stage, field, BEYOND)


def _opened(stage: str, field: str, instant: datetime) -> Any:
    return opened(stage=stage, **{field: instant})


def test_any_past_is_accepted_because_uploads_come_after_outages() -> None:
    asked = given(received(1)).when(command("received", obtained_at="1999-12-31T23:59:59+08:00", channel="letter"))
    assert asked.fact is not None
