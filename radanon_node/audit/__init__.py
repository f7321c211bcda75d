"""Audit messages of PS3.15 Annex A.5, and their way to a collector: the ledger keeps them until it has them."""
