"""Who looked: what of each answer is noted for auditors, and how it is told without repeating what was asked.

Every route is watched unless it is named here with the reason why not, so that a new one is. Noted are answers that
showed personal data, or audited or erased something, and refusals to whoever had a name. What nothing came of (shape,
state, overload) showed nothing and is left to the logs.
"""

import getpass
import hmac
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from intake_api.access import Unauthenticated
from intake_api.http import Call, Reply
from services.access_log import AccessLog, Noted
from services.caller import Caller
from services.directory import Directory
from services.rules import Malformed

# By the name of the handler. Refusals are noted of these too.
UNWATCHED: Mapping[str, str] = {
    "open_case": "the ledger names who recorded it; the answer is what they said themselves",
    "append_action": "the ledger names who recorded it",
    "upload": "the ledger names who recorded it; nothing personal is answered",
    "stream": "positions and ids of cases only",
    "put_region": "the ledger names who recorded it",
    "put_project": "the ledger names who recorded it",
    "publish_policy": "the ledger names who recorded it",
    "get_region": "names of staff in their function, which every role may read",
    "get_project": "names of staff in their function, which every role may read",
    "list_regions": "names of staff in their function, which every role may read",
    "list_projects": "names of staff in their function, which every role may read",
    "list_policies": "nothing personal",
    "get_policy": "nothing personal",
    "impact_of_policy": "grades and duties by case, nothing personal",
    "get_labels": "nothing personal",
    "get_job": "how far it has come; its result is watched",
    "list_projections": "nothing personal",
    "rebuild_projection": "nothing personal",
}
_SHOWN, _REFUSED = frozenset({200, 201, 202}), frozenset({401, 403, 404})
# Parameters whose values are words, instants or numbers of ours once the question was answered; of others the name.
_SAID = frozenset(
    {
        *("category", "stage", "status", "grade", "breached", "escalation_level", "channel", "duty", "state", "sort"),
        *("opened_from", "opened_to", "updated_since", "from", "to", "due_before", "was_overdue", "group_by", "limit"),
        *("count", "as_of", "known_at", "after", "position", "size", "outcome", "operation"),
    }
)
_CASE_ID = re.compile(rb'"case_id":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')
# Answers that a caller was seen to have; then all are forgotten, and noted once more.
_REMEMBERED = 50_000
_LONGEST_SUBJECT = 255
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def cases_in(body: bytes) -> tuple[str, ...]:
    """The cases that a document shows, in its order; a text cannot look like one, since its quotes are escaped."""
    return tuple(dict.fromkeys([found.decode() for found in _CASE_ID.findall(body)]))


class Looked:
    """Notes each answer before it leaves."""

    def __init__(self, log: AccessLog, key: bytes, directory: Directory, clock: Callable[[], datetime]) -> None:
        self.log = log
        # Of a key of its own, so that no digest here equals another one of the service.
        self._key = hmac.digest(key, b"access log", "sha256")
        self._directory, self._clock = directory, clock
        self._have: set[int] = set()

    def answered(self, call: Call, reply: Reply, operation: str, fault: BaseException | None = None) -> None:
        """Note the answer if it is one to be noted; `fault`: what was refused."""
        status = reply.status
        if status in _SHOWN or status == 304:
            caller: Caller | None = call.scope.get("caller")
            # A dashboard is shown nothing personal.
            if caller is None or caller.role == "dashboard" or operation in UNWATCHED:
                return
            if self._is_news(call, caller, reply):
                self.log.note(self._shown(call, caller, status, operation))
        elif status in _REFUSED or (isinstance(fault, Malformed) and fault.code == "unknown_case"):
            self._refused(call, status, operation, fault)

    def items_refused(self, call: Call, operation: str, cases: Mapping[UUID, str | None]) -> None:
        """Note the cases that items of one request named in vain, with the regions of those that there are."""
        call.cases, call.regions = tuple(map(str, cases)), sorted({region for region in cases.values() if region})
        self._refused(call, 404, operation, None)

    async def commanded(self, operation: str, regions: Sequence[str]) -> None:
        """Note what somebody on this machine took out by a command, under their name here; stored at once."""
        self.log.note(Noted(self._clock(), f"cli/{_user()}", None, None, operation, 200, regions, ()))
        await self.log.flush()

    def _is_news(self, call: Call, caller: Caller, reply: Reply) -> bool:
        """Whether an answer shows what the caller was not noted to have: a 304 to who has it shows nothing.

        One that this process did not give itself is noted, once: who names the tag of an answer that another caller
        was given learns that it still holds.
        """
        if reply.tag is None:
            return True
        had = hash((caller.subject, call.path, call.scope["query_string"], reply.tag))
        if reply.status == 304 and had in self._have:
            return False
        if len(self._have) >= _REMEMBERED:
            self._have.clear()
        self._have.add(had)
        return True

    def _shown(self, call: Call, caller: Caller, status: int, operation: str) -> Noted:
        query = call.scope["query_string"]
        asked = _asked(query, self._directory) if query else None
        return Noted(
            self._clock(),
            _clean(caller.subject),
            caller.role,
            caller.unit,
            operation,
            status,
            call.regions if call.regions is not None else _regions(query, caller, self._directory),
            call.cases,
            call.count if call.count is not None else len(call.cases) or None,
            asked,
            self._digest(call),
            _address(call),
        )

    def _refused(self, call: Call, status: int, operation: str, fault: BaseException | None) -> None:
        caller: Caller | None = call.scope.get("caller")
        subject = caller.subject if caller else fault.subject if isinstance(fault, Unauthenticated) else None
        if subject is None:
            return
        role, unit = (caller.role, caller.unit) if caller else (None, None)
        self.log.note(
            Noted(
                self._clock(),
                _clean(subject),
                role,
                unit,
                operation,
                status,
                call.regions or (),
                call.cases,
                question=self._digest(call),
                address=_address(call),
            )
        )

    def _digest(self, call: Call) -> str | None:
        """Whether two questions were the same can be seen, what they were cannot, without the service's key."""
        said: bytes = call.scope["query_string"] + b"\n" + call.question
        return hmac.digest(self._key, said, "sha256")[:12].hex() if len(said) > 1 else None


def _user() -> str:
    try:
        return _clean(getpass.getuser())
    except (OSError, KeyError):
        # A container's user may have no name.
        return str(os.getuid())


def _clean(text: str) -> str:
    """As the database can store it."""
    return _storable(text[:_LONGEST_SUBJECT])


@lru_cache(4096)
def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _address(call: Call) -> str | None:
    """Of whoever is connected: a header could say anything, and behind a proxy it is the proxy's."""
    client = call.scope.get("client")
    return client[0] if client else None


def _regions(query: bytes, caller: Caller, directory: Directory) -> Sequence[str]:
    """The regions that a question took in, as far as they exist and are the caller's."""
    named = [value for name, value in _pairs(query) if name == "region"] if query else []
    if named:
        return sorted({region for region in named if region in directory.regions and caller.sees(region)})
    return ("*",) if caller.everywhere else sorted(map(_clean, caller.regions))


def _asked(query: bytes, directory: Directory) -> str:
    """The question as JSON: values of ours, and of all else the name alone, for a client may write anything there."""
    return _told(query, directory, directory.position)


@lru_cache(4096)
def _told(query: bytes, directory: Directory, _: int) -> str:
    told: dict[str, list[str]] = {}
    for name, value in _pairs(query):
        values = told.setdefault(name, [])
        if (
            name in _SAID
            or (name == "region" and value in directory.regions)
            or (name == "project" and value in directory.projects)
        ):
            values.append(value)
    return msgspec.json.encode(told).decode()


@lru_cache(4096)
def _pairs(query: bytes) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(query.decode("ascii", "replace"), keep_blank_values=True))
