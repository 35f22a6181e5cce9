"""The tables of a customer's database; whoever changes them raises the version, which an older program then refuses."""

from enum import StrEnum
from typing import Final

VERSION: Final = 4

TABLES: Final = """
CREATE TABLE outbox (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    identifier TEXT NOT NULL UNIQUE,
    stage TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sending', 'unknown', 'unsent', 'posted', 'partly', 'refused')),
    content BLOB NOT NULL,
    message BLOB NOT NULL,
    receipt BLOB,
    refusal BLOB,
    CHECK (receipt IS NOT NULL OR state NOT IN ('posted', 'partly'))
);
CREATE TABLE heads (
    log TEXT NOT NULL,
    size INTEGER NOT NULL,
    root TEXT NOT NULL,
    message BLOB NOT NULL,
    head BLOB NOT NULL,
    PRIMARY KEY (log, size)
);
CREATE TABLE doubts (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    identifier TEXT NOT NULL,
    sentence TEXT NOT NULL,
    answer BLOB NOT NULL
);
CREATE TABLE revocations (
    number INTEGER PRIMARY KEY,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    serials TEXT NOT NULL,
    crl BLOB NOT NULL
);
CREATE TABLE certificates (
    digest TEXT PRIMARY KEY,
    certificate BLOB NOT NULL,
    key BLOB NOT NULL,
    ends INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    serial TEXT NOT NULL
);
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""


class State(StrEnum):
    """What is known of an order. ``POSTED``, ``PARTLY`` (some payments of a bulk order were) and ``REFUSED`` are final.

    ``UNSENT`` surely never left.
    """

    SENDING = "sending"
    UNKNOWN = "unknown"
    UNSENT = "unsent"
    POSTED = "posted"
    PARTLY = "partly"
    REFUSED = "refused"

    @property
    def in_doubt(self) -> bool:
        """Whether the bank may have decided the order without our knowing."""
        return self in (State.SENDING, State.UNKNOWN)


class Fact(StrEnum):
    """Single values that are kept."""

    FLOOR = "floor"
    LOG = "log"
    REGISTERED = "registered"
    REGISTERED_KEY = "registered-key"
    KEY = "key"
    KEY_BEFORE = "key-before"
    NEXT_KEY = "next-key"
    NEXT_REQUEST = "next-request"
    NEXT_REQUESTED = "next-requested"
    NEXT_STATE = "next-state"
    REQUEST = "request"
    REQUEST_DIGEST = "request-digest"
    REQUEST_MESSAGE = "request-message"
    REQUEST_STATE = "request-state"
    REQUESTED = "requested"
    CERTIFIED_KEY = "certified-key"
    CERTIFICATE = "certificate"
    CERTIFICATE_SERIAL = "certificate-serial"
    CERTIFIED_UNTIL = "certified-until"
    AUTHORITY_KEY = "authority-key"
    AUTHORITY_ROOT = "authority-root"
    ASK_REVOCATIONS_AT = "ask-revocations-at"
    NEW_LOG = "new-log"
    LOST = "lost"
    GIVEN_UP = "given-up"
    BANK_REVOKED = "bank-revoked"
