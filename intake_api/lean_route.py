"""Routes that run as ASGI callables inside the FastAPI app.

A `LeanRoute` is an ordinary FastAPI route to everything that documents or lists routes; only the running of it is ours:
the contract's order of judgement (token, region, idempotency, shape, state) is not the framework's, and the way around
its machinery costs a third (measured).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from intake_api.http import Call, Reply
from intake_api.problems import reply_to

# A caller is answered within five seconds; this leaves room to say so.
DEADLINE = 4.7

Handler = Callable[[Call], Awaitable[Reply]]


class LeanRoute(APIRoute):
    """A route whose handler takes a `Call` and gives a `Reply`, within the deadline, faults as problems."""

    def __init__(self, path: str, endpoint: Handler, **options: Any) -> None:
        self.deadline: float = options.pop("deadline", DEADLINE)
        options.setdefault("openapi_extra", {})
        named = re.findall(r"{(\w+)", path)
        listed = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in named
        ]
        options["openapi_extra"]["parameters"] = listed + options["openapi_extra"].get("parameters", [])
        super().__init__(path, endpoint, response_model=None, **options)
        self.handler = endpoint
        self.app = self._run

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, send)
        try:
            async with asyncio.timeout(self.deadline):
                reply = await self.handler(call)
        except ClientDisconnect:
            return
        except Exception as fault:  # noqa: BLE001 - every fault becomes a problem in one place
            reply = reply_to(fault, call)
            if reply.status == 500:
                scope["app"].state.services.report(fault)
        reply.headers.append((b"ledger-epoch", b"%d" % scope["app"].state.services.epoch))
        await reply.send(send)
