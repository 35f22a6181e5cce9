"""The bank: its server, ledger, log of receipts and operator's commands."""
