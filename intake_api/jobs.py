"""Longer work over HTTP: 200 if it is done at once, else 202 and where to ask how far it has come."""

from urllib.parse import quote
from uuid import UUID

from intake_api.http import Call, NotFound, Reply
from intake_api.services import Services
from projections.case_view import encode
from services.caller import Caller
from services.event_log import Unavailable
from services.identifiers import parse_uuid
from services.jobs import File, Job

# Seconds to wait for a job before it is told as one.
_AT_ONCE = 2.0
_UNKEPT = (b"cache-control", b"no-store")


async def settled(call: Call, caller: Caller, job_id: UUID) -> Reply:
    """The result of a job that the caller has begun, or that it is under way."""
    services: Services = call.services
    job = await services.jobs.settled(job_id, caller.subject, _AT_ONCE)
    if job is None or job.state == "failed":
        raise Unavailable("the job failed")
    if job.result is not None:
        return _result(services, caller, job)
    return Reply(202, job_body(job), [(b"location", f"/v1/jobs/{job_id}".encode()), _UNKEPT])


async def get_job(call: Call) -> Reply:
    """How far a job has come; only who began it is told."""
    _, job = await _asked_job(call)
    return Reply(200, job_body(job), [_UNKEPT])


async def get_job_result(call: Call) -> Reply:
    """What came of a job that is done; 404 until then, and for who may no longer see what is in it."""
    caller, job = await _asked_job(call)
    return _result(call.services, caller, job)


def whose(caller: Caller) -> bytes:
    """Who may open a file that was made for them: the same subject while it sees the same."""
    return f"{caller.actor}|{','.join(sorted(caller.regions))}".encode()


def disposition(file: File) -> tuple[bytes, bytes]:
    """To be saved under that name (RFC 6266, 5987), or a plain one where it is not understood."""
    named = f"attachment; filename=\"{file.plain_name}\"; filename*=UTF-8''{quote(file.name)}"
    return b"content-disposition", named.encode()


def _result(services: Services, caller: Caller, job: Job) -> Reply:
    if job.result is None:
        raise NotFound
    if job.file is None:
        return Reply(200, job.result, [_UNKEPT])
    content = services.vault.open_file(job.result, whose(caller))
    if content is None:
        raise NotFound
    return Reply(200, content, [disposition(job.file), _UNKEPT], job.file.content_type.encode())


async def _asked_job(call: Call) -> tuple[Caller, Job]:
    services: Services = call.services
    caller = services.caller(call)
    call.query(())
    job_id = parse_uuid(call.path_params["job_id"])
    job = await services.jobs.look(job_id, caller.subject) if job_id else None
    if job is None:
        raise NotFound
    return caller, job


def job_body(job: Job) -> bytes:
    done = f"/v1/jobs/{job.job_id}/result" if job.state == "done" else None
    return encode({"job_id": job.job_id, "state": job.state, "progress": job.progress, "result_url": done})
