"""Lists, breaches, sums and cases over HTTP, each request a new question; and what polling costs."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

from grading_engine.policy import Policy
from tests.bench import load
from tests.bench.http import contender
from tests.bench.measuring import Backends, Contender

_PATIENCE = 900.0
_POLLERS = 32
_READERS = 2
# No answer is kept for these: each asks from another microsecond on, or at least as of another position long past.
_QUESTIONS = {
    "list, newest": "/v1/cases?opened_from={from}",
    "list, one region's open by due": "/v1/cases?region=GD&status=open&sort=due_at&opened_from={from}",
    "list, A-1 by update": "/v1/cases?grade=A-1&sort=-updated_at&opened_from={from}",
    "list, worst of two regions, counted": "/v1/cases?region=SH&region=BJ&sort=grade&count=true&opened_from={from}",
    "list, breached": "/v1/cases?breached=true&sort=-due_at&opened_from={from}",
    "list, a word": f"/v1/cases?q={quote('渗水')}&opened_from={{from}}",
    "duties, overdue": "/v1/duties?state=overdue&due_before={from}",
    "breaches": "/v1/breaches?from={from}",
    **{
        f"summary by {by}": f"/v1/summary?group_by={by}&min_position={{serial}}"
        for by in ("region", "category", "project", "month", "city", "region,grade", "category,grade")
    },
    "summary by month, from": "/v1/summary?group_by=region,month&opened_from={from}",
}


class Served(NamedTuple):
    """A running service over a ledger."""

    port: int
    pid: int
    auditor: str
    admin: str
    cases: list[UUID]
    backends: Backends
    runner: "asyncio.Runner"

    def get(self, path: str, *headers: str) -> bytes:
        return load.got(self.port, path, f"Authorization: Bearer {self.auditor}", *headers)

    def ask(self, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any, Any]:
        """One answer: status, headers, body."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Authorization": f"Bearer {token or self.auditor}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers, None


def questions(served: Served, size: str) -> list[Contender]:
    """Every question that the service knows, and one case in detail."""
    found = []
    for name, path in _QUESTIONS.items():
        if served.ask(_new(path))[0] == 404:
            continue
        found.append(_contender(served, f"{size}: {name}", lambda path=path: served.get(_new(path)), _READERS))  # type: ignore[misc]
    found.append(case_detail(served, f"{size}: a case", _READERS))
    return found


def case_detail(served: Served, name: str, connections: int) -> Contender:
    """One case after the other."""
    places = count()
    step = 7_919

    def make() -> bytes:
        return served.get(f"/v1/cases/{served.cases[next(places) * step % len(served.cases)]}")

    return _contender(served, name, make, connections)


def polling(served: Served) -> Contender:
    """A list that did not change since it was last asked for."""
    path = "/v1/cases?region=GD&sort=-opened_at"
    _, headers, _ = served.ask(path)
    asked = served.get(path, f"If-None-Match: {headers['ETag']}")
    return _contender(served, "a list, 304", lambda: asked, _POLLERS)


def asked_cases(served: Served) -> Contender:
    """Cases at as many connections as the framework's empty GET has."""
    return case_detail(served, "a case", _POLLERS)


def empty(port: int, pid: int, token: str, runner: "asyncio.Runner") -> Contender:
    """FastAPI's empty GET."""
    asked = load.got(port, "/empty", f"Authorization: Bearer {token}")
    return contender("empty GET", pid, port, [lambda: asked] * _POLLERS, runner, None)


def impact(served: Served, draft: Policy) -> str:
    """A draft held against the whole ledger, and how long a case has to wait meanwhile."""
    begun = time.perf_counter()
    status, headers, body = served.ask("/v1/policies/impact", {"policy": draft.model_dump(mode="json")}, served.admin)
    waits: list[float] = []
    while status == 202 and time.perf_counter() - begun < _PATIENCE:
        state = served.ask(headers["Location"], token=served.admin)[2]["state"]
        if state != "running":
            status, _, body = served.ask(f"{headers['Location']}/result", token=served.admin)
            break
        for case_id in served.cases[:20]:
            asked = time.perf_counter()
            served.ask(f"/v1/cases/{case_id}")
            waits.append(time.perf_counter() - asked)
            time.sleep(0.02)
    if status != 200:
        return f"impact of a draft: no answer ({status}) in {time.perf_counter() - begun:.0f} s"
    took = time.perf_counter() - begun
    waits.sort()
    meanwhile = (
        f"; a case meanwhile: p50 {waits[len(waits) // 2] * 1e3:.0f} ms, longest {waits[-1] * 1e3:.0f} ms"
        if waits
        else ""
    )
    return f"impact of a draft: {body['cases']} cases, {body['cases'] / took:.0f} cases/s{meanwhile}"


def _contender(served: Served, name: str, make: Callable[[], bytes], connections: int) -> Contender:
    return contender(name, served.pid, served.port, [make] * connections, served.runner, served.backends)


_serial = count()


def _new(path: str) -> str:
    number = next(_serial)
    at = datetime.now(UTC) - timedelta(days=400, microseconds=number)
    # A position that the smallest ledger has, each time spelled anew.
    position = f"{number % 9_000:0{4 + number // 9_000 % 15}d}"
    return path.replace("{from}", at.isoformat().replace("+00:00", "Z")).replace("{serial}", position)
