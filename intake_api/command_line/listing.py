"""``anjuan settings``."""

import typer
from rich.console import Console
from rich.table import Table

from intake_api.command_line.explained import explained
from services.settings import Settings

app = typer.Typer()


@app.command()
def settings() -> None:
    """List every setting, its value (secrets only as given or not) and its meaning."""
    with explained():
        table = Table("setting", "value", "meaning")
        for setting, value in Settings.from_environment().shown():
            table.add_row(setting.name, value, setting.meaning)
        Console().print(table)
