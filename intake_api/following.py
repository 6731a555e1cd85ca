"""Keeping the views in a process of its own: `anjuan follow`, and the child that `anjuan serve` starts.

The child is tied to who started it by one socket, its standard input. The other end closes with that process, however
it ends, and then the child ends too; once a second it says there that its loop turns. It imports nothing of HTTP, which
would be a quarter of its memory and some half of its start.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import structlog
import uvloop

from intake_api.keyring import book_of, grams_of, masters_of, vault_of
from intake_api.logs import configure_logs
from projections.decoding import told
from projections.folding import Folder
from projections.follower import ALONE, Follower
from projections.notices import Notices
from projections.views import Views
from projections.watch import Watch
from services.directory import Directory
from services.event_log import EventLog
from services.policies import PolicyBook
from services.settings import RUNNING_DATABASE, Settings

# Folded cases that are remembered.
_KEPT = 10_000
# Seconds between two signs of life, and those that an end may take, whatever hangs.
_BEAT = 1.0
_ENDING = 4.0


async def follow(settings: Settings, url: str) -> None:
    """Lead whenever nobody else does, and tell what was missed; until it is cancelled."""
    log, watch = EventLog(url, settings.queue), Watch(url)
    vault = vault_of(settings, log, masters_of(settings))
    book = book_of(settings, log, vault)
    folder = Folder(log, vault, PolicyBook(log), grams_of(settings), kept=_KEPT)
    follower = Follower(url, log, folder, watch.moved, ALONE)
    works = [log.read.listen(), watch.run(), follower.run(), book.run()]
    async with log, _telling(url, log, watch, follower) as notices:
        if settings.notices:
            works.append(notices.run())
        with contextlib.suppress(asyncio.CancelledError):
            await _together(works)


@asynccontextmanager
async def _telling(url: str, log: EventLog, watch: Watch, follower: Follower) -> AsyncIterator[Notices]:
    directory = Directory(log)
    views = Views(url, watch, directory)
    yield Notices(log, views, watch, directory, lambda: follower.leads, lambda: datetime.now(UTC))
    await views.close()


async def _together(works: list[Coroutine[Any, Any, None]]) -> None:
    """All of them, for ever; each has ended before the connections that it uses are closed."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        # Not `gather`: it goes on when the first has been cancelled, and who is cancelled twice leaves a query behind.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tied(work: Coroutine[Any, Any, None], line: socket.socket) -> None:
    """Do it until the line's other end is closed, saying meanwhile that the loop turns."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task
    Thread(target=_await_end, args=(line, lambda: loop.call_soon_threadsafe(task.cancel)), daemon=True).start()
    beating = asyncio.create_task(_beat(line))
    try:
        await work
    finally:
        beating.cancel()


def _await_end(line: socket.socket, end: Callable[[], object]) -> None:
    """In a thread, so that neither a loop that is stuck nor a database that hangs keeps this process alive."""
    with contextlib.suppress(OSError):
        while line.recv(64):
            pass
    with contextlib.suppress(RuntimeError):
        end()
    time.sleep(_ENDING)
    os._exit(1)


async def _beat(line: socket.socket) -> None:
    while True:
        # Nobody reads: who started this is stopped, or gone, which the thread hears of.
        with contextlib.suppress(OSError):
            line.send(b".", socket.MSG_DONTWAIT)
        await asyncio.sleep(_BEAT)


def main() -> None:
    """The child's life. What stops a whole group of processes is not meant for it: its parent ends it in its turn."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    # As for all who work in batches: looking for garbage more often costs a third of the time.
    gc.set_threshold(100_000, 50, 100)
    try:
        uvloop.run(_tied(follow(settings, os.environ[RUNNING_DATABASE]), socket.socket(fileno=0)))
    except Exception as fault:
        # Its kind and its place; a text may quote a row.
        structlog.get_logger().error("follower", fault=told(fault))
        sys.exit(1)


if __name__ == "__main__":
    main()
