"""Whoever opens a session or writes under the password says anything, in good packets and in bad ones."""

from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from unittest import mock

from bank.admission import Admission
from bank.customers import Customer
from bank.errors import RecordError
from bank.identities import Identity, OpeningRefused, Read
from bank.loop import Loop
from bank.opening import Opener
from bank.password_stage import PasswordStage
from bank.refusals import RefusalLimiter
from bank.service import Service, Speaker, Standing
from bank.turns import Turns
from customer import bank_view, evidence
from customer.bank_view import BankView
from customer.password import Acquaintance, PasswordConversation
from customer.session import Line
from customer.wire import masked, unwatched
from keyring import messages as openpgp
from keyring.opened import Opened
from keyring.verdict import Accepted
from protocol import canonical
from protocol.codes import Reason, Status
from protocol.frames import Frame, FrameType
from protocol.messages import AskBalance, Evidence, SessionOpening, SubmitOrder
from protocol.orders import TransferOrder, decode_order, format_time
from protocol.receipts import LogEntry
from protocol.secret import Secret
from protocol.stages import Stage
from protocol.transport import Address
from tests.fuzz.openpgp import signed
from tests.fuzz.properties import attempt, gpg_says, parts, require_sentence
from tests.fuzz.scratch import empty_home
from tests.singles import single_order

A, B = "A" * 40, "B" * 40
A_ = TypeVar("A_")
R = TypeVar("R")
NOW = 1_800_000_000.0
GOOD = Accepted(A, A, 0)
CUSTOMER = Customer("1001", A, Stage.PASSWORD, b"sealed")


def openings(data: bytes) -> None:
    """An opening that the bank takes names this bank, this customer and this stage, and was signed just now."""
    frame, sealed, said = parts(data, 3)
    opener = Opener(
        bank=B,
        minimum_stage=Stage.SESSION,
        customers=cast(Any, SimpleNamespace(get=lambda number: CUSTOMER if number == "1001" else None)),
        identities=cast(Any, SimpleNamespace(present=_presenting(said))),
        certificates=lambda: None,
        sealed_worker=cast(Any, _opening(sealed)),
        turns=Turns(1, 1.0),
        clock=lambda: NOW,
        random=lambda length: b"\x42" * length,
    )
    found = attempt(_unless_refused, partial(opener.open, network="::1"), Frame(FrameType.OPEN, frame))
    if found is None:
        return
    session, (opened, proof) = found
    told = canonical.decode_signed(SessionOpening, said)
    assert (told.bank, told.customer, told.stage) == (B, "1001", session.stage)
    assert told.session_key not in opened.body + proof.body
    assert canonical.encode(told) == said
    assert b"(secret, not shown)" in masked(told)


def _unless_refused(read: Callable[[A_], R], given: A_) -> R | None:
    """None where the bank answers with a refusal, which has a code and goes over the wire."""
    try:
        return read(given)
    except OpeningRefused as refusal:
        require_sentence(refusal)
        return None


def _presenting(said: bytes) -> Callable[..., Identity]:
    """GnuPG has found every key good, and every signature on this content."""
    identity = SimpleNamespace(key_digest="0" * 64, fingerprint=A, require_current=lambda _now: None)

    def present(stage: Stage, customer: Customer, offered: bytes | None, accept: Callable[[Any, Read], None]) -> Any:
        accept(identity, lambda _message: Opened(said, GOOD))
        return identity

    return present


def _opening(content: bytes) -> Any:
    return SimpleNamespace(open=lambda _message, _expected: Opened(content, GOOD))


def password_messages(data: bytes) -> None:
    """A message under the password, opened or not: for this bank, from this customer, now, and only once."""
    frame, said = parts(data, 2)
    stage = PasswordStage(
        bank=B,
        customers=cast(Any, SimpleNamespace(get=lambda number: CUSTOMER if number == "1001" else None)),
        sealed_worker=_opening(b"words"),
        keyless=empty_home(),
        turns=Turns(1, 1.0),
        nonces=cast(Any, _TakenOnce()),
        clock=lambda: NOW,
    )
    with mock.patch("bank.password_stage.open_with_password", return_value=Opened(said, GOOD)):
        receive = partial(stage.open, network="::1")
        found = attempt(_unless_refused, receive, Frame(FrameType.PASSWORD, frame))
        assert found is None or attempt(_unless_refused, receive, Frame(FrameType.PASSWORD, frame)) is None
    if found is not None:
        assert found.customer is CUSTOMER
        attempt(_service().answer, Speaker("1001", Stage.PASSWORD, None), [found.request])


class _TakenOnce:
    """In the place of the ledger's nonces."""

    def __init__(self) -> None:
        self._taken: set[bytes] = set()

    def take(self, nonce: bytes, _now: float) -> None:
        if nonce in self._taken:
            raise OpeningRefused(Reason.MALFORMED, field="nonce")
        self._taken.add(nonce)


@cache
def _service() -> Service:
    """A service behind which nothing is: what a request asks for is refused there."""

    def nothing(*_arguments: object, **_options: object) -> None:
        raise RecordError("There is nothing here.")

    empty = cast(Any, SimpleNamespace(submit=nothing, head=nothing, files=nothing, get=nothing))
    ledger = cast(Any, SimpleNamespace(reading=nothing, writing=nothing, log="0" * 32, currency="EUR"))
    return Service(
        bank=B,
        minimum_stage=Stage.PASSWORD,
        public_key=lambda: b"key",
        ledger=ledger,
        posting=empty,
        customers=empty,
        verifier=empty,
        certificates=lambda: None,
        dossier=empty,
        refusals=RefusalLimiter(60),
        admission=Admission(8, 8),
        loop=Loop("fuzzing"),
        clock=lambda: NOW,
    )


def submitted_orders(data: bytes) -> None:
    """Content of an order in the lower stages is read with the same rules, and is the speaker's own."""
    speaker = Speaker("1001", Stage.SESSION, None)
    read = partial(_service()._read_order, speaker, content=data, standing=Standing())
    found = attempt(_unless_refused, read, SubmitOrder(number=1, order=data, since=None))
    if found is not None:
        assert found.order.debtor == "1001"
        assert canonical.encode(found.order) == data


def requests_in_a_session(data: bytes) -> None:
    """What is no request ends the connection by one error; nothing else comes out of it."""
    asked = [b'{"number":1,"type":"ask-bank-key"}', data]
    attempt(_service().answer, Speaker("1001", Stage.SESSION, None), asked)


def password_answers(data: bytes) -> None:
    """What comes back under the password belongs to the request with this nonce, or nothing of it is used."""
    reply, content = parts(data, 2)
    connection = SimpleNamespace(
        send=lambda *_, **__: None,
        receive=lambda **_: Frame(FrameType.PASSWORD, reply),
        close=lambda: None,
        raise_frame_limit=lambda _limit: None,
        peer="the bank",
    )
    limits = SimpleNamespace(answer_seconds=1.0, frame_seconds=1.0, connect_seconds=1.0)
    line = Line(Address("::1", 1), cast(Any, limits), unwatched)
    known = Acquaintance("1001", B, Secret(b"words"), empty_home())
    talk = PasswordConversation(
        cast(Any, connection), known, line, clock=lambda: NOW, random=lambda length: b"\x42" * length
    )
    with (
        mock.patch.object(openpgp, "seal_with_password", return_value=b"sealed"),
        mock.patch.object(openpgp, "open_with_password", return_value=Opened(content, GOOD)),
    ):
        found = attempt(talk.ask, AskBalance(number=0))
    if found is not None:
        assert found[0].number == 1
        assert b'"nonce":"QkJC' in content


def heads(data: bytes) -> None:
    """A head that gpg accepts is still only a head of this bank, in canonical form."""
    view = BankView(empty_home(), A, frozenset({B}), None)
    status = b"".join(b"[GNUPG:] %s\n" % line for line in _ACCEPTED)
    with gpg_says(status + b"\x1d" + data):
        found = attempt(view.open_head, signed(b"{}"))
        assert attempt(view.continued, signed(b"{}"), None, found) is not None or found is None
    if found is not None:
        assert found.head.bank == A
        assert canonical.encode(found.head) == data


_ACCEPTED = (
    b"NEWSIG",
    b"GOODSIG " + b"B" * 16 + b" bank",
    b"VALIDSIG " + b"B" * 40 + b" 2026-01-01 1767225600 0 4 0 22 8 00 " + b"A" * 40,
    b"TRUST_UNDEFINED 0 pgp",
    b"PLAINTEXT 62 0 ",
)


def evidence_answers(data: bytes) -> None:
    """Evidence from the bank, whose receipt gpg has found good: of exactly this order, or nothing is written."""
    files, receipt, message = parts(data, 3)
    answer = attempt(canonical.decode, Evidence, files)
    if answer is None:
        return
    config = SimpleNamespace(
        bank=SimpleNamespace(fingerprint=A),
        authority=SimpleNamespace(fingerprint=B),
        customer=SimpleNamespace(key=B),
    )
    order = SimpleNamespace(message=message, stage=Stage.SESSION, content=message, receipt=None, order=None)
    order.order = attempt(_order_in_the_outbox, message) or SimpleNamespace(certificate=None)
    view = SimpleNamespace(open_signed=lambda _message: receipt, fingerprint=A, open_head=lambda _message: None)
    found = attempt(
        evidence.require_evidence,
        cast(Any, SimpleNamespace(config=config)),
        cast(Any, view),
        cast(Any, order),
        answer.files,
    )
    assert found is None


def _order_in_the_outbox(content: bytes) -> TransferOrder:
    """The order as the customer's own program reads it again from its outbox."""
    order = single_order(decode_order(content))
    entry = LogEntry(
        amount=order.amount,
        booked=format_time(NOW),
        creditor=order.creditor,
        currency=order.currency,
        debtor=order.debtor,
        field=None,
        order=canonical.digest(content),
        reason=None,
        reference=None,
        salt="0" * 32,
        stage="session",
        status=Status.SETTLED,
        transfer_identifier=order.transfer_identifier,
    )
    bank_view.require_about(entry, content)
    return order
