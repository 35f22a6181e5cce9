"""What is asked at the desk is answered from the desk's own database; neither socket nor private key is needed."""

import threading
from collections.abc import Callable
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
from ca.notices import claimed_notice
from ca.requests import IDENTIFIER_DIGITS, Request, claimed_request, open_request, require_signed_by
from ca.store import DeskStore, Filed, GivenUp
from keyring import keys
from keyring.errors import EngineError, KeyringError
from keyring.revocation import require_revoked
from protocol import canonical

VERIFICATION_WAIT_SECONDS: Final = 5.0
DAY_SECONDS: Final = 86_400

_TAKEN: Final = (State.WAITING, State.VOUCHED, State.CONFIRMED)
_BUSY: Final = DeskRefusal(True, "The desk is busy with other requests; try again in a minute.")

T = TypeVar("T")

Log = Callable[[str, dict[str, str]], None]
"""Is told of an event by its name and what it is about."""


class Counter:
    """Takes requests and notices, hands out certificates and states; for any number of threads at once.

    ``clock`` gives Unix seconds.
    """

    def __init__(self, store: DeskStore, limits: Limits, *, clock: Callable[[], float], log: Log) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._log = log
        self._verifications = threading.BoundedSemaphore(limits.verifications)

    def answer(self, question: DeskRequest, host: str) -> DeskAnswer:
        """The answer to one question from ``host``.

        Raises RequestError or NoticeError for a document that is not in order, StoreError or KeyringError for trouble
        of our own.
        """
        match question:
            case SubmitRequest():
                return self._take_request(question.request, host)
            case SubmitNotice():
                return self._take_notice(question.notice, host)
            case SubmitRevokedKey():
                return self._take_revoked_key(question.key, host)
            case AskCertificate():
                return self._certificate(question.fingerprint)
            case AskBank():
                certified = self._store.bank()
                if certified is None:
                    return DeskRefusal(True, "No bank is certified here yet; the bank makes its request first.")
                return certified[0]
            case AskAuthority():
                return self._store.authority()
            case AskRevocations():
                return Revocations(self._store.revocations(int(self._clock())))

    def _take_request(self, message: bytes, host: str) -> DeskAnswer:
        self._require_size(message, RequestError)
        known = self._known(claimed_request(message))
        if known is not None:
            return known
        if (full := self._full(host)) is not None:
            return full
        request = self._verified(self._opened, message)
        if request is None:
            return _BUSY
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
            answer = self._known(request) or self._full(host)
            if answer is None:
                self._store.file_request(filed, host)
        if answer is not None:
            return answer
        self._log("request", {"host": host, "request": request.identifier, "role": content.role})
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
        """The state of this request, or of an open one for the same key, number, role and name: no second is kept."""
        asked = request.content
        for filed in self._store.requests_of(asked.fingerprint):
            same = (filed.number, filed.role, filed.name) == (asked.number, asked.role, asked.name)
            if filed.digest == request.digest or (same and filed.state in _TAKEN):
                return _state(filed)
        certified = self._store.certificate(asked.fingerprint)
        if certified is not None and certified[1] > self._clock():
            return RequestState(request.identifier, State.ISSUED)
        return None

    def _full(self, host: str) -> DeskRefusal | None:
        if self._store.open_requests(host) >= self._limits.open_requests_per_address:
            return DeskRefusal(True, "Too many requests from this address wait for their calls; finish those first.")
        if self._store.open_requests() >= self._limits.open_requests:
            return DeskRefusal(True, "Too many requests wait at the desk; try again tomorrow.")
        return None

    def _take_notice(self, message: bytes, host: str) -> DeskAnswer:
        self._require_size(message, NoticeError)
        notice = claimed_notice(message)
        digest = canonical.digest(message)
        with self._store.exclusive():
            kept = self._store.notices(notice.customer)
            full = len(kept) >= self._limits.notices_per_customer or self._store.notice_count() >= self._limits.notices
            if message not in kept:
                if full:
                    return DeskRefusal(
                        False, "The desk keeps no more notices for this customer; mail it to the authority as a file."
                    )
                self._store.file_notice(digest, notice.customer, message)
        self._log("notice", {"host": host, "customer": notice.customer})
        return NoticeTaken()

    def _take_revoked_key(self, key: bytes, host: str) -> DeskAnswer:
        """At most one for each key that is certified here, so that strangers fill nothing."""
        self._require_size(key, RequestError)
        try:
            fingerprint = keys.public_key_fingerprint(key)
            if self._store.certificate(fingerprint) is None:
                return DeskRefusal(False, "No certificate was issued here for this key, so there is none to revoke.")
            if any(each.fingerprint == fingerprint for each in self._store.given_up()):
                return RevokedKeyTaken()
            if self._verified(require_revoked, key) is None:
                return _BUSY
        except EngineError:
            raise  # trouble of ours, not the owner's
        except KeyringError as error:
            raise RequestError(f"The revoked key cannot be taken: {error}") from None
        self._store.give_up(GivenUp(fingerprint, key, int(self._clock())))
        self._log("given-up", {"host": host, "fingerprint": fingerprint})
        return RevokedKeyTaken()

    def _opened(self, message: bytes) -> Request:
        request = open_request(message)
        self._require_vouching(request)
        return request

    def _verified(self, verify: Callable[[bytes], T], data: bytes) -> T | None:
        """What gpg makes of it; None if too many others wait for that already."""
        if not self._verifications.acquire(timeout=VERIFICATION_WAIT_SECONDS):
            return None
        try:
            return verify(data)
        finally:
            self._verifications.release()

    def _certificate(self, fingerprint: str) -> DeskAnswer:
        """The certified key; but where it has expired and a newer request is open, the state of that."""
        certified = self._store.certificate(fingerprint)
        if certified is not None and certified[1] > self._clock():
            return certified[0]
        filed = [each for each in self._store.requests_of(fingerprint) if each.state is not State.ISSUED]
        if filed:
            return _state(filed[-1])
        return RequestState("", State.UNKNOWN if certified is None else State.EXPIRED)

    def _require_size(self, message: bytes, error: type[CaError]) -> None:
        if len(message) > self._limits.document_bytes:
            raise error(f"The document has {len(message)} bytes; at most {self._limits.document_bytes} are taken.")


def _state(filed: Filed) -> RequestState:
    return RequestState(filed.digest[:IDENTIFIER_DIGITS], filed.state)
