"""A mining export written to a file: whole, or not at all."""

import asyncio
import gc
import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal, cast

from pydantic_core import PydanticCustomError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from intake_api.services import Services
from projections.impact import Period
from projections.mining import Mining, Told, Writer
from projections.ocel import Ocel
from projections.ocel_files import JsonFile, XmlFile
from projections.pseudonyms import Pseudonyms
from projections.xes import Xes
from services.event_log import Unavailable
from services.instants import parse_instant
from services.settings import Settings

Format = Literal["xes", "ocel"]
_XES = frozenset({".xes"})
_OCEL_XML = frozenset({".xml", ".xmlocel"})
_OCEL = frozenset({".json", ".jsonocel"}) | _OCEL_XML


class NotMined(Exception):
    """What a person can mend."""


def mine(settings: Settings, url: str, file: Path, chosen: Format, period: Period) -> Told:
    """Write the file whole, or not at all; raises `NotMined`."""
    # Much lives for the length of a page: looking for garbage in it more often costs a third of the time.
    gc.set_threshold(100_000, 50, 100)
    try:
        with _written_whole(file) as out, tempfile.TemporaryFile(dir=file.parent) as waiting:
            return asyncio.run(_mine(settings, url, out, waiting, _format(file, chosen), period))
    except OSError as failure:
        raise NotMined(f"{file} cannot be written: {failure.strerror}") from None
    except Unavailable:
        raise NotMined("The database does not answer. Try again.") from None


async def _mine(settings: Settings, url: str, out: BinaryIO, waiting: BinaryIO, kind: str, period: Period) -> Told:
    services = Services(settings, url)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("records", total=None)

        def reached(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        async with services.log:
            await services.policies.refresh()
            await services.directory.refresh()
            if unknown := period.regions - services.directory.regions.keys():
                raise NotMined(f"no such region: {', '.join(sorted(unknown))}")
            walk = Mining(url, services.log, services.policies.policies, period, reached)
            pseudonyms = Pseudonyms()
            writer: Writer
            if kind == "xes":
                writer = Xes(out, pseudonyms)
            else:
                made = XmlFile(out, waiting) if kind == "xml" else JsonFile(out, waiting)
                writer = Ocel(made, pseudonyms, services.directory, walk.exported)
            return await walk.tell(writer)


@contextmanager
def _written_whole(file: Path) -> Iterator[BinaryIO]:
    """Written under another name, then renamed: what stands under its own is whole, or what stood there before."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with draft.open("xb") as raw:
            if file.suffix == ".gz":
                with gzip.open(raw, "wb", compresslevel=5) as out:
                    yield cast(BinaryIO, out)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _ending(file: Path) -> str:
    return Path(file.stem if file.suffix == ".gz" else file.name).suffix.lower()


def by_ending(file: Path) -> Format:
    """The format that a file's name tells; raises `NotMined`."""
    ending = _ending(file)
    if ending in _XES:
        return "xes"
    if ending in _OCEL:
        return "ocel"
    raise NotMined(f"{file.name}: which format? Name it with --format, or end it in .xes, .json or .xml")


def _format(file: Path, chosen: Format) -> str:
    if chosen == "xes":
        return "xes"
    return "xml" if _ending(file) in _OCEL_XML else "json"


def period(begin: str | None, end: str | None, regions: list[str]) -> Period:
    """Which cases are asked for; raises `NotMined`."""
    return Period(_instant(begin), _instant(end), frozenset(regions))


def _instant(text: str | None) -> datetime | None:
    try:
        return parse_instant(text) if text else None
    except PydanticCustomError as fault:
        raise NotMined(f"{text}: {fault.message()}") from None
