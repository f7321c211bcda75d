"""Schema versions of the ledger as alembic revisions: version 1 is what the first release made, each later module is one step.

A new ledger is made from `schema.metadata` as it stands; an older one walks the steps (`upgrade.py`), all in one transaction on either
engine. A test holds both to the same result. The version a ledger has stands in its table ``meta``, which every release checks.
"""
