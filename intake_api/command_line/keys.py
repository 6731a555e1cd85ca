"""``anjuan keys`` and ``anjuan erase``: what keys there are, wrapping them anew, and forgetting somebody."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from intake_api.command_line.database import running_database
from intake_api.command_line.explained import console, explained
from intake_api.command_line.views import rebuild
from intake_api.keyring import phone_key_in_use, phones_of
from intake_api.polled import ProjectionBehind
from intake_api.services import Services
from services.caller import Caller
from services.checkpoints import key_id, origin_of
from services.commands import ERASURE, ErasePerson
from services.erasures import Erasure
from services.event_log import EventLog, Unavailable
from services.event_log.tree import tree
from services.key_survey import Survey, survey
from services.master_keys import UnknownMaster, generation_of
from services.phone_keys import UnknownPhoneKey, named, out_of_use
from services.rehashing import Rehashed, rehash
from services.rewrapping import rewrap
from services.rules import Malformed
from services.settings import Settings

_ADMIN = Caller("command-line", "admin", "group", frozenset({"*"}), float("inf"))

app = typer.Typer()
keys = typer.Typer(invoke_without_command=True, help="Which keys are in use, and wrapping the data keys anew.")

app.add_typer(keys, name="keys")


@keys.callback()
def list_keys(
    context: typer.Context,
    lost: Annotated[bool, typer.Option(help="Read the whole ledger for keys that should be there.")] = True,
) -> None:
    """List the generations of all keys (never a key), and how many data keys there are, erased and lost (exit 1)."""
    if context.invoked_subcommand:
        return
    with explained():
        settings = Settings.from_environment()
        with running_database(settings) as url:
            found, rows = asyncio.run(_surveyed(settings, url, lost))
        table = Table("key", "generation", "is")
        for row in rows:
            table.add_row(*row)
        Console(width=120).print(table)
        print(f"data keys: {sum(found.by_master.values())}; erased: {found.erased}; lost: {len(found.lost)}")
        for one in found.lost:
            print(f"lost: {one}")
        raise typer.Exit(1 if found.lost else 0)


@keys.command("rewrap")
def rewrap_keys() -> None:
    """Wrap every data key under ANJUAN_MASTER_KEY, those before it in ANJUAN_MASTER_KEY_OLD, while the service runs."""
    with explained():
        settings = Settings.from_environment()
        try:
            with running_database(settings) as url:
                done = asyncio.run(_rewrapped(settings, url))
        except UnknownMaster as unknown:
            console.print(f"[red]A data key is wrapped by master key {unknown}.[/red] Give it in ANJUAN_MASTER_KEY_OLD")
            raise typer.Exit(1) from None
        print(f"{done} data keys were wrapped anew; all are under the current master key.")


@keys.command("rehash")
def rehash_numbers() -> None:
    """Hash every telephone number anew under ANJUAN_PHONE_KEY and build the views anew, while the service runs.

    All processes have the new key before: beside the former one in ANJUAN_PHONE_KEY_OLD.
    """
    with explained():
        settings = Settings.from_environment()
        with running_database(settings) as url:
            done = asyncio.run(_rehashed(settings, url))
            print(f"{done.anew} numbers were hashed anew; {done.current} stood under this phone key before.")
            for one in done.doubled:
                print(f"doubled: {one}")
            if not done.is_complete:
                told = f"{len(done.doubled)} persons have another key beside; {done.unread} numbers were not opened"
                console.print(f"[red]{told}.[/red] Keep the former key in ANJUAN_PHONE_KEY_OLD.")
                raise typer.Exit(1)
            rebuild(restart=True, cancel=False)
            gone = asyncio.run(_out_of_use(settings, url))
        print(f"Out of use: {', '.join(gone) or 'no key'}; ANJUAN_PHONE_KEY_OLD may go.")


def refuse_another_phone_key(settings: Settings, url: str) -> None:
    """End the command unless every phone key is given under which numbers stand."""
    try:
        asyncio.run(phone_key_in_use(settings, url))
    except UnknownPhoneKey as unknown:
        told = f"Numbers of this ledger are hashed under phone key {unknown}, which is not given"
        console.print(f"[red]{told}:[/red] under another key whoever calls again would be somebody new.")
        console.print("Give it as ANJUAN_PHONE_KEY, or in ANJUAN_PHONE_KEY_OLD to replace it; if it is lost,")
        console.print("run: anjuan keys rehash, while no service runs")
        raise typer.Exit(1) from None


@app.command()
def erase(
    case: Annotated[str, typer.Option(help="The case's id or number.")],
    complaint: Annotated[str, typer.Option(help="The complaint's id.")],
    reason: Annotated[str, typer.Option(help="Why; it must not name who is to be forgotten.")],
    texts: Annotated[bool, typer.Option("--texts", help="Also what was said of the complaint and the case.")] = False,
) -> None:
    """Forget who made a complaint, in all cases."""
    with explained():
        settings = Settings.from_environment()
        try:
            given = {"case_id": case, "complaint_id": complaint, "reason": reason, "texts": texts}
            command = ERASURE.validate_json(json.dumps(given))
            with running_database(settings) as url:
                print(_told(asyncio.run(_erased(settings, url, command))))
        except ValidationError as invalid:
            names = ", ".join(str(fault["loc"][0]) for fault in invalid.errors())
            console.print(f"[red]Not well-formed: {names}[/red]")
            raise typer.Exit(2) from None
        except Malformed as refused:
            console.print(f"[red]{'; '.join(f'{one.pointer}: {one.code}' for one in refused.faults)}[/red]")
            raise typer.Exit(1) from None
        except (Unavailable, ProjectionBehind):
            console.print("[red]The database, or the views, did not come so far in time.[/red] Try again.")
            raise typer.Exit(1) from None


async def _surveyed(settings: Settings, url: str, lost: bool) -> tuple[Survey, list[tuple[str, str, str]]]:
    services = Services(settings, url)
    async with services.log:
        found = await survey(services.log, lost)
        origin = origin_of((await tree(services.log.read)).ledger_id)
        in_use = await named(services.log.read)
    master = generation_of(settings.key("ANJUAN_MASTER_KEY")).hex()
    former = [generation_of(key).hex() for key in settings.former_keys("ANJUAN_MASTER_KEY")]
    masters = dict.fromkeys([master, *former, *found.by_master])
    rows = [("master", one, _said(one, master, former, found.by_master.get(one, 0))) for one in masters]
    rows.append(("head", key_id(origin, services.head_key.public).hex(), "signs heads"))
    rows.append(("token", services.tokens.kid[:8], "signs tokens"))
    phones = phones_of(settings)
    for name in dict.fromkeys([*phones.names, *in_use]):
        said = "current, finds persons" if name == phones.name else "former, still asked for"
        rows.append(("phone", name, said if name in phones.names else "NOT GIVEN"))
    return found, rows


def _said(one: str, master: str, former: list[str], count: int) -> str:
    known = "current" if one == master else "former" if one in former else "NOT GIVEN"
    return f"{known}, wraps {count} data keys"


async def _rewrapped(settings: Settings, url: str) -> int:
    services = Services(settings, url)
    async with services.log:
        return await rewrap(services.log.read, services.masters)


async def _rehashed(settings: Settings, url: str) -> Rehashed:
    services = Services(settings, url)
    async with services.log:
        await services.erasure_book.refresh()
        return await rehash(services.log, services.vault, phones_of(settings))


async def _out_of_use(settings: Settings, url: str) -> Sequence[str]:
    async with EventLog(url) as log:
        return await out_of_use(log.read, phones_of(settings))


async def _erased(settings: Settings, url: str, command: ErasePerson) -> Erasure:
    services = Services(settings, url)
    told: list[Erasure] = []

    def keep(one: Erasure) -> bytes:
        told[:] = [one]
        return b""

    async with services.log, _watching(services):
        await services.policies.refresh()
        await services.erasures.erase(command, _ADMIN, None, keep)
    return told[0]


@contextlib.asynccontextmanager
async def _watching(services: Services) -> AsyncIterator[None]:
    """With the views kept here, if nobody else does."""
    tasks = [asyncio.create_task(work) for work in (services.watch.run(), services.follower.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await services.views.close()


def _told(one: Erasure) -> str:
    said = {
        "erased": f"{one.keys_destroyed} keys were destroyed",
        "already_erased": "They were forgotten before; nothing was left to destroy",
        "nothing_to_erase": "Nobody is named there; nothing was destroyed",
    }[one.result]
    return f"{said}; cases: {', '.join(one.cases.values())}."
