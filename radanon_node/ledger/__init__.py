"""What the node keeps: rows (ledger) and instance files (spool)."""
