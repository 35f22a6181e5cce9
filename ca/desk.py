"""The desk stands at a TCP port and passes on what it is asked; it decides nothing and needs no private key."""

from collections.abc import Callable
from typing import Final

from ca.config import Limits
from ca.counter import Counter, Log
from ca.errors import CaError, NoticeError, RequestError
from ca.messages import DeskAnswer, DeskRefusal, decode_request, encode
from ca.rate import Rate
from ca.store import DeskStore
from keyring.errors import KeyringError
from protocol.errors import ConnectionLost, MalformedContent, ProtocolError
from protocol.frames import Frame, FrameType
from protocol.limits import FRAME_BYTES_IN_SESSION
from protocol.transport import Address, Connection, Listener, ListenerLimits

GRACE_SECONDS: Final = 5.0


class DeskServer:
    """The desk at a TCP port, a thread a connection; ``clock`` gives Unix seconds."""

    def __init__(
        self, store: DeskStore, address: Address, limits: Limits, *, clock: Callable[[], float], log: Log
    ) -> None:
        self._counter = Counter(store, limits, clock=clock, log=log)
        self._limits = limits
        self._told = Rate(1, clock)
        self._log = log
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
        network = connection.network
        connection.raise_frame_limit(FRAME_BYTES_IN_SESSION)
        try:
            for _ in range(self._limits.questions_per_connection):
                frame = connection.receive(
                    idle_seconds=self._limits.idle_seconds, frame_seconds=self._limits.frame_seconds
                )
                if frame is None:
                    return
                answer = self._answer(frame, network)
                connection.send(_frame(answer), timeout_seconds=self._limits.frame_seconds)
        except ConnectionLost:
            return
        except ProtocolError as error:
            self._log("broken", {"host": network, "why": str(error)})

    def _answer(self, frame: Frame, network: str) -> DeskAnswer:
        busy = self._counter.too_often(network)
        if busy is not None:
            if not self._told.take(network):  # or a flood would fill the disk
                self._log("too-often", {"host": network})
            return busy
        if frame.type is not FrameType.DESK_REQUEST:
            answer: DeskAnswer = DeskRefusal(False, "This is an authority's desk, and the frame is not for a desk.")
        else:
            answer = self._counted(frame.body, network)
        if isinstance(answer, DeskRefusal):
            self._log("refused", {"host": network, "why": answer.sentence})
        return answer

    def _counted(self, body: bytes, network: str) -> DeskAnswer:
        try:
            return self._counter.answer(decode_request(body), network)
        except (MalformedContent, RequestError, NoticeError) as error:
            return DeskRefusal(False, str(error))
        except (CaError, KeyringError, OSError) as error:
            self._log("failed", {"host": network, "why": str(error)})
            return DeskRefusal(True, "The desk cannot answer now; try again later, or tell the authority.")


def _frame(answer: DeskAnswer) -> Frame:
    return Frame(FrameType.DESK_ANSWER, encode(answer))
