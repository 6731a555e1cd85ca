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
    TICK,
    Given,
    assessed,
    at,
    closed,
    emergency,
    entries,
    given,
    noted,
    received,
    reopened,
    responded,
    settled,
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


def owed_at(story: Given, minutes: float, name: str) -> list[dict[str, Any]]:
    """The duties of that name as they stood at that minute, as known now."""
    return [one for one in duties(story.stood(minutes), {}, at(minutes)) if one["duty"] == name]


def test_what_was_taken_back_is_void_from_its_own_instant_on() -> None:
    """Two axes of time (house rule): before it there was nothing to take back."""
    wrong = received(2, "9-9", minutes=5)
    story = given(received(1), wrong).corrected(wrong)
    seen = [[one["state"] for one in owed_at(story, minutes, "respond")] for minutes in (5 - TICK, 5)]
    assert seen == [["pending"], ["pending", "void"]]


def test_a_complaint_that_is_taken_back_keeps_its_cycle() -> None:
    """House rule: whatever became of it, it was obtained after the reopening."""
    wrong = received(2, "9-9", minutes=70)
    story = given(*settled(), closed(50), reopened(60), wrong)
    assert [one["cycle"] for one in owed(story, "respond")] == [1, 2]
    assert [(one["cycle"], one["state"]) for one in owed(story.corrected(wrong), "respond")] == [
        (1, "met"),
        (2, "void"),
    ]


def test_nothing_is_owed_in_a_void_case() -> None:
    """House rule: it takes no response and no report, so that neither may stand overdue for ever."""
    opening = received(1)
    story = given(opening, received(2, "9-9", minutes=5), assessed(6, litigating_households=SIXTY)).corrected(opening)
    seen = {(one["duty"], one["state"], one["overdue_seconds"]) for one in duties(story.case, {}, NOW)}
    assert seen == {("respond", "void", 0), ("report_emergency", "void", 0)}


def test_a_report_belongs_to_the_cycle_in_which_it_came_to_be_owed() -> None:
    """Clause 4.4: a mass complaint after the case was reopened."""
    story = given(*settled(), closed(50), reopened(60), assessed(70, litigating_households=SIXTY))
    assert [one["cycle"] for one in owed(story, "report_emergency")] == [2]


def test_a_report_is_owed_until_the_report_though_the_team_has_started() -> None:
    """Clause 4.4; State(T, K): what is reported later has not been reported yet."""
    story = given(received(1, "1-1"), assessed(5, litigating_households=SIXTY), _reported(emergency(8), 30))
    seen = [owed_at(story, minutes, "report_emergency")[0] for minutes in (30 - TICK, 30)]
    assert [(one["state"], one["met_at"]) for one in seen] == [("pending", None), ("met", at(30))]
    assert [one["mechanism_started_at"] for one in seen] == [at(8), at(8)]


def _recorded(story: Given, *minutes: float) -> Given:
    """The same story, told at these minutes."""
    told = [replace(entry, recorded_at=at(when)) for entry, when in zip(story.files[CASE], minutes, strict=True)]
    return Given({CASE: told})


def _stood_overdue(story: Given) -> list[tuple[str, bool]]:
    return [(one["state"], one["was_overdue"]) for one in owed(story, "respond")]


def test_a_later_proof_of_an_earlier_contact_accuses_nobody() -> None:
    """Clause 4.3: the first answer was known within the hour, so it never stood overdue."""
    story = given(received(1), responded(1, minutes=50), responded(1, minutes=30))
    assert _stood_overdue(_recorded(story, 1, 51, 90)) == [("met", False)]
    assert _stood_overdue(_recorded(story, 1, 90, 51)) == [("met", False)]
    assert _stood_overdue(_recorded(story, 1, 70, 90)) == [("met", True)]


def test_an_answer_to_everyone_that_was_known_first_accuses_nobody() -> None:
    """Clause 4.3: nor if it is not the earliest one."""
    story = given(received(1), responded(1, minutes=30), responded(minutes=50))
    assert _stood_overdue(_recorded(story, 1, 90, 51)) == [("met", False)]


def test_an_answer_that_was_late_clears_nothing_until_an_earlier_one_is_known() -> None:
    """Clause 4.3: it stood overdue from the 60th minute on."""
    story = given(received(1), responded(1, minutes=61), responded(1, minutes=30))
    assert _stood_overdue(_recorded(story, 1, 61, 90)) == [("met", True)]


def test_a_slip_in_an_answer_that_is_corrected_later_accuses_nobody() -> None:
    """Clause 4.3: neither when it was made nor whom it reached was wrong."""
    answer = responded(1, minutes=30)
    who = {"contact_person": {"name": "王午", "title": "客户关系专员"}}
    assert _stood_overdue(_recorded(given(received(1), answer).corrected(answer, who), 1, 31, 90)) == [("met", False)]
    when = {"contacted_at": "2026-11-23T20:20:00+08:00"}
    late = responded(1, minutes=70)
    assert _stood_overdue(_recorded(given(received(1), late).corrected(late, when), 1, 71, 90)) == [("met", True)]


def test_a_slip_in_a_complaint_that_is_corrected_later_does_not_hide_that_it_stood_overdue() -> None:
    """Clause 4.3: it was known all the time that it was to be answered."""
    complaint = received(1)
    story = given(complaint, responded(1, minutes=30)).corrected(complaint, {"household": "3-1-202"})
    assert _stood_overdue(_recorded(story, 1, 90, 120)) == [("met", True)]


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
