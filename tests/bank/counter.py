"""A bank that serves in this process, customers with real keys, and a client that may say whatever a test wants."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from bank import accounts, journal
from bank.home import BankHome
from bank.server import Server
from bank.serving import serving
from bank.storage import Ledger
from keyring import messages as openpgp
from keyring.opened import Opened
from protocol import canonical, messages
from protocol.codes import Reason
from protocol.errors import ConnectionLost
from protocol.frames import Frame, FrameType
from protocol.messages import (
    Answer,
    AskBalance,
    Open,
    PasswordAnswer,
    PasswordFrame,
    PasswordRequest,
    Refusal,
    Request,
    SealedOpening,
    SessionOpening,
    SessionProof,
    SubmitOrder,
)
from protocol.orders import TransferOrder, encode_order, format_time
from protocol.receipts import LogEntry, decode_entry
from protocol.records import Channel, Share, transcript
from protocol.secret import Secret
from protocol.stages import Stage
from protocol.transport import Address, Connection, connect
from tests.bank.town import SECONDS, Person, Town, copied_bank
from tests.singles import single


@dataclass
class Clock:
    """The right time, and as much more as a test says."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Counter:
    """The bank of one test, where customers come."""

    town: Town
    home: BankHome
    server: Server
    address: Address
    clock: Clock
    log: StringIO

    @property
    def ledger(self) -> Ledger:
        return self.server.service.ledger

    @property
    def connections(self) -> int:
        return self.server._listener.connections

    def floor(self, number: str) -> Stage:
        found = self.server.customers.get(number)
        assert found is not None
        return found.floor

    def balance(self, number: str) -> int:
        """In cents."""
        return accounts.get(self.ledger, number).balance_minor

    def count(self, table: str) -> int:
        with self.ledger.reading() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())

    def connect(self) -> Connection:
        return connect(self.address, timeout_seconds=SECONDS)

    def say(self, frame: Frame | bytes) -> Frame | None:
        """What the bank answers to the first frame of a connection; None if it hangs up."""
        connection = self.connect()
        try:
            send(connection, frame)
            return receive(connection)
        finally:
            connection.close()

    def refusal(self, frame: Frame) -> tuple[Reason, str | None]:
        """Reason and field of the refusal in clear that a first frame gets."""
        refusal = refusal_in(self.say(frame))
        assert refusal.sentence.endswith("."), refusal.sentence
        return refusal.reason, refusal.field

    def opening(self, person: Person, stage: Stage, **changes: Any) -> "Opening":
        """An opening, honest but for what is changed: fields of any of its layers, ``by`` (who signs), ``content``."""
        outer = {name: changes.pop(f"outer_{name}") for name in ("stage", "sealed") if f"outer_{name}" in changes}
        by = changes.pop("by", person)
        key = changes.pop("key", person.certified if stage.is_certified else None)
        certificate = changes.pop("certificate_der", person.certificate if stage.is_certified else None)
        claimed = changes.pop("claimed", person.number)
        share, session_key = Share(), Secret(b"K" * 32)
        said = {
            "bank": self.town.bank_fingerprint,
            "certificate": canonical.digest(certificate) if certificate is not None else None,
            "customer": claimed,
            "offered": canonical.digest(key) if key is not None else None,
            "session_key": session_key.reveal(),
            "share": share.public,
            "stage": stage,
            "time": format_time(self.clock()),
        }
        content = changes.pop("content", None)
        content = canonical.encode(SessionOpening(**{**said, **changes})) if content is None else content
        signed = openpgp.sign(by.home, by.fingerprint, content)
        inner = canonical.encode(SealedOpening(certificate=certificate, customer=claimed, key=key, signed=signed))
        sealed = outer.pop("sealed", None)
        sealed = sealed if sealed is not None else self.seal(inner)
        return Opening(
            Frame(FrameType.OPEN, canonical.encode(Open(**{"sealed": sealed, "stage": stage, **outer}))), share
        )

    def seal(self, content: bytes) -> bytes:
        return openpgp.seal(self.town.view, self.town.bank_fingerprint, content)

    def open(self, person: Person, stage: Stage, **changes: Any) -> "Talk":
        """An open session."""
        opening = self.opening(person, stage, **changes)
        connection = self.connect()
        try:
            return Talk(self, person, stage, connection, opening.answered(connection))
        except BaseException:
            connection.close()
            raise

    @contextmanager
    def session(self, person: Person, stage: Stage, **changes: Any) -> Iterator["Talk"]:
        talk = self.open(person, stage, **changes)
        try:
            yield talk
        finally:
            talk.connection.close()

    def password_frame(self, person: Person, request: Request | bytes, **changes: Any) -> Frame:
        """A message of the stage password, honest but for what is changed; ``sealed`` makes it of the content."""
        seal: Callable[[bytes], bytes] = changes.pop(
            "seal", lambda content: openpgp.seal_with_password(self.town.view, person.password, content)
        )
        envelope = changes.pop("claimed", person.number)
        said = {
            "bank": self.town.bank_fingerprint,
            "customer": person.number,
            "nonce": changes.pop("nonce", Share().public),
            "request": request if isinstance(request, bytes) else messages.encode(request),
            "time": format_time(self.clock()),
        }
        content = changes.pop("content", None) or canonical.encode(PasswordRequest(**{**said, **changes}))
        return Frame(FrameType.PASSWORD, canonical.encode(PasswordFrame(customer=envelope, sealed=seal(content))))

    def ask(self, person: Person, request: Request, **changes: Any) -> Answer:
        """One answer in the stage password."""
        return self.opened(person, self.say(self.password_frame(person, request, **changes)))

    def opened(self, person: Person, frame: Frame | None) -> Answer:
        assert frame is not None
        assert frame.type is FrameType.PASSWORD, frame.body
        envelope = canonical.decode(PasswordFrame, frame.body)
        opened = openpgp.open_with_password(self.town.view, person.password, envelope.sealed)
        assert isinstance(opened, Opened), opened
        return messages.decode_answer(canonical.decode_signed(PasswordAnswer, opened.content).answer)

    def order(self, person: Person, identifier: str, stage: Stage, **changes: Any) -> bytes:
        """The content of an order of one euro from Alice to Bob, honest but for what is changed."""
        fields = {
            "amount": "1.00",
            "bank": self.town.bank_fingerprint,
            "certificate": canonical.digest(person.certificate) if stage.is_certified else None,
            "created": format_time(self.clock()),
            "creditor": "1002",
            "currency": "EUR",
            "debtor": person.number,
            "description": "rent",
            "transfer_identifier": identifier,
        }
        return encode_order(TransferOrder(**{**fields, **changes}))

    def submission(self, person: Person, identifier: str, stage: Stage, number: int = 1, **changes: Any) -> SubmitOrder:
        """An order as it goes over the wire; ``by`` signs it."""
        by = changes.pop("by", person)
        order = self.order(person, identifier, stage, **changes)
        if stage.orders_are_signed:
            order = openpgp.sign(by.home, by.fingerprint, order)
        return SubmitOrder(number=number, order=order, since=None)


@dataclass
class Opening:
    """A frame OPEN, and what its sender keeps."""

    frame: Frame
    share: Share

    def answered(self, connection: Connection) -> Channel:
        """The customer's end of the session that the bank opens for it."""
        send(connection, self.frame)
        answer = receive(connection)
        assert answer is not None
        assert answer.type is FrameType.OPENED, answer.body
        opened = canonical.decode(messages.Opened, answer.body)
        keys_from = transcript(self.frame, answer)
        channel = Channel.of_customer(Secret(b"K" * 32), self.share.agree(opened.share), keys_from)
        proof = receive(connection)
        assert proof is not None
        assert canonical.decode(SessionProof, channel.open(proof)).session == opened.session
        connection.raise_frame_limit(1024 * 1024)
        return channel


@dataclass
class Talk:
    """An open session, from the customer's end."""

    counter: Counter
    person: Person
    stage: Stage
    connection: Connection
    channel: Channel

    def send(self, *requests: Request | bytes) -> None:
        for request in requests:
            content = request if isinstance(request, bytes) else messages.encode(request)
            send(self.connection, self.channel.seal(content))

    def answer(self) -> Answer | None:
        """The next answer; None if the bank hung up."""
        frame = receive(self.connection)
        return None if frame is None else messages.decode_answer(self.channel.open(frame))

    def ask(self, request: Request | bytes) -> Answer:
        self.send(request)
        answer = self.answer()
        assert answer is not None, "the bank hung up"
        return answer

    def refusal(self, request: Request | bytes) -> tuple[Reason, str | None]:
        """Reason and field of the authenticated refusal that a request gets."""
        answer = self.ask(request)
        assert isinstance(answer, Refusal), answer
        assert answer.sentence.endswith("."), answer.sentence
        return answer.reason, answer.field

    def pay(self, identifier: str, **changes: Any) -> LogEntry:
        """What the bank decided about an order."""
        return entry_of(self.ask(self.counter.submission(self.person, identifier, self.stage, **changes)))


def entry_of(answer: Answer | None) -> LogEntry:
    assert isinstance(answer, messages.NumberedReceipt), answer
    return single(decode_entry(answer.receipt.entry))


def refusal_in(frame: Frame | None) -> Refusal:
    assert frame is not None
    assert frame.type is FrameType.REFUSED, frame.type
    refusal = canonical.decode(Refusal, frame.body)
    assert refusal.number == 0
    return refusal


def send(connection: Connection, frame: Frame | bytes) -> None:
    """A frame, or bytes that need not be one."""
    if isinstance(frame, bytes):
        connection._socket.sendall(frame)
    else:
        connection.send(frame, timeout_seconds=SECONDS)


def receive(connection: Connection) -> Frame | None:
    """The next frame; None if the other party closed or reset the connection."""
    with suppress(ConnectionLost):
        return connection.receive(idle_seconds=SECONDS, frame_seconds=SECONDS)
    return None


BALANCE = AskBalance(number=1)


@contextmanager
def at_counter(town: Town, folder: Path, **changes: Any) -> Iterator[Counter]:
    """A copy of the town's bank, serving, with a clock of the test's and its log kept."""
    with served(town, copied_bank(town, folder, **changes)) as counter:
        yield counter


@contextmanager
def served(town: Town, home: BankHome) -> Iterator[Counter]:
    """A bank that serves, also once more."""
    clock, log = Clock(), StringIO()
    journal.configure(log, verbose=True)
    try:
        with serving(home, clock=clock) as (server, address):
            yield Counter(town, home, server, address, clock, log)
    finally:
        journal.LOGGER.handlers.clear()
        journal.LOGGER.propagate = True


def eventually(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until something is so; it fails the test if it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)
