"""A bank without sockets and GnuPG for the tests of the ledger: what it signs is recognised, and its clock is ours."""

import hashlib
import os
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from bank import accounts
from bank.places import Database, Place
from bank.posting import Outcome, Posting, Refused, Submission
from bank.storage import Ledger
from protocol import canonical, receipts
from protocol.codes import Reason
from protocol.orders import TransferOrder, encode_order, format_time
from protocol.receipts import Entry, LogEntry, Receipt, TreeHead
from tests.singles import single

BANK = "B0" * 20
NOW = 1_770_000_000
DEADLINE_SECONDS = 20.0


@dataclass
class Clock:
    """Unix seconds that a test sets."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Signer:
    """Signs with a hash; ``failures`` are raised one by one before it works (again)."""

    key: bytes = b"the bank"
    failures: list[Exception] = field(default_factory=list)
    signed: int = 0
    earliest: int = 0

    def sign(self, content: bytes, at: int) -> bytes:
        if self.failures:
            raise self.failures.pop(0)
        self.signed += 1
        return hashlib.sha256(self.key + content).digest() + content

    def verify(self, message: bytes) -> bytes | None:
        content = message[32:]
        return content if message[:32] == hashlib.sha256(self.key + content).digest() else None


@dataclass
class Bank:
    """A ledger, new in a file or new at a URL, and a posting that can be stopped and started again."""

    folder: Path
    signer: Signer = field(default_factory=Signer)
    clock: Clock = field(default_factory=Clock)
    options: dict[str, Any] = field(default_factory=dict)
    url: str = ""

    def __post_init__(self) -> None:
        self.path = self.folder / "ledger.db"
        self.place: Place = Database(self.url, self.folder) if self.url else self.path
        if not self.url:
            Ledger.create(self.place, bank_fingerprint=BANK, currency="EUR").close()
        self.ledger = Ledger.open(self.place)
        self.identifiers = count(1)
        self.posting = self.start()

    def start(self) -> Posting:
        self.posting = Posting(
            self.ledger,
            self.signer,
            verify_head=self.signer.verify,
            clock=self.clock,
            random=os.urandom,
            **self.options,
        )
        return self.posting

    def restart(self) -> None:
        self.posting.stop()
        self.ledger.close()
        self.ledger = Ledger.open(self.place)
        self.start()

    def close(self) -> None:
        self.posting.stop()
        self.ledger.close()

    def open_accounts(self, **balances: str) -> None:
        """Accounts such as ``n1001="50.00"``, with a deposit where the amount is not zero."""
        for name, amount in balances.items():
            number = name.removeprefix("n")
            accounts.open_account(self.ledger, number, f"Customer {number}", NOW)
            if amount != "0":
                self.deposit(number, amount)

    def deposit(self, number: str, amount: str) -> LogEntry:
        identifier = f"deposit-{next(self.identifiers)}"
        created = format_time(self.clock())
        return entry_of(
            self.post(accounts.deposit(self.ledger, number, amount, "cash", identifier=identifier, created=created))
        )

    def order(self, debtor: str, creditor: str, amount: str, identifier: str = "", **changes: Any) -> Submission:
        """A submission as the server makes it of an order that a debtor signed."""
        fields: dict[str, Any] = {
            "amount": amount,
            "bank": BANK,
            "certificate": None,
            "created": format_time(self.clock()),
            "creditor": creditor,
            "currency": "EUR",
            "debtor": debtor,
            "description": "rent",
            "transfer_identifier": identifier or f"t-{next(self.identifiers)}",
        }
        since = changes.pop("since", None)
        order = TransferOrder(**{**fields, **changes})
        content = encode_order(order)
        return Submission(order, content, b"signed: " + content, "signed", None, since)

    def submit(self, submission: Submission) -> "Future[Outcome]":
        return self.posting.submit(submission)

    def post(self, submission: Submission) -> Outcome:
        return self.submit(submission).result(DEADLINE_SECONDS)

    def send(self, debtor: str, creditor: str, amount: str, identifier: str = "", **changes: Any) -> LogEntry:
        return entry_of(self.post(self.order(debtor, creditor, amount, identifier, **changes)))

    def balances(self) -> dict[str, int]:
        return {account.number: account.balance_minor for account in accounts.every(self.ledger)}

    def count(self, table: str) -> int:
        with self.ledger.reading() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())

    def prove(self, receipt: Receipt) -> LogEntry:
        """The receipt verified as a customer does it."""
        return single(self.prove_any(receipt))

    def prove_any(self, receipt: Receipt) -> Entry:
        """The same, also of a bulk order."""
        content = self.signer.verify(receipt.head)
        assert content is not None
        return receipts.check_inclusion(receipt, canonical.decode_signed(TreeHead, content))

    def head(self) -> TreeHead:
        content = self.signer.verify(self.posting.head(None)[0])
        assert content is not None
        return canonical.decode_signed(TreeHead, content)


def receipt_of(outcome: Outcome | None) -> Receipt:
    assert isinstance(outcome, Receipt), outcome
    return outcome


def entry_of(outcome: Outcome | None) -> LogEntry:
    return single(receipts.decode_entry(receipt_of(outcome).entry))


def refused(outcome: Outcome | None) -> tuple[Reason, str | None]:
    assert isinstance(outcome, Refused), outcome
    return outcome.reason, outcome.field
