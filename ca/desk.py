"""The desk takes requests and notices and hands out keys; it decides nothing and needs no private key."""

import threading
from collections.abc import Callable
from typing import Final

from ca.config import Limits
from ca.errors import CaError, NoticeError, RequestError
from ca.messages import (
    AskAuthority,
    AskBank,
    AskCertificate,
    DeskAnswer,
    DeskRefusal,
    DeskRequest,
    NoticeTaken,
    PublicKey,
    RequestState,
    State,
    SubmitNotice,
    SubmitRequest,
    decode_request,
    encode,
)
from ca.notices import claimed_notice
from ca.requests import IDENTIFIER_DIGITS, Request, claimed_request, open_request
from ca.store import DeskStore, Filed
from keyring.errors import KeyringError
from protocol import canonical
from protocol.errors import ConnectionLost, MalformedContent, ProtocolError
from protocol.frames import Frame, FrameType
from protocol.limits import FRAME_BYTES_IN_SESSION
from protocol.transport import Address, Connection, Listener, ListenerLimits

VERIFICATION_WAIT_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 5.0
DAY_SECONDS: Final = 86_400

Log = Callable[[str, dict[str, str]], None]
"""Is told of an event by its name and what it is about."""


class DeskServer:
    """The desk at a TCP port, a thread a connection; ``clock`` gives Unix seconds."""

    def __init__(
        self, store: DeskStore, address: Address, limits: Limits, *, clock: Callable[[], float], log: Log
    ) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._log = log
        self._verifications = threading.BoundedSemaphore(limits.verifications)
        self._listener = Listener(
            address,
            self._serve,
            lambda: _frame(DeskRefusal(True, "The desk is busy; try again in a minute.")),
            ListenerLimits(limits.connections, limits.connections_per_address),
        )

    @property
    def address(self) -> Address:
        """Where the desk listens, with the port that it was given."""
        return self._listener.address

    def start(self) -> None:
        """Begin to accept."""
        self._listener.start()

    def stop(self) -> None:
        """Answer what was read, then end."""
        self._listener.stop(GRACE_SECONDS)

    def _serve(self, connection: Connection) -> None:
        host = connection.peer.partition(" port ")[0]
        connection.raise_frame_limit(FRAME_BYTES_IN_SESSION)
        try:
            for _ in range(self._limits.questions_per_connection):
                frame = connection.receive(
                    idle_seconds=self._limits.idle_seconds, frame_seconds=self._limits.frame_seconds
                )
                if frame is None:
                    return
                answer = self._answer(frame, host)
                connection.send(_frame(answer), timeout_seconds=self._limits.frame_seconds)
        except ConnectionLost:
            return
        except ProtocolError as error:
            self._log("broken", {"host": host, "why": str(error)})

    def _answer(self, frame: Frame, host: str) -> DeskAnswer:
        if frame.type is not FrameType.DESK_REQUEST:
            return self._refusal(host, "This is a certificate authority's desk, and the frame is not for a desk.")
        try:
            return self.answer(decode_request(frame.body), host)
        except (MalformedContent, RequestError, NoticeError) as error:
            return self._refusal(host, str(error))
        except (CaError, KeyringError, OSError) as error:
            self._log("failed", {"host": host, "why": str(error)})
            return DeskRefusal(True, "The desk cannot answer now; try again later, or tell the authority.")

    def answer(self, question: DeskRequest, host: str) -> DeskAnswer:
        """The answer to one question from ``host``. Raises RequestError, NoticeError for what is not taken."""
        match question:
            case SubmitRequest():
                return self._take_request(question.request, host)
            case SubmitNotice():
                return self._take_notice(question.notice, host)
            case AskCertificate():
                return self._certificate(question.fingerprint)
            case AskBank():
                certified = self._store.bank()
                if certified is None:
                    return DeskRefusal(True, "No bank is certified here yet; the bank makes its request first.")
                return PublicKey(certified[0])
            case AskAuthority():
                return PublicKey(self._store.authority())

    def _take_request(self, message: bytes, host: str) -> DeskAnswer:
        self._require_size(message, RequestError)
        known = self._known(claimed_request(message))
        if known is not None:
            return known
        if (full := self._full(host)) is not None:
            return full
        if not self._verifications.acquire(timeout=VERIFICATION_WAIT_SECONDS):
            return DeskRefusal(True, "The desk is busy with other requests; try again in a minute.")
        try:
            request = open_request(message)
        finally:
            self._verifications.release()
        content, now = request.content, int(self._clock())
        filed = Filed(
            digest=request.digest,
            fingerprint=content.fingerprint,
            number=content.number,
            role=content.role,
            name=content.name,
            message=message,
            received=now,
            state=State.WAITING,
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
        return RequestState(request.identifier, State.WAITING)

    def _known(self, request: Request) -> DeskAnswer | None:
        """The state of this request, or of an open one for the same key, number, role and name: no second is kept."""
        asked = request.content
        for filed in self._store.requests_of(asked.fingerprint):
            same = (filed.number, filed.role, filed.name) == (asked.number, asked.role, asked.name)
            if filed.digest == request.digest or (same and filed.state in (State.WAITING, State.CONFIRMED)):
                return _state(filed)
        certified = self._store.certificate(asked.fingerprint)
        if certified is not None and certified[1] > self._clock():
            return RequestState(request.identifier, State.ISSUED)
        return None

    def _full(self, host: str) -> DeskRefusal | None:
        if self._store.open_requests(host) >= self._limits.open_requests_per_address:
            return self._refusal(
                host, "Too many requests from this address wait for their calls; finish those first.", again=True
            )
        if self._store.open_requests() >= self._limits.open_requests:
            return self._refusal(host, "Too many requests wait at the desk; try again tomorrow.", again=True)
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
                    return self._refusal(
                        host, "The desk keeps no more notices for this customer; mail it to the authority as a file."
                    )
                self._store.file_notice(digest, notice.customer, message)
        self._log("notice", {"host": host, "customer": notice.customer})
        return NoticeTaken()

    def _certificate(self, fingerprint: str) -> DeskAnswer:
        """The certified key; but where it has expired and a newer request is open, the state of that."""
        certified = self._store.certificate(fingerprint)
        if certified is not None and certified[1] > self._clock():
            return PublicKey(certified[0])
        filed = [each for each in self._store.requests_of(fingerprint) if each.state is not State.ISSUED]
        if filed:
            return _state(filed[-1])
        return RequestState("", State.UNKNOWN if certified is None else State.EXPIRED)

    def _require_size(self, message: bytes, error: type[CaError]) -> None:
        if len(message) > self._limits.document_bytes:
            raise error(f"The document has {len(message)} bytes; at most {self._limits.document_bytes} are taken.")

    def _refusal(self, host: str, sentence: str, *, again: bool = False) -> DeskRefusal:
        self._log("refused", {"host": host, "why": sentence})
        return DeskRefusal(again, sentence)


def _state(filed: Filed) -> RequestState:
    return RequestState(filed.digest[:IDENTIFIER_DIGITS], filed.state)


def _frame(answer: DeskAnswer) -> Frame:
    return Frame(FrameType.DESK_ANSWER, encode(answer))
