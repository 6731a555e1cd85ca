"""``anjuan audit export``, ``anjuan verify`` and ``anjuan restored``."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import PydanticCustomError
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from intake_api.command_line.database import others_are_connected, running_database
from intake_api.command_line.explained import console, explained
from intake_api.services import Services
from services.checkpoints import HeadKey, TreeHead, written
from services.event_log import EventLog, Unavailable, connect
from services.event_log.privileges import Role
from services.event_log.tree import tree
from services.instants import parse_instant
from services.kept_heads import KeptHeads
from services.restoring import NothingRestored, Restored, record_restore
from services.settings import Settings
from services.tree_heads import Forked, extends
from services.verifier import Fault, Key, Unreadable, Verified, read_key, read_keys, verify_file
from services.whole_ledger import verify_ledger

app = typer.Typer()
audit = typer.Typer(no_args_is_help=True, help="What an auditor takes along.")
audit.callback()(lambda: None)
app.add_typer(audit, name="audit")


@audit.command("export")
def export_file(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to; compressed if it ends in .gz.")],
    begin: Annotated[
        str | None, typer.Option("--from", help="A position, or an instant: recorded from then on.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="A position, it included; or an instant: before it.")] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="Whose bodies are told, beside the group's; repeat for several; none: all.")
    ] = None,
) -> None:
    """Write the ledger, or a stretch of it, as a file that verifies without this service (docs/audit-file.md)."""
    from projections.audit_file import NoSuchRange, Source, Wanted, export

    with explained():
        settings = Settings.from_environment()
        wanted = Wanted(_bound(begin), _bound(end), region or None)
        with running_database(settings) as url, _progress("events") as told:

            async def work() -> tuple[int, int]:
                services = Services(settings, url)
                async with services.log:
                    source = Source(services.log, services.tree_heads, services.head_key, services.now)
                    done = await export(source, wanted, file, told)
                    await services.looked.commanded("audit_export", region or ["*"])
                    return done

            try:
                first, last = asyncio.run(work())
            except (NoSuchRange, OSError) as fault:
                raise _ended(str(fault), 2) from None
            except Unavailable:
                raise _ended("The database does not answer. Try again.", 2) from None
            except Forked as found:
                raise _ended(_forked(found.kept), 1) from None
        print(f"{last - first + 1} events, positions {first} to {last}: {file}")


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An audit file; left out: the database itself.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="Public keys that you trust: their lines, or the JSON of /v1/audit/keys.")
    ] = None,
    heads: Annotated[
        Path | None, typer.Option(help="Heads kept outside: a folder as ANJUAN_HEADS, or a file of notes.")
    ] = None,
) -> None:
    """Verify an audit file, or the database while everybody goes on; exit 1 and the first bad position if it fails."""
    with explained():
        try:
            with _progress("events") as told:
                if file:
                    found = verify_file(file, read_keys(key) if key else (), heads, told)
                else:
                    found = _verify_database(Settings.from_environment(), key, heads, told)
        except Fault as fault:
            print(f"NOT VERIFIED: {fault}")
            raise typer.Exit(1) from None
        except Unreadable as failure:
            raise _ended(str(failure), 2) from None
        print("\n".join(found.told()))


def _verify_database(
    settings: Settings, key: Path | None, heads: Path | None, told: Callable[[int, int], None]
) -> Verified:
    given = read_keys(key) if key else []
    with running_database(settings) as url:
        publics = [HeadKey(settings.key("ANJUAN_HEAD_KEY")).public, *asyncio.run(_former_keys(url))]

        def keys(origin: str) -> list[Key]:
            own = given or [read_key(written(origin, public)) for public in dict.fromkeys(publics)]
            return [one for one in own if one.name == origin]

        return verify_ledger(url, keys, heads or settings.heads, told)


async def _former_keys(url: str) -> list[bytes]:
    """What signed before the present key, by the service's own word: whoever trusts it less names keys (`--key`)."""
    async with await connect(url, role=Role.READER) as connection:
        rows = await (await connection.execute("SELECT public FROM head_keys", binary=True)).fetchall()
    return [bytes(row[0]) for row in rows]


@app.command()
def restored(
    reason: Annotated[str, typer.Option(help="Why, in a few words; it stands in the ledger for ever.")],
) -> None:
    """Say that the database was restored from a backup: recorded, and signed in a new epoch."""
    with explained():
        settings = Settings.from_environment()
        if not reason.strip():
            raise _ended("a reason is needed: --reason 'disk lost, backup of last night'", 2)
        with running_database(settings) as url:
            if others_are_connected(url):
                raise _ended("Others are connected to the database. Stop every anjuan first.", 2)
            try:
                done, kept = asyncio.run(_record_restore(settings, url, reason.strip()))
            except NothingRestored as known:
                said = f"The ledger has everything of its head of {known.kept.size} events: nothing was restored."
                raise _ended(said, 1) from None
            except Unavailable:
                raise _ended("The database does not answer. Run it again.", 2) from None
        lost = max(0, done.kept.size - done.base) if done.kept else 0
        print(f"Epoch {done.epoch} begins behind position {done.base}; {lost} positions that were signed are lost.")
        if not kept:
            raise _ended(f"Its head could not be kept in {settings.heads}. Run it again.", 2)


async def _record_restore(settings: Settings, url: str, reason: str) -> tuple[Restored, bool]:
    services = Services(settings, url)
    async with services.log:
        done = await record_restore(
            services.log, url, services.tree_heads, services.head_key, settings.heads, reason, services.now()
        )
        return done, services.tree_heads.unpushed_since is None


def refuse_a_fork(settings: Settings, url: str) -> None:
    """Exit 1 if the ledger does not extend the newest head that is kept outside; who does not answer is not judged."""
    try:
        lost = asyncio.run(_lost(settings, url))
    except Unavailable:
        return
    if lost:
        raise _ended(_forked(lost), 1)


async def _lost(settings: Settings, url: str) -> TreeHead | None:
    """The newest kept head, if the ledger does not extend it."""
    async with EventLog(url) as log:
        ledger_id = (await tree(log.read)).ledger_id
        kept = KeptHeads(settings.heads, ledger_id).newest(HeadKey(settings.key("ANJUAN_HEAD_KEY")).public)
        # Looked at behind the kept heads: other processes go on signing.
        return kept if kept and not await extends(log, await tree(log.read), kept) else None


def _forked(kept: TreeHead) -> str:
    return (
        f"The ledger is not the one whose head of {kept.size} events (epoch {kept.epoch}) is kept outside: events are "
        "gone or changed. Look closer: anjuan verify. If a backup was restored: anjuan restored --reason TEXT"
    )


def _bound(text: str | None) -> int | datetime | None:
    """A position or an instant."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 18:
        return int(text)
    try:
        return parse_instant(text)
    except PydanticCustomError as fault:
        raise _ended(f"{text}: neither a position nor an instant ({fault.message()})", 2) from None


def _ended(said: str, code: int) -> typer.Exit:
    console.print(f"[red]{said}[/red]", soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
