"""A working day at the desk as requests: cases opened, customers answered, notes taken."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

from tests.bench import load

_RANDOM = random.Random(20_260_101)
# How many different people call, and how many of ours call back.
_CUSTOMERS, _STAFF = 20_000, 200
_PROJECTS = ("GD-FS-001", "GD-GZ-002")
_TITLE = "地下室渗水，业主要求尽快维修"
_NOTE = "已电话联系客户，约定明日上午上门查看并给出维修方案，客户表示认可。"


class Known(NamedTuple):
    """A case that stands open."""

    case_id: UUID
    household: str


class Clerk:
    """One client: an agent with a token and cases of its own, whose versions it knows as a screen would."""

    def __init__(self, number: int, port: int, token: str, cases: list[Known]) -> None:
        self._number, self._port, self._cases = number, port, cases
        self._authorization = f"Authorization: Bearer {token}"
        self._versions = {case.case_id: 1 for case in cases}
        self._serial = count(1)

    def any_action(self) -> bytes:
        """30 % open a case, 40 % answer, 15 % note, 15 % call in vain."""
        chance = _RANDOM.random()
        if chance < 0.3:
            return self.open_case()
        if chance < 0.7:
            return self._act(responded(self._number))
        case = _RANDOM.choice(self._cases)
        return self._act(noted() if chance < 0.85 else attempted(case.household), case)

    def open_case(self) -> bytes:
        household = f"{self._number}-{next(self._serial)}"
        return self._request("/v1/cases", opened(household, f"bench-{household}"))

    def each_kind(self) -> list[bytes]:
        """One of each, for a look at the answers."""
        case = self._cases[0]
        bodies = [responded(self._number), noted(), attempted(case.household)]
        return [self.open_case(), *(self._act(body, case) for body in bodies)]

    def _act(self, body: bytes, case: Known | None = None) -> bytes:
        case_id = (case or _RANDOM.choice(self._cases)).case_id
        seen = self._versions[case_id]
        self._versions[case_id] = seen + 1
        return self._request(f"/v1/cases/{case_id}/actions", body, f'If-Match: "{seen}"')

    def _request(self, path: str, body: bytes, *headers: str) -> bytes:
        key = f"Idempotency-Key: bench-{self._number}-{next(self._serial)}"
        return load.request(self._port, path, body, self._authorization, key, *headers)


def answering(port: int, path: Callable[[], str], token: str, number: int) -> Callable[[], bytes]:
    """The same answers to customers, headers included, for whoever else listens there."""
    serial = count(1)
    authorization = f"Authorization: Bearer {token}"

    def make() -> bytes:
        key = f"Idempotency-Key: bench-{number}-{next(serial)}"
        return load.request(port, path(), responded(number), authorization, key, 'If-Match: "1"')

    return make


def opened(household: str, reference: str) -> bytes:
    """`POST /v1/cases`: a complaint with its complainant."""
    customer = _RANDOM.randrange(_CUSTOMERS)
    return _json(
        project=_PROJECTS[customer % len(_PROJECTS)],
        category="engineering",
        title=_TITLE,
        description=_NOTE,
        obtained_at=_now(),
        channel="hotline",
        household=household,
        complainant={"name": f"李明{customer}", "phone": f"138{customer:08d}", "relation": "业主"},
        external_ref=reference,
    )


def responded(number: int) -> bytes:
    """响应客户 (3.1)."""
    member = (number * 7 + _RANDOM.randrange(7)) % _STAFF
    return _json(
        type="responded",
        complaints="all",
        contacted_at=_now(),
        channel="hotline",
        contact_person={"name": f"陈工{member}", "title": "工程经理", "phone": f"139{member:08d}"},
        note=_NOTE,
    )


def noted() -> bytes:
    """备注."""
    return _json(type="noted", text=_NOTE)


def attempted(household: str) -> bytes:
    """未能联系."""
    return _json(
        type="contact_attempted", households=[household], attempted_at=_now(), channel="hotline", outcome="no_answer"
    )


def _json(**fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat()
