"""集中保修期 (3.8): from the start of batch handover to six months after its finish, month ends clamped."""

from datetime import UTC, datetime, timedelta

from services.directory import in_concentrated_warranty
from services.events import ProjectDescribed

TICK = timedelta(microseconds=1)
# Days are those of Beijing: a day begins at 16:00 of the day before.
STARTED = datetime(2025, 5, 31, 16, tzinfo=UTC)
FINISHED = datetime(2025, 8, 31, 4, tzinfo=UTC)
AFTERWARDS = datetime(2026, 2, 28, 16, tzinfo=UTC)


def project(started: datetime | None = STARTED, finished: datetime | None = FINISHED) -> ProjectDescribed:
    return ProjectDescribed(
        code="GD-FS-001",
        title="一期",
        region="GD",
        valid_from=STARTED,
        handover_started_at=started,
        handover_finished_at=finished,
    )


def test_the_first_day_is_included() -> None:
    asked = [in_concentrated_warranty(project(), at) for at in (STARTED - TICK, STARTED)]
    assert asked == [False, True]


def test_the_last_day_is_included() -> None:
    """Six months after 31 August there is no 31st: it ends with 28 February."""
    asked = [in_concentrated_warranty(project(), at) for at in (AFTERWARDS - TICK, AFTERWARDS)]
    assert asked == [True, False]


def test_it_runs_on_while_no_finish_is_known() -> None:
    assert in_concentrated_warranty(project(finished=None), AFTERWARDS) is True


def test_nobody_knows_while_no_start_is_known() -> None:
    assert in_concentrated_warranty(project(started=None), AFTERWARDS) is None
