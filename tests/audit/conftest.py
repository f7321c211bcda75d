"""The ledgers of tests/ledger."""

from tests.ledger.conftest import hands, postgres, sqlite_hands, url

__all__ = ["hands", "postgres", "sqlite_hands", "url"]
