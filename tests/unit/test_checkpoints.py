"""A signed tree head is a text that says all it signs, and no other text passes for it."""

import base64
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest

from services.checkpoints import HeadKey, TreeHead, key_id, opened, origin_of

_KEY, _OTHER = HeadKey(bytes(range(32))), HeadKey(bytes(32))
_HEAD = TreeHead(origin_of(UUID(int=7)), 1, 1979, bytes(range(32)), datetime(2026, 11, 25, 0, 0, 0, 1, UTC))
_NOTE = _KEY.signed(_HEAD)


def test_the_text_is_fixed() -> None:
    assert _HEAD.text() == (
        "anjuan/00000000-0000-0000-0000-000000000007\n1979\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
        "epoch 1\ntime 2026-11-25T00:00:00.000001Z\n"
    )
    text, signature = _NOTE.split("\n\n")
    assert f"{text}\n" == _HEAD.text()
    dash, name, signed = signature.removesuffix("\n").split(" ")
    assert (dash, name) == ("—", _HEAD.origin)
    assert base64.b64decode(signed)[:4] == key_id(_HEAD.origin, _KEY.public)


def test_a_note_opens_with_its_key_alone() -> None:
    assert opened(_NOTE, _KEY.public) == _HEAD
    assert opened(_NOTE, _OTHER.public) is None


def test_a_public_key_is_one_line() -> None:
    name, ident, key = _KEY.written(_HEAD.origin).split("+", 2)
    assert (name, bytes.fromhex(ident)) == (_HEAD.origin, key_id(name, _KEY.public))
    assert base64.b64decode(key) == b"\1" + _KEY.public


@pytest.mark.parametrize(
    "forged",
    [
        "",
        _NOTE.replace("1979", "1980"),
        _NOTE.replace("epoch 1", "epoch 2"),
        _NOTE.replace("00.000001Z", "00.000002Z"),
        _NOTE.replace("-000000000007", "-000000000008"),
        _NOTE.replace("AAEC", "AAED"),
        _OTHER.signed(_HEAD),
        _OTHER.signed(_HEAD).replace(
            _OTHER.signed(_HEAD)[-98:-90],
            _NOTE[-98:-90],
        ),
        _NOTE.replace("\n\n", "\nmore\n\n"),
        _NOTE.replace("time ", "time  "),
        _HEAD.text(),
    ],
)
def test_a_forged_note_does_not_open(forged: str) -> None:
    assert opened(forged, _KEY.public) is None


def test_no_changed_character_passes() -> None:
    seed = Random().randrange(1 << 32)
    print(f"seed {seed}")
    random = Random(seed)
    for _ in range(2_000):
        at = random.randrange(len(_NOTE))
        other = chr(random.choice([*range(32, 127), 10]))
        changed = _NOTE[:at] + other + _NOTE[at + 1 :]
        assert changed == _NOTE or opened(changed, _KEY.public) is None
