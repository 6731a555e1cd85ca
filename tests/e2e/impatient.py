"""Callers who stop waiting at any moment, on the loop that the service runs on. Run as a process: it may be aborted."""

import asyncio
import sys
from random import Random
from time import monotonic

import uvloop

from services.event_log import Reader, Unavailable

_CALLERS = 12


async def give_up(reader: Reader, chance: Random) -> None:
    """Ask something that takes a moment, and leave before, while or after it is answered."""
    asking = asyncio.create_task(reader.rows("SELECT pg_sleep(%b)", [chance.random() * 0.002]))
    for _ in range(chance.randrange(6)):
        await asyncio.sleep(0)
    if chance.random() < 0.7:
        await asyncio.sleep(chance.random() * 0.004)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def main(url: str, seconds: float, seed: int) -> None:
    """So many callers for so long; then the reader still answers."""
    reader, chance, end = Reader(url, 8), Random(seed), monotonic() + seconds
    left = 0

    async def caller() -> None:
        nonlocal left
        while monotonic() < end:
            await give_up(reader, chance)
            left += 1

    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    for _ in range(10):
        try:
            assert await reader.rows("SELECT 1", []) == [(1,)]
            break
        except Unavailable:
            await asyncio.sleep(0.2)
    await reader.close()
    print(left)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
