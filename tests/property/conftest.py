"""The running app, for what holds only with a ledger behind it."""

from tests.contract.conftest import house

__all__ = ["house"]
