"""What was proven once is proven again from what is kept, and heads of others must fit one and the same log."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from customer import conversing, new_log
from customer.bank_view import BankView, require_about
from customer.errors import AnotherLogShown, CustomerError, NotProven, NotReady
from customer.home import CustomerHome
from customer.store import KeptHead, StoredOrder
from protocol.errors import ProtocolError
from protocol.messages import AskHead, Head
from protocol.receipts import Entry, check_inclusion, is_continued
from protocol.stages import Stage

if TYPE_CHECKING:
    from customer.session import Conversation

HEAD_LIMIT_BYTES = 64 * 1024
TRIES = 5
"""How often the bank is asked anew if its log grows between two questions that were sent together."""


@dataclass(frozen=True)
class Verified:
    """A receipt that was verified again; ``lost`` says that the bank has lost its entry since."""

    order: StoredOrder
    entry: Entry
    index: int
    size: int
    lost: bool = False


def receipts(home: CustomerHome, identifier: str | None) -> tuple[Verified, ...]:
    """Verify the receipt of one transfer, or all that are kept, again, without asking anybody. Raises NotProven."""
    if identifier is None:
        orders = tuple(order for order in home.store.orders() if order.receipt is not None)
    else:
        found = home.store.find(identifier)
        if found is None or found.receipt is None:
            raise CustomerError(f"There is no receipt for {identifier!a}; look with `customer outbox`.")
        orders = (found,)
    if not orders:
        return ()
    view, lost = _any_view(home), home.store.lost()
    return tuple(_receipt(view, order, lost=order.identifier in lost) for order in orders)


def compare_head(home: CustomerHome, file: Path, stage: Stage) -> tuple[KeptHead, KeptHead]:
    """Prove that a head given by somebody else and one's own lie in one log; returns the given and the newest head.

    The bank is asked to prove that its log continues both. Raises NotProven if it cannot: then the two customers were
    shown different histories.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(HEAD_LIMIT_BYTES + 1)
    except OSError as error:
        raise CustomerError(f"{file} cannot be read: {error.strerror}.") from None
    kept = home.store.newest_head()
    with conversing.conversation(home, stage) as talk:
        view = conversing.view_in(home, talk)
        try:
            given = view.open_head(data)
        except NotProven as error:
            raise NotProven(f"{file} is not a head of this bank's log. {error}") from None
        try:
            after_given, newest, path = _same_head(talk, view, given, kept)
        except AnotherLogShown:
            if kept is None:
                raise
            kept = new_log.follow(home, talk, view, kept)
            after_given, newest, path = _same_head(talk, view, given, kept)
        if given.head.log != after_given.head.log and not new_log.explained(talk, view, given)[1].whole:
            raise NotProven(
                f"The given head has {given.head.size} entries of the log {given.head.log}, and the bank has lost some "
                "of them. Keep both heads, show them to the other customer, and ask the bank what became of them."
            )
    if after_given.head.size < given.head.size and after_given.head.log == given.head.log:
        raise NotProven(
            f"The bank signed a log of {given.head.size} entries for somebody else and shows {newest.head.size} here: "
            "it hides entries from one of you. Keep both heads, and show them to the other customer."
        )
    if not is_continued(given.head, after_given.head, path) or given.head.bank != after_given.head.bank:
        raise NotProven(
            "The given head and this customer's do not lie in one log: the bank showed you different histories. Keep "
            "both heads as evidence, and show them to the other customer."
        )
    if after_given.head.root != newest.head.root:
        raise NotProven("The bank answered the same question with two different logs; keep both heads as evidence.")
    home.store.keep_head(newest)
    return given, newest


def _same_head(
    talk: "Conversation", view: BankView, given: KeptHead, kept: KeptHead | None
) -> tuple[KeptHead, KeptHead, tuple[str, ...] | None]:
    """One head of the bank, asked for twice: after the given head, with the path from it, and after the one kept."""
    since = kept.head.size if kept else None
    for _ in range(TRIES):
        first, second = (
            conversing.expect(answer, Head)
            for answer in talk.ask(AskHead(number=0, since=given.head.size), AskHead(number=0, since=since))
        )
        after_given = view.open_head(first.head)
        newest = view.continued(second.head, second.consistency, kept)
        if after_given.head.size == newest.head.size:
            return after_given, newest, first.consistency
    raise CustomerError("The bank's log grows too fast to be compared just now; try again.")


def follow_log(home: CustomerHome, log: str, stage: Stage) -> tuple[KeptHead, frozenset[str]]:
    """Follow another log from now on, which the bank has begun and named on the telephone; the old heads are kept.

    Gives its newest head, and the transfers whose entries it has lost. Raises NotProven if the bank's log is yet
    another, or does not say by a proven entry why it was begun.
    """
    since = home.store.newest_head()
    if since is None:
        raise NotReady("No head is kept yet, so the first log that the bank shows is followed; there is none to leave.")
    if log == since.head.log:
        raise NotReady(f"This customer follows the log {log} already; there is nothing to change.")
    with conversing.conversation(home, stage) as talk:
        return new_log.follow_by_word(home, talk, conversing.view_in(home, talk), since, log)


def save_head(home: CustomerHome, file: Path) -> KeptHead:
    """Write the newest head that is kept to a file, for another customer to compare."""
    newest = home.store.newest_head()
    if newest is None:
        raise NotReady("No head is kept yet; it comes with the first receipt.")
    try:
        file.write_bytes(newest.message)
    except OSError as error:
        raise CustomerError(f"{file} cannot be written: {error.strerror}.") from None
    return newest


def _receipt(view: BankView, order: StoredOrder, *, lost: bool) -> Verified:
    receipt = order.receipt
    if receipt is None:
        raise CustomerError(f"There is no receipt for {order.identifier}.")
    kept = view.open_head(receipt.head)
    try:
        entry = check_inclusion(receipt, kept.head)
    except ProtocolError as error:
        raise NotProven(str(error)) from None
    require_about(entry, order.content)
    return Verified(order, entry, receipt.index, kept.head.size, lost)


def _any_view(home: CustomerHome) -> BankView:
    """The strongest view of the bank that there is."""
    try:
        return conversing.view_for(home, Stage.CERTIFIED)
    except NotReady:
        return conversing.view_for(home, Stage.SESSION)
