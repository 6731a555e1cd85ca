"""The verifier's judge: what is hashed rightly and even signed is still refused where a ledger could not be so."""

from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest

from services.verifier import (
    Event,
    Fault,
    Frontier,
    Head,
    Judge,
    Kept,
    KeptLeaves,
    Restoration,
    Restorations,
    distinct,
    lost_by,
)

_STREAMS = [bytes([n]) * 16 for n in range(3)]
_NONE = Restorations([], 1)


def _event(position: int, version: int, **other: Any) -> Event:
    made = Event(
        position,
        _STREAMS[position % 3],
        version,
        "noted",
        1,
        "agent/region/wu",
        "GD",
        1_000 * position,
        sha256(b"{}").digest(),
        b"",
    )._replace(**other)
    return made._replace(header_hash=made.hashed())


def _events() -> list[Event]:
    return [_event(position, (position - 1) // 3 + 1) for position in range(1, 31)]


def _head(events: list[Event], size: int, epoch: int = 1) -> Head:
    tree = Frontier()
    for event in events[:size]:
        tree.append(event.header_hash)
    return Head("anjuan/x", epoch, size, tree.root(), 0)


def _judged(events: list[Event], *heads: Head, restorations: Restorations = _NONE) -> Judge:
    judge = Judge(Frontier(), heads, restorations, restorations.epoch, KeptLeaves(Kept(), restorations, 1))
    for event in events:
        judge.take(event)
    return judge


def test_a_sound_ledger_is_accepted() -> None:
    events = _events()
    judge = _judged(events, *(_head(events, size) for size in range(31)))
    assert (judge.heads, judge.left(), judge.tree.size) == (31, [], 30)


@pytest.mark.parametrize(
    ("change", "position", "what"),
    [
        ({"version": 5}, 7, "version 5 of its stream follows 2"),
        ({"version": 2}, 7, "version 2 of its stream follows 2"),
        ({"recorded_at": 6_000}, 7, "recorded no later"),
        ({"recorded_at": 5_999}, 7, "recorded no later"),
        ({"name": "ledger_restored"}, 7, "of which nothing was said"),
        ({"position": 8}, 7, "there is no such event; the next one is 8"),
        ({"position": 6}, 6, "no place here"),
    ],
)
def test_what_cannot_be_is_refused_though_its_hash_is_right(change: dict[str, Any], position: int, what: str) -> None:
    events = _events()
    events[6] = _event(**{"position": 7, "version": 3, "stream": _STREAMS[1], **change})
    heads = [_head(events, size) for size in (6, 7)]
    with pytest.raises(Fault, match=what) as found:
        _judged(events, *heads)
    assert found.value.position == position


def test_the_first_version_of_a_stream_is_one() -> None:
    with pytest.raises(Fault, match="version 2 of its stream follows 0"):
        _judged([_event(1, 2)])


def test_two_heads_of_one_size_agree_or_are_refused() -> None:
    head = _head(_events(), 5)
    assert distinct([head, head._replace(signed_at=7)]) == [head]
    with pytest.raises(Fault, match="different roots"):
        distinct([head, head._replace(root=b"x" * 32)])
    assert len(distinct([head, head._replace(root=b"x" * 32, epoch=2)])) == 2


def test_heads_of_a_later_epoch_are_refused() -> None:
    with pytest.raises(Fault, match="signed in epoch 2, but the ledger is in epoch 1"):
        _judged([], _head(_events(), 5, 2))


def test_an_older_epoch_s_heads_hold_up_to_the_base() -> None:
    events = _events()
    events[10] = _event(11, 1, stream=b"r" * 16, name="ledger_restored", region="")
    for at, (before, after) in enumerate(pairwise(events[10:])):
        version = sum(one.stream == after.stream for one in events[: 11 + at]) + 1
        events[11 + at] = _event(after.position, version, recorded_at=before.recorded_at + 1)
    restored = Restorations([Restoration(2, 10, "x", 11)], 2)
    lost = [Head("anjuan/x", 1, size, b"?" * 32, 0) for size in (11, 25, 99)]
    judge = _judged(events, _head(events, 10), _head(events, 30, 2), *lost, restorations=restored)
    assert judge.heads == 2
    assert lost_by(restored, lost) == [(Restoration(2, 10, "x", 11), 89)]
    with pytest.raises(Fault, match="was signed of others") as found:
        _judged(events, Head("anjuan/x", 1, 10, b"?" * 32, 0), restorations=restored)
    assert found.value.position == 1


def test_the_epoch_is_that_of_the_last_recorded_restore() -> None:
    for recorded, epoch in (([], 2), ([(2, 5)], 1), ([(2, 5)], 3), ([(3, 5), (2, 8)], 2), ([(2, 5), (2, 8)], 2)):
        with pytest.raises(Fault):
            Restorations([Restoration(one, base, "x", base + 1) for one, base in recorded], epoch)
