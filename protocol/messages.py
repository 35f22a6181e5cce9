"""What can be asked and answered, the same in every stage; the stage decides only what protects the bytes."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from protocol import canonical
from protocol.beginnings import PlacedBeginning
from protocol.codes import EXPLANATIONS, Reason
from protocol.limits import PAYMENTS_IN_ORDER, STATEMENT_LINES
from protocol.orders import Digest, Fingerprint, Identifier, Number, Time
from protocol.receipts import LogIdentifier, Receipt, Size
from protocol.stages import Stage

RequestNumber = Annotated[int, Meta(ge=0, lt=2**53)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
RuleName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,63}\Z")]


class _Wire(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Fixed fields, and a type that names them."""


# Opening a session: plain frames, then what they seal.


class Open(_Wire, frozen=True, tag="open"):
    """First frame of a session: ``sealed`` is an OpenPGP message to the bank that holds a SealedOpening."""

    sealed: bytes
    stage: Stage


class SealedOpening(_Wire, frozen=True, tag="sealed-opening"):
    """Who opens: ``signed`` is an OpenPGP message of a SessionOpening.

    ``certificate`` (X.509, DER) and ``key`` (the certified OpenPGP key) come in the stage certified, else null.
    """

    certificate: bytes | None
    customer: Number
    key: bytes | None
    signed: bytes


class SessionOpening(_Wire, frozen=True, tag="session-opening"):
    """What the customer signs: ``certificate`` and ``offered`` are the SHA-256 of certificate and key, if offered."""

    bank: Fingerprint
    certificate: Digest | None
    customer: Number
    offered: Digest | None
    session_key: Bytes32
    share: Bytes32
    stage: Stage
    time: Time
    version: Literal[1] = 1

    def __repr__(self) -> str:
        return f"SessionOpening(customer={self.customer!r}, stage={self.stage.value!r}, …)"


class Opened(_Wire, frozen=True, tag="opened"):
    """The bank's half: its X25519 share; the record that follows proves that it holds the session key."""

    session: Bytes32
    share: Bytes32
    time: Time


class SessionProof(_Wire, frozen=True, tag="session-proof"):
    """First record of the bank, under the session's keys."""

    session: Bytes32


# The password stage: each message stands alone.


class PasswordFrame(_Wire, frozen=True, tag="password-frame"):
    """``sealed`` is `gpg --symmetric` under the password agreed with ``customer``; it holds a PasswordMessage."""

    customer: Number
    sealed: bytes


class PasswordRequest(_Wire, frozen=True, tag="password-request"):
    """A request with both names, time and a nonce that the bank accepts once; ``request`` is a Request's bytes."""

    bank: Fingerprint
    customer: Number
    nonce: Bytes32
    request: bytes
    time: Time
    version: Literal[1] = 1


class PasswordAnswer(_Wire, frozen=True, tag="password-answer"):
    """The answer to the request with this nonce; another type than the request's, so that none can be reflected."""

    answer: bytes
    bank: Fingerprint
    customer: Number
    nonce: Bytes32
    time: Time
    version: Literal[1] = 1


# Requests; ``number`` comes back in the answer.


class SubmitOrder(_Wire, frozen=True, tag="submit-order"):
    """``order``: the OpenPGP message in the stages signed and certified, else the order's canonical content.

    ``since``: size of the newest head that the client keeps, so that the receipt proves its log continues it.
    """

    number: RequestNumber
    order: bytes
    since: Size | None


class LookUpOrder(_Wire, frozen=True, tag="look-up-order"):
    """Asks for the receipt of an order by its identifier and the digest of its content."""

    number: RequestNumber
    order: Digest
    since: Size | None
    transfer_identifier: Identifier


class AskBalance(_Wire, frozen=True, tag="ask-balance"):
    """Asks for the balance of the session's customer."""

    number: RequestNumber


class AskStatement(_Wire, frozen=True, tag="ask-statement"):
    """Asks for bookings of the session's customer after booking number ``after`` (0 for all), oldest first."""

    after: Size
    lines: Annotated[int, Meta(ge=1, le=STATEMENT_LINES)]
    number: RequestNumber


class AskHead(_Wire, frozen=True, tag="ask-head"):
    """Asks for the newest signed head and the proof that it continues the one of size ``since``."""

    number: RequestNumber
    since: Size | None


class AskBeginnings(_Wire, frozen=True, tag="ask-beginnings"):
    """Asks why the log is another than the client knows: for every entry that began a log anew."""

    number: RequestNumber
    since: Size | None


class AskEvidence(_Wire, frozen=True, tag="ask-evidence"):
    """Asks for the evidence folder of one of the customer's own transfers."""

    number: RequestNumber
    transfer_identifier: Identifier


class AskBankKey(_Wire, frozen=True, tag="ask-bank-key"):
    """Asks for the bank's public key, for a client that knows only its fingerprint, from the letter."""

    number: RequestNumber


class RegisterKey(_Wire, frozen=True, tag="register-key"):
    """Registers the customer's public key; only in the password stage, once, and it never replaces a key."""

    key: bytes
    number: RequestNumber


class Close(_Wire, frozen=True, tag="close"):
    """The client has no further requests; so a cut connection is told from an ended one."""

    number: RequestNumber


Request = (
    SubmitOrder
    | LookUpOrder
    | AskBalance
    | AskStatement
    | AskHead
    | AskBeginnings
    | AskEvidence
    | AskBankKey
    | RegisterKey
    | Close
)


# Answers


class Refusal(_Wire, frozen=True, tag="refusal"):
    """An answer without a log entry: nothing was recorded and no identifier is used up.

    ``rule`` names what exactly was broken, where several things are answered with one ``reason``; else null.
    """

    field: str | None
    number: RequestNumber
    reason: Reason
    sentence: str
    time: Time
    rule: RuleName | None = None
    transfer_identifier: str | None = None


class Unknown(_Wire, frozen=True, tag="unknown"):
    """The bank has decided nothing under this identifier."""

    number: RequestNumber
    transfer_identifier: Identifier


class Balance(_Wire, frozen=True, tag="balance"):
    """Booked balance as a decimal string."""

    balance: str
    currency: str
    customer: Number
    number: RequestNumber
    time: Time


class StatementLine(Struct, frozen=True, forbid_unknown_fields=True):
    """One booking on the customer's account; ``amount`` is negative for money that left it.

    A bulk order leaves its debtor's account in one line, with the number of its ``payments`` and no counterparty; each
    line at a creditor's account tells which ``payment`` of the order it is, counted from 1.
    """

    amount: str
    balance: str
    booked: Time
    booking: Size
    counterparty: Number | None
    description: str
    payment: Annotated[int, Meta(ge=1, le=PAYMENTS_IN_ORDER)] | None
    payments: Annotated[int, Meta(ge=1, le=PAYMENTS_IN_ORDER)] | None
    reference: str
    transfer_identifier: str | None
    """Null where the counterparty chose it: no one sees another's identifiers."""


class Statement(_Wire, frozen=True, tag="statement"):
    """A page of bookings; ``more`` tells that others follow the last line."""

    balance: str
    currency: str
    customer: Number
    lines: tuple[StatementLine, ...]
    more: bool
    number: RequestNumber
    time: Time


class Head(_Wire, frozen=True, tag="head"):
    """The newest signed head (OpenPGP message of a TreeHead), with the consistency path asked for."""

    consistency: tuple[Digest, ...] | None
    head: bytes
    log: LogIdentifier
    number: RequestNumber


class Beginnings(_Wire, frozen=True, tag="beginnings"):
    """Every entry that began a log anew, in their order; none if the log is the bank's first.

    ``head`` and ``consistency`` are as in Head; the entries are proved against that head.
    """

    beginnings: tuple[PlacedBeginning, ...]
    consistency: tuple[Digest, ...] | None
    head: bytes
    number: RequestNumber


class Evidence(_Wire, frozen=True, tag="evidence"):
    """Files of an evidence folder by name."""

    files: dict[str, bytes]
    number: RequestNumber
    transfer_identifier: Identifier


class Registered(_Wire, frozen=True, tag="registered"):
    """The key is registered; ``bank_key`` is the bank's public key, to be checked against the letter's fingerprint."""

    bank_key: bytes
    fingerprint: Fingerprint
    number: RequestNumber


class BankKey(_Wire, frozen=True, tag="bank-key"):
    """The bank's public key (OpenPGP, binary), to be checked against the pinned fingerprint."""

    key: bytes
    number: RequestNumber


class Closed(_Wire, frozen=True, tag="closed"):
    """The bank has answered everything of this session."""

    number: RequestNumber


class NumberedReceipt(_Wire, frozen=True, tag="numbered-receipt"):
    """The receipt of an order or of a look-up."""

    number: RequestNumber
    receipt: Receipt


Answer = (
    NumberedReceipt
    | Refusal
    | Unknown
    | Balance
    | Statement
    | Head
    | Beginnings
    | Evidence
    | BankKey
    | Registered
    | Closed
)


def description_of(line: StatementLine) -> str:
    """What a booking is for, for a person."""
    if line.payments is not None:
        return f"bulk order, payments: {line.payments}"
    return line.description if line.payment is None else f"{line.description} (payment {line.payment} of a bulk order)"


def encode(message: Struct) -> bytes:
    """The bytes of a message: the same canonical form as signed content, so that there is one encoder."""
    return canonical.encode(message)


def decode_request(data: bytes) -> Request:
    """A request; MalformedContent names the field at fault."""
    return canonical.decode_union(_REQUEST, data)


def decode_answer(data: bytes) -> Answer:
    """An answer; MalformedContent names the field at fault."""
    return canonical.decode_union(_ANSWER, data)


def refuse(
    reason: Reason,
    *,
    number: int = 0,
    time: str,
    sentence: str | None = None,
    field: str | None = None,
    rule: str | None = None,
    transfer_identifier: str | None = None,
) -> Refusal:
    """A refusal with the reason's own sentence unless a more exact one is given."""
    return Refusal(
        field=field,
        number=number,
        reason=reason,
        rule=rule,
        sentence=sentence or EXPLANATIONS[reason].sentence,
        time=time,
        transfer_identifier=transfer_identifier,
    )


def sentence_of(refusal: Refusal) -> str:
    """What a refusal says to a person: its own sentence, or its reason's where that is blank."""
    return refusal.sentence if refusal.sentence.strip() else EXPLANATIONS[refusal.reason].sentence


_REQUEST: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_ANSWER: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
