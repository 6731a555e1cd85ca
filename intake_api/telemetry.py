"""Logs and metrics: one line and one observation per request; never a body, a query or a name."""

from collections.abc import Callable
from functools import cache
from time import perf_counter

import structlog
from prometheus_client import Counter, Gauge, Histogram, start_http_server
from starlette.types import ASGIApp, Receive, Scope, Send

REQUESTS = Counter("anjuan_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "anjuan_request_seconds",
    "Time to the answer",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
WAITING = Gauge("anjuan_appends_waiting", "Writes waiting for the appender")
LOOKS = Gauge("anjuan_view_looks", "Looks into the views so far: kept answers cost none")
FORKED = Gauge("anjuan_tree_forked", "Whether the ledger was found not to extend a signed head: nothing is signed then")
UNKEPT = Gauge("anjuan_tree_heads_unkept", "Whether signed heads could not be kept outside the database lately")
STREAMS = Gauge("anjuan_streams", "Readers of /v1/stream")
POSITION = Gauge("anjuan_ledger_position", "Last position that this process appended")
LAG = Gauge("anjuan_views_lag_actions", "Actions that the views do not show yet")
LAG_SECONDS = Gauge("anjuan_views_lag_seconds", "For how long the first of them has been waiting")
LOOKED_WAITING = Gauge("anjuan_access_rows_waiting", "Rows of who looked that are not stored yet")
LOOKED_DROPPED = Gauge("anjuan_access_rows_dropped", "Rows of who looked that this process could never store")
PARKED = Gauge("anjuan_views_parked_cases", "Cases set aside because an action cannot be applied")
LOST = Counter("anjuan_lost_keys_total", "Data keys that are gone though nobody was forgotten: texts nobody can read")
LEADS = Gauge("anjuan_views_leading", "Whether a process moves the views, of this service or another")


def serve_metrics(host: str, port: int) -> Callable[[], None]:
    """Serve /metrics on a port of its own (0: not at all); gives what stops it. Of several workers the first has it."""
    if not port:
        return lambda: None
    try:
        server, thread = start_http_server(port, host)
    except OSError as failure:
        structlog.get_logger().warning("metrics", port=port, fault=failure.strerror)
        return lambda: None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The two series of an answer; finding them by label costs more than counting."""
    return REQUESTS.labels(method, route, status), SECONDS.labels(route)


class Observed:
    """The outermost layer of the app."""

    def __init__(self, app: ASGIApp, access_log: bool) -> None:
        self._app, self._access_log = app, access_log
        self._log = structlog.get_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        try:
            await self._app(scope, receive, send)
        finally:
            # Whoever answers leaves the status here; a preflight is answered by the layer for CORS, which doesn't.
            self._record(scope, scope.get("status", 200), perf_counter() - began)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        count, spent = _series(scope["method"], route, status)
        count.inc()
        spent.observe(seconds)
        if self._access_log:
            caller = scope.get("caller")
            self._log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 2),
                sub=caller.subject if caller else None,
            )
