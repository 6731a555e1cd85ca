"""``anjuan replay``: a period from the events alone, into a file; interrupted, the same command goes on."""

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import typer
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from grading_engine.policy import read
from intake_api import bodies
from intake_api.audit_replay import asked_question
from intake_api.command_line.explained import console
from intake_api.command_line.replay_files import written
from intake_api.command_line.views import with_database
from intake_api.services import Services
from projections.replay import Question
from projections.replay_kept import Kept
from projections.replay_run import Replay
from services.commands import REPLAY
from services.event_log import Head
from services.rules import Malformed
from services.settings import Settings

app = typer.Typer()
Format = Literal["json", "csv", "html"]


class NotReplayed(Exception):
    """What a person can mend."""


class _Begun(msgspec.Struct):
    """How a part-file begins: what was asked, as it was typed, and with every instant pinned."""

    typed: dict[str, Any]
    question: Question
    head: Head


@app.command()
def replay(
    region: Annotated[str | None, typer.Option(help="A region's code; without: the whole group.")] = None,
    project: Annotated[str | None, typer.Option(help="A project's code.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="Cases from this instant on.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Cases before this instant.")] = None,
    basis: Annotated[str, typer.Option(help="By when they were opened, due or recorded.")] = "opened",
    as_of: Annotated[str | None, typer.Option(help="The cases as they stood then; default: now.")] = None,
    known_at: Annotated[str | None, typer.Option(help="By what was recorded until then; default: now.")] = None,
    policy: Annotated[str | None, typer.Option(help="A document's file, or a published version, to judge by.")] = None,
    format: Annotated[Format, typer.Option(help="csv makes a file for each kind of item.")] = "json",
    output: Annotated[Path | None, typer.Option(help="Default: replay.json, .csv or .html.")] = None,
) -> None:
    """Replay the cases of a period from the events alone; exit 1 if anything was tampered with or is unexplained."""
    typed = {
        **{"region": region, "project": project, "from": begin, "to": end, "basis": basis},
        **{"as_of": as_of, "known_at": known_at, "policy": _policy(policy) if policy else None},
    }
    file = output or Path(f"replay.{format}")

    async def run(settings: Settings, url: str) -> tuple[list[Path], dict[str, Any], str]:
        return await _replayed(settings, url, typed, file, format)

    try:
        files, totals, digest = with_database(run)
    except (NotReplayed, OSError) as fault:
        console.print(f"[red]{fault}[/red]")
        raise typer.Exit(2) from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        console.print(f"Stopped. The same command goes on from {_part(file)}")
        raise typer.Exit(1) from None
    _print(files, totals, digest)
    if totals["tampered"] or totals["unexplained"]:
        raise typer.Exit(1)


async def _replayed(
    settings: Settings, url: str, typed: dict[str, Any], file: Path, format: Format
) -> tuple[list[Path], dict[str, Any], str]:
    services = Services(settings, url)
    async with services.log:
        await services.policies.refresh()
        with _opened(_part(file)) as part:
            begun = await _begun(services, part, typed)
            await services.looked.commanded("replay_ledger", [begun.question.region or "*"])
            kept = Kept(part, msgspec.json.encode(begun))
            await _run(services, begun, kept)
            files = written(kept, begun.question, begun.head, file, format, settings.language, services.policies)
            digest = kept.digest(begun.question.shown())
        _part(file).unlink()
    return files, kept.tally.shown(), digest


async def _run(services: Services, begun: _Begun, kept: Kept) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("records", total=begun.head.position, completed=kept.walked.records)

        def reached(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        published = services.policies.policies
        await Replay(services.url, services.log, published, begun.question, begun.head, kept, reached).run()


async def _begun(services: Services, part: BinaryIO, typed: dict[str, Any]) -> _Begun:
    """What a part-file was begun with, if it is the same question; else the question as it is now."""
    head = await services.log.read.head()
    if line := part.readline():
        try:
            begun = msgspec.json.decode(line, type=_Begun)
        except (msgspec.DecodeError, msgspec.ValidationError):
            begun = None
        if begun is None or begun.typed != json.loads(json.dumps(typed)) or begun.head.epoch != head.epoch:
            raise NotReplayed(f"{part.name} is the part of another replay: remove it, or name another --output")
        return begun
    raw = json.dumps({name: value for name, value in typed.items() if value is not None}).encode()
    try:
        asked = bodies.command(REPLAY, raw, bodies.parsed(raw))
        return _Begun(typed, await asked_question(services, asked, head), head)
    except Malformed as refused:
        said = [f"--{one.pointer.lstrip('/').replace('_', '-')}: {one.code}" for one in refused.faults]
        raise NotReplayed("\n".join(said)) from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The part-file, which nobody else writes meanwhile."""
    path.touch()
    with path.open("r+b") as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotReplayed(f"another replay writes {path}") from None
        try:
            yield part
        finally:
            if not part.seek(0, os.SEEK_END):
                # Nothing was asked that could be replayed.
                path.unlink()


def _part(file: Path) -> Path:
    return file.with_name(f"{file.name}.part")


def _policy(given: str) -> Any:
    """A document's file, or the name of a version."""
    file = Path(given)
    if not file.is_file():
        return given
    try:
        return read(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        console.print(f"[red]{file} cannot be read: {type(failure).__name__}[/red]")
        raise typer.Exit(2) from None


def _print(files: list[Path], totals: dict[str, Any], digest: str) -> None:
    found = ", ".join(f"{kind} {number}" for kind, number in totals["findings"].items()) or "none"
    print(f"{totals['cases']} cases, {totals['breached']} breached; findings: {found}")
    print(f"{totals['differences']} differ from the views, {totals['unexplained']} with no explanation")
    print(f"{totals['tampered']} records were tampered with" if totals["tampered"] else "every record is intact")
    print(f"digest {digest}")
    print(", ".join(map(str, files)))
