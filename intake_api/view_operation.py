"""How the views stand, over HTTP, and building them anew."""

import asyncio
import os
import sys
from datetime import datetime
from typing import Any

import structlog

from intake_api.access import Forbidden
from intake_api.http import UNKEPT, Call, NotFound, Reply
from intake_api.jobs import job_body
from intake_api.problems import problem
from intake_api.services import Services
from intake_api.telemetry import LAG, LAG_SECONDS, LEADS, PARKED
from projections.case_view import encode
from projections.checkpoint import NAME
from projections.standing import Standing, standing
from services.event_log import Unavailable
from services.instants import format_instant
from services.jobs import Job, Progress

# Seconds that a list may be behind and still be fit to work with.
_FRESH = 5.0
_BEAT = 0.5


class RebuildFailed(Exception):
    """The process that rebuilt ended with this code."""


async def list_projections(call: Call) -> Reply:
    """How far the views have come, who moves them, and what is being rebuilt."""
    services: Services = call.services
    if services.caller(call).role not in ("admin", "auditor"):
        raise Forbidden
    call.query(())
    found = await standing(services.log.read)
    body = encode({"items": [_shown(found, services.now())], "next_cursor": None})
    return Reply(200, body, [(b"cache-control", b"no-store"), (b"ledger-position", b"%d" % found.position)])


async def rebuild_projection(call: Call) -> Reply:
    """Build the views anew while everybody goes on, then read those; a job of a process of its own."""
    services: Services = call.services
    caller = services.caller(call)
    if caller.role != "admin":
        raise Forbidden
    call.query(())
    if call.path_params["name"] != NAME:
        raise NotFound
    if services.rebuilding or (await standing(services.log.read)).rebuilds:
        return problem(call, "rebuild_running")
    services.rebuilding = True

    async def work(progress: Progress) -> bytes:
        try:
            await _rebuilt(services, progress)
        finally:
            services.rebuilding = False
        return encode(_shown(await standing(services.log.read), services.now()))

    try:
        job_id = await services.jobs.start("rebuild", caller.subject, work)
    except BaseException:
        services.rebuilding = False
        raise
    headers = [(b"location", f"/v1/jobs/{job_id}".encode()), (b"cache-control", b"no-store")]
    return Reply(202, job_body(Job(job_id, "running", 0, None)), headers)


async def readyz_projections(call: Call) -> Reply:
    """The views are fit to work with: hardly behind, somebody moves them, and no case is set aside."""
    services: Services = call.services
    found = await standing(services.log.read)
    behind = found.seconds_behind(services.now())
    zh = call.language == "zh"
    errors = []
    if behind > _FRESH:
        said = f"落后 {behind:.0f} 秒, {found.lag} 条" if zh else f"{behind:.0f} seconds and {found.lag} actions behind"
        errors.append({"parameter": "lag", "message": said})
    if not found.leads:
        errors.append({"parameter": "leader", "message": "没有进程在更新" if zh else "no process moves them"})
    if found.parked:
        said = f"{found.parked} 件案卷被搁置" if zh else f"{found.parked} cases are set aside"
        errors.append({"parameter": "parked", "message": said})
    if errors:
        return problem(call, "projections_not_ready", headers=[(b"retry-after", b"2")], errors=errors)
    return Reply(200, encode({"status": "ready", "position": found.position, "lag": found.lag}), [UNKEPT])


async def measure(services: Services) -> None:
    """Keep the gauges; for ever."""
    while True:
        try:
            found = await standing(services.log.read)
        except Unavailable:
            # Nobody can, as far as is known here.
            LEADS.set(False)
        else:
            LEADS.set(found.leads)
            LAG.set(found.lag)
            LAG_SECONDS.set(found.seconds_behind(services.now()))
            PARKED.set(found.parked)
        await asyncio.sleep(2)


async def _rebuilt(services: Services, progress: Progress) -> None:
    """In another process, lest folding the whole ledger hold up whoever waits for an answer here."""
    environment = {**os.environ, "ANJUAN_DATABASE_URL": services.url, "ANJUAN_DATA": str(services.settings.data)}
    environment.pop("ANJUAN_DATABASE_URL_FILE", None)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "intake_api", "rebuild"),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    ending = asyncio.create_task(process.wait())
    try:
        while not ending.done():
            await asyncio.wait([ending], timeout=_BEAT)
            await _tell(services, progress)
    finally:
        if not ending.done():
            # It keeps what it has; whoever asks again goes on from there.
            process.terminate()
            await ending
    if process.returncode:
        structlog.get_logger().error("rebuild", ended_with=process.returncode)
        raise RebuildFailed(process.returncode)


async def _tell(services: Services, progress: Progress) -> None:
    try:
        found = await standing(services.log.read)
    except Unavailable:
        return
    if found.percent is not None:
        progress.percent = found.percent


def _shown(found: Standing, now: datetime) -> dict[str, Any]:
    return {
        "name": NAME,
        "generation": found.generation,
        "position": found.position,
        "head": found.head,
        "lag_actions": found.lag,
        "lag_seconds": round(found.seconds_behind(now), 3),
        "leading": found.leads,
        "leader": found.leader,
        "leading_since": format_instant(found.leading_at) if found.leading_at else None,
        "parked": found.parked,
        "rebuild": {"state": found.state, "running": found.rebuilds, "progress": found.percent},
    }
