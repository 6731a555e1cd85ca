"""Routes that run as ASGI callables inside the FastAPI app.

A `LeanRoute` is an ordinary FastAPI route to everything that documents or lists routes; only the running of it is ours:
the contract's order of judgement (token, region, idempotency, shape, state) is not the framework's, and the way around
its machinery costs a third (measured).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from intake_api.http import Call, Reply
from intake_api.issuer import KeyUnknown
from intake_api.problems import problem, reply_to
from intake_api.services import Services

# A caller is answered within five seconds; this leaves room to say so.
DEADLINE = 4.7

Handler = Callable[[Call], Awaitable[Reply]]


class LeanRoute(APIRoute):
    """A route whose handler takes a `Call` and gives a `Reply`, within the deadline, faults as problems."""

    def __init__(self, path: str, endpoint: Handler, **options: Any) -> None:
        self.deadline: float = options.pop("deadline", DEADLINE)
        options.setdefault("openapi_extra", {})
        named = re.findall(r"{(\w+)", path)
        listed = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in named]
        options["openapi_extra"]["parameters"] = listed + options["openapi_extra"].get("parameters", [])
        super().__init__(path, endpoint, response_model=None, **options)
        self.handler = endpoint
        self.app = self._run

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive)
        services: Services = scope["app"].services
        task = services.deadlines.begin(self.deadline)
        failed: Exception | None = None
        try:
            try:
                reply = await self.handler(call)
            except KeyUnknown:
                # The token is judged before anything else, so that nothing has been read or done yet.
                await services.learn()
                reply = await self.handler(call)
        except asyncio.CancelledError:
            if not services.deadlines.end(task):
                raise
            reply = reply_to(TimeoutError(), call)
        except ClientDisconnect:
            return
        except Exception as fault:
            reply, failed = reply_to(fault, call), fault
            if reply.status == 500:
                services.report(fault)
        finally:
            services.deadlines.end(task)
        scope["status"] = reply.status
        services.looked.answered(call, reply, self.name, failed)
        await reply.send(send, services.epoch)


class Dispatcher:
    """Finds the route: by its fixed path, or by the pattern of those that begin alike."""

    def __init__(self, routes: Sequence[LeanRoute], lifespan: ASGIApp) -> None:
        self._lifespan = lifespan
        self._fixed: dict[str, dict[str, LeanRoute]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, LeanRoute]]] = []
        by_path: dict[str, dict[str, LeanRoute]] = {}
        for route in routes:
            by_path.setdefault(route.path, {}).update(dict.fromkeys(route.methods or (), route))
        for path, methods in by_path.items():
            if "{" in path:
                self._patterns.append((re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)), methods))
            else:
                self._fixed[path] = methods

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """What runs the request: no coroutine of its own, which every request would go through at every wait."""
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        methods, parameters = self._found(scope["path"])
        route = methods.get(scope["method"]) if scope["type"] == "http" else None
        if route is None:
            return self._refuse(scope, receive, send, methods)
        scope["route"], scope["path_params"] = route, parameters
        return route.app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, methods: Iterable[str]) -> None:
        if scope["type"] != "http":
            return
        call = Call(scope, receive)
        allowed = [(b"allow", ", ".join(sorted(methods)).encode())]
        reply = problem(call, "method_not_allowed", headers=allowed) if methods else problem(call, "not_found")
        scope["status"] = reply.status
        await reply.send(send, scope["app"].services.epoch)

    def _found(self, path: str) -> tuple[dict[str, LeanRoute], dict[str, str]]:
        """The routes of a path by method, and what its variable parts are."""
        if fixed := self._fixed.get(path):
            return fixed, {}
        for pattern, methods in self._patterns:
            if found := pattern.fullmatch(path):
                return methods, found.groupdict()
        return {}, {}
