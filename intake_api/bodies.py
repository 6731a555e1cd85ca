"""Reading a request's body: what JSON allows but no honest client means is refused, and every fault is named."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NoReturn, TypeVar

import msgspec
from pydantic import TypeAdapter, ValidationError

from services.rules import Fault, Malformed

_T = TypeVar("_T")
_CANONICAL = msgspec.json.Encoder(order="sorted", decimal_format="string")
# Deeper than any body of the contract; far below what would exhaust the stack.
_DEEPEST = 64


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    keys = [key for key, _ in pairs]
    raise _DoubledKey(next(key for key in keys if keys.count(key) > 1))


class _DoubledKey(ValueError):
    pass


class _NotANumber(ValueError):
    pass


def _constant(name: str) -> NoReturn:
    raise _NotANumber(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def parsed(raw: bytes) -> Any:
    """The body as plain values; raises `Malformed` for what is no JSON, and for doubled keys, NaN, NUL, surrogates."""
    value = _decoded(raw)
    if _may_be_unstorable(raw):
        _refuse_unstorable(value, "", 0)
    return value


def parsed_items(raw: bytes) -> Any:
    """As `parsed`, but of a list each item for itself: one that cannot be stored is a `Malformed` among the others."""
    value = _decoded(raw)
    if isinstance(value, list) and _may_be_unstorable(raw):
        return [_storable(item) for item in value]
    return value


def _storable(value: Any) -> Any:
    try:
        _refuse_unstorable(value, "", 0)
    except Malformed as malformed:
        return malformed
    return value


def _may_be_unstorable(raw: bytes) -> bool:
    return b"\\u" in raw or b"\0" in raw or raw.count(b"[") + raw.count(b"{") > _DEEPEST


def _decoded(raw: bytes) -> Any:
    try:
        text = raw.decode()
        return _DECODER.decode(text)
    except _DoubledKey as doubled:
        # The key may hold a lone surrogate, which no answer can.
        key = str(doubled)[:100].encode(errors="replace").decode()
        raise Malformed([Fault("", "doubled_key", key)]) from None
    except _NotANumber:
        raise Malformed([Fault("", "not_a_number")]) from None
    except (ValueError, RecursionError):
        raise Malformed([Fault("", "json_malformed")], "malformed_json") from None


def _refuse_unstorable(value: Any, pointer: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise Malformed([Fault(pointer, "too_deep")])
    if isinstance(value, str):
        _refuse_text(value, pointer)
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_text(key, pointer)
            _refuse_unstorable(item, f"{pointer}/{escaped(key)}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_unstorable(item, f"{pointer}/{index}", depth + 1)


def _refuse_text(text: str, pointer: str) -> None:
    if "\0" in text:
        raise Malformed([Fault(pointer, "nul")])
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed([Fault(pointer, "lone_surrogate")]) from None


def digest(method: str, path: str, value: Any) -> bytes:
    """What makes two requests one: method, path, and a body that parses to equal values."""
    return sha256(f"{method} {path}\n".encode() + _CANONICAL.encode(value)).digest()


def command(adapter: TypeAdapter[_T], raw: bytes, value: Any) -> _T:
    """The validated command; raises `Malformed` with every fault and its JSON pointer."""
    try:
        return adapter.validate_json(raw)
    except ValidationError as invalid:
        faults = _faults(invalid, value)
    needs_contact = any(f.pointer.startswith("/contact_person") and f.code == "missing" for f in faults)
    if needs_contact:
        raise Malformed(faults, "contact_person_required", "3.1")
    raise Malformed(faults)


def _faults(invalid: ValidationError, value: Any) -> list[Fault]:
    found: dict[str, Fault] = {}
    for error in invalid.errors(include_url=False, include_input=False):
        pointer = _pointer(error["loc"], value)
        context = error.get("ctx", {})
        field = context.get("field")
        if field and error["type"] in ("complaint_needs", "not_at_this_stage"):
            code = "missing" if error["type"] == "complaint_needs" else error["type"]
            pointer = f"{pointer}/{field}"
        elif error["type"] in ("union_tag_invalid", "union_tag_not_found"):
            code, pointer = "unknown_type" if error["type"] == "union_tag_invalid" else "missing", f"{pointer}/type"
        else:
            code = error["type"]
        found.setdefault(pointer, Fault(pointer, code, _given(context)))
    return list(found.values())


def _given(context: dict[str, Any]) -> str | None:
    """The bound or the choices that an error names; never what the client wrote."""
    for name in ("expected", "max_length", "min_length", "ge", "le", "field", "total"):
        if name in context:
            return str(context[name]).replace("True", "true")
    return None


def _pointer(location: Sequence[int | str], value: Any) -> str:
    """The place as the client wrote it: pydantic's names of union branches are left out."""
    pointer, here = "", value
    last = len(location) - 1
    for index, part in enumerate(location):
        if index == 0 and isinstance(here, dict) and part == here.get("type"):
            # The branch of the union, not a field.
            continue
        if isinstance(here, list) and isinstance(part, int):
            here = here[part] if part < len(here) else None
        elif isinstance(here, dict) and isinstance(part, str) and (part in here or index == last):
            here = here.get(part)
        else:
            continue
        pointer += f"/{escaped(str(part))}"
    return pointer


def escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
