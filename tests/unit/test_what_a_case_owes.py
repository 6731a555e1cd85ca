"""What a folded case is graded and owes: the facts of all its actions, held against the document of its opening."""

from typing import Any

from msgspec.structs import replace

from grading_engine.policy import shipped
from projections.duty_view import duties
from services.docket import fold
from services.events import Action, EmergencyStarted
from services.grading import facts_of
from tests.steps import (
    CASE,
    NOW,
    Given,
    assessed,
    at,
    emergency,
    entries,
    given,
    noted,
    received,
    responded,
)

SIXTY = [f"1-{number}" for number in range(1, 61)]


def owed(story: Given, name: str) -> list[dict[str, Any]]:
    """The duties of that name as they stand now."""
    return [one for one in duties(story.case, {}, NOW) if one["duty"] == name]


def test_a_household_that_complains_and_sues_is_one_household() -> None:
    """Clause 7, `affected_households`; however its address was written down."""
    case = given(received(1, "1-1"), assessed(5, litigating_households=["1栋01室", "2-2"])).case
    facts = facts_of(case, {})
    assert (facts.complaining, facts.litigating, facts.either) == (1, 2, 2)


def test_sixty_households_that_sue_make_a_key_mass_complaint() -> None:
    """Clause 4.4; owed from the instant of the assessment."""
    story = given(received(1, "1-1"), assessed(5, litigating_households=SIXTY[:59]))
    assert owed(story, "report_emergency") == []
    story = story.and_then(assessed(7, litigating_households={"add": SIXTY[59:]}))
    assert [(change.code, change.turn.at) for change in story.case.grades] == [("ungraded", at(0)), ("A-2", at(7))]
    assert [(one["state"], one["started_at"]) for one in owed(story, "report_emergency")] == [("pending", at(7))]


def test_a_report_stays_owed_though_fewer_households_are_left() -> None:
    """Clause 4.4: the facts fell; the event was one all the same."""
    story = given(received(1, "1-1"), assessed(5, litigating_households=SIXTY))
    story = story.and_then(assessed(9, litigating_households={"remove": SIXTY[1:]}))
    assert [change.code for change in story.case.grades] == ["ungraded", "A-2", "ungraded"]
    assert [(one["state"], one["started_at"]) for one in owed(story, "report_emergency")] == [("pending", at(5))]


def test_a_corrected_assessment_takes_the_report_back() -> None:
    """Clause 4.4: there never were so many."""
    wrong = assessed(5, litigating_households=SIXTY)
    story = given(received(1, "1-1"), wrong)
    assert len(owed(story, "report_emergency")) == 1
    story = story.corrected(wrong, {"facts": {"litigating_households": SIXTY[:6]}})
    assert owed(story, "report_emergency") == []


def _reported(team: Action, minutes: float) -> Action:
    assert isinstance(team, EmergencyStarted)
    return replace(team, reported_at=at(minutes))


def test_the_earliest_report_meets_the_duty() -> None:
    """Clause 4.4: whichever was told first."""
    first, second = _reported(emergency(8), 30), _reported(emergency(9), 20)
    story = given(received(1, "1-1"), assessed(5, litigating_households=SIXTY), first, second)
    (duty,) = owed(story, "report_emergency")
    assert (duty["state"], duty["met_at"], duty["mechanism_started_at"]) == ("met", at(20), at(8))


def test_a_correction_never_restarts_the_clock() -> None:
    """Clause 4.3: an hour from when the complaint was obtained, whatever was written down better since."""
    wrong = received(1, "3-1-201")
    story = given(wrong, responded(1, minutes=30)).corrected(wrong, {"household": "3-1-202"})
    (duty,) = owed(story, "respond")
    assert (duty["household"], duty["started_at"], duty["due_at"]) == ("3-1-202", at(0), at(60))
    assert (duty["state"], duty["met_at"]) == ("met", at(30))


def test_nothing_is_owed_to_a_mistake() -> None:
    """Clause 4.3: a complaint that was taken back."""
    wrong = received(2, "9-9", minutes=5)
    story = given(received(1), wrong).corrected(wrong)
    assert [one["state"] for one in owed(story, "respond")] == ["overdue", "void"]


def test_a_case_is_judged_by_the_document_of_its_opening() -> None:
    """A later version judges those that are opened from its date on, and no other."""
    later = shipped().model_copy(update={"version": "V2.0", "effective_from": at(5)})
    versions = [
        fold({CASE: entries(received(1, minutes=opened), noted("一", 10))}, policies=(shipped(), later))
        .docket[CASE]
        .judged_by.version
        for opened in (0, 5)
    ]
    assert versions == ["V1.0", "V2.0"]
