"""Who keeps a connection waiting is cut off: one look a second at all of them, so that requests in time cost nothing.

A client may take its time between requests (keep-alive), but once it has begun one it owes the rest of its headers,
then its body; and it owes to read what it asked for.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

# Seconds for what a client owes; a look may come a second late.
HEAD = 10.0
BODY = 30.0
UNREAD = 60.0
CLOSING = 10.0
LOOK = 1.0


class Debt(NamedTuple):
    """What is owed, equal as long as it is the same, and for how many seconds it may be."""

    kind: str
    what: object
    seconds: float


class Client(Protocol):
    """A connection, as far as patience goes."""

    debt: Debt | None
    since: float

    def owes(self) -> Debt | None: ...

    def cut(self) -> None: ...


class Patience:
    """With all connections of one server. It looks as long as there is one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connections: Callable[[], Iterable[Client]]) -> None:
        self._loop, self._connections = loop, connections
        self._looking = False

    def begin(self) -> None:
        """There is a connection."""
        if not self._looking:
            self._looking = True
            self._loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        clients = list(self._connections())
        for client in clients:
            debt = client.owes()
            if debt is None or client.debt is None or not _same(debt, client.debt):
                client.debt, client.since = debt, now
            elif now - client.since >= debt.seconds:
                client.cut()
        self._looking = bool(clients)
        if self._looking:
            self._loop.call_later(LOOK, self._look)


def _same(one: Debt, other: Debt) -> bool:
    return one.kind == other.kind and (one.what is other.what or (isinstance(one.what, int) and one.what == other.what))
