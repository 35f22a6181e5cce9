"""One thread posts: it takes what is queued, makes it durable in one transaction, has the head signed, answers."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import count
from typing import Final, Self, get_args

from sqlalchemy import Column, Connection, select

from bank import schema
from bank.batch import Batch, Decided, Refused, Submission, identity, load, reused, summary
from bank.beginning import beginnings
from bank.errors import (
    BankError,
    Busy,
    Interrupted,
    InvariantBroken,
    LedgerError,
    OutcomeStands,
    OutcomeUnknown,
    Outdated,
    Stopping,
    Unwritable,
)
from bank.heads import Heads, HeadSigner, HeadVerifier, SignedHead
from bank.journal import is_heard, note
from bank.log import Growth, Log
from bank.refusals import RefusalLimiter
from bank.storage import Ledger
from protocol import canonical
from protocol.beginnings import PlacedBeginning
from protocol.orders import payments_of
from protocol.receipts import OrderStage, Receipt

__all__ = ["Outcome", "Posting", "Refused", "Submission"]

Outcome = Receipt | Refused

IDLE_SECONDS: Final = 0.05
"""How long the queue is empty before the newest head is stored by itself; under load the next batch takes it along."""

COMPANY_SECONDS: Final = 0.004
"""How long orders wait for others under load: a transaction costs as much as several orders, whatever it holds."""

LOADED_SECONDS: Final = 0.02
"""How long a bank counts as loaded after a transaction of several orders; an order by itself waits for nobody."""

HEAL_SECONDS: Final = 1.0
"""How long to wait between tries to sign a head that could not be signed."""

PAYMENTS_AT_ONCE: Final = 4000
"""A batch takes no further order once it has so many payments, so that bulk orders keep the others waiting briefly."""

RETRY_SECONDS: Final = 30.0
"""How long a batch is tried again that the database broke off; a standby may need so long to take over."""

KNOWN_DIGESTS: Final = 10_000
"""Digests of keys and certificates that need no look-up, the newest."""

_STAGES = get_args(OrderStage)
_Ticket = tuple[Submission, "Future[Outcome]"]


class Posting:
    """Posts orders to a ledger. ``clock`` gives unix seconds, ``random`` that many random bytes.

    Several threads may use one; several processes may have one each on the same ledger.
    """

    def __init__(
        self,
        ledger: Ledger,
        signer: HeadSigner,
        *,
        verify_head: HeadVerifier,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        queue_limit: int = 1024,
        batch_limit: int = 256,
        refusals: RefusalLimiter | None = None,
    ) -> None:
        """Starts the thread; ``refusals`` bounds how many of a customer are logged.

        Raises HistoryLost if the ledger lacks what the bank signed, or what the signer raises.
        """
        self._ledger = ledger
        self._clock = clock
        self._random = random
        self._queue_limit = queue_limit
        self._batch_limit = batch_limit
        self._refusals = refusals
        self._merkle = Log(ledger)
        self._heads = Heads(ledger, self._merkle, signer, clock=clock)
        self._heads.start(verify_head)
        self._queue: deque[_Ticket] = deque()
        self._arrivals: deque[float] = deque()
        self._oldest = 0.0
        self._company_until = 0.0
        self._arrival = threading.Condition()
        self._stopping = False
        self._unsigned = False
        self._known: OrderedDict[str, None] = OrderedDict()
        self._thread = threading.Thread(target=self._run, name="posting", daemon=True)
        self._thread.start()

    def submit(self, submission: Submission) -> "Future[Outcome]":
        """Queues an order; the future gives its receipt, or the refusal of what is not recorded.

        Raises Busy when the queue is full and Stopping after :meth:`stop`: then nothing was recorded. The future fails
        with Outdated if the order is to be judged anew, with OutcomeStands if it was decided but not receipted, else
        with a LedgerError.
        """
        self._require_sound(submission)
        future: Future[Outcome] = Future()
        with self._arrival:
            if self._stopping:
                raise Stopping("The bank is stopping; nothing was recorded. Try again later.")
            if len(self._queue) >= self._queue_limit:
                raise Busy("The bank has too much to do right now; nothing was recorded. Try again in a moment.")
            self._queue.append((submission, future))
            self._arrivals.append(time.monotonic())
            self._arrival.notify()
        return future

    @property
    def waiting(self) -> int:
        """Orders that wait now."""
        return len(self._queue)

    def stop(self) -> None:
        """Takes nothing more, finishes what is queued, stores the newest head. Harmless when repeated."""
        with self._arrival:
            self._stopping = True
            self._arrival.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def look_up(self, debtor: str, identifier: str, order_digest: str, since: int | None) -> Outcome | None:
        """The receipt of an order decided earlier, Refused if the identifier belongs to another order, None if unknown.

        The receipt is proved against a current head; raises what the signer raises if there is none yet.
        """
        column = schema.entry.c
        with self._ledger.reading() as connection:
            row = connection.execute(
                select(column.leaf, column.entry, column.order_digest).where(
                    column.identity == identity(debtor, identifier)
                )
            ).one_or_none()
        if row is None:
            return None
        if row.order_digest != order_digest:
            return reused(None)
        head = self._heads.covering(max(row.leaf + 1, since or 0))
        return self._receipt(Decided(row.leaf, row.entry, duplicate=True), head, since)

    def head(self, since: int | None) -> tuple[bytes, tuple[str, ...] | None]:
        """The newest signed head (OpenPGP message), and the path that proves it continues that of size ``since``."""
        head = self._heads.covering(since or 0)
        return head.message, self._consistency(since, head)

    def beginnings(self, since: int | None) -> tuple[tuple[PlacedBeginning, ...], bytes, tuple[str, ...] | None]:
        """Every entry that began a log anew, proved against the newest head, as in :meth:`head`."""
        with self._ledger.reading() as connection:
            found = beginnings(connection)
        head = self._heads.covering(max(since or 0, *(leaf + 1 for leaf, _ in found), 0))
        placed = (
            PlacedBeginning(entry=data, index=leaf, proof=self._merkle.inclusion(leaf, head.size))
            for leaf, data in found
        )
        return tuple(placed), head.message, self._consistency(since, head)

    def place(self, leaf: int) -> tuple[SignedHead, tuple[str, ...]]:
        """A signed head that covers a leaf, and the path that leads from the leaf to it."""
        head = self._heads.covering(leaf + 1)
        return head, self._merkle.inclusion(leaf, head.size)

    def _require_sound(self, submission: Submission) -> None:
        order = submission.order
        if order.bank != self._ledger.bank:
            raise InvariantBroken("An order for another bank came as far as the posting; it must be refused before.")
        if canonical.encode(order) != submission.content:
            raise InvariantBroken("An order and its signed content differ; what was verified is what is posted.")
        if submission.stage not in _STAGES:
            raise InvariantBroken(f"{submission.stage!r} is not a stage.")
        self.require_recorded(submission.key_digest, submission.certificate_digest)

    def require_recorded(self, key_digest: str | None, certificate_digest: str | None) -> None:
        """Raises InvariantBroken if by one of these an order could not be proven later; asks the ledger only once."""
        self._require_recorded("key", key_digest, schema.key.c.digest)
        self._require_recorded("certificate", certificate_digest, schema.certificate.c.digest)

    def _require_recorded(self, name: str, digest: str | None, column: "Column[str]") -> None:
        if digest is None or digest in self._known:
            return
        with self._ledger.reading() as connection:
            known = connection.execute(select(column).where(column == digest)).first()
        if known is None:
            raise InvariantBroken(f"The {name} {digest} of an order is not recorded; record it before posting.")
        with self._arrival:
            self._known[digest] = None
            while len(self._known) > KNOWN_DIGESTS:
                self._known.popitem(last=False)

    # What follows runs in the posting thread.

    def _run(self) -> None:
        while tickets := self._take():
            self._post(tickets)
            self._company_until = time.monotonic() + LOADED_SECONDS if len(tickets) > 1 else 0.0
        self._settle()

    def _take(self) -> list[_Ticket]:
        """What is queued, up to the limit of a batch; waits for the first, and under load for its company."""
        idle = False
        while True:
            with self._arrival:
                if not self._queue and not self._stopping:
                    self._arrival.wait((HEAL_SECONDS if self._unsigned else None) if idle else IDLE_SECONDS)
                if not self._queue and self._stopping:
                    return []
            if self._queue:
                if time.monotonic() < self._company_until and len(self._queue) < self._batch_limit:
                    time.sleep(COMPANY_SECONDS)
                with self._arrival:
                    return self._next_batch()
            self._settle()
            idle = True

    def _next_batch(self) -> list[_Ticket]:
        """The orders of the next transaction."""
        batch: list[_Ticket] = []
        payments = 0
        self._oldest = self._arrivals[0]
        while self._queue and len(batch) < self._batch_limit and payments < PAYMENTS_AT_ONCE:
            batch.append(self._queue.popleft())
            self._arrivals.popleft()
            payments += len(payments_of(batch[-1][0].order))
        return batch

    def _settle(self) -> None:
        """Signs what could not be signed, and stores the newest head; what fails now is tried again later."""
        try:
            if self._unsigned:
                self._heads.covering(None)
                self._unsigned = False
            self._heads.store()
        except Exception as error:  # noqa: BLE001 - the thread must live on
            note("head-unstored", level=40, why=error)

    def _post(self, tickets: Sequence[_Ticket]) -> None:
        live = [ticket for ticket in tickets if ticket[1].set_running_or_notify_cancel()]
        if not live:
            return
        try:
            outcomes, size = self._transact([submission for submission, _ in live])
        except Exception as error:  # noqa: BLE001 - whatever it was, all was rolled back and the thread must live on
            self._heads.not_stored()
            note("batch-failed", level=40, orders=len(live), why=error)
            _fail(live, _as_bank_error(error))
            return
        try:
            head = self._heads.sign(size)
            answers = [
                self._receipt(outcome, head, submission.since) if isinstance(outcome, Decided) else outcome
                for (submission, _), outcome in zip(live, outcomes, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - the orders are posted; only their receipts are missing
            self._unsigned = True
            note("head-unsigned", level=40, size=size, why=error)
            _fail(live, _outcome_stands(error))
            return
        self._unsigned = False
        if is_heard():
            note("batch", level=10, **summary(outcomes), seconds=round(time.monotonic() - self._oldest, 6))
        for (_, future), answer in zip(live, answers, strict=True):
            if isinstance(answer, Outdated):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _transact(self, submissions: Sequence[Submission]) -> tuple[list[Decided | Refused | Outdated], int]:
        """Decides and commits; gives the outcomes and the size of the log.

        What the database broke off is tried again, for a while. Where a connection was lost during the commit, the next
        try finds out how that ended: it waits for the same locks, and then finds the entries, or writes them.
        """
        deadline = time.monotonic() + RETRY_SECONDS
        attempted: dict[str, bytes] = {}
        unknown: OutcomeUnknown | None = None
        for tried in count():
            written: dict[str, bytes] = {}
            try:
                return self._attempt(submissions, attempted, written)
            except (Unwritable, OutcomeUnknown) as error:
                self._heads.not_stored()
                if isinstance(error, OutcomeUnknown):
                    unknown = error
                    attempted |= written
                elif not unknown and not isinstance(error, Interrupted):
                    raise  # this try recorded nothing; after an unknown one that would say too much
                if time.monotonic() >= deadline or (self._stopping and not unknown):
                    raise unknown or error from error
                note("batch-again", level=30, orders=len(submissions), why=error)
                time.sleep(min(1.0, 0.005 * 2**tried) * (0.5 + self._random(1)[0] / 255))
        raise AssertionError("Counting does not end.")

    def _attempt(
        self, submissions: Sequence[Submission], attempted: dict[str, bytes], written: dict[str, bytes]
    ) -> tuple[list[Decided | Refused | Outdated], int]:
        """One try; ``written`` gets the entries that are about to be committed."""
        now = int(self._clock())
        with self._ledger.writing(hold=False) as connection:
            loaded = load(connection, submissions)
            self._ledger.hold_log(connection)
            # Another process may have posted since: the log's end is read anew, under the lock.
            size, *last = _end(connection)
            self._heads.require_kept(size)
            growth = Growth(self._merkle, size)
            batch = Batch(
                connection,
                growth,
                (last[0], last[1]),
                loaded,
                currency=self._ledger.currency,
                now=now,
                random=self._random,
                refusals=self._refusals,
                attempted=attempted,
            )
            outcomes = [batch.decide(submission) for submission in submissions]
            batch.write()
            self._heads.store(connection)
            written |= batch.written
        growth.commit()
        if self._refusals:
            for customer, refusals in batch.refused.items():
                self._refusals.learn(customer, now, refusals)
        return outcomes, growth.size

    # Answers; these run in any thread.

    def _receipt(self, decided: Decided, head: SignedHead, since: int | None) -> Receipt:
        return Receipt(
            consistency=self._consistency(since, head),
            duplicate=decided.duplicate,
            entry=decided.entry,
            head=head.message,
            index=decided.leaf,
            proof=self._merkle.inclusion(decided.leaf, head.size),
        )

    def _consistency(self, since: int | None, head: SignedHead) -> tuple[str, ...] | None:
        if since is None or since > head.size:
            return None
        return self._merkle.consistency(since, head.size)


def _end(connection: Connection) -> tuple[int, int, int]:
    """Size of the log, booking time and count of bookings of its last entry."""
    column = schema.entry.c
    row = connection.execute(
        select(column.leaf, column.booked_at, column.booking_count).order_by(column.leaf.desc()).limit(1)
    ).one_or_none()
    return (0, 0, 0) if row is None else (row[0] + 1, row[1], row[2])


def _fail(tickets: Sequence[_Ticket], error: BankError) -> None:
    for _, future in tickets:
        future.set_exception(error)


def _as_bank_error(error: Exception) -> BankError:
    if isinstance(error, BankError):
        return error
    wrapped = LedgerError(f"The order was not posted, because of a fault of the program ({type(error).__name__}).")
    wrapped.__cause__ = error
    return wrapped


def _outcome_stands(error: Exception) -> OutcomeStands:
    stands = OutcomeStands(
        "The order was decided, and that stands, but its receipt cannot be signed now; look it up later."
    )
    stands.__cause__ = error
    return stands
