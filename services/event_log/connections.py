"""Connections that give up before a caller does: server-side limits, and a way out when the server hangs."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Coroutine
from typing import Any, TypeAlias, TypeVar

import psycopg

from services.event_log.privileges import SETTING, Role
from services.event_log.proposal import Unavailable

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
_T = TypeVar("_T")

# Faults of the database's moment, not of the statement. A session that froze in its transaction, and a primary that
# became a standby, are told as InternalError.
TRANSIENT = (psycopg.OperationalError, psycopg.InternalError, OSError)

# All below the five seconds in which a caller gets an answer. The idle limits free what a frozen process holds.
_SERVER_LIMITS = (
    "-c statement_timeout=3000 -c lock_timeout=2000"
    " -c idle_in_transaction_session_timeout=3000"
    " -c TimeZone=UTC -c jit=off"
    # Answers are short walks along indexes, on disks that need not turn.
    " -c random_page_cost=1.1 -c max_parallel_workers_per_gather=0"
)


# How every connection of the service is made: autocommit, and a failed connect within two seconds.
OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 2,
    "options": _SERVER_LIMITS,
    "application_name": "anjuan",
    "prepare_threshold": 1,
    "keepalives_idle": 5,
    "tcp_user_timeout": 4000,
}


async def connect(url: str, more: str = "", *, role: Role | None, regions: str = "") -> Connection:
    """One connection of its own, with more server settings; raises `psycopg.OperationalError` within 2 s.

    `role`: as whom it acts; None: as the login itself, which no part of the service does. `regions`: what a reader sees
    where a transaction says nothing else; nothing: no row of any region.
    """
    taken = f"-c role={role}" if role else ""
    options = f"{_SERVER_LIMITS} {more} {taken} -c {SETTING}={regions}"
    return await psycopg.AsyncConnection.connect(url, **{**OPTIONS, "options": options})


def cut(connection: Connection) -> None:
    """Close the socket under a connection whose server does not answer, so that whoever waits on it fails at once.

    Cancelling the task instead would make psycopg ask the hanging server to cancel, and wait for it.
    """
    with (
        contextlib.suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as stream,
    ):
        stream.shutdown(socket.SHUT_RDWR)


def _forget(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled():
        task.exception()


async def within(seconds: float, work: Coroutine[Any, Any, _T], connection: Connection) -> _T:
    """`work` on `connection`, or `Unavailable` after `seconds`; the connection is useless then."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        # Nobody waits for what becomes of it now; that it fails on a cut connection is no news. But until it has let go
        # of the socket nobody may close that: of a watched descriptor that is gone the loop aborts the process.
        task.add_done_callback(_forget)
        cut(connection)
        await asyncio.wait({task}, timeout=1)
        raise
    if not done:
        cut(connection)
        with contextlib.suppress(psycopg.Error, OSError, asyncio.TimeoutError):
            await asyncio.wait_for(task, 1)
        raise Unavailable("the database does not answer")
    return task.result()
