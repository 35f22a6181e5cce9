"""A session is opened only by a customer whose key signed the opening, at a stage that bank and customer allow."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from bank.certificates import Certificates, Presented
from bank.customers import Customer, Customers
from bank.identities import Identities, Identity, OpeningRefused, Read, relied_on, signature_refused
from bank.journal import note
from bank.turns import Turns
from keyring.errors import EngineError
from keyring.verdict import Rejected, Sealed
from keyring.worker import Worker
from protocol import canonical, messages
from protocol.codes import Reason
from protocol.frames import Frame, FrameType
from protocol.limits import CLOCK_TOLERANCE_SECONDS
from protocol.messages import Open, Opened, SealedOpening, SessionOpening, SessionProof
from protocol.orders import format_time, parse_time
from protocol.records import Channel, Share, transcript
from protocol.secret import Secret
from protocol.stages import Stage


@dataclass(frozen=True)
class Session:
    """An opened session; it counts once the client's first valid record has come."""

    identity: Identity
    stage: Stage
    channel: Channel
    floor: Stage
    """The customer's floor when the session was opened."""
    presented: Presented | None = None
    """The X.509 certificate, in the stage certified."""


@dataclass(frozen=True)
class Opener:
    """Judges openings. ``sealed_worker`` opens what is encrypted to the bank's key.

    While ``certificates`` gives none (the bank has none itself yet) the stage certified is refused.
    """

    bank: str
    minimum_stage: Stage
    customers: Customers
    identities: Identities
    certificates: Callable[[], Certificates | None]
    sealed_worker: Worker
    turns: Turns
    clock: Callable[[], float] = time.time
    random: Callable[[int], bytes] = os.urandom

    def open(self, frame: Frame, network: str) -> tuple[Session, tuple[Frame, Frame]]:
        """The session and the two frames that answer; OpeningRefused or MalformedContent if there is none.

        ``network``: where the frame came from, for its turn among others.
        """
        with self.turns.turn(network):
            try:
                return self._open(frame)
            except EngineError as error:
                note("opening-failed", level=40, why=error)
                raise OpeningRefused(Reason.BUSY) from None

    def _open(self, frame: Frame) -> tuple[Session, tuple[Frame, Frame]]:
        request = canonical.decode(Open, frame.body)
        if not request.stage.has_session:
            raise OpeningRefused(Reason.MALFORMED, "The stage password has no session to open.", "stage")
        if request.stage.rank < self.minimum_stage.rank:
            raise OpeningRefused(
                Reason.STAGE_TOO_LOW, f"This bank accepts the stage {self.minimum_stage.value} and above.", "stage"
            )
        offer = self._unseal(request.sealed)
        known = self.customers.get(offer.customer)
        # A number that is nobody's is judged like that of a customer without a registered key, so that strangers do
        # not learn from the default stage who has an account.
        customer = known or Customer(offer.customer, "", Stage.PASSWORD, b"")
        self._require_offer(offer, request.stage)
        if request.stage.is_certified and (certificates := self.certificates()):  # before a key is judged by it
            certificates.own.require_unrevoked()
        opened: list[tuple[SessionOpening, Presented | None]] = []

        def accept(identity: Identity, read: Read) -> None:
            said = self._signed(identity, read, offer, request.stage)
            identity.require_current(self.clock())
            opened.append((said, self._presented(identity, offer)))
            if known is None:
                raise OpeningRefused(
                    Reason.KEY_NOT_ACTIVATED, "This bank has no account with this customer number.", "customer"
                )

        identity = self.identities.present(request.stage, customer, offer.key, accept)
        self._require_floor(customer, request.stage)
        said, presented = opened[-1]
        return self._answer(frame, said, identity, request.stage, customer, presented)

    def _unseal(self, sealed: bytes) -> SealedOpening:
        found = relied_on(lambda: self.sealed_worker.open(sealed, Sealed()))
        if isinstance(found, Rejected):
            if found.rule == "engine":
                raise OpeningRefused(Reason.BUSY)
            raise OpeningRefused(
                Reason.MALFORMED,
                f"The opening is not sealed to this bank's key: {found.sentence}",
                "sealed",
                found.rule,
            )
        return canonical.decode(SealedOpening, found.content)

    def _require_offer(self, offer: SealedOpening, stage: Stage) -> None:
        """In the stage certified both forms of the certificate are offered, else neither."""
        for field in ("key", "certificate"):
            given = getattr(offer, field) is not None
            if stage.is_certified and not given:
                raise OpeningRefused(Reason.CERTIFICATE_MISSING, field=field)
            if given and not stage.is_certified:
                raise OpeningRefused(Reason.MALFORMED, f"A {field} is offered in the stage certified only.", field)

    def _presented(self, identity: Identity, offer: SealedOpening) -> Presented | None:
        """The X.509 form, judged after GnuPG has judged the OpenPGP form, of which it must be the same."""
        if offer.certificate is None or (certificates := self.certificates()) is None:
            return None
        return certificates.present(offer.certificate, identity, int(self.clock()))

    def _signed(self, identity: Identity, read: Read, offer: SealedOpening, stage: Stage) -> SessionOpening:
        """What the customer signed, if it is about this very opening."""
        found = read(offer.signed)
        if isinstance(found, Rejected):
            raise signature_refused("opening", found, "signed")
        said = canonical.decode_signed(SessionOpening, found.content)
        offered = identity.key_digest if offer.key is not None else None
        for field, expected in (
            ("bank", self.bank),
            ("customer", offer.customer),
            ("stage", stage),
            ("offered", offered),
            ("certificate", canonical.digest(offer.certificate) if offer.certificate is not None else None),
        ):
            if getattr(said, field) != expected:
                raise OpeningRefused(
                    Reason.SIGNATURE, f"The signed opening names another {field} than this one has.", field
                )
        difference = self.clock() - parse_time(said.time, "time").timestamp()
        if abs(difference) > CLOCK_TOLERANCE_SECONDS:
            raise OpeningRefused(
                Reason.CLOCK,
                f"The opening was signed at {said.time}; at the bank it is {format_time(self.clock())}.",
                "time",
            )
        return said

    def _require_floor(self, customer: Customer, stage: Stage) -> None:
        if stage.rank < customer.floor.rank:
            raise OpeningRefused(
                Reason.STAGE_TOO_LOW,
                f"This customer has used the stage {customer.floor.value}; lower ones are no longer accepted.",
                "stage",
            )

    def _answer(
        self,
        frame: Frame,
        said: SessionOpening,
        identity: Identity,
        stage: Stage,
        customer: Customer,
        presented: Presented | None,
    ) -> tuple[Session, tuple[Frame, Frame]]:
        share = Share(self.random)
        name = self.random(32)
        answer = Opened(session=name, share=share.public, time=format_time(self.clock()))
        opened = Frame(FrameType.OPENED, messages.encode(answer))
        channel = Channel.of_bank(Secret(said.session_key), share.agree(said.share), transcript(frame, opened))
        proof = channel.seal(messages.encode(SessionProof(session=name)))
        return Session(identity, stage, channel, customer.floor, presented), (opened, proof)
