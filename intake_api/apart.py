"""Work for the processor in a process of its own, so that it holds up nobody who waits for an answer here.

What is asked goes in as one JSON document; out come lines with how many percent are done, and at last the answer.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from services.jobs import Progress

_LONGEST_LINE = 1 << 30
_Asked = TypeVar("_Asked")


class JobFailed(Exception):
    """The process ended before its answer."""


async def apart(module: str, asked: object, progress: Progress) -> bytes:
    """The answer of that module's `main`, run as a program; it ends with whoever waits for it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_LINE,
        env=dict(os.environ),
    )
    assert process.stdin and process.stdout
    try:
        process.stdin.write(msgspec.json.encode(asked))
        process.stdin.close()
        while line := await process.stdout.readline():
            if line.startswith(b"{"):
                return line.rstrip()
            progress.percent = int(line)
        raise JobFailed
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Told(Progress):
    """Says each percent on a line of its own."""

    def reached(self, done: int, total: int) -> None:
        before = self.percent
        super().reached(done, total)
        if self.percent != before:
            print(self.percent, flush=True)


def main(kind: type[_Asked], work: Callable[[_Asked], Awaitable[bytes]]) -> None:
    """That other process."""

    async def run() -> bytes:
        return await work(msgspec.json.decode(sys.stdin.buffer.read(), type=kind))

    # What is folded is let go at once; looking for cycles in it took a tenth of the time (measured).
    gc.set_threshold(100_000, 50, 100)
    sys.stdout.buffer.write(asyncio.run(run()) + b"\n")
