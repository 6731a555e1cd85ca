"""The log as the rest of the house sees it: a reader, and one appender for this process."""

from services.event_log.appender import Appender
from services.event_log.proposal import Appended, Proposal
from services.event_log.reader import Reader


class EventLog:
    """`async with EventLog(url) as log`: `await log.append(proposal)`, and `log.read` for everything else."""

    def __init__(self, url: str, queue_limit: int = 2000) -> None:
        self.read = Reader(url)
        self.appender = Appender(url, queue_limit, on_append=self.read.moved_to)

    async def __aenter__(self) -> "EventLog":
        self.appender.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.appender.stop()
        await self.read.close()

    @property
    def accepts(self) -> bool:
        """Whether a write would be queued now."""
        return self.appender.accepts

    async def append(self, proposal: Proposal, patience: float | None = 4.5) -> Appended:
        """Durable when it returns; see `Appender.append`."""
        return await self.appender.append(proposal, patience)
