"""In the stage password each message stands alone under the agreed password, with both names, a time and a nonce."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from customer.errors import NotProven
from customer.session import Line, refusal_of, send_expecting_refusal
from customer.wire import Event
from keyring import messages as openpgp
from keyring.home import Home
from keyring.opened import Opened
from protocol import canonical, messages
from protocol.errors import RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.limits import FRAME_BYTES_IN_SESSION
from protocol.messages import Answer, PasswordAnswer, PasswordFrame, PasswordRequest, Request
from protocol.orders import format_time
from protocol.secret import Secret
from protocol.stages import Stage
from protocol.transport import Connection

NONCE_BYTES: Final = 32


@dataclass(frozen=True)
class Acquaintance:
    """Who shares the password with whom; ``keyless`` is a GnuPG home without any secret key."""

    customer: str
    bank: str
    password: Secret
    keyless: Home


class PasswordConversation:
    """Requests one after another over one connection, each sealed under the agreed password."""

    stage = Stage.PASSWORD

    def __init__(
        self,
        connection: Connection,
        acquaintance: Acquaintance,
        line: Line,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._connection = connection
        self._acquaintance = acquaintance
        self._line = line
        self._clock = clock
        self._random = random
        self._asked = 0

    @classmethod
    def open(
        cls,
        acquaintance: Acquaintance,
        line: Line,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> "PasswordConversation":
        """Connect; nothing is sent yet, and whether the password fits shows with the first answer."""
        connection = line.connect()
        connection.raise_frame_limit(FRAME_BYTES_IN_SESSION)  # a page of a statement is longer than a request may be
        return cls(connection, acquaintance, line, clock, random)

    def ask(self, *requests: Request) -> tuple[Answer, ...]:
        """Ask one after another. A frame REFUSED comes in clear and proves nothing: RefusedByBank, unproven."""
        try:
            return tuple(self._ask(request) for request in requests)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _ask(self, request: Request) -> Answer:
        self._asked += 1
        nonce = self._random(NONCE_BYTES)
        numbered = msgspec.structs.replace(request, number=self._asked)
        frame = self._sealed(numbered, nonce)
        reply = send_expecting_refusal(self._connection, frame, self._line)
        if reply.type is FrameType.REFUSED:
            raise refusal_of(reply)
        if reply.type is not FrameType.PASSWORD:
            raise RemoteProtocolError(f"The bank answered with a {reply.type.name.lower()} frame.")
        answer = messages.decode_answer(self._opened(reply, nonce))
        if answer.number != self._asked:
            raise RemoteProtocolError(f"The bank answered request {answer.number} in place of {self._asked}.")
        return answer

    def _sealed(self, request: Request, nonce: bytes) -> Frame:
        we, watch = self._acquaintance, self._line.watch
        inner = PasswordRequest(
            bank=we.bank,
            customer=we.customer,
            nonce=nonce,
            request=messages.encode(request),
            time=format_time(self._clock()),
        )
        watch(Event("The request that is sealed under the password", content=messages.encode(request)))
        sealed = openpgp.seal_with_password(we.keyless, we.password, canonical.encode(inner))
        watch(Event("The sealed request", message=sealed))
        return Frame(FrameType.PASSWORD, canonical.encode(PasswordFrame(customer=we.customer, sealed=sealed)))

    def _opened(self, reply: Frame, nonce: bytes) -> bytes:
        we, watch = self._acquaintance, self._line.watch
        # Read as what is signed is read, in its one form, so that no altered bit of it is passed over.
        envelope = canonical.decode_signed(PasswordFrame, reply.body)
        if envelope.customer != we.customer:
            raise NotProven("The answer's envelope names another customer; nothing of it was used.")
        sealed = envelope.sealed
        watch(Event("The sealed answer", message=sealed))
        opened = openpgp.open_with_password(we.keyless, we.password, sealed)
        if not isinstance(opened, Opened):
            raise NotProven(f"The answer does not open with the agreed password: {opened.sentence}")
        inner = canonical.decode_signed(PasswordAnswer, opened.content)
        if (inner.bank, inner.customer, inner.nonce) != (we.bank, we.customer, nonce):
            raise NotProven("The answer under the password belongs to another request; nothing of it was used.")
        watch(Event("The answer inside", content=inner.answer))
        return inner.answer
