"""The server gives each connection a thread until a session is open, each wait a deadline, each refusal its words."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from bank.config import Limits
from bank.customers import Customers
from bank.errors import BankError, CutShort
from bank.identities import OpeningRefused
from bank.journal import note
from bank.loop import Loop
from bank.opening import Opener, Session
from bank.password_stage import PasswordStage
from bank.service import OutcomeUnknown, Service, Speaker
from bank.sessions import Sessions
from keyring.errors import KeyringError
from protocol import messages
from protocol.codes import Reason
from protocol.errors import ConnectionLost, MalformedContent, RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.link import Link
from protocol.messages import Answer, AskBankKey, Closed, RegisterKey
from protocol.orders import format_time
from protocol.stages import Stage
from protocol.transport import Address, Connection, Listener, ListenerLimits, Share, Socket


@dataclass
class Server:
    """Serves customers over TCP until :meth:`stop`."""

    limits: Limits
    opener: Opener
    password_stage: PasswordStage
    service: Service
    customers: Customers
    loop: Loop
    clock: Callable[[], float] = time.time

    def listen(self, place: Address | Socket, share: Share | None = None) -> Address:
        """Begin to serve, there or at a socket that listens; gives the address with the port that was really taken."""
        limits = ListenerLimits(self.limits.connections, self.limits.connections_per_address)
        self._listener = Listener(place, self._handle, lambda: self._refused(Reason.BUSY), limits, share)
        self._listener.start()
        return self._listener.address

    @property
    def connections(self) -> int:
        """Connections open now."""
        return self._listener.connections

    def stop(self) -> bool:
        """Take no new work, answer what was taken; True if all of it was answered in time."""
        whole = self._listener.stop(self.limits.stop_grace_seconds)
        self.loop.stop()
        return whole

    def _handle(self, connection: Connection) -> bool:
        """Serve a connection in its thread; True if a session was opened, which goes on without one."""
        try:
            frame = connection.receive(
                idle_seconds=self.limits.handshake_seconds, frame_seconds=self.limits.handshake_seconds
            )
            if frame is None:
                return False
            match frame.type:
                case FrameType.OPEN:
                    return self._open(connection, frame)
                case FrameType.PASSWORD:
                    self._passwords(connection, frame)
                    return False
                case _:
                    raise RemoteProtocolError("A connection begins with an open or a password frame.")
        except Exception as error:  # noqa: BLE001 - a fault of ours may cost one connection, never the bank
            last_word = self._ended(connection.peer, error)
            if last_word is not None:
                self._say(connection, last_word)
            return False

    def _open(self, connection: Connection, frame: Frame) -> bool:
        if self._listener.is_stopping():
            raise OpeningRefused(Reason.STOPPING)
        session, frames = self.opener.open(frame, connection.network)
        connection.send(*frames, timeout_seconds=self.limits.send_seconds)
        connection.raise_frame_limit(self.limits.frame_bytes)
        # Also one that is cut short before it has begun must not leave its connection open.
        self.loop.begin(self._serve(connection, session), connection.close)
        return True

    async def _serve(self, connection: Connection, session: Session) -> None:
        """An open session, from now on in the loop."""
        sessions = Sessions(
            self.limits,
            self.service,
            self.customers,
            self.opener.certificates,
            self.clock,
            self._listener.is_stopping,
        )
        link = None
        try:
            link = Link(connection, self.loop.asyncio)
            await sessions.serve(link, session)
        except Exception as error:  # noqa: BLE001 - likewise
            last_word = self._ended(connection.peer, error)
            if last_word is not None and link is not None:
                with suppress(ConnectionLost):
                    await link.send(last_word, timeout_seconds=self.limits.send_seconds)
        finally:
            (link or connection).close()

    def _ended(self, peer: str, error: Exception) -> Frame | None:
        """Notes why a connection ends, while the error is being handled; what its client is told, if anything."""
        match error:
            case ConnectionLost() | RemoteProtocolError():
                note("connection-ended", peer=peer, why=error)
            case MalformedContent():
                note("malformed", peer=peer, field=error.field, why=error)
                return self._refused(Reason.MALFORMED, str(error), error.field or None)
            case OpeningRefused():
                code = error.reason.value
                note("refused", peer=peer, reason=code, rule=error.rule, field=error.field, why=error)
                return self._refused(error.reason, error.sentence, error.field, error.rule)
            case OutcomeUnknown() | CutShort():
                note("outcome-unknown", level=40, peer=peer, why=error)
            case BankError() | KeyringError():
                note("failed", level=40, trace=True, peer=peer)
            case _:
                note("fault", level=50, trace=True, peer=peer)
        return None

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

    def _say(self, connection: Connection, frame: Frame) -> None:
        try:
            connection.send(frame, timeout_seconds=self.limits.send_seconds)
        except ConnectionLost as error:
            note("connection-ended", peer=connection.peer, why=error)
