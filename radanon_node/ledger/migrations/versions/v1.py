"""Version 1: the tables of the first release."""

from __future__ import annotations

revision = "1"
down_revision = None


def upgrade() -> None:
    """Nothing to do: a ledger of version 1 has its tables."""
