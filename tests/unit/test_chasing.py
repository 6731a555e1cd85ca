"""催办 (house rule). The same matter again: no new complaint, no clock."""

from tests.steps import at, chased, command, complaint_id, given, received, responded


def test_chasing_is_stored_as_said() -> None:
    asked = command("chased", complaint=str(complaint_id(1)), channel="hotline", occurred_at=at(20))
    given(received(1)).when(asked).then(chased(1, 20))


def test_chasing_makes_no_new_complaint_and_starts_no_clock() -> None:
    story = given(received(1), chased(1, 20), chased(1, 30))
    assert (len(story.case.complaints), story.complaint(1).chased) == (1, 2)
    assert story.complaint(1).obtained_at == at(0)


def test_chasing_an_answered_complaint_does_not_open_it_again() -> None:
    assert given(received(1), responded(1, minutes=10), chased(1, 20)).case.status == "responded"


def test_chasing_an_unknown_complaint_names_the_place() -> None:
    asked = command("chased", complaint=str(complaint_id(2)), channel="hotline")
    given(received(1)).when(asked).is_malformed("unknown_complaint", "/complaint")
