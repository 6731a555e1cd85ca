"""An oracle in another style (whole fen, tables, no policy document) and laws that grading keeps, on random facts."""

import os
import random
from decimal import Decimal

from grading_engine.facts import Facts
from grading_engine.grades import grade, judged
from grading_engine.policy import shipped

HISTORIES = 10_000
SEVERITY = {"ungraded": 0, "A-2": 1, "A-1": 2}


def seed() -> random.Random:
    """A new seed, or the one in ANJUAN_SEED; printed, so that a failure can be replayed."""
    number = int(os.environ.get("ANJUAN_SEED") or random.SystemRandom().randrange(2**32))
    print(f"ANJUAN_SEED={number}")
    return random.Random(number)


Fen = list[int | None]
Said = tuple[Fen, list[bool | None], Fen, set[int], set[int]]


def anything(chance: random.Random) -> Said:
    """Facts as an oracle likes them: fen, flags, harm and two sets of households, near the bounds as a rule."""
    around = [None, 0, 1, 66_666_667, 99_999_999, 100_000_000, 199_999_999, 200_000_000, 200_000_001]
    amounts = [chance.choice(around) for _ in range(3)]
    flags = [chance.choice([None, False, False, True]) if chance.random() < 0.5 else False for _ in range(4)]
    harms: list[Fen] = [[None, None], [0, 0], [0, 0], [1, 0], [0, 2]]
    harm = chance.choice(harms)
    homes = chance.choice([0, 1, 58, 59, 60, 61, 98, 99, 100, 101])
    complain = set(range(homes))
    sue = set(range(chance.randrange(0, 3) * 50, chance.randrange(0, 3) * 50 + chance.randrange(0, 4)))
    return amounts, flags, harm, complain, sue


def as_facts(said: Said) -> Facts:
    amounts, flags, harm, complain, sue = said
    yuan = tuple(None if fen is None else Decimal(fen).scaleb(-2) for fen in amounts)
    return Facts(yuan, tuple(flags), tuple(harm), len(complain), len(sue), len(complain | sue))


def oracle(said: Said) -> dict[str, str]:
    """Each criterion's verdict by a table of its own."""
    amounts, flags, harm, complain, sue = said
    homes = len(complain.union(sue))
    least = sum(fen for fen in amounts if fen is not None)
    whole = None not in amounts

    def either(*values: bool | None) -> str:
        return "met" if True in values else "undetermined" if None in values else "not_met"

    two_million = 200_000_000
    return {
        "A-1.1": either(flags[0], flags[1]),
        "A-1.2": "met" if homes >= 100 else "not_met",
        "A-1.3": "met" if least >= two_million else "not_met" if whole else "undetermined",
        "A-1.4": either(flags[2], flags[3]),
        "A-1.5": either(*(None if number is None else number > 0 for number in harm)),
        "A-2.1": "met" if homes in range(60, 100) else "not_met",
        "A-2.2": "not_met" if least >= two_million or (whole and least == 0) else "undetermined",
    }


def test_an_independent_oracle_agrees() -> None:
    chance = seed()
    for _ in range(HISTORIES):
        said = anything(chance)
        expected = oracle(said)
        facts = as_facts(said)
        assert {one.criterion.id: one.verdict for one in judged(facts, shipped())} == expected, said
        levels = {name[:3] for name, verdict in expected.items() if verdict == "met"}
        code = "A-1" if "A-1" in levels else "A-2" if "A-2" in levels else "ungraded"
        assert grade(facts, shipped()).code == code, said


def test_more_harm_never_lowers_a_grade() -> None:
    chance = seed()
    for _ in range(2_000):
        amounts, flags, harm, complain, sue = anything(chance)
        before = grade(as_facts((amounts, flags, harm, complain, sue)), shipped())
        worse: Said = (
            [fen if fen is None else fen + chance.choice([0, 1, 100_000_000]) for fen in amounts],
            [
                flag or chance.random() < 0.2 or None if flag is None else flag or chance.random() < 0.2
                for flag in flags
            ],
            [None if number is None else number + chance.randrange(2) for number in harm],
            complain | set(range(200, 200 + chance.randrange(50))),
            sue | set(range(300, 300 + chance.randrange(50))),
        )
        after = grade(as_facts(worse), shipped())
        assert SEVERITY[after.code] >= SEVERITY[before.code], (amounts, flags, harm, worse)
