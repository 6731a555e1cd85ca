"""create_app: the one place where the parts are joined."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from intake_api import (
    access_looks,
    audit,
    audit_replay,
    batch,
    case_lists,
    cases,
    directory,
    duty_lists,
    erasures,
    exports,
    jobs,
    labels,
    openapi,
    policies,
    queries,
    stream,
    summaries,
    system,
    view_operation,
)
from intake_api.lean_route import DEADLINE, Dispatcher, Handler, LeanRoute
from intake_api.logs import configure_logs
from intake_api.parameters import listed
from intake_api.services import Services
from intake_api.telemetry import (
    FORKED,
    LOOKED_DROPPED,
    LOOKED_WAITING,
    LOOKS,
    POSITION,
    STREAMS,
    UNKEPT,
    WAITING,
    Observed,
    serve_metrics,
)
from projections import breach_rows
from projections.duty_list import LATE
from services.event_log import Unavailable
from services.settings import Settings

_KEPT = timedelta(days=90)
_READ = (200, 304, 401, 403, 404, 409, 422, 503)
_BATCH = (401, 403, 413, 415, 422, 503)
_WRITE = (400, 401, 403, 404, 409, 412, 413, 415, 422, 503)
_PAGED = openapi.query(
    limit={"type": "integer", "minimum": 1, "maximum": 500, "default": 50},
    cursor={"type": "string"},
    count={"type": "boolean", "default": False},
)
_AS_OF = openapi.query(as_of={"type": "string", "format": "date-time"})
_PAST = openapi.query(
    as_of={"type": "string", "format": "date-time"}, known_at={"type": "string", "format": "date-time"}
)
_AUDIT = (200, 401, 403, 422, 503)
_POSITION = {"type": "integer", "minimum": 1}
_PROOF = openapi.query(position=_POSITION, size=_POSITION, **{"from": _POSITION, "to": _POSITION})
_KEYED = {"parameters": openapi.headers("Idempotency-Key")}
_POST = {"parameters": openapi.headers("Idempotency-Key", "If-Match")}


class Anjuan(FastAPI):
    """FastAPI with a shorter way to the routes.

    Every route is a `LeanRoute`, which turns its own faults into problems and bounds its own bodies; the framework's
    layers for exceptions, exit stacks and body limits would run empty on each request, at a quarter of its cost.
    """

    services: Services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        scope["app"] = self
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        routed: ASGIApp = Dispatcher([route for route in self.routes if isinstance(route, LeanRoute)], self.router)
        for layer in reversed(self.user_middleware):
            routed = layer.cls(routed, *layer.args, **layer.kwargs)
        return routed


def create_app(settings: Settings, url: str) -> Anjuan:
    """The service over the database at `url`, whose tables must be up to date."""
    configure_logs(settings.log_level)
    app = Anjuan(
        title="anjuan 案卷",
        version="1",
        description="A complaint ledger: every action is an event; state, deadlines and grades are folds of them.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.services = Services(settings, url)
    app.router.routes[:] = _routes(settings)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-Match",
                "If-None-Match",
                "Last-Event-ID",
            ],
            expose_headers=[
                "ETag",
                "Ledger-Position",
                "Ledger-Epoch",
                "Location",
                "Idempotency-Replayed",
                "Retry-After",
            ],
        )
    app.add_middleware(Observed, access_log=settings.access_log)
    return app


def _routes(settings: Settings) -> list[LeanRoute]:
    """The hot ones first: a router tries them in order."""
    routes = [
        _route("POST", "/v1/cases/{case_id}/actions", cases.append_action, "Written", (200, 201, *_WRITE), "Action"),
        _route("POST", "/v1/cases", cases.open_case, "OpenedCase", (201, *_WRITE), "OpenCase"),
        _route(
            "POST",
            "/v1/actions/batch",
            batch.upload,
            "BatchAnswer",
            (200, *_BATCH),
            extra=openapi.query(dry_run={"type": "boolean", "default": False}) | openapi.takes_many("Batch"),
            deadline=batch.DEADLINE,
        ),
        *(_file(path, handler, listed(known, state=breach_rows.STATES)) for path, handler, known in exports.ROUTES),
        _route("GET", "/v1/cases/{case_id}", queries.get_case, "Case", _READ, extra=_PAST),
        _route("GET", "/v1/cases/{case_id}/grade", queries.get_grade, "GradeExplanation", _READ, extra=_PAST),
        _route("GET", "/v1/cases", case_lists.list_cases, "CasePage", _READ, extra=listed(case_lists.KNOWN)),
        _route("GET", "/v1/summary", summaries.summarise, "Summary", _READ, extra=listed(summaries.KNOWN)),
        _route(
            "POST",
            "/v1/cases/search",
            case_lists.search_cases,
            "CasePage",
            (200, 401, 403, 409, 413, 415, 422, 503),
            "SearchCases",
            extra=_PAGED,
        ),
        _route(
            "GET",
            "/v1/stream",
            stream.stream,
            None,
            (200, 400, 401, 403, 409, 422, 503),
            extra={"parameters": openapi.headers("Last-Event-ID")},
            kind=EventSourceResponse,
        ),
        _route(
            "GET",
            "/v1/breaches",
            duty_lists.list_breaches,
            "BreachPage",
            _READ,
            extra=listed(duty_lists.BREACHES, state=LATE),
        ),
        _route("GET", "/v1/duties", duty_lists.list_duties, "DutyPage", _READ, extra=listed(duty_lists.DUTIES)),
        _route("GET", "/v1/cases/{case_id}/actions", queries.list_actions, "ActionPage", _READ, extra=_PAGED),
        _route("GET", "/v1/cases/{case_id}/complaints", queries.list_complaints, "ComplaintPage", _READ, extra=_PAGED),
        _route("PUT", "/v1/regions/{code}", directory.put_region, "Region", (200, *_WRITE), "DescribeRegion"),
        _route("PUT", "/v1/projects/{code}", directory.put_project, "Project", (200, *_WRITE), "DescribeProject"),
        _route("GET", "/v1/regions/{code}", directory.get_region, "Region", _READ, extra=_AS_OF),
        _route("GET", "/v1/projects/{code}", directory.get_project, "Project", _READ, extra=_AS_OF),
        _route("GET", "/v1/regions", directory.list_regions, "RegionPage", _READ, extra=_AS_OF),
        _route("GET", "/v1/projects", directory.list_projects, "ProjectPage", _READ, extra=_AS_OF),
        _route("GET", "/v1/policies", policies.list_policies, "PolicyPage", _READ),
        _route("GET", "/v1/policies/{version}", policies.get_policy, "PublishedPolicy", _READ),
        _route("POST", "/v1/policies", policies.publish_policy, "PublishedPolicy", (200, 201, *_WRITE), "Policy"),
        _route(
            "POST",
            "/v1/policies/impact",
            policies.impact_of_policy,
            "Impact",
            (200, 202, *_BATCH),
            "AskImpact",
            extra={"parameters": []},
        ),
        _route(
            "POST",
            "/v1/audit/replay",
            audit_replay.replay_ledger,
            "Replayed",
            (200, 202, *_BATCH),
            "AskReplay",
            extra={"parameters": []},
        ),
        _route(
            "POST", "/v1/erasures", erasures.erase_person, "Erased", (200, 201, *_WRITE), "ErasePerson", extra=_KEYED
        ),
        _route("GET", "/v1/jobs/{job_id}", jobs.get_job, "ShownJob", _READ),
        _job_result(),
        _lines("/v1/audit/events", audit.list_events),
        _route("GET", "/v1/audit/head", audit.get_head, "AuditHead", _AUDIT, extra={"parameters": []}),
        _route("GET", "/v1/audit/proof", audit.get_proof, "Proof", (*_AUDIT, 409), extra=_PROOF),
        _route("GET", "/v1/audit/keys", audit.list_keys, "KeyPage", _AUDIT, extra={"parameters": []}),
        _route(
            "GET", "/v1/audit/access", access_looks.list_looks, "LookPage", _AUDIT, extra=listed(access_looks.KNOWN)
        ),
        _route("GET", "/v1/labels", labels.get_labels, "Labels", _READ),
        _route("GET", "/v1/projections", view_operation.list_projections, "ProjectionPage", (200, 401, 403, 422, 503)),
        _route(
            "POST",
            "/v1/projections/{name}/rebuild",
            view_operation.rebuild_projection,
            None,
            (202, 401, 403, 404, 409, 422, 503),
            extra={"parameters": []},
        ),
        _route("GET", "/v1/problems", system.list_problems, None, (200,), open_to_all=True),
        _route("GET", "/livez", system.livez, None, (200,), open_to_all=True),
        _route("GET", "/readyz", system.readyz, None, (200, 503), open_to_all=True),
        _route("GET", "/readyz/projections", view_operation.readyz_projections, None, (200, 503), open_to_all=True),
        _route("GET", "/openapi.json", system.openapi, None, (200,), open_to_all=True),
    ]
    if not settings.metrics_port:
        routes.append(_route("GET", "/metrics", system.metrics, None, (200,), open_to_all=True, kind=PlainTextResponse))
    return routes


def _file(path: str, handler: Handler, parameters: dict[str, Any]) -> LeanRoute:
    """A list as a file, by the ending of its path; only an XLSX file may be a job."""
    csv = path.endswith(".csv")
    statuses = (200, 401, 403, 409, 422, 503) if csv else (200, 202, 401, 403, 409, 422, 503)
    return _route("GET", path, handler, None, statuses, extra=parameters, kind=openapi.Csv if csv else openapi.Xlsx)


def _lines(path: str, handler: Handler) -> LeanRoute:
    """One JSON document a line."""
    instant = {"type": "string", "format": "date-time"}
    parameters = openapi.query(
        after={"type": "integer", "minimum": 0, "default": 0},
        limit={"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1_000},
        region={"type": "array", "items": {"type": "string"}},
        **{"from": instant, "to": instant},
    )
    return _route("GET", path, handler, None, (*_AUDIT, 409), extra=parameters, kind=openapi.Lines)


def _job_result() -> LeanRoute:
    """A document or a file, whatever the job was to make."""
    route = _route("GET", "/v1/jobs/{job_id}/result", jobs.get_job_result, None, _READ)
    route.responses[200]["content"] = {"application/json": {"schema": {}}, **openapi.FILE}
    return route


def _route(
    method: str,
    path: str,
    handler: Handler,
    answer: str | None,
    statuses: tuple[int, ...],
    body: str | None = None,
    extra: dict[str, Any] | None = None,
    open_to_all: bool = False,
    kind: type[Response] = JSONResponse,
    deadline: float = DEADLINE,
) -> LeanRoute:
    described: dict[str, Any] = dict(extra or {})
    if body:
        described |= openapi.takes(body)
    if method == "POST" and "parameters" not in described:
        described |= _POST
    if not open_to_all:
        described["security"] = [{"bearer": []}]
        statuses = (*statuses, 429)
    return LeanRoute(
        path,
        handler,
        methods=[method],
        name=handler.__name__,
        status_code=min(status for status in statuses if status >= 200),
        response_class=kind,
        responses=openapi.answers(answer, *statuses),
        openapi_extra=described,
        deadline=deadline,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, Anjuan)
    services = app.services
    WAITING.set_function(lambda: services.log.appender.waiting)
    LOOKS.set_function(lambda: services.views.looks)
    FORKED.set_function(lambda: services.tree_heads.forked)
    UNKEPT.set_function(lambda: services.tree_heads.unpushed_since is not None)
    STREAMS.set_function(lambda: services.streams.open)
    POSITION.set_function(lambda: services.log.appender.position)
    looks = services.looked.log
    LOOKED_WAITING.set_function(lambda: looks.waiting)
    LOOKED_DROPPED.set_function(lambda: looks.dropped)
    async with services.log:
        stop_metrics = serve_metrics(services.settings.host, services.settings.metrics_port)
        with contextlib.suppress(Unavailable):
            # Before anything is served: what a restored backup has brought back is destroyed again.
            await services.erasure_book.refresh()
            services.epoch = (await services.log.read.head()).epoch
            await services.directory.refresh()
            await services.policies.refresh()
            await services.revocations.refresh()
        # What start-up made stays; young garbage is collected in larger heaps (a full pass took 80 ms at the worst).
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 100)
        works = [
            _forget_old_answers(services),
            _watch_policies(services),
            _watch_revocations(services),
            view_operation.measure(services),
            services.watch.run(),
            services.log.read.listen(),
            services.tree_heads.run(),
            services.erasure_book.run(),
        ]
        if services.issuer:
            works.append(services.issuer.run())
        if services.settings.follow == "inside":
            works.append(services.follower.run())
            if services.settings.notices:
                works.append(services.notices.run())
        tasks = [asyncio.create_task(work) for work in works]
        noting = asyncio.create_task(looks.run())
        yield
        services.streams.end()
        await services.jobs.stop()
        for task in tasks:
            task.cancel()
        # One that is in the middle of a look into the database ends before its connections are closed.
        await asyncio.gather(*tasks, return_exceptions=True)
        looks.stop()
        await asyncio.gather(noting, return_exceptions=True)
        if looks.waiting or looks.dropped:
            structlog.get_logger().error("looks", lost=looks.waiting + looks.dropped)
        await services.views.close()
        stop_metrics()


async def _watch_policies(services: Services) -> None:
    """A version that another process published judges here too, before long: it never begins before it is published."""
    while True:
        await asyncio.sleep(1)
        with contextlib.suppress(Unavailable):
            await services.policies.refresh()
            # Not known yet if the database did not answer at the start.
            services.epoch = (await services.log.read.head()).epoch


async def _watch_revocations(services: Services) -> None:
    """A token that anybody revoked counts nowhere within a second."""
    while True:
        await asyncio.sleep(0.5)
        with contextlib.suppress(Unavailable):
            await services.revocations.refresh()


async def _forget_old_answers(services: Services) -> None:
    """Idempotency keys are kept 90 days, results of jobs for some."""
    while True:
        with contextlib.suppress(Unavailable):
            await services.log.read.forget_answers_before(services.now() - _KEPT)
            await services.jobs.forget()
            await services.looked.log.forget(services.now(), services.settings.access_kept)
        await asyncio.sleep(3600)
