"""``python -m tests.e2e.dying_follower URL DATA SEED``: leads for some batches, killed before the last is committed."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from random import Random

from intake_api.services import Services
from projections import checkpoint
from projections.checkpoint import View
from projections.follower import Follower
from services.event_log import Connection
from services.settings import Settings


async def _lead(url: str, data: Path, chance: Random) -> None:
    left, announce, move = chance.randint(0, 6), checkpoint.announce, checkpoint.move
    after_rows = chance.random() < 0.7

    def dying() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    async def announced(connection: Connection, view: View) -> None:
        # The rows are written and the checkpoint is moved; nothing is committed.
        if after_rows and dying():
            os.kill(os.getpid(), signal.SIGKILL)
        await announce(connection, view)

    async def moved(connection: Connection, view: View, position: int, alive: bool = True) -> None:
        await move(connection, view, position, alive)
        if not after_rows and dying():
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.announce, checkpoint.move = announced, moved
    services = Services(Settings({"ANJUAN_DATA": str(data)}), url)
    async with services.log:
        await Follower(url, services.log, services.folder(1000), most=chance.choice((1, 5, 30, 200))).run()


if __name__ == "__main__":
    asyncio.run(_lead(sys.argv[1], Path(sys.argv[2]), Random(int(sys.argv[3]))))
