"""An order is on the disk before its first byte is sent, and called posted only once its receipt is proven.

Whatever is lost in between leaves the order in doubt; then the bank is asked first, and only if it has decided nothing
are the very same bytes sent again. So an order is posted once, wherever this program was stopped.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace as replaced

from customer import conversing, new_log
from customer.bank_view import BankView, require_about
from customer.errors import AnotherLogShown, CustomerError, NotProven, NotSent, OutcomeUnknown, RefusedByBank
from customer.home import CustomerHome
from customer.store import KeptHead, State, StoredOrder
from customer.wire import Event
from customer.wishes import BulkWish, checked, made, require_same
from customer.wishes import Wish as Wish
from keyring.errors import KeyringError
from keyring.printable import printable
from protocol import canonical
from protocol.codes import EXPLANATIONS, Reason, Status
from protocol.errors import ProtocolError, RemoteProtocolError
from protocol.messages import Answer, LookUpOrder, NumberedReceipt, Refusal, SubmitOrder, Unknown
from protocol.receipts import Entry, Receipt, decode_entry
from protocol.stages import Stage

if TYPE_CHECKING:
    from customer.session import Conversation

_STATES: Final = {"ACSC": State.POSTED, "PART": State.PARTLY, "RJCT": State.REFUSED}
RESUME: Final = "Find out with `customer resume`; do not send it anew."


@dataclass(frozen=True)
class Outcome:
    """What the bank decided: a proven entry of its log, or a refusal that it did not log.

    ``earlier`` tells that the decision had been made before this was asked (AM05).
    """

    order: StoredOrder
    entry: Entry | None = None
    receipt: Receipt | None = None
    refusal: Refusal | None = None
    earlier: bool = False

    @property
    def posted(self) -> bool:
        """Whether the money was moved; of a bulk order, all of it."""
        return self.entry is not None and self.entry.status == Status.SETTLED

    @property
    def reason(self) -> Reason | None:
        """Why not."""
        return self.entry.reason if self.entry else self.refusal.reason if self.refusal else None


def send(home: CustomerHome, wish: Wish | BulkWish) -> Outcome:
    """Have a transfer made, or say what became of it if the same was asked for under this identifier before.

    Raises CustomerError before anything is written down if the wish itself is impossible; NotSent or RefusedByBank if
    the order did not leave; OutcomeUnknown if it may have left and no proof came back.
    """
    wish = checked(wish)
    earlier = home.store.find(wish.identifier) if wish.identifier else None
    if earlier is not None:
        require_same(earlier, wish)
        return send_again(home, earlier)
    stage = wish.stage or home.config.customer.stage
    conversing.require_stage(home, stage)
    order = made(home, wish, stage)
    home.store.put(order)
    return _deliver(home, order, fresh=True)


def send_again(home: CustomerHome, order: StoredOrder, *, lost: bool = False) -> Outcome:
    """Settle an order of the outbox: ask first, then send the bytes of that time. Errors as for :func:`send`.

    ``lost``: also if it was settled before, and the bank has said that it lost the entry.
    """
    return _deliver(home, order, fresh=False, lost=lost)


def outcome_of(order: StoredOrder) -> Outcome | None:
    """What is proven about an order already, without asking anybody."""
    if order.receipt is not None:
        return Outcome(order, decode_entry(order.receipt.entry), order.receipt, earlier=True)
    if order.refusal is not None and order.state is State.REFUSED:
        return Outcome(order, refusal=order.refusal, earlier=True)
    return None


def _deliver(home: CustomerHome, order: StoredOrder, *, fresh: bool, lost: bool = False) -> Outcome:
    """Get the bank's decision on an order of the outbox; ``fresh``: it was written down just now, by us."""
    # An order of a stage that has become too weak can still be asked about, in the stage that is used now.
    stage = max(order.stage, home.store.floor(), key=lambda each: each.rank)
    delivery = _Delivery(home, order, fresh=fresh, lost=lost)
    try:
        # Under the certificate that the order names, so that the same bytes still count after a renewal.
        with conversing.conversation(home, stage, certificate=order.order.certificate) as talk:
            return delivery.decision(talk)
    except (ProtocolError, KeyringError, CustomerError) as error:
        if order.receipt is not None and not lost and not isinstance(error, NotProven):
            return Outcome(order, decode_entry(order.receipt.entry), order.receipt, earlier=True)
        raise delivery.failure(error) from error
    except KeyboardInterrupt as interrupt:
        raise delivery.failure(CustomerError("It was interrupted.")) from interrupt
    except Exception as fault:  # whatever broke, whether the order has left must be said
        raise delivery.failure(CustomerError(f"This program has a fault ({type(fault).__name__}).")) from fault


class _Delivery:
    """One try to have one order decided; it knows whether the order may have reached the bank."""

    def __init__(self, home: CustomerHome, order: StoredOrder, *, fresh: bool, lost: bool = False) -> None:
        self._home = home
        self._lost = lost
        self._store = home.store
        self._order = order
        self._fresh = fresh
        self._in_doubt_before = order.state.in_doubt and not fresh
        self._may_have_left = self._in_doubt_before
        self._since = home.store.newest_head()

    def decision(self, talk: "Conversation") -> Outcome:
        """What the bank decides, or has decided, proven and kept."""
        view = conversing.view_in(self._home, talk)
        # A message under the password is refused in clear if the password is wrong, which proves nothing; so there
        # the question goes first, and an order is sent only after a proven answer.
        if not self._fresh or not talk.stage.has_session:
            outcome = self._looked_up(self._look_up(talk), talk, view)
            if outcome is not None:
                return outcome
            self._require_sendable(talk.stage)
        answer = self._submit(talk)
        if isinstance(answer, NumberedReceipt):
            return self._accepted(answer.receipt, talk, view)
        if isinstance(answer, Refusal):
            return self._refused(answer, talk, view)
        raise RemoteProtocolError("The bank answered something else than a receipt.")

    def failure(self, error: Exception) -> CustomerError:
        """The error to raise in place of what went wrong, after the outbox says the same."""
        if self._may_have_left:
            identifier = self._order.identifier
            self._store.mark(identifier, State.UNKNOWN)
            return OutcomeUnknown(
                identifier,
                f"{_said(error)} Whether the transfer {identifier} was made is not known from here. {RESUME}",
            )
        if self._fresh:
            self._store.mark(self._order.identifier, State.UNSENT)
        if isinstance(error, RefusedByBank):
            return error
        said = _said(error)
        return NotSent(said if "othing was sent" in said else f"{said} Nothing was sent.")

    def _look_up(self, talk: "Conversation") -> Answer:
        since = self._since.head.size if self._since else None
        digest = canonical.digest(self._order.content)
        (answer,) = talk.ask(
            LookUpOrder(number=0, order=digest, since=since, transfer_identifier=self._order.identifier)
        )
        return answer

    def _looked_up(self, answer: Answer, talk: "Conversation", view: BankView) -> Outcome | None:
        if isinstance(answer, NumberedReceipt):
            return self._accepted(answer.receipt, talk, view)
        if isinstance(answer, Refusal):
            if answer.reason is Reason.IDENTIFIER_REUSED or not self._in_doubt_before:
                return self._final_refusal(answer)
            raise RefusedByBank(answer, proven=True)
        if not isinstance(answer, Unknown):
            raise RemoteProtocolError("The bank answered something else than what became of the transfer.")
        if self._order.receipt is not None:
            self._require_wished_again()
        return None

    def _require_wished_again(self) -> None:
        """A transfer that was proven once is sent again only if the bank said that it lost it, and the person asks."""
        identifier = self._order.identifier
        if identifier not in self._store.lost():
            raise NotProven(
                "The bank says that it does not know this transfer, but its receipt is kept here and proven. Nothing "
                f"was sent again; keep the receipt and ask the bank (`customer verify {identifier}`)."
            )
        if not self._lost:
            raise NotProven(
                f"The bank has lost the transfer {identifier}; its receipt is kept here and proves that it was decided "
                "(`customer verify`). Nothing was sent again; if you want it still, use `customer resume --lost`."
            )

    def _require_sendable(self, stage: Stage) -> None:
        named = self._order.order.certificate
        if stage is not self._order.stage:
            why = f"it was made in the stage {self._order.stage.value}, which is no longer used"
        elif named is not None and named != canonical.digest(conversing.offered(self._home, named).certificate):
            why = "it was made under a certificate that has ended since"
        else:
            return
        # The bank has decided nothing, and will take nothing of the weaker stage or under that certificate any more.
        self._may_have_left = False
        self._store.mark(self._order.identifier, State.UNSENT)
        raise CustomerError(f"The bank has not decided this transfer, and {why}; send it anew without --id.")

    def _submit(self, talk: "Conversation") -> Answer:
        self._may_have_left = True
        if not self._fresh:
            self._store.mark(self._order.identifier, State.SENDING)
        since = self._since.head.size if self._since else None
        request = SubmitOrder(number=0, order=self._order.message, since=since)
        for wait_seconds in conversing.BUSY_WAITS_SECONDS:
            (answer,) = talk.ask(request)
            if not isinstance(answer, Refusal) or answer.reason is not Reason.BUSY:
                return answer
            self._home.world.sleep(wait_seconds)
        (answer,) = talk.ask(request)
        return answer

    def _accepted(self, receipt: Receipt, talk: "Conversation", view: BankView) -> Outcome:
        watch = self._home.world.watch
        watch(Event("The receipt's entry, a leaf of the bank's log", content=receipt.entry))
        watch(Event("The head of the log in the receipt, signed by the bank", message=receipt.head))
        try:
            receipt, entry, kept = self._proven(receipt, talk, view)
            require_about(entry, self._order.content)
            state = _STATES[entry.status.value]
            if self._order.receipt is not None and self._lost:
                earlier = canonical.encode(self._order.receipt)
                self._store.doubt(self._order.identifier, earlier, "The bank lost this entry, and decided it anew.")
            self._store.settle(self._order.identifier, state, receipt, kept)
        except NotProven as error:
            self._store.doubt(self._order.identifier, canonical.encode(receipt), str(error))
            raise
        watch(Event("Proven: the entry is about this order, it is in the log, and the log continues the known one"))
        return Outcome(replace(self._order, state=state, receipt=receipt), entry, receipt, earlier=receipt.duplicate)

    def _proven(self, receipt: Receipt, talk: "Conversation", view: BankView) -> tuple[Receipt, Entry, KeptHead]:
        """The receipt proven; if the bank has begun a new log it is asked why, and for a receipt that continues it."""
        try:
            return receipt, *view.proven(receipt, self._since)
        except AnotherLogShown:
            if self._since is None:
                raise
        self._since = new_log.follow(self._home, talk, view, self._since)
        answer = self._look_up(talk)
        if not isinstance(answer, NumberedReceipt):
            raise NotProven("The bank gave a receipt and then does not know it; ask the bank.")
        again = replaced(answer.receipt, duplicate=receipt.duplicate)
        return again, *view.proven(again, self._since)

    def _refused(self, refusal: Refusal, talk: "Conversation", view: BankView) -> Outcome:
        """An unlogged refusal of these bytes; what was sent before them may have been decided all the same."""
        if self._in_doubt_before and refusal.reason is not Reason.IDENTIFIER_REUSED:
            outcome = self._looked_up(self._look_up(talk), talk, view)
            if outcome is not None:
                return outcome
            if EXPLANATIONS[refusal.reason].retry_helps:
                raise RefusedByBank(refusal, proven=True)
        return self._final_refusal(refusal)

    def _final_refusal(self, refusal: Refusal) -> Outcome:
        self._store.refuse(self._order.identifier, refusal)
        return Outcome(replace(self._order, state=State.REFUSED, refusal=refusal), refusal=refusal)


def _said(error: Exception) -> str:
    """The error as a sentence."""
    if isinstance(error, RefusedByBank):
        code = ", ".join(each for each in (error.refusal.reason.value, error.refusal.rule) if each)
        return f"The bank answered: {printable(str(error))} ({code})."
    text = str(error)
    return text if text.endswith((".", "?", ")")) else f"{text}."
