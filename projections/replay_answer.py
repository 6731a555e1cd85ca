"""A replay as one JSON document: sums and digest over everything, of each kind of item the first ones."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from projections.replay import Question
from projections.replay_kept import KINDS, Kept, canonical
from services.event_log import Head

# Of each kind; the others are counted, and a narrower question or the command tells them.
MOST = 20_000


def summed(kept: Kept, question: Question, epoch: int) -> dict[str, Any]:
    """What is answered beside the items."""
    asked = question.shown()
    return {
        **asked,
        "position": kept.walked.known,
        "views_position": kept.walked.seen,
        "epoch": epoch,
        "digest": kept.digest(asked),
        "totals": kept.tally.shown(),
    }


def pieces(kept: Kept, question: Question, head: Head, most: int | None = MOST) -> Iterator[bytes]:
    """The document, piece by piece; None: with every item."""
    yield canonical(summed(kept, question, head.epoch))[:-1]
    counts = _counts(kept.tally.shown())
    left = {name: max(0, counts[name] - most) if most is not None else 0 for name in KINDS.values()}
    yield b',"left_out":' + canonical({name: number for name, number in left.items() if number})
    for kind, name in KINDS.items():
        yield b',"%b":[' % name.encode()
        for number, item in enumerate(islice(kept.items(kind), most)):
            yield item if not number else b"," + item
        yield b"]"
    yield b"}"


def _counts(totals: Mapping[str, Any]) -> dict[str, int]:
    return {name: _number(totals[name]) for name in KINDS.values()}


def _number(count: Any) -> int:
    return sum(count.values()) if isinstance(count, dict) else int(count)
