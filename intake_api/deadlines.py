"""One clock for all running requests: a timer each would cost a twentieth of a request (measured)."""

import asyncio

# Seconds between two looks; a request may run over by that much.
_TICK = 0.1


class Deadlines:
    """Cancels requests that run too long. `begin` and `end` stand around one request, in its own task."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[object], float] = {}
        self._overdue: set[asyncio.Task[object]] = set()
        self._ticking = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, seconds: float) -> "asyncio.Task[object]":
        """The current task may run so long."""
        # Kept: to find it asks the kernel for the process's number, each time.
        loop = self._loop = self._loop or asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._running[task] = loop.time() + seconds
        if not self._ticking:
            self._ticking = True
            loop.call_later(_TICK, self._tick, loop)
        return task

    def end(self, task: "asyncio.Task[object]") -> bool:
        """The request is over; whether it was cancelled for its time."""
        self._running.pop(task, None)
        if task not in self._overdue:
            return False
        self._overdue.discard(task)
        task.uncancel()
        return True

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, until in self._running.items() if until <= now]:
            del self._running[task]
            self._overdue.add(task)
            task.cancel()
        self._ticking = bool(self._running)
        if self._ticking:
            loop.call_later(_TICK, self._tick, loop)
