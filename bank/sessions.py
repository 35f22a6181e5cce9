"""An open session is answered in the loop: its requests in their order, in groups, each wait under a deadline."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from bank.certificates import Certificates
from bank.config import Limits
from bank.customers import Customers
from bank.identities import OpeningRefused
from bank.journal import note
from bank.opening import Session
from bank.service import Service, Speaker
from protocol import messages
from protocol.codes import Reason
from protocol.errors import MalformedContent, RemoteProtocolError
from protocol.frames import Frame
from protocol.link import Link
from protocol.messages import Answer, Closed

GROUP_BYTES = 1024 * 1024
"""Requests of one session are gathered into a group up to this size before the group is answered."""

PIECE_BYTES = 256 * 1024
"""Answers are sent when they have this size together: a reader that never reads costs this and one answer more."""


@dataclass(frozen=True)
class Sessions:
    """Serves open sessions. ``is_stopping`` tells when to end them."""

    limits: Limits
    service: Service
    customers: Customers
    certificates: Callable[[], Certificates | None]
    clock: Callable[[], float]
    is_stopping: Callable[[], bool]

    async def serve(self, link: Link, session: Session) -> None:
        """Until the client ends it, or the bank stops; errors are the caller's to tell."""
        certificate = session.presented.judged if session.presented else None
        speaker = Speaker(session.identity.customer, session.stage, session.identity, certificate)
        note("session-opened", level=10, peer=link.peer, customer=speaker.customer, stage=speaker.stage.value)
        try:
            await self._converse(link, session, speaker)
        finally:
            note("session-ended", level=10, peer=link.peer, customer=speaker.customer)

    async def _converse(self, link: Link, session: Session, speaker: Speaker) -> None:
        idle_seconds, first = self.limits.handshake_seconds, True
        while True:
            requests = await self._group(link, session, idle_seconds)
            if not requests:
                break
            if first:
                # Only now is it known that the client holds the session key: a replayed opening ends before this.
                refusal = await self.service.loop.apart(self._use_stage, session)
                if refusal is not None:
                    await self._send(link, session, [refusal])
                    return
                idle_seconds, first = self.limits.idle_seconds, False
            if await self._answer(link, session, speaker, requests):
                return
            if self.is_stopping():
                # A client that goes on sending would go on being served, and be cut off when the grace is over.
                break
        if self.is_stopping():
            await self._send(link, session, [self.service.refuse(Reason.STOPPING, 0)])

    def _use_stage(self, session: Session) -> Answer | None:
        """The floor rises, and key and certificate are kept as they are now: for later evidence, as at posting.

        A refusal if the session ends here, because meanwhile another key was used under the number.
        """
        identity = session.identity
        if session.presented and (certificates := self.certificates()):
            try:
                certificates.remember(session.presented, identity.key, int(self.clock()))
            except OpeningRefused as error:
                return self.service.refuse(error.reason, 0, error.sentence, error.field, error.rule)
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
        # So that no order's look-up keeps the loop waiting for the ledger.
        self.service.posting.require_recorded(
            identity.key_digest, session.presented.judged.digest if session.presented else None
        )
        return None

    async def _group(self, link: Link, session: Session, idle_seconds: float) -> list[bytes]:
        """The next request and those that are here already behind it; empty at the end of input."""
        requests: list[bytes] = []
        size = 0
        while not requests or (
            len(requests) < self.limits.requests_in_flight and size < GROUP_BYTES and link.has_input()
        ):
            frame = await link.receive(idle_seconds=idle_seconds, frame_seconds=self.limits.frame_seconds)
            if frame is None:
                break
            requests.append(session.channel.open(frame))
            size += len(frame.body)
        return requests

    async def _answer(self, link: Link, session: Session, speaker: Speaker, requests: list[bytes]) -> bool:
        """Answer a group of requests in pieces of bounded size; True if the last of them ended the session."""
        answers: list[Answer] = []
        frames: list[Frame] = []
        try:
            async with aclosing(self.service.parts(speaker, requests)) as parts:
                async for answers in parts:
                    frames += [session.channel.seal(messages.encode(answer)) for answer in answers]
                    if sum(len(frame.body) for frame in frames) >= PIECE_BYTES:
                        await link.send(*frames, timeout_seconds=self.limits.send_seconds)
                        frames = []
            await link.send(*frames, timeout_seconds=self.limits.send_seconds)
            return isinstance(answers[-1], Closed)
        except MalformedContent as error:
            # Inside a session the answer is authenticated; then the connection ends.
            refusal = self.service.refuse(Reason.MALFORMED, 0, str(error), error.field or None)
            await self._send(link, session, [refusal])
            raise RemoteProtocolError(f"A request is malformed: {error}") from None

    async def _send(self, link: Link, session: Session, answers: list[Answer]) -> None:
        frames = [session.channel.seal(messages.encode(answer)) for answer in answers]
        await link.send(*frames, timeout_seconds=self.limits.send_seconds)
