"""What the desk says is only carried; what counts is what the pinned authority's signature says."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from ca import bridge
from ca.bridge import CertificateRefused, JudgedCertificate
from ca.documents import BANK, BANK_NUMBER, CUSTOMER
from ca.errors import DeskError, UnprovenKey
from ca.messages import (
    AskAuthority,
    AskBank,
    AskCertificate,
    AskRevocations,
    AuthorityKey,
    Certified,
    DeskAnswer,
    DeskRefusal,
    DeskRequest,
    MailedCertificates,
    NoticeTaken,
    RequestState,
    Revocations,
    RevokedKeyTaken,
    State,
    SubmitNotice,
    SubmitRequest,
    SubmitRevokedKey,
    decode_answer,
    encode,
)
from keyring import certification
from keyring.certification import Certification
from keyring.errors import KeyringError, NotCertified
from keyring.home import Home
from protocol import canonical, transport
from protocol.codes import Reason
from protocol.errors import MalformedContent, ProtocolError
from protocol.frames import Frame, FrameType
from protocol.limits import FRAME_BYTES_IN_SESSION, FRAME_BYTES_WITH_LIST
from protocol.transport import Address

TIMEOUT_SECONDS: Final = 15.0

MAIL_LIMIT_BYTES: Final = FRAME_BYTES_WITH_LIST

A = TypeVar("A", RequestState, NoticeTaken, RevokedKeyTaken, Certified, AuthorityKey, Revocations)


@dataclass(frozen=True)
class Proven:
    """One certificate in both forms, which agree with each other and with what is pinned."""

    certification: Certification
    certificate: JudgedCertificate


class Desk:
    """The authority's desk as its applicants see it: a connection a question. Every method raises DeskError."""

    def __init__(self, address: Address, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.address = address
        self._timeout_seconds = timeout_seconds

    def submit_request(self, message: bytes) -> RequestState:
        """Hand in a request; the same one again, or another for the same key, changes nothing."""
        return _of(RequestState, self._answer(SubmitRequest(message)))

    def submit_notice(self, message: bytes) -> None:
        """Hand in a bank's account notice; the same one again changes nothing."""
        _of(NoticeTaken, self._answer(SubmitNotice(message)))

    def submit_revoked_key(self, key: bytes) -> None:
        """Hand in one's own certified key, revoked by oneself; the same again changes nothing."""
        _of(RevokedKeyTaken, self._answer(SubmitRevokedKey(key)))

    def fetch(self, fingerprint: str) -> Certified | RequestState:
        """The certificate of the key with this fingerprint, still to be verified, or how far its request has come."""
        answer = self._answer(AskCertificate(fingerprint))
        return answer if isinstance(answer, RequestState) else _of(Certified, answer)

    def authority_key(self) -> AuthorityKey:
        """What the desk hands out as the authority's key and root; only the pinned fingerprint makes them that."""
        return _of(AuthorityKey, self._answer(AskAuthority()))

    def bank_key(self) -> Certified:
        """What the desk hands out as the bank's certificate, still to be verified."""
        return _of(Certified, self._answer(AskBank()))

    def revocations(self) -> bytes:
        """What the desk hands out as the newest revocation list, DER, still to be verified."""
        return _of(Revocations, self._answer(AskRevocations())).crl

    def _answer(self, question: DeskRequest) -> DeskAnswer:
        try:
            answer = self._exchange(question)
        except ProtocolError as error:
            raise DeskError(
                f"The authority's desk at {self.address} gave no answer: {error} Try again later, or ask its operator,"
                " who opens it with `ca serve`; requests and certificates can go by mail, too (--out, --in)."
            ) from None
        if isinstance(answer, DeskRefusal):
            # The sentence is a stranger's: only what a terminal shows as it is, and not too much of it.
            shown = "".join(c if c.isprintable() else "?" for c in answer.sentence)[:300]
            raise DeskError(f"The authority's desk at {self.address} refused: {shown}", again=answer.again)
        return answer

    def _exchange(self, question: DeskRequest) -> DeskAnswer:
        seconds = self._timeout_seconds
        connection = transport.connect(self.address, timeout_seconds=seconds)
        try:
            connection.raise_frame_limit(
                FRAME_BYTES_WITH_LIST if isinstance(question, AskRevocations) else FRAME_BYTES_IN_SESSION
            )
            connection.send(Frame(FrameType.DESK_REQUEST, encode(question)), timeout_seconds=seconds)
            frame = connection.receive(idle_seconds=seconds, frame_seconds=seconds)
        finally:
            connection.close()
        if frame is None or frame.type is not FrameType.DESK_ANSWER:
            raise ProtocolError("it is not a desk of a certificate authority, or it closed the connection.")
        return decode_answer(frame.body)


def _of(kind: type[A], answer: DeskAnswer) -> A:
    if not isinstance(answer, kind):
        raise DeskError("The authority's desk answered something else than was asked; nothing of it was used.")
    return answer


def read_mailed(path: Path) -> MailedCertificates:
    """What came by mail in place of from the desk, still to be verified. Raises DeskError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAIL_LIMIT_BYTES + 1)
    except OSError as error:
        raise DeskError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        if len(data) > MAIL_LIMIT_BYTES:
            raise MalformedContent(f"It has more than {MAIL_LIMIT_BYTES} bytes.")
        return canonical.decode_signed(MailedCertificates, data)
    except MalformedContent as error:
        raise DeskError(
            f"{path} is not a file of certificates ({error}); ask the authority for what `ca issue --out` writes."
        ) from None


def verify_own(
    offered: Certified,
    *,
    authority: AuthorityKey,
    crl: bytes,
    ca_fingerprint: str,
    fingerprint: str,
    number: str,
    role: str,
    at: int,
    highest_crl_number: int = 0,
) -> Proven:
    """The pinned authority's certificate of our own key for our number and role, at ``at`` (unix seconds).

    ``crl`` is the newest revocation list, DER; ``highest_crl_number`` that of the newest one ever seen, 0 for none.
    Raises UnprovenKey.
    """
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        return judged_party(
            Path(folder) / "own",
            offered,
            authority=authority,
            crl=crl,
            ca_fingerprint=ca_fingerprint,
            fingerprint=fingerprint,
            number=number,
            role=role,
            at=at,
            highest_crl_number=highest_crl_number,
        )[1]


def verify_bank(
    offered: Certified,
    *,
    authority: AuthorityKey,
    crl: bytes,
    ca_fingerprint: str,
    bank_fingerprint: str,
    at: int,
    highest_crl_number: int = 0,
) -> Proven:
    """The pinned authority's certificate of the pinned bank's key for the role bank; else UnprovenKey."""
    return verify_own(
        offered,
        authority=authority,
        crl=crl,
        ca_fingerprint=ca_fingerprint,
        fingerprint=bank_fingerprint,
        number=BANK_NUMBER,
        role=BANK,
        at=at,
        highest_crl_number=highest_crl_number,
    )


def judged_party(
    path: Path,
    offered: Certified,
    *,
    authority: AuthorityKey,
    crl: bytes,
    ca_fingerprint: str,
    fingerprint: str,
    number: str,
    role: str,
    at: int,
    highest_crl_number: int = 0,
) -> tuple[Home, Proven]:
    """A new small home at ``path`` with the authority's and the party's keys, if the one vouches for the other.

    It does so in both forms, which have to agree. ``ca_fingerprint`` and ``fingerprint`` are pinned, never from the
    network; ``at`` and ``highest_crl_number`` as for :func:`verify_own`. UnprovenKey leaves nothing behind.
    """
    try:
        # First what costs no process, and tells a revoked certificate from one that is merely not certified any more.
        certificate = bridge.judge(
            offered.certificate,
            root_der=authority.root,
            crl_der=crl,
            ca_fingerprint=ca_fingerprint,
            role=role,
            number=number,
            fingerprint=fingerprint,
            at=at,
            highest_crl_number=highest_crl_number,
        )
    except CertificateRefused as error:
        raise UnprovenKey(f"{error} Nothing of it was used.", error.rule, error.reason) from None
    try:
        home, certified, _ = certification.judged_home(
            path,
            ca_key=authority.key,
            ca_fingerprint=ca_fingerprint,
            offered=offered.key,
            expected_fingerprint=fingerprint,
            at=at,
        )
    except KeyringError as error:
        raise _unproven(error) from None
    try:
        _require_agreement(certified, certificate)
    except UnprovenKey:
        shutil.rmtree(home.path, ignore_errors=True)  # without secret keys there is no agent to stop
        raise
    return home, Proven(certified, certificate)


def _require_agreement(certified: Certification, certificate: JudgedCertificate) -> None:
    """The two forms are one certificate: for the same holder, on the same request, from the same second to the same."""
    holder = certificate.holder
    if (certified.number, certified.role) != (holder.number, holder.role):
        raise UnprovenKey(
            f"The authority certified this key for the {certified.role} {certified.number} and not for the"
            f" {holder.role} {holder.number}; nothing of it was used. Ask the authority.",
            "one-meaning",
        )
    if certified.request_digest != certificate.request_digest:
        raise UnprovenKey(
            "Certified key and certificate were not issued on the same request; nothing of it was used. Fetch both"
            " again, or ask the authority.",
            "same-request",
        )
    if (certified.created, certified.expires - 1) != (certificate.not_before, certificate.not_after):
        raise UnprovenKey(
            "Certified key and certificate are not good for the same time; nothing of it was used. Fetch both again.",
            "same-dates",
        )


def _unproven(error: KeyringError) -> UnprovenKey:
    rule = error.rule if isinstance(error, NotCertified) else "key"
    reason = Reason.CERTIFICATE_REVOKED if rule == "not-revoked" else Reason.CERTIFICATE_INVALID
    return UnprovenKey(f"The key that was handed out is not proven: {error} Nothing of it was used.", rule, reason)


def explain(state: State, program: str) -> str:
    """What a state means for the applicant, and the next command of ``program`` ("customer" or "bank")."""
    match state:
        case State.UNKNOWN:
            return (
                f"The authority's desk has no request for this key; make one with `{program} request`. One that was"
                " mailed is there when the authority's operator has taken it in (`ca requests --take FILE`)."
            )
        case State.WAITING:
            return (
                "The request waits for the call: telephone the authority, or wait for its call, and read out what"
                f" `{program} fingerprint` shows."
            )
        case State.VOUCHED:
            return (
                "Your key of now vouches for the new one, so nobody telephones: the authority's operator issues it with"
                f" `ca issue`. Then take it with `{program} fetch`."
            )
        case State.CONFIRMED:
            return f"The request is confirmed and will be issued; try `{program} fetch` again later."
        case State.LOCKED:
            return (
                "The request is locked after three mistakes on the telephone, and a new one of the same key is, too."
                f" Telephone the authority: its operator reopens it (`ca reopen`). Then read out what `{program}"
                " fingerprint` shows."
            )
        case State.ISSUED:
            return f"The certificate is issued; take it with `{program} fetch`."
        case State.EXPIRED:
            return f"The certificate has expired; ask for a new one with `{program} request`."
        case State.REVOKED:
            return "The certificate of this key was revoked, and the key is never certified again. " + (
                "A new key begins in another folder, with `customer init --home NEW-FOLDER --letter FILE`."
                if program == CUSTOMER
                else "What is left to do says `bank status`."
            )
