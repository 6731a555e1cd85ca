"""Golden files: bodies as they lie in ledgers, ``<event>.<schema>.<form>.json``. They load for ever; never edit one.

``whole`` says everything that the event can say, ``least`` as little as may be.
"""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services import events
from services.events import KINDS, UnknownEvent, decode, encode
from services.personal import SealedField, fields_of, transform

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


def _read(file: Path) -> tuple[str, int, bytes]:
    name, schema, _form, _ = file.name.split(".")
    return name, int(schema), file.read_bytes()


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_stored_body_loads_for_ever_and_is_written_again_as_it_was(file: Path) -> None:
    name, schema, body = _read(file)
    fact = decode(name, schema, body)
    assert fact.name == name
    if schema == fact.schema:
        assert encode(fact) == body


def test_every_event_has_golden_files_of_each_schema_that_was_ever_written() -> None:
    forms = {tuple(file.name.split(".")[:3]) for file in GOLDEN}
    wanted = {
        (name, str(schema), form)
        for name, kind in KINDS.items()
        for schema in range(1, kind.schema + 1)
        for form in ("whole", "least")
    }
    assert wanted - forms == set()
    assert {form[0] for form in forms} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_body_says_everything_that_the_event_can_say(name: str) -> None:
    kind = KINDS[name]
    body = (Path(__file__).parent / "golden" / f"{name}.{kind.schema}.whole.json").read_bytes()
    said = _paths(msgspec.json.decode(body))
    # What excludes another, and what only openings carry.
    missing = {
        "responded": {"everyone", "households"},
        "contact_attempted": {"households"},
        # What it becomes has a form of its own.
        "corrected": {"becomes"},
    }.get(name, set())
    if name in events.ACTIONS and name not in ("risk_identified", "warned", "received"):
        missing = missing | {"case_no", "opening"}
    assert _fields(kind) - said == {path for path in _fields(kind) if path.split(".")[0] in missing}


def _fields(kind: Any, prefix: str = "") -> set[str]:
    """Every field of the class, at any depth."""
    found = set()
    for field in msgspec.structs.fields(kind):
        path = f"{prefix}{field.encode_name}"
        found.add(path)
        for part in re.findall(r"services\.events\.(\w+)", str(field.type)):
            found |= _fields(getattr(events, part), f"{path}.")
    return found


def _paths(value: Any, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key, item in value.items():
        found.add(f"{prefix}{key}")
        for one in item if isinstance(item, list) else [item]:
            if isinstance(one, dict):
                found |= _paths(one, f"{prefix}{key}.")
    return found


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_personal_texts_in_a_stored_body_are_sealed(file: Path) -> None:
    fact = decode(*_read(file))
    seen: list[str] = []

    def note(token: str, field: SealedField, *_: object) -> str:
        if field.kind != "staff":
            seen.append(token)
        return token

    transform(fact, fields_of(type(fact)), note)
    assert [token for token in seen if not re.fullmatch(r"1[A-Za-z0-9+/]{60,}={0,2}", token)] == []


def test_the_case_number_stands_first_where_the_ledger_puts_it() -> None:
    openings = [file for file in GOLDEN if b'"opening"' in file.read_bytes()]
    assert len(openings) >= 4
    assert all(file.read_bytes().startswith(b'{"case_no":"GD-20261123-0042",') for file in openings)


def test_an_event_of_a_newer_release_is_not_guessed_at() -> None:
    for name, schema in (("exploded", 1), ("noted", 99)):
        with pytest.raises(UnknownEvent):
            decode(name, schema, b"{}")
