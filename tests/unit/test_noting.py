"""备注 (house rule). A note moves nothing."""

from msgspec.structs import replace

from tests.steps import at, command, complaint_id, given, noted, received, risk_identified


def test_a_note_may_stand_beside_any_case() -> None:
    given(risk_identified()).when(command("noted", text="已到现场", occurred_at=at(3))).then(noted("已到现场", 3))


def test_a_note_may_be_about_one_complaint() -> None:
    asked = command("noted", text="业主不在家", complaint=str(complaint_id(1)), occurred_at=at(3))
    given(received(1)).when(asked).then(noted("业主不在家", 3, about=1))


def test_a_note_about_an_unknown_complaint_names_the_place() -> None:
    asked = command("noted", text="业主不在家", complaint=str(complaint_id(9)))
    given(received(1)).when(asked).is_malformed("unknown_complaint", "/complaint")


def test_a_note_moves_nothing_but_the_version() -> None:
    complaint = received(1)
    before, after = given(complaint).case, given(complaint, noted("看过", 5)).case
    moved = ("version", "position", "updated_at", "last", "frontier")
    as_if = replace(after, **{name: getattr(before, name) for name in moved})
    assert as_if == before
    assert after.version == before.version + 1
