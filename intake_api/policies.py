"""Versions of the regulation over HTTP. All roles may read them; admin publishes."""

from typing import Any

from grading_engine.soundness import examined
from intake_api import bodies, jobs
from intake_api.access import Forbidden
from intake_api.cases import read_write
from intake_api.http import UNKEPT, Call, NotFound, Reply, entity_tag, read_reply
from intake_api.impact_job import impact
from intake_api.services import Services
from projections.case_view import encode
from projections.impact import Period
from services.commands import IMPACT
from services.instants import format_instant
from services.jobs import Progress
from services.policies import Published
from services.rules import Fault, Malformed


async def list_policies(call: Call) -> Reply:
    """Every version, in the order in which they take effect."""
    services: Services = call.services
    services.caller(call)
    call.query(())
    await services.policies.refresh()
    ordered = sorted(services.policies.published, key=lambda one: one.policy.effective_from)
    body = encode({"items": [_brief(one) for one in ordered], "next_cursor": None})
    return read_reply(call, body, entity_tag(body), ())


async def get_policy(call: Call) -> Reply:
    """One version, whole."""
    services: Services = call.services
    services.caller(call)
    call.query(())
    await services.policies.refresh()
    found = services.policies.version(call.path_params["version"])
    if found is None:
        raise NotFound
    body = _whole(found)
    return read_reply(call, body, entity_tag(body), ())


async def publish_policy(call: Call) -> Reply:
    """Publish a version: it judges the cases opened from its `effective_from` on, and none before."""
    services: Services = call.services
    caller = services.caller(call)
    if caller.role != "admin":
        raise Forbidden
    _, value, key = await read_write(call, caller)
    if answer := await services.desk.replay(key):
        position = (b"ledger-position", b"%d" % answer.position)
        return Reply(answer.status, answer.document, [(b"idempotency-replayed", b"true"), UNKEPT, position])
    published, new = await services.policies.publish(value, caller, services.now(), key, _whole)
    position = (b"ledger-position", b"%d" % services.policies.position)
    return Reply(201 if new else 200, _whole(published), [UNKEPT, position])


async def impact_of_policy(call: Call) -> Reply:
    """What a draft would change about the cases of a period; nothing is written. 200 if done at once, else a job."""
    services: Services = call.services
    caller = services.caller(call)
    if caller.role != "admin":
        raise Forbidden
    raw = await call.raw_body()
    asked = bodies.command(IMPACT, raw, bodies.parsed(raw))
    draft, faults = examined(asked.policy)
    if draft is None:
        raise Malformed([Fault(f"/policy{one.pointer}", one.code, one.given) for one in faults], "unsound_policy")
    period = Period(asked.from_, asked.to, frozenset(asked.regions))

    async def work(progress: Progress) -> bytes:
        return await impact(services.url, services.log, asked.policy, period, services.now(), progress)

    job_id = await services.jobs.start("policy impact", caller.subject, work)
    return await jobs.settled(call, caller, job_id)


def _brief(one: Published) -> dict[str, Any]:
    policy = one.policy
    return {
        "number": policy.number,
        "version": policy.version,
        "effective_from": format_instant(policy.effective_from),
        "labels": policy.labels.model_dump(),
        "published_at": one.published_at,
    }


def _whole(one: Published) -> bytes:
    """The document as it was published, with when."""
    return encode({**one.document, "published_at": one.published_at})
