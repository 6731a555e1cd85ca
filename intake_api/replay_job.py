"""A replay of the ledger, of a large one in a process of its own; what it finds waits in a file, not in memory."""

from tempfile import TemporaryFile

import msgspec

from intake_api.apart import Told, apart, main
from projections.replay import Question
from projections.replay_answer import pieces
from projections.replay_kept import Kept, canonical
from projections.replay_run import Replay
from services.event_log import EventLog, Head
from services.jobs import Progress
from services.policies import PolicyBook

# Ledgers up to so many events are replayed where they are asked for, within a second.
SMALL = 5_000


class _Asked(msgspec.Struct):
    url: str
    question: Question
    head: Head


async def replay(url: str, log: EventLog, question: Question, head: Head, progress: Progress) -> bytes:
    """The answer, made here or, of a larger ledger, in another process."""
    if head.position <= SMALL:
        return await answer(url, log, question, head, progress)
    return await apart("intake_api.replay_job", _Asked(url, question, head), progress)


async def answer(url: str, log: EventLog, question: Question, head: Head, progress: Progress) -> bytes:
    """The ledger up to that head, replayed."""
    book = PolicyBook(log)
    await book.refresh()
    with TemporaryFile() as file:
        kept = Kept(file, canonical([question, head]))
        await Replay(url, log, book.policies, question, head, kept, progress.reached).run()
        return b"".join(pieces(kept, question, head))


async def _work(asked: _Asked) -> bytes:
    async with EventLog(asked.url) as log:
        return await answer(asked.url, log, asked.question, asked.head, Told())


if __name__ == "__main__":
    main(_Asked, _work)
