"""Audit files: written by the service, verified by a module that knows nothing of it; nothing in them can change."""

import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from projections.audit_file import NoSuchRange, Source, Wanted, export
from services import verifier
from services.embedded_postgres import EmbeddedPostgres
from services.verifier import Fault, Unreadable, Verified, read_event, read_key, verify_file
from tests.conftest import fresh_database
from tests.e2e.signed_ledgers import KEY, Desk, desk, now

pytestmark = pytest.mark.anyio
_SEED = 20261125


@pytest.fixture(scope="module")
async def ledger(
    cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, anyio_backend: object
) -> AsyncIterator[Desk]:
    """700 events with 8 heads."""
    with fresh_database(cluster) as url:
        async with desk(url, tmp_path_factory.mktemp("heads")) as opened:
            await opened.grow(Random(_SEED), [100, 1, 99, 56, 144, 100, 99, 101])
            yield opened


async def _exported(ledger: Desk, file: Path, *bounds: Any, regions: list[str] | None = None) -> Path:
    source = Source(ledger.log, ledger.heads, KEY, now)
    await export(source, Wanted(*bounds)._replace(regions=regions), file, lambda done, total: None)
    return file


def _key(file: Path) -> list[verifier.Key]:
    raw = file.read_bytes()
    first = json.loads((gzip.decompress(raw) if file.name.endswith(".gz") else raw).split(b"\n", 1)[0])
    return [read_key(KEY.written(first["origin"]))]


def _verified(ledger: Desk, file: Path, kept: bool = True) -> Verified:
    return verify_file(file, _key(file), ledger.folder if kept else None)


async def test_a_file_verifies_by_itself_and_by_the_kept_heads(ledger: Desk, tmp_path: Path) -> None:
    for name in ("whole.ndjson", "whole.ndjson.gz"):
        found = _verified(ledger, await _exported(ledger, tmp_path / name))
        assert (found.first, found.last, found.size, found.bodies, found.kept) == (1, 700, 700, 700, 8)
        assert found.heads == 8
        assert found.remarks == []
    assert {one.name for one in tmp_path.iterdir()} == {"whole.ndjson", "whole.ndjson.gz"}  # noqa: ASYNC240


@pytest.mark.parametrize(
    "bounds", [(1, 1), (1, 0), (2, 99), (100, 200), (101, 256), (257, 700), (512, 513), (701, 700)]
)
async def test_a_stretch_verifies_too(ledger: Desk, tmp_path: Path, bounds: tuple[int, int]) -> None:
    found = _verified(ledger, await _exported(ledger, tmp_path / "part", *bounds))
    assert (found.first, found.last, found.size) == (*bounds, 700)


async def test_bodies_are_told_of_chosen_regions_and_of_the_group(ledger: Desk, tmp_path: Path) -> None:
    file = await _exported(ledger, tmp_path / "some", regions=["GD"])
    found = _verified(ledger, file)
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    told = {line["region"] for line in lines if "body" in line or "body_base64" in line}
    silent = {line["region"] for line in lines if "header_hash" in line} - told
    assert (told, silent) == ({"GD", ""}, {"ZJ"})
    assert 0 < found.bodies < 700


async def test_what_the_ledger_has_not_is_refused(ledger: Desk, tmp_path: Path) -> None:
    for bounds in ((0, 5), (5, 3), (1, 701), (702, 702)):
        with pytest.raises(NoSuchRange):
            await _exported(ledger, tmp_path / "none", *bounds)
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240


async def test_an_export_that_fails_leaves_no_file(ledger: Desk, tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    source = Source(ledger.log, ledger.heads, KEY, now)
    with pytest.raises(KeyboardInterrupt):
        await export(source, Wanted(), tmp_path / "half", fail)
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240


# Changes ----------------------------------------------------------------------------------------------------------

Lines = list[bytes]


def _sealed(lines: Lines) -> bytes:
    """The lines with an end that fits them, as somebody would make it who changes a file on purpose."""
    events = sum(b'"header_hash"' in line and line.startswith(b'{"position"') for line in lines)
    body = b"".join(line + b"\n" for line in lines)
    return body + b'{"events":%d,"sha256":"%s"}\n' % (events, sha256(body).hexdigest().encode())


def _replaced(line: bytes, **fields: object) -> bytes:
    return json.dumps({**json.loads(line), **fields}, ensure_ascii=False, separators=(",", ":")).encode()


def _at(lines: Lines, position: int) -> int:
    return next(n for n, line in enumerate(lines) if line.startswith(b'{"position":%d,' % position))


def _with(position: int, /, **fields: object) -> Callable[[Lines], Lines]:
    def change(lines: Lines) -> Lines:
        at = _at(lines, position)
        return [*lines[:at], _replaced(lines[at], **fields), *lines[at + 1 :]]

    return change


def _without(line: int) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines[:line], *lines[line + 1 :]]


def _closing(head: bytes) -> bytes:
    return head.replace(b"head", b"closing_head", 1)


def _swapped(lines: Lines) -> Lines:
    a, b = _at(lines, 300), _at(lines, 301)
    return [*lines[:a], lines[b], lines[a], *lines[b + 1 :]]


_CHANGES: dict[str, tuple[Callable[[Lines], Lines], int | None]] = {
    "another actor": (_with(300, actor="x"), 300),
    "another region": (_with(300, region="ZZ"), 300),
    "another type": (_with(300, type="closed"), 300),
    "another version": (_with(300, version=900), 300),
    "another schema": (_with(300, schema=2), 300),
    "another position": (_with(300, position=3000), 300),
    "another stream": (_with(300, stream="0" * 8 + "-0000-0000-0000-" + "0" * 12), 300),
    "another case": (_with(300, case_id="x"), 300),
    "another instant": (_with(300, recorded_at="2026-01-01T00:00:00Z"), 300),
    "an instant in another zone": (_with(300, recorded_at="2026-01-01T08:00:00+08:00"), 300),
    "another body": (_with(300, body="{}"), 300),
    "another body and its hash": (_with(300, body="{}", body_hash=sha256(b"{}").hexdigest()), 300),
    "another hash": (_with(300, header_hash="00" * 32), 300),
    "a hash in capitals": (_with(300, header_hash="AB" * 32), 300),
    "an unknown field": (_with(300, more=1), 300),
    "a number as text": (_with(300, version="1"), 300),
    "true as a number": (_with(300, schema=True), 300),
    "no number": (_with(300, position=None), 300),
    "a number too large": (_with(300, version=1 << 70), 300),
    "an event gone": (lambda lines: _without(_at(lines, 300))(lines), 300),
    "an event twice": (lambda lines: [*lines[: _at(lines, 301)], *lines[_at(lines, 300) :]], 300),
    "two swapped": (_swapped, 300),
    "the end gone": (lambda lines: lines[: _at(lines, 650)], 650),
    "garbage within": (lambda lines: [*lines[: _at(lines, 300)], b"{}", *lines[_at(lines, 300) :]], 300),
    "no JSON": (lambda lines: [*lines[: _at(lines, 300)], b"\xff{", *lines[_at(lines, 300) :]], 300),
    "much nesting": (lambda lines: [*lines[: _at(lines, 300)], b"[" * 100_000, *lines[_at(lines, 300) :]], 300),
    "a space": (lambda lines: [line.replace(b'"version":', b'"version": ') for line in lines], None),
    "another size": (lambda lines: [_replaced(lines[0], size=699), *lines[1:]], None),
    "another epoch": (lambda lines: [_replaced(lines[0], epoch=2), *lines[1:]], None),
    "another end": (lambda lines: [_replaced(lines[0], to=699), *lines[1:]], None),
    "another beginning": (lambda lines: [_replaced(lines[0], **{"from": 2}), *lines[1:]], None),
    "another origin": (lambda lines: [_replaced(lines[0], origin="anjuan/x"), *lines[1:]], None),
    "regions": (lambda lines: [_replaced(lines[0], regions=["GD"]), *lines[1:]], None),
    "no closing head": (_without(2), None),
    "another closing head": (
        lambda lines: [*lines[:2], lines[3].replace(b"head", b"closing_head", 1), *lines[3:]],
        None,
    ),
    "no key": (_without(1), None),
}


@pytest.mark.parametrize("kind", _CHANGES)
async def test_a_changed_file_is_refused_at_the_first_bad_position(ledger: Desk, tmp_path: Path, kind: str) -> None:
    file = await _exported(ledger, tmp_path / "file")
    lines = file.read_bytes().splitlines()[:-1]
    assert _sealed(lines) == file.read_bytes()
    change, position = _CHANGES[kind]
    file.write_bytes(_sealed(change(lines)))
    with pytest.raises(Fault) as found:
        verify_file(file, (), ledger.folder)
    assert position is None or found.value.position == position, found.value


def _recomputed(lines: Lines, position: int) -> Lines:
    """Another body, all that is hashed made right behind it; only the tree's root is not what was signed."""
    at = _at(lines, position)
    body = '{"text":"another"}'
    told = {**json.loads(lines[at]), "body": body, "body_hash": sha256(body.encode()).hexdigest()}
    told.pop("body_base64", None)
    told["header_hash"] = read_event(told)[0].hashed().hex()
    written = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    return [*lines[:at], written, *lines[at + 1 :]]


async def test_a_recomputed_event_is_named_by_the_leaves_or_within_its_heads(ledger: Desk, tmp_path: Path) -> None:
    file = await _exported(ledger, tmp_path / "file", 150, 650)
    lines = file.read_bytes().splitlines()[:-1]
    for position in (150, 151, 256, 257, 333, 599, 601, 650):
        file.write_bytes(_sealed(_recomputed(lines, position)))
        with pytest.raises(Fault) as found:
            verify_file(file, (), ledger.folder)
        assert found.value.position == position, found.value
        with pytest.raises(Fault) as found:
            verify_file(file)
        between = max(one for one in (149, 200, 256, 400, 500, 599) if one < position) + 1
        assert found.value.position == between, found.value
        assert "no kept leaves" in found.value.what


async def test_other_roots_left_of_a_stretch_are_refused(ledger: Desk, tmp_path: Path) -> None:
    file = await _exported(ledger, tmp_path / "file", 150, 650)
    lines = file.read_bytes().splitlines()[:-1]
    peaks = json.loads(lines[0])["peaks"]
    file.write_bytes(_sealed([_replaced(lines[0], peaks=["00" * 32, *peaks[1:]]), *lines[1:]]))
    for kept in (None, ledger.folder):
        with pytest.raises(Fault, match="stand left of here" if kept else "no kept leaves") as found:
            verify_file(file, (), kept)
        assert found.value.position == 150


async def test_any_flipped_or_missing_byte_is_refused(ledger: Desk, tmp_path: Path) -> None:
    print(f"seed {_SEED}")
    rng, file = Random(_SEED), await _exported(ledger, tmp_path / "file", 640, 660)
    whole = file.read_bytes()
    for n in range(300):
        raw = bytearray(whole)
        at = rng.randrange(len(raw))
        if n % 3:
            raw[at] ^= 1 << rng.randrange(8)
        else:
            del raw[at:]
        file.write_bytes(raw)
        with pytest.raises((Fault, Unreadable)):
            verify_file(file)
    file.write_bytes(whole + b"\n")
    with pytest.raises(Fault):
        verify_file(file)


async def test_a_compressed_file_that_is_cut_off_is_refused(ledger: Desk, tmp_path: Path) -> None:
    file = await _exported(ledger, tmp_path / "file.gz")
    whole = file.read_bytes()
    for cut in (1, 8, 9, len(whole) // 2, len(whole) - 3):
        file.write_bytes(whole[:-cut])
        with pytest.raises((Fault, Unreadable)):
            verify_file(file)


async def test_another_s_key_and_heads_are_refused(ledger: Desk, tmp_path: Path) -> None:
    file = await _exported(ledger, tmp_path / "file")
    other = verifier.Key(_key(file)[0].name, b"o" * 32)
    with pytest.raises(Fault, match="no head that a key"):
        verify_file(file, [other])
    with pytest.raises(Fault, match="no key is given"):
        verify_file(file, [verifier.Key("anjuan/other", KEY.public)])
    notes = "\n".join(one.read_text() for one in ledger.folder.rglob("heads-*.txt"))
    one = tmp_path / "notes"
    one.write_text(notes)
    assert verify_file(file, _key(file), one).kept == 8
    for cut in range(1, len(notes), 97):
        one.write_text(notes[:cut] + notes)
        found = verify_file(file, _key(file), one)
        assert found.remarks == [] or "a writer that was killed" in found.remarks[0]
    one.write_text(notes.replace("epoch 1\n", "epoch 3\n", 1))
    with pytest.raises(Fault, match="none of the keys signed"):
        verify_file(file, _key(file), one)
    one.write_text("")
    with pytest.raises(Unreadable, match="no heads"):
        verify_file(file, _key(file), one)


async def test_a_file_of_before_says_nothing_about_heads_of_after(cluster: EmbeddedPostgres, tmp_path: Path) -> None:
    with fresh_database(cluster) as url:
        async with desk(url, tmp_path / "heads") as opened:
            await opened.grow(Random(1), [20, 20])
            file = await _exported(opened, tmp_path / "file")
            await opened.grow(Random(2), [20])
            assert "1 kept heads are of events outside" in _verified(opened, file).remarks[0]


async def test_the_whole_program_by_itself(ledger: Desk, tmp_path: Path) -> None:
    file = await _exported(ledger, tmp_path / "file")
    keys, alone = tmp_path / "keys.json", tmp_path / "verifier.py"
    keys.write_text(json.dumps({"items": [{"key": KEY.written(_key(file)[0].name)}], "next_cursor": None}))
    alone.write_text(Path(verifier.__file__).read_text())  # noqa: ASYNC240

    def run(*words: object) -> tuple[int, str]:
        command = [sys.executable, "-I", str(alone), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert not done.stderr, done.stderr[-500:]
        return done.returncode, done.stdout

    code, said = run(file, "--key", keys, "--heads", ledger.folder)
    assert code == 0
    assert "700 events verified" in said
    assert "proves nothing" not in said
    code, said = run(file)
    assert code == 0
    assert "proves nothing about who signed" in said
    file.write_bytes(file.read_bytes().replace(b'"position":300,', b'"position":301,'))
    assert run(file, "--key", keys)[0] == 1
    assert run(file, "--key", keys)[1].startswith("NOT VERIFIED: position 300: ")
    assert run(tmp_path)[0] == 2
    assert run(keys)[0] == 2
