"""Lists as files: every row of a question, of one instant, in the reader's language and as far as the reader may see.

Rows are read from one snapshot and put down sealed; a file is made of them as its reader takes it. CSV is made piece by
piece, XLSX in a folder that is gone with the answer; one that takes long becomes a job.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from intake_api import asked, case_lists, jobs
from intake_api.http import Call, Reply, StreamedReply
from intake_api.openapi import Csv, Xlsx
from intake_api.services import Services
from projections import breach_rows, export_columns
from projections.breach_rows import STATES, Late
from projections.case_list import SORTS, Order
from projections.export_columns import Cell, Column, Reader
from projections.export_rows import Breaches, Cases, Reading, Source
from projections.spreadsheets import Workbook, beijing, heading_lines, lines
from services.caller import Caller
from services.event_log import Overloaded
from services.jobs import File, Progress

CASE_FILTERS = (*asked.FILTERS, "sort", "min_position")
BREACH_FILTERS = ("duty", "region", "city", "area", "project", "state", "from", "to", "sort", "min_position")
CSV, XLSX = f"{Csv.media_type}; charset=utf-8".encode(), Xlsx.media_type.encode()
# More rows than this are a job; and so many bytes are sent at a time.
_LARGE, _PIECE = 20_000, 1 << 16
# Files that a process makes or sends at once: each keeps what it reads on disk until its client has it.
_AT_ONCE = 8
# Seconds in which the next piece has to be made, or taken by the client.
_STALLED = 30.0

_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Subject(NamedTuple):
    """What is exported: its columns, what the file is called, and where the rows come from."""

    name: str
    zh: str
    columns: Sequence[Column]
    known: Sequence[str]
    source: Callable[[Call, Caller, asked.Query, datetime], Source]


class Export:
    """One file under way."""

    def __init__(self, call: Call, caller: Caller, subject: Subject) -> None:
        services: Services = call.services
        self._services, self._caller, self.subject = services, caller, subject
        self._reader = Reader(call.language, services.now(), services.policies.policies)
        query = call.query(subject.known)
        now = self._reader.now
        # Refused at once if it is wrong; made again of the directory that the snapshot has.
        subject.source(call, caller, query, now)
        if services.exports >= _AT_ONCE:
            raise Overloaded
        services.exports += 1
        self._closed = False
        self.reading = Reading(services.snapshots, lambda: subject.source(call, caller, query, now))

    @property
    def title(self) -> str:
        """What the file's sheet is called."""
        return self.subject.zh if self._reader.language == "zh" else self.subject.name

    def file(self, suffix: str, content_type: bytes) -> File:
        """Named by the instant that it is of, in Beijing: in Chinese, and in plain letters."""
        at = f"{beijing(self._reader.now):%Y%m%d-%H%M%S}.{suffix}"
        return File(content_type.decode(), f"{self.subject.zh}-{at}", f"{self.subject.name}-{at}")

    async def rows(self) -> AsyncGenerator[list[list[Cell]], None]:
        """All of them, a few at a time."""
        async for documents in self.reading.rows(self._opened, _decode):
            yield [[column.cell(one, self._reader) for column in self.subject.columns] for one in documents]

    async def csv(self) -> AsyncGenerator[bytes, None]:
        """The pieces of a CSV file; none while it is read, so that no client holds up the snapshot."""
        while not await self.reading.step():
            yield b""
        yield heading_lines(self.subject.columns, self._reader.language)
        async with aclosing(self.rows()) as batches:
            async for rows in batches:
                yield lines(self.subject.columns, rows)

    async def xlsx(self) -> AsyncGenerator[bytes, None]:
        """The pieces of an XLSX file, once it is made."""
        with workshop() as (folder, thread):
            path = await self._made(folder, thread, Progress())
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece

    async def whole(self, progress: Progress) -> bytes:
        """An XLSX file as the result of a job, sealed for who asked."""
        try:
            await self.reading.read()
            with workshop() as (folder, thread):
                path = await self._made(folder, thread, progress)
                content = await asyncio.to_thread(path.read_bytes)
            return self._services.vault.seal_file(content, jobs.whose(self._caller))
        finally:
            await self.close()

    async def close(self) -> None:
        """Give back all that it holds."""
        if not self._closed:
            self._closed = True
            self._services.exports -= 1
            await self.reading.close()

    async def _made(self, folder: Path, thread: Executor, progress: Progress) -> Path:
        """The file, written by the thread: it is work, and this process has others to answer."""
        loop, done = asyncio.get_running_loop(), 0
        columns, language = self.subject.columns, self._reader.language
        book = await loop.run_in_executor(thread, Workbook, folder, self.title, columns, language)
        try:
            async with aclosing(self.rows()) as batches:
                async for rows in batches:
                    await loop.run_in_executor(thread, book.write, rows)
                    done += len(rows)
                    progress.reached(done, self.reading.count * 2)
            await loop.run_in_executor(thread, book.close)
        finally:
            thread.submit(book.abandon)
        return book.path

    async def _opened(self, sealed: bytes) -> bytes:
        return await self._services.vault.open_document(sealed, self._caller.masked)


@contextmanager
def workshop() -> Iterator[tuple[Path, Executor]]:
    """A folder for nobody else's eyes, since what is in it is not sealed, and a thread to write in it.

    Whoever leaves does not wait for them: the thread ends what it is at, and the folder goes with it.
    """
    folder = TemporaryDirectory(prefix="anjuan-export-", ignore_cleanup_errors=True)
    thread = ThreadPoolExecutor(1, "export")
    try:
        yield Path(folder.name), thread
    finally:
        thread.submit(folder.cleanup)
        thread.shutdown(wait=False)


def _cases(call: Call, caller: Caller, query: asked.Query, now: datetime) -> Source:
    services: Services = call.services
    wanted = case_lists.filters(call, caller, query, now)
    order = Order(*asked.order(query, SORTS, "-opened_at"))

    async def opened(sealed: bytes) -> bytes:
        return await services.vault.open_document(sealed, caller.masked)

    return Cases(wanted, order, services.directory, now, opened)


def _breaches(call: Call, caller: Caller, query: asked.Query, now: datetime) -> Source:
    services: Services = call.services
    duties = sorted({duty.duty for policy in services.policies.policies for duty in policy.duties})
    wanted = Late(
        asked.regions(caller, query.get("region")),
        asked.projects(query, services.directory, now),
        asked.chosen(query, "duty", duties),
        asked.chosen(query, "state", STATES),
        asked.instant(query, "from"),
        asked.instant(query, "to"),
    )
    _, descending = asked.order(query, breach_rows.SORTS, "-due_at")
    return Breaches(wanted, descending, services.directory, now)


CASES = Subject("cases", "案卷", export_columns.CASES, CASE_FILTERS, _cases)
BREACHES = Subject("breaches", "逾期", export_columns.BREACHES, BREACH_FILTERS, _breaches)


async def cases_csv(call: Call) -> Reply:
    """The list of cases as a CSV file: every case of the filters, of one instant, whatever their number."""
    return await _csv(call, CASES)


async def cases_xlsx(call: Call) -> Reply:
    """The list of cases as an XLSX file; a large one is a job."""
    return await _xlsx(call, CASES)


async def breaches_csv(call: Call) -> Reply:
    """Duties that are or were late, as a CSV file."""
    return await _csv(call, BREACHES)


async def breaches_xlsx(call: Call) -> Reply:
    """Duties that are or were late, as an XLSX file; a large one is a job."""
    return await _xlsx(call, BREACHES)


async def _csv(call: Call, subject: Subject) -> Reply:
    export = await _begun(call, subject)
    return _sent(call, export, export.csv(), export.file("csv", CSV))


async def _xlsx(call: Call, subject: Subject) -> Reply:
    export = await _begun(call, subject)
    try:
        small = await export.reading.read(at_most=_LARGE)
        call.count = export.reading.count
        if not small:
            return await _job(call, export)
    except BaseException:
        await export.close()
        raise
    return _sent(call, export, export.xlsx(), export.file("xlsx", XLSX))


async def _job(call: Call, export: Export) -> Reply:
    services: Services = call.services
    caller: Caller = call.scope["caller"]
    kind = f"export of {export.subject.name}"
    job_id = await services.jobs.start(kind, caller.subject, export.whole, export.file("xlsx", XLSX))
    return await jobs.settled(call, caller, job_id)


async def _begun(call: Call, subject: Subject) -> Export:
    """Its first page is read: what is wrong is told as a problem still."""
    services: Services = call.services
    caller = case_lists.reader(call)
    call.query(subject.known)
    await services.polled.wait(call)
    export = Export(call, caller, subject)
    try:
        await export.reading.begin()
    except BaseException:
        await export.close()
        raise
    return export


def _sent(call: Call, export: Export, pieces: AsyncGenerator[bytes, None], file: File) -> Reply:
    headers = [
        jobs.disposition(file),
        (b"content-language", b"zh-CN" if call.language == "zh" else b"en"),
        (b"ledger-position", b"%d" % export.reading.view.position),
        (b"cache-control", b"private, no-store"),
        (b"vary", b"Authorization, Accept-Language"),
    ]
    return StreamedReply(call, pieces, headers, file.content_type.encode(), _STALLED, export.close)


ROUTES = (
    ("/v1/cases.csv", cases_csv, CASE_FILTERS),
    ("/v1/cases.xlsx", cases_xlsx, CASE_FILTERS),
    ("/v1/breaches.csv", breaches_csv, BREACH_FILTERS),
    ("/v1/breaches.xlsx", breaches_xlsx, BREACH_FILTERS),
)
