"""The tables say what is kept; what was decided, booked or signed is only ever added to."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

REVISION: Final = "0006"
"""The newest migration (bank/migrations/versions), which makes these tables."""

BANK_ACCOUNT: Final = "0000"
"""The bank's own account: the other side of deposits and withdrawals, and the only one that may be negative."""

LOG_STAGE: Final = "log"
"""Stands in ``entry.stage`` where the entry decides no order but begins a new log (bank/beginning.py)."""

APPEND_ONLY: Final = ("entry", "booking", "head", "revocation_list", "certificate")
"""Tables whose rows are never changed or deleted; the database refuses it."""

metadata = MetaData(
    naming_convention={
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    }
)

# In SQLite only a column declared INTEGER is the row's own number; elsewhere it must be told to be 64 bits wide.
_Place = BigInteger().with_variant(Integer, "sqlite")

ledger = Table(
    "ledger",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("bank", String(40), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("log", String(32), nullable=False),
    CheckConstraint("one = 1", name="one_row"),
)
"""Whose ledger this is; ``log`` names the Merkle log and stands in every head."""

account = Table(
    "account",
    metadata,
    Column("number", String(16), primary_key=True),
    Column("name", String(70), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("status", String(8), nullable=False),
    Column("balance_minor", BigInteger, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    CheckConstraint("kind IN ('bank', 'customer')", name="kind_known"),
    CheckConstraint("status IN ('open', 'blocked', 'closed')", name="status_known"),
    CheckConstraint("kind = 'bank' OR balance_minor >= 0", name="never_below_zero"),
)
"""``balance_minor`` is the sum of the account's bookings, kept; the sum over all accounts is zero."""

customer = Table(
    "customer",
    metadata,
    Column("number", String(16), ForeignKey("account.number"), primary_key=True),
    Column("floor", String(16), nullable=False),
    Column("password_sealed", LargeBinary, nullable=False),
    Column("registered_fingerprint", String(40)),
    Column("registered_key", LargeBinary),
    CheckConstraint("(registered_fingerprint IS NULL) = (registered_key IS NULL)", name="key_whole"),
)
"""How a customer may speak to the bank: the lowest stage, the agreed password under the bank's key, the key."""

key = Table(
    "key",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("customer", String(16), ForeignKey("customer.number"), nullable=False),
    Column("fingerprint", String(40), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("certified", Boolean, nullable=False),
    Column("expires_at", BigInteger),
)
"""Customers' OpenPGP keys as they were when orders were accepted under them, by the SHA-256 of their bytes."""

revocation_list = Table(
    "revocation_list",
    metadata,
    Column("number", _Place, primary_key=True, autoincrement=False),
    Column("crl", LargeBinary, nullable=False),
    Column("next_update", BigInteger, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
)
"""The authority's revocation lists (DER) in the order in which the bank learned them; the highest number decides."""

certificate = Table(
    "certificate",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("number", String(16), ForeignKey("account.number"), nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("serial", String(40), nullable=False),
    Column("fingerprint", String(40), nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("succeeds", String(40)),
)
"""X.509 certificates that were used, by the SHA-256 of the DER: customers', and the bank's own under its number.

``serial`` is in hex; the dates are the certificate's, unix seconds, inclusive. ``succeeds`` is the fingerprint of the
key that vouched for this one's, by the authority's record."""

entry = Table(
    "entry",
    metadata,
    Column("leaf", _Place, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    Column("booked_at", BigInteger, nullable=False),
    Column("booking_count", BigInteger, nullable=False),
    Column("identity", String(70), nullable=False),
    Column("order_digest", String(64), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("key_digest", String(64), ForeignKey("key.digest")),
    Column("entry", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("message", LargeBinary),
    Column("certificate_digest", String(64), ForeignKey("certificate.digest")),
    Column("revocation_number", BigInteger, ForeignKey("revocation_list.number")),
    UniqueConstraint("identity"),
    CheckConstraint("leaf >= 0", name="leaf_counts"),
)
"""One final decision: ``entry`` are the canonical bytes that the log hashes, ``content`` the order's, ``message`` the
order as sent. ``hashes`` are those of every full subtree that this leaf completes, from the leaf upwards (log.py).
``identity`` is debtor, "/" and transfer identifier in one, because a batch looks up hundreds at once, and SQLite scans
the table for a list of pairs. ``booking_count`` is how many bookings there are up to and including this entry's.
``certificate_digest`` and ``revocation_number`` are those by which an order of the stage certified was accepted.

The entry that begins a new log has "log/" and the log's name as ``identity``; ``content`` and ``message`` are the old
head, canonical and as it was signed."""

booking = Table(
    "booking",
    metadata,
    Column("account", String(16), ForeignKey("account.number"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("balance_after_minor", BigInteger, nullable=False),
    Column("leaf", BigInteger, ForeignKey("entry.leaf"), nullable=False),
    Column("payment", Integer),
    Column("description", String(140)),
    CheckConstraint("amount_minor <> 0", name="amount_counts"),
    # A statement reads one account's rows in order of number: they lie together in the primary key itself.
    sqlite_with_rowid=False,
)
"""One leg of a booking; both legs bear its number. Numbers have no gaps; the debtor's amount is negative.

The payments of a bulk order are bookings with numbers one after another. Each has a leg at its creditor's account, with
its position in the order (``payment``, from 1) and its ``description``, so that a statement need not read the whole
order; at the debtor's account they have one leg together, under the number of the first, with 0 as ``payment``. In the
legs of a single order both are null."""

head = Table(
    "head",
    metadata,
    Column("size", _Place, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
    Column("message", LargeBinary, nullable=False),
)
"""Heads that the bank signed: ``content`` are the canonical bytes of a TreeHead, ``message`` the OpenPGP message."""

nonce = Table(
    "nonce",
    metadata,
    Column("nonce", LargeBinary, primary_key=True),
    Column("taken_at", BigInteger, nullable=False),
)
"""Password messages of the last minutes, each taken once, by whichever process (unix seconds)."""

refusal = Table(
    "refusal",
    metadata,
    Column("leaf", _Place, primary_key=True, autoincrement=False),
    Column("customer", String(16), nullable=False),
    Column("refused_at", BigInteger, nullable=False),
)
"""Logged refusals of the last minute, by which the next ones are limited, whichever process decides (unix seconds)."""

Index(None, nonce.c.taken_at)
"""From a time to the nonces that may be forgotten."""

Index(None, refusal.c.customer, refusal.c.refused_at)
"""From a customer to the refusals that count still."""

Index(None, refusal.c.refused_at)
"""From a time to the refusals that may be forgotten."""

Index(None, booking.c.leaf)
"""From an entry to its legs, for audit and for the operator's list of transfers."""

Index(None, certificate.c.number)
"""From a customer to the certificates that were used under the number, when one is used for the first time."""
