"""What is asked at the desk is answered from the desk's own database; neither socket nor private key is needed.

GnuPG looks only at what a stranger may cost: so many documents a minute of each network, and a few at once in all.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from cryptography import x509

from ca.bridge import open_crl, open_root
from ca.config import Limits
from ca.errors import CaError, NoticeError, RequestError
from ca.messages import (
    AskAuthority,
    AskBank,
    AskCertificate,
    AskRevocations,
    DeskAnswer,
    DeskRefusal,
    DeskRequest,
    NoticeTaken,
    RequestState,
    Revocations,
    RevokedKeyTaken,
    State,
    SubmitNotice,
    SubmitRequest,
    SubmitRevokedKey,
)
from ca.notices import AccountNotice, claimed_notice, open_notice
from ca.rate import Rate
from ca.requests import IDENTIFIER_DIGITS, Request, claimed_request, open_request, require_signed_by
from ca.store import DeskStore, Filed, GivenUp
from keyring import keys
from keyring.errors import EngineError, KeyringError
from keyring.revocation import require_revoked
from protocol import canonical

VERIFICATION_WAIT_SECONDS: Final = 5.0
DAY_SECONDS: Final = 86_400

_TAKEN: Final = (State.WAITING, State.VOUCHED, State.CONFIRMED)
NO_BANK: Final = DeskRefusal(True, "No bank is certified here yet; the bank makes its request first.")
_BUSY: Final = DeskRefusal(True, "The desk is busy with other requests; try again in a minute.")

T = TypeVar("T")

Log = Callable[[str, dict[str, str]], None]
"""Is told of an event by its name and what it is about."""


class Counter:
    """Takes requests and notices, hands out certificates and states; for any number of threads at once.

    ``clock`` gives Unix seconds. A question without a network is the operator's, who is not held to what bounds
    strangers.
    """

    def __init__(self, store: DeskStore, limits: Limits, *, clock: Callable[[], float], log: Log) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._log = log
        self._verifications = threading.BoundedSemaphore(limits.verifications)
        self._questions = Rate(limits.questions_per_minute, clock)
        self._documents = Rate(limits.documents_per_minute, clock)

    def too_often(self, network: str) -> DeskRefusal | None:
        """Count a question from this network, whatever it is; a refusal if there were too many in the last minute."""
        return _too_often("questions", self._limits.questions_per_minute, self._questions.take(network))

    def answer(self, question: DeskRequest, network: str | None) -> DeskAnswer:
        """The answer to one question from ``network``, or by mail (None).

        Raises RequestError or NoticeError for a document that is not in order, StoreError or KeyringError for trouble
        of our own.
        """
        match question:
            case SubmitRequest():
                return self._take_request(question.request, network)
            case SubmitNotice():
                return self._take_notice(question.notice, network)
            case SubmitRevokedKey():
                return self._take_revoked_key(question.key, network)
            case AskCertificate():
                return self._certificate(question.fingerprint)
            case AskBank():
                certified = self._store.bank()
                return NO_BANK if certified is None else certified[0]
            case AskAuthority():
                return self._store.authority()
            case AskRevocations():
                return Revocations(self._store.revocations(int(self._clock())))

    def _take_request(self, message: bytes, network: str | None) -> DeskAnswer:
        self._require_size(message, RequestError)
        known = self._known(claimed_request(message))
        if known is not None:
            return known
        if (full := self._full(network)) is not None:
            return full
        request = self._verified(self._opened, message, network)
        if isinstance(request, DeskRefusal):
            return request
        content, now = request.content, int(self._clock())
        state = State.VOUCHED if request.vouching else State.WAITING
        filed = Filed(
            digest=request.digest,
            fingerprint=content.fingerprint,
            number=content.number,
            role=content.role,
            name=content.name,
            message=message,
            received=now,
            state=state,
        )
        with self._store.exclusive():
            self._store.drop_stale(now - self._limits.open_request_days * DAY_SECONDS)
            # Asked again: others may have come while gpg was at work.
            answer = self._known(request) or self._full(network)
            if answer is None:
                self._store.file_request(filed, network or "")
        if answer is not None:
            return answer
        self._log("request", {"host": network or "", "request": request.identifier, "role": content.role})
        return RequestState(request.identifier, state)

    def _require_vouching(self, request: Request) -> None:
        """Spare the operator what nobody vouched for; whether it counts is the authority's to say. RequestError."""
        before = request.content.succeeds
        if before is None:
            return
        known = self._store.certificate(before)
        if known is None or known[1] <= self._clock() or self._is_revoked(known[0].certificate):
            raise RequestError(
                f"The key {before} has no certificate that counts here, so it can vouch for no other. Make a new key"
                " with `customer init` in another folder, and telephone the authority."
            )
        require_signed_by(request, known[0].key)

    def _is_revoked(self, certificate: bytes) -> bool:
        root, now = self._store.authority(), int(self._clock())
        opened = open_root(root.root, keys.public_key_fingerprint(root.key))
        serial = x509.load_der_x509_certificate(certificate).serial_number
        return serial in open_crl(self._store.revocations(now), opened).revoked

    def _known(self, request: Request) -> DeskAnswer | None:
        """What became of this request, or of another of this key after which no second is kept; None if it is new.

        That is one that is open for the same number, role and name, one that is locked for the same number, or a
        certificate that counts or was revoked.
        """
        asked = request.content
        found, certified = self._store.requests_of(asked.fingerprint), self._standing(asked.fingerprint)
        if certified is State.REVOKED:
            return RequestState(_issued_on(found), State.REVOKED)
        for filed in found:
            if filed.digest == request.digest:
                ended = filed.state is State.ISSUED and certified is State.EXPIRED
                return _state(replace(filed, state=State.EXPIRED) if ended else filed)
            same = (filed.number, filed.role, filed.name) == (asked.number, asked.role, asked.name)
            locked = filed.state is State.LOCKED and filed.number == asked.number
            if locked or (same and filed.state in _TAKEN):
                return _state(filed)
        return RequestState(_issued_on(found), State.ISSUED) if certified is State.ISSUED else None

    def _standing(self, fingerprint: str) -> State:
        """What became of the newest certificate of this key; "unknown" where it has none."""
        certified = self._store.certificate(fingerprint)
        if certified is None:
            return State.UNKNOWN
        if self._is_revoked(certified[0].certificate):
            return State.REVOKED
        return State.ISSUED if certified[1] > self._clock() else State.EXPIRED

    def _full(self, network: str | None) -> DeskRefusal | None:
        if network is None:
            return None
        if self._store.open_requests(network) >= self._limits.open_requests_per_address:
            return DeskRefusal(True, "Too many requests from this address wait for their calls; finish those first.")
        if self._store.open_requests() >= self._limits.open_requests:
            return DeskRefusal(True, "Too many requests wait at the desk; try again tomorrow.")
        return None

    def _take_notice(self, message: bytes, network: str | None) -> DeskAnswer:
        """One of the bank that is certified here: were strangers' kept, a few of them would keep out the bank's."""
        self._require_size(message, NoticeError)
        notice = claimed_notice(message)
        if message in self._store.notices(notice.customer):
            return NoticeTaken()
        if (full := self._no_room_for(notice)) is not None:
            return full
        bank = self._store.bank()
        if bank is None:
            return NO_BANK
        certified = bank[0]
        if notice.bank != keys.public_key_fingerprint(certified.key):
            raise NoticeError("The notice is of another bank than the one that is certified here.")
        if self._is_revoked(certified.certificate):
            raise NoticeError("The certificate of the bank was revoked, so its notices do not count.")
        verified = self._verified(lambda data: self._opened_notice(data, certified.key), message, network)
        if isinstance(verified, DeskRefusal):
            return verified
        with self._store.exclusive():
            if (full := self._no_room_for(notice)) is not None:
                return full
            self._store.file_notice(canonical.digest(message), verified.customer, message)
        if network is not None:  # a bank that opens many accounts is no stranger who tries something
            self._documents.give_back(network)
            self._questions.give_back(network)
        self._log("notice", {"host": network or "", "customer": verified.customer})
        return NoticeTaken()

    def _no_room_for(self, notice: AccountNotice) -> DeskRefusal | None:
        if len(self._store.notices(notice.customer)) >= self._limits.notices_per_customer:
            return DeskRefusal(
                False,
                "The desk keeps no more notices for this customer; have the authority drop them first, with `ca drop"
                f" --notices {notice.customer}`.",
            )
        if self._store.notice_count() >= self._limits.notices:
            return DeskRefusal(False, "The desk keeps no more notices; mail it to the authority as a file.")
        return None

    def _opened_notice(self, message: bytes, bank_key: bytes) -> AccountNotice:
        authority = self._store.authority()
        pinned = keys.public_key_fingerprint(authority.key)
        return open_notice(message, ca_key=authority.key, ca_fingerprint=pinned, bank_key=bank_key)

    def _take_revoked_key(self, key: bytes, network: str | None) -> DeskAnswer:
        """At most one for each key that is certified here, so that strangers fill nothing."""
        self._require_size(key, RequestError)
        try:
            fingerprint = keys.public_key_fingerprint(key)
            if self._store.certificate(fingerprint) is None:
                return DeskRefusal(False, "No certificate was issued here for this key, so there is none to revoke.")
            if any(each.fingerprint == fingerprint for each in self._store.given_up()):
                return RevokedKeyTaken()
            busy = self._verified(require_revoked, key, network)
            if isinstance(busy, DeskRefusal):
                return busy
        except EngineError:
            raise  # trouble of ours, not the owner's
        except KeyringError as error:
            raise RequestError(f"The revoked key cannot be taken: {error}") from None
        self._store.give_up(GivenUp(fingerprint, key, int(self._clock())))
        self._log("given-up", {"host": network or "", "fingerprint": fingerprint})
        return RevokedKeyTaken()

    def _opened(self, message: bytes) -> Request:
        request = open_request(message)
        self._require_vouching(request)
        return request

    def _verified(self, verify: Callable[[bytes], T], data: bytes, network: str | None) -> T | DeskRefusal:
        """What gpg makes of it; a refusal if this network has asked for too much, or too many others wait already."""
        if network is not None:
            wait = self._documents.take(network)
            if (refusal := _too_often("documents", self._limits.documents_per_minute, wait)) is not None:
                return refusal
        if not self._verifications.acquire(timeout=VERIFICATION_WAIT_SECONDS):
            return _BUSY
        try:
            return verify(data)
        finally:
            self._verifications.release()

    def _certificate(self, fingerprint: str) -> DeskAnswer:
        """The certified key; but where it has expired and a newer request is open, the state of that."""
        certified = self._store.certificate(fingerprint)
        if certified is not None and certified[1] > self._clock():
            return certified[0]
        found = self._store.requests_of(fingerprint)
        newer = [each for each in found if each.state is not State.ISSUED]
        if newer:
            return _state(newer[-1])
        return RequestState("" if certified is None else _issued_on(found), self._standing(fingerprint))

    def _require_size(self, message: bytes, error: type[CaError]) -> None:
        if len(message) > self._limits.document_bytes:
            raise error(f"The document has {len(message)} bytes; at most {self._limits.document_bytes} are taken.")


def _state(filed: Filed) -> RequestState:
    return RequestState(filed.digest[:IDENTIFIER_DIGITS], filed.state)


def _issued_on(found: Sequence[Filed]) -> str:
    """The newest request of a key on which a certificate was issued, as people call it; "" if none is kept."""
    issued = [each for each in found if each.state is State.ISSUED]
    return issued[-1].digest[:IDENTIFIER_DIGITS] if issued else ""


def _too_often(what: str, per_minute: int, wait_seconds: int) -> DeskRefusal | None:
    if not wait_seconds:
        return None
    again = "in a second" if wait_seconds == 1 else f"in {wait_seconds} seconds"
    return DeskRefusal(
        True, f"The desk is busy: of {what} it takes {per_minute} a minute from one address; come again {again}."
    )
