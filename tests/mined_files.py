"""Mining exports written from a ledger and read back by a library that is not ours."""

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import r4pm

from intake_api.services import Services
from projections.impact import Period
from projections.mining import Mining, Told, Writer
from projections.ocel import Ocel
from projections.ocel_files import JsonFile, XmlFile
from projections.pseudonyms import Pseudonyms
from projections.xes import Xes

ALL = Period(None, None, frozenset())


async def written(services: Services, file: Path, period: Period = ALL) -> Told:
    """Write a file in the format of its ending: .xes, .json or .xml."""
    await services.policies.refresh()
    await services.directory.refresh()
    walk = Mining(services.url, services.log, services.policies.policies, period, lambda done, total: None)
    with file.open("wb") as out, tempfile.TemporaryFile() as waiting:
        writer: Writer
        if file.suffix == ".xes":
            writer = Xes(out, Pseudonyms())
        else:
            made = XmlFile(out, waiting) if file.suffix == ".xml" else JsonFile(out, waiting)
            writer = Ocel(made, Pseudonyms(), services.directory, walk.exported)
        return await walk.tell(writer)


def read_xes(file: Path) -> list[dict[str, Any]]:
    """The traces: attributes by key, `events` likewise; each value with its type."""
    log = _read("EventLog", file)
    return [
        {**_values(trace["attributes"]), "events": [_values(event["attributes"]) for event in trace["events"]]}
        for trace in log["traces"]
    ]


def read_ocel(file: Path) -> dict[str, Any]:
    """The whole log as the library understood it."""
    found: dict[str, Any] = _read("OCEL", file)
    return found


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _read(kind: str, file: Path) -> Any:
    item = r4pm.import_item(kind, str(file))
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told.json")
        r4pm.export_item(item, str(told))
        r4pm.remove_item(item)
        return json.loads(told.read_text("utf-8"))


def _values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    assert len({one["key"] for one in attributes}) == len(attributes)
    return {one["key"]: (one["value"]["type"], one["value"]["content"]) for one in attributes}
