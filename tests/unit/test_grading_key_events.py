"""重点事件分级 (clause 7): each criterion with both sides of its bound, written from the regulation by hand."""

from decimal import Decimal
from typing import Any

import pytest

from grading_engine.facts import AMOUNTS, FLAGS, Facts
from grading_engine.grades import Grading, amount_of, grade, judged
from grading_engine.policy import shipped

HARMLESS = Facts((Decimal(0),) * 3, (False,) * 4, (0, 0))


def known(**said: Any) -> Facts:
    """Everything was assessed, and nothing found but this."""
    return _with(HARMLESS, said)


def unknown(**said: Any) -> Facts:
    """Nothing was assessed but this."""
    return _with(Facts(), said)


def _with(facts: Facts, said: dict[str, Any]) -> Facts:
    amounts = [Decimal(said[n]) if n in said else old for n, old in zip(AMOUNTS, facts.amounts, strict=True)]
    flags = [said.get(n, old) for n, old in zip(FLAGS, facts.flags, strict=True)]
    counts = [said.get(n, old) for n, old in zip(("injured", "dead"), facts.counts, strict=True)]
    complaining, litigating = said.get("complaining", 0), said.get("litigating", 0)
    either = said.get("either", complaining + litigating)
    return Facts(tuple(amounts), tuple(flags), tuple(counts), complaining, litigating, either)


def of(facts: Facts) -> Grading:
    return grade(facts, shipped())


BOUNDS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "A-1.1 neither delay": ({}, "ungraded", ()),
    "A-1.1 batch handover": ({"batch_handover_delayed": True}, "A-1", ("A-1.1",)),
    "A-1.1 title deeds": ({"title_deed_delayed": True}, "A-1", ("A-1.1",)),
    "A-2.1 59 households": ({"complaining": 59}, "ungraded", ()),
    "A-2.1 60 households": ({"complaining": 60}, "A-2", ("A-2.1",)),
    "A-2.1 99 households": ({"complaining": 99}, "A-2", ("A-2.1",)),
    "A-1.2 100 households": ({"complaining": 100}, "A-1", ("A-1.2",)),
    "A-1.2 99 complain and 1 sues": ({"complaining": 99, "litigating": 1}, "A-1", ("A-1.2",)),
    "A-1.2 99 complain and one of them sues": ({"complaining": 99, "litigating": 1, "either": 99}, "A-2", ("A-2.1",)),
    "A-2.1 60 sue": ({"litigating": 60}, "A-2", ("A-2.1",)),
    "A-1.3 1,999,999.99": ({"compensation": "1999999.99"}, "ungraded", ()),
    "A-1.3 2,000,000.00": ({"compensation": "2000000.00"}, "A-1", ("A-1.3",)),
    "A-1.3 upgrade cost": ({"upgrade_cost": "2000000.00"}, "A-1", ("A-1.3",)),
    "A-1.3 economic loss": ({"economic_loss": "2000000.00"}, "A-1", ("A-1.3",)),
    "A-1.3 three kinds together": (
        {"compensation": "700000.00", "upgrade_cost": "700000.00", "economic_loss": "600000.00"},
        "A-1",
        ("A-1.3",),
    ),
    "A-1.3 three kinds together, a fen short": (
        {"compensation": "700000.00", "upgrade_cost": "700000.00", "economic_loss": "599999.99"},
        "ungraded",
        (),
    ),
    "A-1.4 milestone": ({"group_milestone_delayed": True}, "A-1", ("A-1.4",)),
    "A-1.4 annual target": ({"annual_target_lowered": True}, "A-1", ("A-1.4",)),
    "A-1.5 nobody": ({"injured": 0, "dead": 0}, "ungraded", ()),
    "A-1.5 one injured": ({"injured": 1}, "A-1", ("A-1.5",)),
    "A-1.5 one dead": ({"dead": 1}, "A-1", ("A-1.5",)),
    "any one is enough": ({"injured": 1, "complaining": 60}, "A-1", ("A-1.5",)),
    "two criteria of one level": ({"injured": 1, "complaining": 100}, "A-1", ("A-1.2", "A-1.5")),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_level_is_met_from_its_bound_on(bound: str) -> None:
    said, code, criteria = BOUNDS[bound]
    found = of(known(**said))
    assert (found.code, found.criteria) == (code, criteria)


def test_what_nobody_assessed_is_unknown_and_could_still_raise_the_level() -> None:
    assert of(unknown()) == Grading(
        "ungraded", (), ("A-1.1", "A-1.3", "A-1.4", "A-1.5", "A-2.2"), False, frozenset(), False
    )
    assert of(unknown(complaining=60)).undetermined == ("A-1.1", "A-1.3", "A-1.4", "A-1.5")
    assert of(unknown(complaining=100)).undetermined == ()


def test_households_that_complain_and_sue_count_once() -> None:
    """`affected_households`, clause 7; together, each once, is an interpretation."""
    assert of(known(complaining=99, litigating=99, either=99)).criteria == ("A-2.1",)
    assert of(known(complaining=50, litigating=50, either=100)).criteria == ("A-1.2",)


def test_a_sum_is_at_least_what_is_known_of_it() -> None:
    """`cost`, clause 7; that the three kinds are added up is an interpretation."""
    assert of(unknown(compensation="2000000.00")).criteria == ("A-1.3",)
    assert "A-1.3" in of(unknown(compensation="1999999.99")).undetermined


def test_the_open_lower_bound_leaves_costs_below_two_million_undetermined_and_no_costs_not_met() -> None:
    verdicts = {
        amount: {one.criterion.id: one.verdict for one in judged(known(compensation=amount), shipped())}["A-2.2"]
        for amount in ("0.00", "0.01", "1999999.99", "2000000.00")
    }
    assert verdicts == {
        "0.00": "not_met",
        "0.01": "undetermined",
        "1999999.99": "undetermined",
        "2000000.00": "not_met",
    }


def test_a_hundred_households_are_not_fewer_than_a_hundred() -> None:
    """`A-2.1`, clause 7: its upper bound is excluded, whatever else is met."""
    met = {homes: "A-2.1" in of(known(complaining=homes)).met for homes in (59, 60, 99, 100, 101)}
    assert met == {59: False, 60: True, 99: True, 100: False, 101: False}


def test_six_parts_that_floats_add_up_wrongly_make_exactly_two_million() -> None:
    parts = ("81127.88", "498717.29", "223267.96", "484179.99", "477272.72", "235434.16")
    assert sum(map(float, parts)) < 2_000_000
    together = amount_of([{"amount": part, "form": "cash"} for part in parts])
    assert together == Decimal("2000000.00")
    assert of(known(compensation=str(together))).code == "A-1"


MASS = {59: False, 60: True, 61: True}


@pytest.mark.parametrize("households", MASS)
def test_a_key_event_is_a_mass_complaint_from_sixty_households_on(households: int) -> None:
    """`mass_bound`, clause 4.4; the bound is an interpretation."""
    found = of(known(complaining=households, injured=1))
    assert (found.key, found.mass) == (True, MASS[households])
