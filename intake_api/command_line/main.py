"""The program. A command's modules are loaded when it is asked for: loading all of them takes two seconds."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

# Where each command is, in the order of `--help`; every module has its commands in `app`.
_MODULES: Mapping[str, tuple[str, ...]] = {
    "serving": ("serve", "migrate", "stop-database"),
    "listing": ("settings",),
    "tokens": ("token",),
    "policy": ("policy",),
    "feeding": ("demo", "import"),
    "views": ("follow", "rebuild", "check-projections", "parked"),
    "auditing": ("audit", "verify", "restored"),
    "replay": ("replay",),
    "mining": ("mining",),
    "keys": ("keys", "erase"),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}


class _Program(TyperGroup):
    """Knows the names of all commands, and loads one."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_WHERE)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _WHERE:
            return None
        module = import_module(f"intake_api.command_line.{_WHERE[cmd_name]}")
        return typer.main.get_group(module.app).commands[cmd_name]


app = typer.Typer(cls=_Program, no_args_is_help=True, add_completion=False, help="案卷 anjuan: a complaint ledger.")
app.callback()(lambda: None)
