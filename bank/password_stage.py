"""In the stage password each message stands alone: it opens under the agreed password, is fresh, and is taken once."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select

from bank import schema
from bank.customers import Customer, Customers
from bank.errors import Unwritable
from bank.identities import OpeningRefused, relied_on
from bank.service import UNWRITABLE
from bank.storage import Ledger
from bank.turns import Turns
from keyring.errors import KeyringError
from keyring.home import Home
from keyring.messages import open_with_password, seal_with_password
from keyring.verdict import Rejected, Sealed
from keyring.worker import Worker
from protocol import canonical, messages
from protocol.codes import Reason
from protocol.frames import Frame, FrameType
from protocol.limits import CLOCK_TOLERANCE_SECONDS
from protocol.messages import PasswordAnswer, PasswordFrame, PasswordRequest
from protocol.orders import format_time, parse_time
from protocol.secret import Secret


@dataclass(frozen=True)
class Nonces:
    """Nonces of the last minutes, each accepted once by whichever process; full means busy, never forgetful."""

    ledger: Ledger
    limit: int

    def take(self, nonce: bytes, now: float) -> None:
        """Remember a nonce; OpeningRefused if it was taken before, or if there is no room."""
        column = schema.nonce.c
        # A message is fresh for the tolerance before and after its time; past twice that, its time refuses it.
        stale = now - 2 * CLOCK_TOLERANCE_SECONDS - 1
        try:
            with self.ledger.writing() as connection:
                if connection.execute(select(column.nonce).where(column.nonce == nonce)).first():
                    raise OpeningRefused(
                        Reason.MALFORMED, "This message was received before; it is taken once.", "nonce"
                    )
                connection.execute(delete(schema.nonce).where(column.taken_at < stale))
                if connection.execute(select(func.count()).select_from(schema.nonce)).scalar_one() >= self.limit:
                    raise OpeningRefused(Reason.BUSY)
                connection.execute(insert(schema.nonce), {"nonce": nonce, "taken_at": int(now)})
        except Unwritable:
            raise OpeningRefused(Reason.BUSY, UNWRITABLE) from None


@dataclass(frozen=True)
class Unsealed:
    """A request that somebody who knows the password made now, for this bank."""

    customer: Customer
    request: bytes
    nonce: bytes
    password: Secret
    network: str


@dataclass(frozen=True)
class PasswordStage:
    """Opens and seals the messages of the stage. ``keyless`` is a GnuPG home without secret keys."""

    bank: str
    customers: Customers
    sealed_worker: Worker
    keyless: Home
    turns: Turns
    nonces: Nonces
    clock: Callable[[], float] = time.time
    random: Callable[[int], bytes] = os.urandom

    def open(self, frame: Frame, network: str) -> Unsealed:
        """The request in a frame; OpeningRefused or MalformedContent if there is none to be trusted.

        ``network``: where the frame came from, for its turn among others.
        """
        envelope = canonical.decode(PasswordFrame, frame.body)
        with self.turns.turn(network):
            customer = self.customers.get(envelope.customer)
            # A stranger's number costs the same gpg run as a wrong password, and gets the same answer.
            password = self._password(customer) if customer else Secret(self.random(16).hex().encode())
            opened = open_with_password(self.keyless, password, envelope.sealed)
        if isinstance(opened, Rejected):
            raise OpeningRefused(Reason.BUSY if opened.rule == "engine" else Reason.PASSWORD, field="customer")
        if customer is None:
            raise OpeningRefused(Reason.PASSWORD, field="customer")
        said = canonical.decode_signed(PasswordRequest, opened.content)
        for name, expected in (("bank", self.bank), ("customer", customer.number)):
            if getattr(said, name) != expected:
                raise OpeningRefused(Reason.NO_RIGHT, f"The message is for another {name}.", name)
        now = self.clock()
        if abs(now - parse_time(said.time, "time").timestamp()) > CLOCK_TOLERANCE_SECONDS:
            raise OpeningRefused(
                Reason.CLOCK, f"The message was made at {said.time}; at the bank it is {format_time(now)}.", "time"
            )
        self.nonces.take(said.nonce, now)
        return Unsealed(customer, said.request, said.nonce, password, network)

    def seal(self, asked: Unsealed, answer: messages.Answer) -> Frame:
        """The frame that answers a request, under the same password."""
        said = PasswordAnswer(
            answer=messages.encode(answer),
            bank=self.bank,
            customer=asked.customer.number,
            nonce=asked.nonce,
            time=format_time(self.clock()),
        )
        # To say "busy, nothing was recorded" now would be a lie: the order may be booked.
        with self.turns.patiently(asked.network):
            sealed = seal_with_password(self.keyless, asked.password, messages.encode(said))
        envelope = PasswordFrame(customer=asked.customer.number, sealed=sealed)
        return Frame(FrameType.PASSWORD, messages.encode(envelope))

    def _password(self, customer: Customer) -> Secret:
        found = relied_on(lambda: self.sealed_worker.open(customer.password_sealed, Sealed()))
        if isinstance(found, Rejected):
            if found.rule == "engine":
                raise OpeningRefused(Reason.BUSY)
            raise KeyringError(f"The stored password of customer {customer.number} does not open: {found.sentence}")
        return Secret(found.content)
