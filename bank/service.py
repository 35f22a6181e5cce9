"""Requests are answered alike in every stage; the stage has already decided who speaks and what an order carries.

Orders are answered in the loop, everything else apart: it reads the ledger, and may have to wait for that.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import groupby

from bank import accounts
from bank.admission import Admission
from bank.certificates import Certificates
from bank.customers import Customers
from bank.dossier import Dossier
from bank.errors import BankError, Busy, Outdated, RecordError, Stopping, Unwritable
from bank.evidence import EvidenceRefused
from bank.identities import Identity, OpeningRefused, signature_refused
from bank.journal import note
from bank.loop import Loop
from bank.posting import Outcome, Posting, Refused, Submission
from bank.refusals import RefusalLimiter
from bank.registration import examine
from bank.storage import Ledger
from bank.verifier import Verifier
from ca.bridge import JudgedCertificate
from keyring.errors import KeyringError
from keyring.verdict import Rejected
from protocol import messages
from protocol.codes import Reason
from protocol.errors import MalformedContent
from protocol.messages import (
    Answer,
    AskBalance,
    AskBankKey,
    AskBeginnings,
    AskEvidence,
    AskHead,
    AskStatement,
    Balance,
    BankKey,
    Beginnings,
    Close,
    Closed,
    Evidence,
    Head,
    LookUpOrder,
    NumberedReceipt,
    Registered,
    RegisterKey,
    Request,
    Statement,
    SubmitOrder,
    Unknown,
)
from protocol.money import format_amount
from protocol.orders import decode_order, format_time
from protocol.stages import Stage

ORDER_VERSION = 2
"""The version in which new orders are taken; those of version 1 that were decided stay what they are."""

DECISION_SECONDS = 60.0
"""Longest wait for the posting of an order; past it the client is told to ask again."""

UNWRITABLE = "The bank cannot record anything at present; nothing was recorded."
"""Said of orders while the ledger has no room; why is the operator's to know."""


class OutcomeUnknown(BankError):
    """Whether an order was recorded cannot be said now; the connection ends silently, and the client asks again."""


@dataclass(frozen=True)
class Speaker:
    """Whose requests these are: the customer, the stage, and the key by which GnuPG knew them (None: password).

    ``certificate``: the X.509 one, in the stage certified.
    """

    customer: str
    stage: Stage
    identity: Identity | None
    certificate: JudgedCertificate | None = None


@dataclass(frozen=True)
class Standing:
    """Digest of the speaker's certificate, number of the list by which it is good, and until when (unix seconds).

    All are None in the stages that are not certified.
    """

    certificate: str | None = None
    revocation_number: int | None = None
    good_until: int | None = None


_EXPECTED = (OpeningRefused, MalformedContent, BankError, KeyringError)
"""What may go wrong with a request; anything else is a fault of ours and ends the connection."""

_Queued = tuple[SubmitOrder, Submission, "Future[Outcome]"]
"""An order that waits for the posting."""


@dataclass(frozen=True)
class Service:
    """Answers requests of speakers that the stages have let in.

    While ``certificates`` gives none (the bank has none itself yet) no orders of the stage certified are taken.
    """

    bank: str
    minimum_stage: Stage
    public_key: Callable[[], bytes]
    ledger: Ledger
    posting: Posting
    customers: Customers
    verifier: Verifier
    certificates: Callable[[], Certificates | None]
    dossier: Dossier
    refusals: RefusalLimiter
    admission: Admission
    loop: Loop
    clock: Callable[[], float] = time.time

    def answer(self, speaker: Speaker, requests: Sequence[bytes]) -> list[Answer]:
        """One answer for each request, in their order, for a thread that waits; CutShort if the server is stopped."""
        return self.loop.wait(self._answers(speaker, requests))

    async def parts(self, speaker: Speaker, requests: Sequence[bytes]) -> AsyncGenerator[list[Answer], None]:
        """The answers one part after another, so that who asks for much fills no memory with what is not sent yet.

        Orders that follow each other are posted together and are one part, every other answer is one by itself; what
        is asked after an order sees what became of it. A request that is not one raises MalformedContent before
        anything is answered: the connection ends.
        """
        decoded = [messages.decode_request(data) for data in requests]
        for _, run in groupby(decoded, key=type):
            together = list(run)
            orders = [request for request in together if isinstance(request, SubmitOrder)]
            if orders:
                yield await self._orders(speaker, orders)
            else:
                for request in together:
                    yield [await self.loop.apart(self._guarded, speaker, request)]

    async def _answers(self, speaker: Speaker, requests: Sequence[bytes]) -> list[Answer]:
        async with aclosing(self.parts(speaker, requests)) as parts:
            return [answer async for part in parts for answer in part]

    async def _orders(self, speaker: Speaker, orders: Sequence[SubmitOrder]) -> list[Answer]:
        with self.admission.places(speaker.customer, [len(each.order) for each in orders]) as places:
            queued = await self._queued(speaker, orders[:places])
            answers = [await self._decided(speaker, *each) if isinstance(each, tuple) else each for each in queued]
            return answers + [self.refuse(Reason.BUSY, order.number) for order in orders[places:]]

    def refuse(
        self,
        reason: Reason,
        number: int,
        sentence: str | None = None,
        field: str | None = None,
        rule: str | None = None,
    ) -> Answer:
        """An unlogged refusal, dated now."""
        note("request-refused", level=10, reason=reason.value, rule=rule)
        now = format_time(self.clock())
        return messages.refuse(reason, number=number, time=now, sentence=sentence, field=field, rule=rule)

    def _guarded(self, speaker: Speaker, request: Request) -> Answer:
        """The answer, with what may go wrong on the way turned into a refusal; nothing of it reaches a customer raw."""
        try:
            return self._answer(speaker, request)
        except _EXPECTED as error:
            return self._failed(speaker, request, error)

    def _failed(self, speaker: Speaker, request: Request, error: Exception) -> Answer:
        """What a customer is told of an error; called while it is being handled, so that the log shows it whole."""
        match error:
            case OpeningRefused():
                return self.refuse(error.reason, request.number, error.sentence, error.field, error.rule)
            case MalformedContent():
                return self.refuse(Reason.MALFORMED, request.number, str(error), error.field or None)
            case Busy():
                return self.refuse(Reason.BUSY, request.number)
            case Stopping():
                return self.refuse(Reason.STOPPING, request.number)
        note("request-failed", level=40, trace=True, customer=speaker.customer, request=type(request).__name__)
        return self.refuse(Reason.BUSY, request.number)

    def _answer(self, speaker: Speaker, request: Request) -> Answer:
        match request:
            case LookUpOrder():
                return self._look_up(speaker, request)
            case AskBalance():
                return self._balance(speaker, request)
            case AskStatement():
                return self._statement(speaker, request)
            case AskHead():
                head, path = self.posting.head(request.since)
                return Head(consistency=path, head=head, log=self.ledger.log, number=request.number)
            case AskBeginnings():
                return self._beginnings(request)
            case AskEvidence():
                return self._evidence(speaker, request)
            case AskBankKey():
                return BankKey(key=self.public_key(), number=request.number)
            case RegisterKey():
                return self._register(speaker, request)
            case Close():
                return Closed(number=request.number)
            case SubmitOrder():
                raise TypeError("Orders are answered together, by _orders.")

    async def _queued(self, speaker: Speaker, orders: Sequence[SubmitOrder]) -> list[Answer | _Queued]:
        """What becomes of orders that came together: all are judged at one moment, and gpg is asked about all at once.

        A revocation that the bank has learned by then stops every one of them.
        """
        now = self.clock()
        try:
            if self.refusals.remaining(speaker.customer, now) <= 0:
                raise OpeningRefused(Reason.RATE)
            standing = await self._standing(speaker, now)
            opened = await self._opened(speaker, orders, now)
        except _EXPECTED as error:
            return [self._failed(speaker, order, error) for order in orders]
        queued: list[Answer | _Queued] = []
        for order, found in zip(orders, opened, strict=True):
            try:
                submission = self._read_order(speaker, order, found, standing)
                queued.append((order, submission, self.posting.submit(submission)))
            except _EXPECTED as error:
                queued.append(self._failed(speaker, order, error))
        return queued

    async def _opened(self, speaker: Speaker, orders: Sequence[SubmitOrder], now: float) -> Sequence[bytes | Rejected]:
        """The content of each order, once its authorship is proven as the stage asks."""
        if speaker.identity is None or not speaker.stage.orders_are_signed:
            return [order.order for order in orders]
        speaker.identity.require_current(now)
        found = await self.verifier.open_all(speaker.identity, [order.order for order in orders])
        return [each if isinstance(each, Rejected) else each.content for each in found]

    def _read_order(
        self, speaker: Speaker, request: SubmitOrder, content: bytes | Rejected, standing: Standing
    ) -> Submission:
        """The order of an opened request; until all of this is passed nothing is logged or used up."""
        if isinstance(content, Rejected):
            raise signature_refused("order", content, "order")
        order = decode_order(content)
        if order.version != ORDER_VERSION:
            raise OpeningRefused(
                Reason.MALFORMED, f"New orders are taken in version {ORDER_VERSION}; update the program.", "version"
            )
        if order.debtor != speaker.customer:
            raise OpeningRefused(Reason.NO_RIGHT, "The order is from another customer than this session.", "debtor")
        if order.bank != self.bank:
            raise OpeningRefused(Reason.NO_RIGHT, "The order is for another bank.", "bank")
        if order.certificate != standing.certificate:
            raise OpeningRefused(
                Reason.CERTIFICATE_INVALID,
                "The order names another certificate than this session's.",
                "certificate",
                "named-certificate",
            )
        signed = speaker.identity if speaker.stage.orders_are_signed else None
        return Submission(
            order=order,
            content=content,
            message=request.order if signed else None,
            stage=speaker.stage.value,
            key_digest=signed.key_digest if signed else None,
            since=request.since,
            certificate_digest=standing.certificate,
            revocation_number=standing.revocation_number,
            good_until=standing.good_until,
        )

    async def _standing(self, speaker: Speaker, now: float, *, anew: bool = False) -> Standing:
        """By what the speaker is good now; ``anew`` if the list that this process has met is no longer the newest."""
        if not speaker.stage.is_certified:
            return Standing()
        certificates = self.certificates()
        if speaker.certificate is None or certificates is None:
            raise OpeningRefused(Reason.CERTIFICATE_MISSING, field="certificate")
        good = None if anew else certificates.known_good(speaker.certificate, int(now))
        if good is None:
            good = await self.loop.apart(certificates.require_good, speaker.certificate, int(now))
        number, good_until = good
        return Standing(speaker.certificate.digest, number, good_until)

    async def _decided(
        self, speaker: Speaker, request: SubmitOrder, submission: Submission, future: "Future[Outcome]"
    ) -> Answer:
        identifier = submission.order.transfer_identifier
        try:
            outcome = await self._outcome_by_newest_list(speaker, submission, future)
        except (OpeningRefused, Busy, Stopping) as error:
            return self._failed(speaker, request, error)
        except Unwritable as error:
            note("posting-failed", level=40, customer=speaker.customer, transfer=identifier, why=error)
            return self.refuse(Reason.BUSY, request.number, UNWRITABLE)
        except (BankError, TimeoutError) as error:
            # The order may be booked: "nothing was recorded" could be a lie. Silence makes the client look it up.
            note("posting-failed", level=40, trace=True, customer=speaker.customer, transfer=identifier)
            raise OutcomeUnknown(str(error)) from None
        return self._outcome(speaker, request.number, identifier, outcome)

    async def _outcome_by_newest_list(
        self, speaker: Speaker, submission: Submission, future: "Future[Outcome]"
    ) -> Outcome:
        """What was decided; where somebody has learned of revocations since we looked, we look again."""
        while True:
            if not future.done():
                async with asyncio.timeout(DECISION_SECONDS):
                    await self.loop.settled(future)
            try:
                return future.result(0)
            except Outdated:
                standing = await self._standing(speaker, self.clock(), anew=True)
                number, good_until = standing.revocation_number, standing.good_until
                submission = replace(submission, revocation_number=number, good_until=good_until)
                future = self.posting.submit(submission)

    def _outcome(self, speaker: Speaker, number: int, identifier: str, outcome: Outcome) -> Answer:
        if isinstance(outcome, Refused):
            return messages.refuse(
                outcome.reason,
                number=number,
                time=format_time(self.clock()),
                sentence=outcome.sentence,
                field=outcome.field,
                transfer_identifier=identifier,
            )
        return NumberedReceipt(number=number, receipt=outcome)

    def _look_up(self, speaker: Speaker, request: LookUpOrder) -> Answer:
        found = self.posting.look_up(speaker.customer, request.transfer_identifier, request.order, request.since)
        if found is None:
            return Unknown(number=request.number, transfer_identifier=request.transfer_identifier)
        return self._outcome(speaker, request.number, request.transfer_identifier, found)

    def _balance(self, speaker: Speaker, request: AskBalance) -> Answer:
        account = accounts.get(self.ledger, speaker.customer)
        return Balance(
            balance=format_amount(account.balance_minor, self.ledger.currency),
            currency=self.ledger.currency,
            customer=speaker.customer,
            number=request.number,
            time=format_time(self.clock()),
        )

    def _statement(self, speaker: Speaker, request: AskStatement) -> Answer:
        account = accounts.get(self.ledger, speaker.customer)
        # One line beyond the page tells whether there are more.
        lines = accounts.statement(self.ledger, speaker.customer, request.after, request.lines + 1)
        return Statement(
            balance=format_amount(account.balance_minor, self.ledger.currency),
            currency=self.ledger.currency,
            customer=speaker.customer,
            lines=lines[: request.lines],
            more=len(lines) > request.lines,
            number=request.number,
            time=format_time(self.clock()),
        )

    def _beginnings(self, request: AskBeginnings) -> Answer:
        found, head, path = self.posting.beginnings(request.since)
        return Beginnings(beginnings=found, consistency=path, head=head, number=request.number)

    def _evidence(self, speaker: Speaker, request: AskEvidence) -> Answer:
        try:
            files = self.dossier.files(speaker.customer, request.transfer_identifier)
        except EvidenceRefused as error:
            raise OpeningRefused(Reason.NOT_FOUND, str(error), "transfer_identifier") from None
        if files is None:
            raise OpeningRefused(Reason.NOT_FOUND, field="transfer_identifier")
        return Evidence(files=files, number=request.number, transfer_identifier=request.transfer_identifier)

    def _register(self, speaker: Speaker, request: RegisterKey) -> Answer:
        if speaker.stage is not Stage.PASSWORD or self.minimum_stage.is_certified:
            raise OpeningRefused(Reason.REGISTRATION, field="key")
        try:
            fingerprint = examine(request.key, speaker.customer)
        except KeyringError as error:
            raise OpeningRefused(Reason.MALFORMED, str(error), "key") from None
        try:
            self.customers.register_key(speaker.customer, fingerprint, request.key)
        except RecordError as error:
            raise OpeningRefused(Reason.REGISTRATION, str(error), "key") from None
        note("key-registered", customer=speaker.customer, fingerprint=fingerprint)
        return Registered(bank_key=self.public_key(), fingerprint=fingerprint, number=request.number)
