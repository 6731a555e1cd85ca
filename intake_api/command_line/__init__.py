"""``anjuan``: the command line."""

from intake_api.command_line.main import app

__all__ = ["app"]
