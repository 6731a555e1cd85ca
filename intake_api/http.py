"""One request and its answer: headers, language, body limits, query parameters, entity tags."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from intake_api.at_once import answered_at_once

MAX_BODY = 1 << 20
_JSON = b"application/json"
# Every answer says how it may be kept; where nothing better is known, not at all.
UNKEPT = (b"cache-control", b"no-store")


class NotFound(Exception):
    """404: unknown, or another region's."""


class TooLarge(Exception):
    """413."""


class UnsupportedMediaType(Exception):
    """415."""


class LedgerRestored(Exception):
    """409: a position or a cursor of which this ledger knows nothing: it was restored from a backup since."""


class UnknownParameter(Exception):
    """422: a query parameter that is not known, or whose value is not valid."""

    def __init__(self, code: str, name: str) -> None:
        super().__init__(code)
        self.code, self.name = code, name


class Reply:
    """A finished answer; `tag`: its entity tag, where it has one."""

    __slots__ = ("body", "content_type", "headers", "status", "tag")

    def __init__(
        self,
        status: int,
        body: bytes,
        headers: Iterable[tuple[bytes, bytes]] = (),
        content_type: bytes = _JSON,
        tag: bytes | None = None,
    ) -> None:
        self.status, self.body, self.content_type, self.tag = status, body, content_type, tag
        self.headers = [(b"etag", tag), *headers] if tag else list(headers)

    async def send(self, send: Send, epoch: int) -> None:
        """Answer. `epoch` rises when a backup was restored, and is on every answer."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            (b"ledger-epoch", b"%d" % epoch),
            *self.headers,
        ]
        if self.status == 304:
            del headers[:2]
        if answered_at_once(send, self.status, headers, self.body):
            return
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class Call(Request):
    """A request as the handlers see it. `services` is what `create_app` joined, `path` as it was written.

    What auditors are told of it (`looked.py`), as far as the handler knows it: the cases shown or asked for, their
    regions, how many items were shown, and what was asked in the body.
    """

    cases: Sequence[str] = ()
    regions: Sequence[str] | None = None
    count: int | None = None
    question: bytes = b""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self.services: Any = scope["app"].services
        self.path: str = scope["path"]
        self._last: dict[bytes, bytes] = dict(scope["headers"])

    def header(self, name: bytes) -> str | None:
        """A header's value; the last one counts."""
        value = self._last.get(name)
        return value.decode("latin-1") if value is not None else None

    @property
    def language(self) -> str:
        """``zh`` or ``en`` by Accept-Language, else the configured one."""
        return preferred_language(self.header(b"accept-language")) or str(self.services.settings.language)

    async def raw_body(self, limit: int = MAX_BODY, kinds: Sequence[bytes] = (_JSON,)) -> bytes:
        """The body; raises `TooLarge` before reading beyond the limit, `UnsupportedMediaType` if it is not JSON."""
        kind = self._last.get(b"content-type") or _JSON
        if kind not in kinds and kind.partition(b";")[0].strip().lower() not in kinds:
            raise UnsupportedMediaType
        length = self._last.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise TooLarge
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLarge
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)

    def query(self, known: Collection[str] | None) -> dict[str, list[str]]:
        """The query's parameters, each with all its values; one that is not `known` is refused (None: none is)."""
        found: dict[str, list[str]] = {}
        query: bytes = self.scope["query_string"]
        if not query:
            return found
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            raise UnknownParameter("invalid_parameter", "") from None
        for name, value in pairs:
            if known is not None and name not in known:
                raise UnknownParameter("unknown_parameter", name[:64])
            if "\0" in value:
                raise UnknownParameter("invalid_parameter", name)
            found.setdefault(name, []).append(value)
        return found


class StreamedReply(Reply):
    """An answer whose end is not known when it begins: each piece leaves when the reader has room for it.

    What can be refused is refused before it is made. From then on there is no deadline, but for `patience`, the seconds
    in which each piece has to be made, and taken. Who leaves ends it quietly, and after a fault it breaks off, so that
    nobody takes a part for the whole. `finish` gives back what the pieces are made of, whatever became of them.
    """

    __slots__ = ("_call", "_finish", "_patience", "_pieces")

    def __init__(
        self,
        call: "Call",
        pieces: AsyncGenerator[bytes, None],
        headers: Iterable[tuple[bytes, bytes]] = (),
        content_type: bytes = _JSON,
        patience: float | None = None,
        finish: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(200, b"", headers, content_type)
        self._call, self._pieces, self._patience, self._finish = call, pieces, patience, finish

    async def send(self, send: Send, epoch: int) -> None:
        headers = [
            (b"content-type", self.content_type),
            (b"ledger-epoch", b"%d" % epoch),
            *self.headers,
        ]
        pouring = asyncio.create_task(self._pour(send, headers))
        leaving = asyncio.create_task(_left(self._call))
        try:
            await asyncio.wait((pouring, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pouring.cancel()
            leaving.cancel()
            await asyncio.gather(pouring, leaving, return_exceptions=True)
            await self._pieces.aclose()
            if self._finish:
                await self._finish()
        if not pouring.cancelled() and (fault := pouring.exception()):
            self._call.services.report(fault)

    async def _pour(self, send: Send, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """An empty piece says that the next one is still being made."""
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        while True:
            async with asyncio.timeout(self._patience):
                piece = await anext(self._pieces, None)
            if piece != b"":
                async with asyncio.timeout(self._patience):
                    await send({"type": "http.response.body", "body": piece or b"", "more_body": piece is not None})
            if piece is None:
                return
            await asyncio.sleep(0)


async def _left(call: "Call") -> None:
    """Until the reader is gone."""
    while (await call.receive())["type"] != "http.disconnect":
        pass


_TAG = re.compile(r"\s*(\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?))?\s*")


def preferred_language(header: str | None) -> str | None:
    """``zh`` or ``en``, whichever the header weighs more (RFC 9110, 12.5.4); None if it names neither."""
    best, weight = None, 0.0
    for part in (header or "").split(",")[:20]:
        found = _TAG.fullmatch(part)
        language = found.group(1).lower().split("-")[0] if found else ""
        quality = float(found.group(2) or 1) if found else 0.0
        if language in ("zh", "en") and quality > weight:
            best, weight = language, quality
    return best


def entity_tag(body: bytes) -> str:
    """A digest of the body as it goes out."""
    return blake2b(body, digest_size=12).hexdigest()


def read_reply(call: Call, body: bytes, tag: str, headers: Sequence[tuple[bytes, bytes]]) -> Reply:
    """200 with its ETag, or 304 when the caller has it already."""
    quoted = f'"{tag}"'
    shared = [
        (b"cache-control", b"private, no-cache"),
        (b"vary", b"Authorization, Accept-Language"),
        *headers,
    ]
    # On a write, which has been stored by now, it is no question.
    asked = call.header(b"if-none-match") if call.method == "GET" else None
    if asked and (asked.strip() == "*" or quoted in [t.strip().removeprefix("W/") for t in asked.split(",")]):
        return Reply(304, b"", shared, tag=quoted.encode())
    return Reply(200, body, shared, tag=quoted.encode())
