"""The query parameters that routes share, as the published document describes them."""

from collections.abc import Collection
from typing import Any, get_args

from intake_api import asked, openapi
from projections.grouping import DIMENSIONS
from services.access_log import OUTCOMES
from services.case import LEVELS
from services.commands import Category, Channel
from services.events import Stage

_TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_INSTANT: dict[str, Any] = {"type": "string", "format": "date-time"}


def _words(*words: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "enum": list(words)}}


SCHEMAS: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": asked.LARGEST_PAGE, "default": 50},
    "cursor": {"type": "string"},
    "count": {"type": "boolean", "default": False},
    "min_position": {"type": "integer", "minimum": 0},
    "sort": {"type": "string"},
    **dict.fromkeys(("region", "project", "city", "area", "grade", "tag", "duty"), _TEXTS),
    "category": _words(*get_args(Category)),
    "stage": _words(*get_args(Stage)),
    "status": _words(*asked.STATUSES),
    "escalation_level": _words(*LEVELS),
    "channel": _words(*get_args(Channel)),
    "breached": {"type": "boolean"},
    "was_overdue": {"type": "boolean"},
    "q": {"type": "string", "maxLength": 200},
    "group_by": {
        "type": "string",
        "description": f"Comma-separated, any of {' '.join(DIMENSIONS)}; left out: one item for all.",
        "examples": ["region,month"],
    },
    "subject": _TEXTS,
    "case": {"type": "string"},
    "operation": _TEXTS,
    "outcome": _words(*OUTCOMES),
    "state": _words("pending", "met", "overdue", "met_late", "void"),
    **dict.fromkeys(("opened_from", "opened_to", "updated_since", "from", "to", "due_before"), _INSTANT),
}


def listed(names: Collection[str], **narrower: Collection[str]) -> dict[str, Any]:
    """A route's query parameters by their names; `narrower`: those that take fewer words here."""
    few = {name: _words(*words) for name, words in narrower.items()}
    return openapi.query(**{name: few.get(name) or SCHEMAS[name] for name in names})
