"""未能联系 (3.1). Tried in vain: counted, and no clock stops."""

from services.rules import Rule
from tests.steps import attempt, attempted, given, received


def test_an_attempt_is_stored_as_said() -> None:
    given(received(1)).when(attempt(1, minutes=5)).then(attempted(1, minutes=5))


def test_each_attempt_is_counted_on_its_complaint() -> None:
    story = given(received(1), received(2), attempted(1, minutes=5), attempted(1, 2, minutes=9))
    assert (story.complaint(1).attempts, story.complaint(2).attempts) == (2, 1)


def test_an_attempt_at_a_household_counts_on_each_of_its_complaints() -> None:
    story = given(
        received(1, "3-1-201"),
        received(2, "3栋1单元201"),
        received(3, "5-1-101"),
        attempted(households=("3-1-0201",), minutes=9),
    )
    assert [story.complaint(n).attempts for n in (1, 2, 3)] == [1, 1, 0]


def test_an_attempt_before_the_complaint_was_obtained_is_refused() -> None:
    given(received(1, minutes=10)).when(attempt(1, minutes=9)).refused(Rule.ATTEMPTED_BEFORE_OBTAINED)


def test_an_attempt_at_the_very_instant_of_obtaining_counts() -> None:
    given(received(1, minutes=10)).when(attempt(1, minutes=10)).then(attempted(1, minutes=10))


def test_an_attempt_at_an_unknown_complaint_names_the_place() -> None:
    given(received(1)).when(attempt(1, 2, minutes=5)).is_malformed("unknown_complaint", "/complaints/1")


def test_an_attempt_at_an_unknown_household_names_the_place() -> None:
    asked = attempt(households=("8-8-808",), minutes=5)
    given(received(1)).when(asked).is_malformed("unknown_household", "/households/0")


def test_an_attempt_leaves_the_case_open() -> None:
    assert given(received(1), attempted(1, minutes=5)).case.status == "open"
