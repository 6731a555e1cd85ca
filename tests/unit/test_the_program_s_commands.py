"""The program knows every command of its modules by name, and loads none that was not asked for."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import typer
from typer.testing import CliRunner

import intake_api.command_line
from intake_api.command_line import app

_FOLDER = Path(intake_api.command_line.__file__).parent


def test_every_command_is_found_by_its_name() -> None:
    program = typer.main.get_group(app)
    context = typer.Context(program)
    found: set[str] = set()
    for name in {file.stem for file in _FOLDER.glob("*.py")} - {"__init__", "main"}:
        held = getattr(import_module(f"intake_api.command_line.{name}"), "app", None)
        if isinstance(held, typer.Typer):
            found |= typer.main.get_group(held).commands.keys()
    assert found == set(program.list_commands(context))
    assert all(program.get_command(context, name) for name in found)


def test_help_names_them_and_an_unknown_one_is_refused() -> None:
    said = CliRunner().invoke(app, ["--help"]).stdout
    assert all(name in said for name in ("serve", "stop-database", "check-projections", "verify", "erase"))
    assert CliRunner().invoke(app, ["unheard-of"]).exit_code == 2


def test_a_light_command_loads_nothing_heavy() -> None:
    heavy = "{'fastapi', 'sqlalchemy', 'alembic', 'uvicorn', 'holidays', 'xlsxwriter', 'httpx'}"
    script = f"import sys, intake_api.command_line.listing; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
