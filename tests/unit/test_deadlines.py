"""A request has its time: it is cancelled after it, and only then."""

import asyncio

import pytest

from intake_api.deadlines import Deadlines


async def _request(deadlines: Deadlines, seconds: float, work: float) -> str:
    task = deadlines.begin(seconds)
    try:
        await asyncio.sleep(work)
    except asyncio.CancelledError:
        if not deadlines.end(task):
            raise
        await asyncio.sleep(0)
        return "out of time"
    deadlines.end(task)
    return "done"


def test_only_the_slow_one_is_cancelled_and_it_can_still_answer() -> None:
    async def main() -> list[str]:
        deadlines = Deadlines()
        answers = await asyncio.gather(
            _request(deadlines, 0.2, 5.0), _request(deadlines, 5.0, 0.4), _request(deadlines, 0.2, 0.0)
        )
        return list(answers)

    assert asyncio.run(main()) == ["out of time", "done", "done"]


def test_a_request_is_cancelled_within_a_tick_of_its_time() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await _request(Deadlines(), 0.3, 5.0)
        return loop.time() - began

    assert 0.3 <= asyncio.run(main()) < 1.0


def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def main() -> None:
        task = asyncio.create_task(_request(Deadlines(), 5.0, 5.0))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_the_clock_rests_when_nothing_runs_and_wakes_again() -> None:
    async def main() -> list[str]:
        deadlines = Deadlines()
        first = await _request(deadlines, 0.2, 0.0)
        await asyncio.sleep(0.25)
        return [first, await _request(deadlines, 0.1, 5.0)]

    assert asyncio.run(main()) == ["done", "out of time"]
