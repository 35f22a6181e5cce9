"""One root for everything that can go wrong at the bank; each text is a sentence for the person who must act."""


class BankError(Exception):
    """The bank cannot do what was asked; the text says why, and what to do next."""


class LedgerError(BankError):
    """The ledger cannot be read or written; nothing was acknowledged that is not durable."""


class NoLedger(LedgerError):
    """What lies at the place is a database, but no ledger."""


class Unwritable(LedgerError):
    """The ledger cannot be written now, for want of room or of right; nothing was recorded, and reading goes on."""


class Interrupted(Unwritable):
    """The database broke a transaction off, or cannot be reached; nothing was recorded, and trying again may help."""


class OutcomeUnknown(LedgerError):
    """The connection to the database was lost while it was told to commit: only a look can tell whether it did."""


class Outgrown(LedgerError):
    """The ledger is of an older version, and was only to be looked at."""


class InvariantBroken(LedgerError):
    """Something that must never happen was about to: the transaction was rolled back. Loud on purpose."""


class OutcomeStands(LedgerError):
    """The order was decided and is durable, but its receipt could not be made now; a look-up will find it."""


class HistoryLost(LedgerError):
    """The ledger does not contain what the bank signed before; it is not continued without the operator's word."""


class RecordError(BankError):
    """An account, customer or key cannot be recorded as asked."""


class Busy(BankError):
    """The queue of the posting is full; nothing was recorded, and the same bytes may come again."""


class Stopping(BankError):
    """The posting takes nothing new, because the server is stopping; nothing was recorded."""


class CutShort(BankError):
    """The server was stopped before it could answer; what became of the request only a look can tell."""

    def __init__(self) -> None:
        super().__init__("The server was stopped before it could be said what became of the request.")


class ConfigurationError(BankError):
    """bank.toml or the bank's folder is not as it must be; the text names the file, the key and the remedy."""


class BackupError(BankError):
    """A backup cannot be made, is not what the bank wrote, or cannot be put in place; nothing was changed."""


class GrantRefused(BankError):
    """No server is added, or none is made, by these files; the text says which part is wrong."""


class Outdated(BankError):
    """A newer revocation list is known than the one that an order was judged by; nothing was recorded."""
