"""docs/audit-file.md tells the truth: its example verifies, and each hash that it names is there."""

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from services.checkpoints import HeadKey
from services.verifier import FORMAT, MANIFEST, Fault, leaf_hash, node_hash, read_key, verify_file

_DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "audit-file.md").read_text()
_EXAMPLE = _DOCUMENT.split("```ndjson\n")[1].split("```")[0]


def test_the_example_verifies_and_is_refused_with_any_other_event(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in _EXAMPLE.splitlines()]
    file = tmp_path / "example.ndjson"
    file.write_text(_EXAMPLE)
    key = read_key(HeadKey(bytes(range(32))).written(lines[0]["origin"]))
    found = verify_file(file, [key])
    assert (found.first, found.last, found.size, found.bodies, found.heads) == (1, 2, 3, 1, 1)
    file.write_text(_EXAMPLE.replace("agent/region/wu", "agent/region/li"))
    with pytest.raises(Fault, match="position 2"):
        verify_file(file, [key])


def test_its_steps_are_those_of_the_example() -> None:
    lines = [json.loads(line) for line in _EXAMPLE.splitlines()]
    events = [line for line in lines if "header_hash" in line]
    table = re.findall(r"^((?:[0-9a-f]{4,64} ?)+)  +\S", _DOCUMENT, re.MULTILINE)
    packed = bytes.fromhex("".join(table).replace(" ", ""))
    assert f"these {len(packed)} bytes is `{sha256(packed).hexdigest()}`" in _DOCUMENT
    assert sha256(packed).hexdigest() == events[0]["header_hash"]
    leaves = [leaf_hash(bytes.fromhex(event["header_hash"])) for event in events]
    second = node_hash(*leaves)
    (third,) = next(line["consistency"] for line in lines if "consistency" in line)
    for named in (*leaves, second, node_hash(second, bytes.fromhex(third))):
        assert f"`{named.hex()}`" in _DOCUMENT


def test_it_names_every_member_of_the_first_line() -> None:
    assert f"`{FORMAT}`" in _DOCUMENT
    assert [name for name in MANIFEST if f"`{name}`" not in _DOCUMENT] == []
