"""``python -m intake_api`` is ``anjuan``."""

from intake_api.command_line import app

app()
