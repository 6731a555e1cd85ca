"""审计回放 over HTTP. A region's quarter from the events alone. Auditors only; nothing is written."""

from datetime import datetime
from typing import Any

from grading_engine.soundness import examined
from intake_api import bodies, jobs
from intake_api.access import Forbidden
from intake_api.http import Call, Reply
from intake_api.replay_job import replay
from intake_api.services import Services
from projections.replay import Question
from services.commands import REPLAY, AskReplay
from services.event_log import Head
from services.instants import format_instant
from services.jobs import Progress
from services.rules import Fault, Malformed


async def replay_ledger(call: Call) -> Reply:
    """The cases of a period as the events tell them, at any (as_of, known_at). 200 if done at once, else a job."""
    services: Services = call.services
    caller = services.caller(call)
    if caller.role != "auditor":
        raise Forbidden
    call.query(())
    raw = await call.raw_body()
    asked = bodies.command(REPLAY, raw, bodies.parsed(raw))
    call.question = raw
    call.regions = (asked.region,) if asked.region else ("*",)
    head = await services.log.read.head()
    question = await asked_question(services, asked, head)

    async def work(progress: Progress) -> bytes:
        return await replay(services.url, services.log, question, head, progress)

    job_id = await services.jobs.start("audit replay", caller.subject, work)
    return await jobs.settled(call, caller, job_id)


async def asked_question(services: Services, asked: AskReplay, head: Head) -> Question:
    """What is asked, with every instant pinned; raises `Malformed`.

    Without `known_at` all that was recorded so far is known: asked again with the instant that is answered, the same.
    """
    now = services.now()
    _past("/as_of", asked.as_of, now)
    _past("/known_at", asked.known_at, now)
    if asked.from_ and asked.to and asked.to < asked.from_:
        raise Malformed([Fault("/to", "ends_before_it_begins")])
    await _exists(services, asked)
    return Question(
        asked.as_of or now,
        asked.known_at or min(now, head.recorded_at),
        asked.region,
        asked.project,
        asked.from_,
        asked.to,
        asked.basis,
        await _judging(services, asked.policy),
    )


def _past(pointer: str, instant: datetime | None, now: datetime) -> None:
    if instant and instant > now:
        raise Malformed([Fault(pointer, "in_the_future", format_instant(now))], "in_the_future")


async def _exists(services: Services, asked: AskReplay) -> None:
    if asked.region and not await services.directory.known_region(asked.region):
        raise Malformed([Fault("/region", "unknown_region")], "unknown_region")
    if asked.project:
        entries = await services.directory.known_project(asked.project)
        if not entries:
            raise Malformed([Fault("/project", "unknown_project")], "unknown_project")
        if asked.region and entries[-1].fact.region != asked.region:
            raise Malformed([Fault("/region", "region_differs")], "region_differs")


async def _judging(services: Services, policy: dict[str, Any] | str | None) -> dict[str, Any] | None:
    """The document to judge by, whole and sound, or that of a published version."""
    if policy is None:
        return None
    if isinstance(policy, str):
        await services.policies.refresh()
        known = services.policies.version(policy)
        if known is None:
            raise Malformed([Fault("/policy", "unknown_policy_version")])
        return known.policy.model_dump(mode="json")
    document, faults = examined(policy)
    if document is None:
        raise Malformed([Fault(f"/policy{one.pointer}", one.code, one.given) for one in faults], "unsound_policy")
    return document.model_dump(mode="json")
