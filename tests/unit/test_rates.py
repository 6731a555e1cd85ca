"""So many requests at once, and so many in that time from then on; each caller for itself."""

import pytest

from intake_api import rates
from intake_api.rates import Rates, TooMany


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(rates, "monotonic", made)
    return made


def taken(found: Rates, subject: str = "a", tries: int = 1000) -> tuple[int, float]:
    """How many in a row, and how long to wait for the next."""
    for number in range(tries):
        try:
            found.take(subject)
        except TooMany as over:
            return number, over.seconds
    return tries, 0.0


@pytest.mark.parametrize(("many", "seconds"), [(1, 1), (7, 60), (600, 60), (600, 3600)])
def test_as_many_as_said_at_once_and_one_more_for_each_share_of_the_time(clock: Clock, many: int, seconds: int) -> None:
    found = Rates(many, seconds)
    assert taken(found)[0] == many
    for _ in range(3):
        wait = taken(found)[1]
        assert wait == pytest.approx(seconds / many, rel=1e-3)
        clock.now += wait
        assert taken(found)[0] == 1
    clock.now += seconds * 5
    assert taken(found)[0] == many


def test_what_is_refused_does_not_count(clock: Clock) -> None:
    found = Rates(2, 60)
    assert taken(found)[0] == 2
    for _ in range(100):
        assert taken(found)[0] == 0
    clock.now += 30
    assert taken(found)[0] == 1


def test_each_caller_has_its_own_and_none_is_kept_for_ever(clock: Clock) -> None:
    found = Rates(3, 60)
    for number in range(25_000):
        assert taken(found, str(number), 1)[0] == 1
        clock.now += 0.01
    assert len(found._paid) <= 10_000
    assert taken(found, "24999")[0] == 2
