"""The verifier's own arithmetic: what the service proves is accepted, what was forged never; and it stands alone."""

import ast
import base64
import random
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from services import verifier
from services.checkpoints import HeadKey, TreeHead, origin_of
from services.event_log.merkle import Frontier, Stretch, consistency, inclusion
from services.verifier import Key, open_head, read_key, verify_consistency, verify_inclusion

_FORGED = 10_000
_LEAVES = [sha256(b"%d" % n).digest() for n in range(300)]
_ROOTS = [Frontier.of(_LEAVES[:size]).root() for size in range(len(_LEAVES) + 1)]
_KEY, _OTHER = HeadKey(b"k" * 32), HeadKey(b"o" * 32)
_ORIGINS = [origin_of(UUID(int=n)) for n in (7, 8)]
_KEYS = [read_key(_KEY.written(_ORIGINS[0]))]
_AT = datetime(2026, 11, 25, 8, tzinfo=UTC)

Proof = tuple[int, int, bytes, bytes, list[bytes]]


def _root(stretch: Stretch) -> bytes:
    begin, end = stretch
    return Frontier.of(_LEAVES[begin:end]).root()


def _included(rng: Random) -> Proof:
    size = rng.randint(1, 300)
    index = rng.randrange(size)
    return index, size, _LEAVES[index], _ROOTS[size], [_root(one) for one in inclusion(index, size)]


def _extended(rng: Random) -> Proof:
    size = rng.randint(1, 300)
    first = rng.randint(1, size)
    return first, size, _ROOTS[first], _ROOTS[size], [_root(one) for one in consistency(first, size)]


def _is_included(proof: Proof) -> bool:
    index, size, leaf, root, path = proof
    return verify_inclusion(index, size, leaf, path, root)


def _is_extended(proof: Proof) -> bool:
    first, size, before, root, path = proof
    return verify_consistency(first, size, before, root, path)


def _flipped(rng: Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]


def _forged(rng: Random, kind: str, proof: Proof) -> Proof:
    """A proof with one lie in it."""
    first, size, one, root, path = proof
    path = list(path)
    match rng.randrange(9):
        case 0:
            return first, size, _flipped(rng, one), root, path
        case 1:
            return first, size, one, _flipped(rng, root), path
        case 2 if path:
            at = rng.randrange(len(path))
            path[at] = _flipped(rng, path[at])
        case 3 if path:
            del path[rng.randrange(len(path))]
        case 4:
            path.insert(rng.randint(0, len(path)), rng.choice([root, one, *path, rng.randbytes(32), b"", b"x"]))
        case 5 if len(path) > 1:
            a, b = rng.sample(range(len(path)), 2)
            path[a], path[b] = path[b], path[a]
        case 6 if path:
            # Two hashes as one, or one cut in two: the bytes are the same.
            at = rng.randrange(len(path))
            path[at : at + 2] = [b"".join(path[at : at + 2])] if rng.random() < 0.5 else [path[at][:16], path[at][16:]]
        case 7 if kind == "inclusion":
            first = rng.choice([first ^ 1 << rng.randrange(9), first - 1, first + 1, -first - 1, first + (1 << 40)])
        case 7:
            # A root is signed together with its size, so a lie about one of them is another signed head.
            first = rng.randint(0, 300)
            one = _ROOTS[first]
        case _:
            size = rng.choice([rng.randint(1, 300), size - 1, min(size + 1, 300), 0])
            root = _ROOTS[size]
    return first, size, one, root, path


def _is_true(kind: str, proof: Proof) -> bool:
    """Whether the lie is none: a leaf or a root of a size that the numbers name after all."""
    first, size, one, root, path = proof
    if not 0 <= first <= size <= 300 or (kind == "inclusion" and first == size) or (kind != "inclusion" and not first):
        return False
    stretches = inclusion(first, size) if kind == "inclusion" else consistency(first, size)
    known = _LEAVES[first] if kind == "inclusion" else _ROOTS[first]
    return (one, root, path) == (known, _ROOTS[size], [_root(stretch) for stretch in stretches])


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_true_proofs_are_accepted_and_forged_ones_never(kind: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = Random(seed)
    make, holds = (_included, _is_included) if kind == "inclusion" else (_extended, _is_extended)
    forged = 0
    while forged < _FORGED:
        proof = make(rng)
        assert holds(proof)
        lie = _forged(rng, kind, proof)
        if lie == proof or _is_true(kind, lie):
            continue
        forged += 1
        assert not holds(lie), f"seed {seed}: {kind} {lie[:2]} was {proof[:2]}"


def _note(rng: Random, key: HeadKey = _KEY, origin: str = _ORIGINS[0]) -> tuple[str, TreeHead]:
    at = _AT + timedelta(microseconds=rng.choice([0, 1, 10**6, rng.randrange(10**12)]))
    head = TreeHead(origin, rng.randint(1, 3), rng.randint(0, 10**9), rng.randbytes(32), at)
    return key.signed(head), head


def _bad_note(rng: Random, note: str) -> str:
    """The same note with another content, signature or form."""
    text, signature = note.split("\n\n")
    lines = text.split("\n")
    match rng.randrange(10):
        case 0:
            raw = bytearray(note.encode())
            at = rng.randrange(len(raw))
            raw[at] ^= 1 << rng.randrange(7)
            return raw.decode(errors="surrogateescape")
        case 1:
            return f"{text}\n\n{_note(rng)[0].split(chr(10) * 2)[1]}"
        case 2:
            return _note(rng, _OTHER)[0]
        case 3:
            return _note(rng, origin=_ORIGINS[1])[0]
        case 4:
            # Another's signature under this key's id.
            signed = base64.b64decode(_note(rng, _OTHER)[0].rsplit(" ", 1)[1])
            return f"{text}\n\n— {lines[0]} {base64.b64encode(_KEYS[0].key_id + signed[4:]).decode()}\n"
        case 5:
            at = rng.randint(1, 2) if rng.random() < 0.5 else 3
            lines[at] = rng.choice(
                [f"+{lines[at]}", f" {lines[at]}", f"{lines[at]} ", f"0{lines[at]}", f"{lines[at]}0"]
            )
            return "\n".join(lines) + f"\n\n{signature}"
        case 6:
            return rng.choice([note[:-1], note + "\n", note + signature, note.replace("\n", "\r\n"), "\n" + note])
        case 7:
            lines.insert(rng.randint(0, 5), rng.choice(["", "x", lines[1]]))
            return "\n".join(lines) + f"\n\n{signature}"
        case 8:
            return note[: rng.randrange(len(note))]
        case _:
            lines[1], lines[3] = lines[3].removeprefix("epoch "), f"epoch {lines[1]}"
            return "\n".join(lines) + f"\n\n{signature}"


def test_signed_heads_are_opened_and_forged_ones_never() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = Random(seed)
    forged = 0
    while forged < _FORGED:
        note, head = _note(rng)
        opened = open_head(note, _KEYS)
        assert opened is not None
        assert opened[:4] == head[:4]
        lie = _bad_note(rng, note)
        if lie == note:
            continue
        forged += 1
        assert open_head(lie, _KEYS) is None, f"seed {seed}: {lie!r}"


def test_a_key_is_read_only_as_it_is_written() -> None:
    line = _KEY.written(_ORIGINS[0])
    assert read_key(line) == Key(_ORIGINS[0], _KEY.public)
    name, key_id, encoded = line.split("+", 2)
    other = _OTHER.written(_ORIGINS[0]).split("+", 2)
    bad: Sequence[str] = [f"{name}+{other[1]}+{encoded}", f"{name}x+{key_id}+{encoded}", line[:-4], "", name, "++"]
    for one in bad:
        with pytest.raises(verifier.Unreadable):
            read_key(one)


def test_the_verifier_imports_nothing_of_the_service_and_runs_alone(tmp_path: Path) -> None:
    source = Path(verifier.__file__).read_text()
    roots = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            roots |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots.add((node.module or "").split(".")[0])
    assert roots - sys.stdlib_module_names == {"cryptography"}
    alone = tmp_path / "verifier.py"
    alone.write_text(source)
    # -I: neither this folder nor PYTHONPATH is looked into.
    done = subprocess.run(
        [sys.executable, "-I", str(alone), str(tmp_path / "no such file")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be read" in done.stdout
