"""OCEL 2.0 as JSON and as XML. Objects go straight into the file, events wait beside it: memory does not grow."""

import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO

import msgspec

from projections.markup import escaped, spelled
from projections.mined_fields import Value
from projections.ocel import Event, Object, Relations, Types
from services.instants import format_instant

_ENCODER = msgspec.json.Encoder()


class JsonFile:
    """`waiting`: an empty file for the events, which the format wants in a list of their own."""

    def __init__(self, out: BinaryIO, waiting: BinaryIO) -> None:
        self._out, self._waiting = out, waiting
        self._objects = self._events = 0

    def begin(self, objects: Types, events: Types) -> None:
        types = b'{"objectTypes":%b,"eventTypes":%b,"objects":['
        self._out.write(types % (_ENCODER.encode(_types(objects)), _ENCODER.encode(_types(events))))

    def object(self, one: Object) -> None:
        values = [{"name": name, "time": format_instant(at), "value": _plain(value)} for name, at, value in one.values]
        said = {"id": one.id, "type": one.type, "attributes": values, "relationships": _related(one.relations)}
        self._out.write((b",\n" if self._objects else b"\n") + _ENCODER.encode(said))
        self._objects += 1

    def event(self, one: Event) -> None:
        values = [{"name": name, "value": _plain(value)} for name, value in one.values]
        said = {
            "id": one.id,
            "type": one.type,
            "time": format_instant(one.at),
            "attributes": values,
            "relationships": _related(one.relations),
        }
        self._waiting.write((b",\n" if self._events else b"\n") + _ENCODER.encode(said))
        self._events += 1

    def end(self) -> None:
        self._out.write(b'\n],"events":[')
        _append(self._waiting, self._out)
        self._out.write(b"\n]}\n")


class XmlFile:
    """Likewise, as XML."""

    def __init__(self, out: BinaryIO, waiting: BinaryIO) -> None:
        self._out, self._waiting = out, waiting

    def begin(self, objects: Types, events: Types) -> None:
        self._out.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<log>\n')
        for kind, types in (("object", objects), ("event", events)):
            self._out.write(f"<{kind}-types>{''.join(_xml_types(kind, types))}</{kind}-types>\n".encode())
        self._out.write(b"<objects>\n")

    def object(self, one: Object) -> None:
        values = "".join(
            f'<attribute name="{name}" time="{format_instant(at)}">{spelled(value)}</attribute>'
            for name, at, value in one.values
        )
        head = f'<object id="{escaped(one.id)}" type="{one.type}">'
        self._out.write(f"{head}{_body(values, one.relations)}</object>\n".encode())

    def event(self, one: Event) -> None:
        values = "".join(f'<attribute name="{name}">{spelled(value)}</attribute>' for name, value in one.values)
        head = f'<event id="{escaped(one.id)}" type="{one.type}" time="{format_instant(one.at)}">'
        self._waiting.write(f"{head}{_body(values, one.relations)}</event>\n".encode())

    def end(self) -> None:
        self._out.write(b"</objects>\n<events>\n")
        _append(self._waiting, self._out)
        self._out.write(b"</events>\n</log>\n")


def _append(waiting: BinaryIO, out: BinaryIO) -> None:
    waiting.seek(0)
    shutil.copyfileobj(waiting, out, 1 << 20)


def _types(types: Types) -> list[dict[str, Any]]:
    return [
        {"name": name, "attributes": [{"name": field, "type": kind} for field, kind in fields.items()]}
        for name, fields in types.items()
    ]


def _related(relations: Relations) -> list[dict[str, str]]:
    return [{"objectId": name, "qualifier": qualifier} for name, qualifier in relations]


def _plain(value: Value) -> Any:
    """Amounts with the digits that they were written with, never through a float."""
    match value:
        case datetime():
            return format_instant(value)
        case Decimal():
            return msgspec.Raw(f"{value:f}".encode())
        case _:
            return value


def _xml_types(kind: str, types: Types) -> Iterator[str]:
    for name, fields in types.items():
        said = "".join(f'<attribute name="{field}" type="{what}"/>' for field, what in fields.items())
        yield f'<{kind}-type name="{name}"><attributes>{said}</attributes></{kind}-type>'


def _body(values: str, relations: Iterable[tuple[str, str]]) -> str:
    related = "".join(
        f'<relationship object-id="{escaped(name)}" qualifier="{escaped(qualifier)}"/>' for name, qualifier in relations
    )
    return f"<attributes>{values}</attributes><objects>{related}</objects>"
