"""The server gives each connection a thread, each wait a deadline, and each customer the answers of their own stage."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from bank.config import Limits
from bank.customers import Customers
from bank.errors import BankError
from bank.identities import OpeningRefused
from bank.journal import note
from bank.opening import Opener, Session
from bank.password_stage import PasswordStage
from bank.service import OutcomeUnknown, Service, Speaker
from keyring.errors import KeyringError
from protocol import messages
from protocol.codes import Reason
from protocol.errors import ConnectionLost, MalformedContent, RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.messages import Answer, AskBankKey, Closed, RegisterKey
from protocol.orders import format_time
from protocol.stages import Stage
from protocol.transport import Address, Connection, Listener, ListenerLimits, Socket

GROUP_BYTES = 1024 * 1024
"""Requests of one session are gathered into a group up to this size before the group is answered."""

PIECE_BYTES = 256 * 1024
"""Answers are sent when they have this size together: a reader that never reads costs this and one answer more."""


@dataclass
class Server:
    """Serves customers over TCP until :meth:`stop`."""

    limits: Limits
    opener: Opener
    password_stage: PasswordStage
    service: Service
    customers: Customers
    clock: Callable[[], float] = time.time

    def listen(self, place: Address | Socket) -> Address:
        """Begin to serve, there or at a socket that listens; gives the address with the port that was really taken."""
        limits = ListenerLimits(self.limits.connections, self.limits.connections_per_address)
        self._listener = Listener(place, self._handle, lambda: self._refused(Reason.BUSY), limits)
        self._listener.start()
        return self._listener.address

    @property
    def connections(self) -> int:
        """Connections open now."""
        return self._listener.connections

    def stop(self) -> bool:
        """Take no new work, answer what was taken; True if all of it was answered in time."""
        return self._listener.stop(self.limits.stop_grace_seconds)

    def _handle(self, connection: Connection) -> None:
        try:
            frame = connection.receive(
                idle_seconds=self.limits.handshake_seconds, frame_seconds=self.limits.handshake_seconds
            )
            if frame is None:
                return
            match frame.type:
                case FrameType.OPEN:
                    self._session(connection, frame)
                case FrameType.PASSWORD:
                    self._passwords(connection, frame)
                case _:
                    raise RemoteProtocolError("A connection begins with an open or a password frame.")
        except (ConnectionLost, RemoteProtocolError) as error:
            note("connection-ended", peer=connection.peer, why=error)
        except MalformedContent as error:
            note("malformed", peer=connection.peer, field=error.field, why=error)
            self._last_word(connection, self._refused(Reason.MALFORMED, str(error), error.field or None))
        except OpeningRefused as error:
            code = error.reason.value
            note("refused", peer=connection.peer, reason=code, rule=error.rule, field=error.field, why=error)
            self._last_word(connection, self._refused(error.reason, error.sentence, error.field, error.rule))
        except OutcomeUnknown as error:
            note("outcome-unknown", level=40, peer=connection.peer, why=error)
        except (BankError, KeyringError):
            note("failed", level=40, trace=True, peer=connection.peer)
        except Exception:  # noqa: BLE001 - a fault of ours may cost one connection, never the bank; it is logged loudly
            note("fault", level=50, trace=True, peer=connection.peer)

    # Sessions

    def _session(self, connection: Connection, frame: Frame) -> None:
        if self._listener.is_stopping():
            raise OpeningRefused(Reason.STOPPING)
        session, frames = self.opener.open(frame, connection.network)
        connection.send(*frames, timeout_seconds=self.limits.send_seconds)
        connection.raise_frame_limit(self.limits.frame_bytes)
        certificate = session.presented.judged if session.presented else None
        speaker = Speaker(session.identity.customer, session.stage, session.identity, certificate)
        note("session-opened", level=10, peer=connection.peer, customer=speaker.customer, stage=speaker.stage.value)
        idle_seconds, first = self.limits.handshake_seconds, True
        while True:
            requests = self._group(connection, session, idle_seconds)
            if not requests:
                break
            if first:
                # Only now is it known that the client holds the session key: a replayed opening ends before this.
                if not self._use_stage(connection, session):
                    return
                idle_seconds, first = self.limits.idle_seconds, False
            if self._answer(connection, session, speaker, requests):
                return
            if self._listener.is_stopping():
                # A client that goes on sending would go on being served, and be cut off when the grace is over.
                break
        if self._listener.is_stopping():
            self._send(connection, session, [self.service.refuse(Reason.STOPPING, 0)])

    def _use_stage(self, connection: Connection, session: Session) -> bool:
        """The floor rises, and key and certificate are kept as they are now: for later evidence, as at posting.

        False if the session ends here, because meanwhile another key was used under the number.
        """
        identity = session.identity
        if session.presented and (certificates := self.opener.certificates()):
            try:
                certificates.remember(session.presented, identity.key, int(self.clock()))
            except OpeningRefused as error:
                refusal = self.service.refuse(error.reason, 0, error.sentence, error.field, error.rule)
                self._send(connection, session, [refusal])
                return False
        self.customers.remember_key(
            identity.key_digest,
            identity.customer,
            identity.fingerprint,
            identity.key,
            certified=identity.certification is not None,
            expires=identity.certification.expires if identity.certification else None,
        )
        if session.stage.rank > session.floor.rank:
            self.customers.raise_floor(session.identity.customer, session.stage)
        return True

    def _group(self, connection: Connection, session: Session, idle_seconds: float) -> list[bytes]:
        """The next request and those that are here already behind it; empty at the end of input."""
        requests: list[bytes] = []
        size = 0
        while not requests or (
            len(requests) < self.limits.requests_in_flight and size < GROUP_BYTES and connection.has_input()
        ):
            frame = connection.receive(idle_seconds=idle_seconds, frame_seconds=self.limits.frame_seconds)
            if frame is None:
                break
            requests.append(session.channel.open(frame))
            size += len(frame.body)
        return requests

    def _answer(self, connection: Connection, session: Session, speaker: Speaker, requests: list[bytes]) -> bool:
        """Answer a group of requests in pieces of bounded size; True if the last of them ended the session."""
        answers: list[Answer] = []
        frames: list[Frame] = []
        try:
            for answers in self.service.parts(speaker, requests):
                frames += [session.channel.seal(messages.encode(answer)) for answer in answers]
                if sum(len(frame.body) for frame in frames) >= PIECE_BYTES:
                    connection.send(*frames, timeout_seconds=self.limits.send_seconds)
                    frames = []
            connection.send(*frames, timeout_seconds=self.limits.send_seconds)
            return isinstance(answers[-1], Closed)
        except MalformedContent as error:
            # Inside a session the answer is authenticated; then the connection ends.
            refusal = self.service.refuse(Reason.MALFORMED, 0, str(error), error.field or None)
            self._send(connection, session, [refusal])
            raise RemoteProtocolError(f"A request is malformed: {error}") from None

    def _send(self, connection: Connection, session: Session, answers: list[Answer]) -> None:
        frames = [session.channel.seal(messages.encode(answer)) for answer in answers]
        connection.send(*frames, timeout_seconds=self.limits.send_seconds)

    # The password stage

    def _passwords(self, connection: Connection, frame: Frame | None) -> None:
        if self.service.minimum_stage.is_certified:
            raise OpeningRefused(Reason.STAGE_TOO_LOW, "This bank accepts the stage certified only.", "stage")
        while frame is not None:
            if self._listener.is_stopping():
                raise OpeningRefused(Reason.STOPPING)
            if frame.type is not FrameType.PASSWORD:
                raise RemoteProtocolError("A connection of the stage password carries password frames only.")
            asked = self.password_stage.open(frame, connection.network)
            connection.raise_frame_limit(self.limits.frame_bytes)  # whoever knows the password may send a bulk order
            refusal = self._password_refusal(asked.customer.floor, asked.request)
            speaker = Speaker(asked.customer.number, Stage.PASSWORD, None)
            answer = refusal or self.service.answer(speaker, [asked.request])[0]
            connection.send(self.password_stage.seal(asked, answer), timeout_seconds=self.limits.send_seconds)
            if isinstance(answer, Closed):
                return
            frame = connection.receive(idle_seconds=self.limits.idle_seconds, frame_seconds=self.limits.frame_seconds)

    def _password_refusal(self, floor: Stage, data: bytes) -> Answer | None:
        """Past the stage, the password still serves to register (the same key again) and to ask for the bank's key."""
        request = messages.decode_request(data)
        if isinstance(request, RegisterKey | AskBankKey):
            return None
        lowest = max(floor, self.service.minimum_stage, key=lambda stage: stage.rank)
        if lowest is Stage.PASSWORD:
            return None
        return self.service.refuse(
            Reason.STAGE_TOO_LOW,
            request.number,
            f"From this customer the bank accepts {lowest.value} and above.",
            "stage",
        )

    # Refusals outside a session: not authenticated, and the client treats them so

    def _refused(
        self, reason: Reason, sentence: str | None = None, field: str | None = None, rule: str | None = None
    ) -> Frame:
        refusal = messages.refuse(reason, time=format_time(self.clock()), sentence=sentence, field=field, rule=rule)
        return Frame(FrameType.REFUSED, messages.encode(refusal))

    def _last_word(self, connection: Connection, frame: Frame) -> None:
        try:
            connection.send(frame, timeout_seconds=self.limits.send_seconds)
        except ConnectionLost as error:
            note("connection-ended", peer=connection.peer, why=error)
