"""What a mining export tells of each type of action: fields that are named here, and nothing else.

Names, telephone numbers, free texts, households as they are called, contact persons, operators, references and whatever
a later release adds to an action stay out because nobody lists them, not because somebody remembered to remove them.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from grading_engine.facts import AMOUNTS, COUNTS, FLAGS
from grading_engine.grades import amount_of
from services.events import ACTIONS, Action

Kind = Literal["string", "integer", "float", "boolean", "time"]
Value = str | int | bool | Decimal | datetime


class Field(NamedTuple):
    """A field of an action: what it is called, of which kind, and how it is read; None: not said."""

    name: str
    kind: Kind
    of: Callable[[Any], Value | None]


def _said(kind: Kind, *names: str) -> tuple[Field, ...]:
    return tuple(Field(name, kind, attrgetter(name)) for name in names)


def _count(name: str) -> Field:
    return Field(name, "integer", lambda action: len(getattr(action, name)))


def _facts(action: Any) -> Mapping[str, Any]:
    """What an assessment, or the opening of a case, says of the facts."""
    if action.name == "assessed":
        return action.facts  # type: ignore[no-any-return]
    return (action.opening and action.opening.facts) or {}


def _fact(kind: Kind, name: str, read: Callable[[Any], Value | None] = lambda said: said) -> Field:
    return Field(name, kind, lambda action: read(_facts(action).get(name)))


def _harm(name: str) -> Field:
    return Field(name, "integer", lambda action: (_facts(action).get("casualties") or {}).get(name))


def _how_many(said: Any) -> int | None:
    """How many households sue; what an assessment adds and takes away says nothing of how many there are."""
    return len(said) if isinstance(said, list) else None


_FACTS = (
    *(_fact("float", name, amount_of) for name in AMOUNTS),
    *(_fact("boolean", name) for name in FLAGS),
    *map(_harm, COUNTS),
    _fact("integer", "litigating_households", _how_many),
)

_OWN: Mapping[str, tuple[Field, ...]] = {
    "risk_identified": _FACTS,
    "warned": _FACTS,
    "received": (*_said("string", "channel"), *_FACTS),
    "chased": _said("string", "channel"),
    "contact_attempted": _said("string", "channel", "outcome"),
    "responded": (*_said("string", "channel"), *_said("boolean", "everyone")),
    "assessed": _FACTS,
    "escalated": _said("string", "to"),
    "emergency_started": (_count("members"), *_said("time", "reported_at")),
    "plan_proposed": (Field("cost", "float", lambda action: Decimal(action.cost) if action.cost else None),),
    "plan_answered": (*_said("boolean", "accepted"), _count("households")),
    "closed": _said("boolean", "recurrence_expected"),
    "blamed": (*_said("boolean", "no_fault"), _count("responsible")),
    "sanctioned": _said("time", "implemented_at"),
    "lesson_recorded": (_count("measures"),),
    "linked": _said("string", "kind"),
    "unlinked": _said("string", "kind"),
    "corrected": (
        Field("corrects", "string", lambda action: str(action.action)),
        *_said("boolean", "retract"),
    ),
}
FIELDS: Mapping[str, tuple[Field, ...]] = {name: _OWN.get(name, ()) for name in ACTIONS}


def own_fields(action: Action) -> Iterator[tuple[Field, Value]]:
    """The fields that an action says something in."""
    for field in FIELDS[action.name]:
        value = field.of(action)
        if value is not None:
            yield field, value
