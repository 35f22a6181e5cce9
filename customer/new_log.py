"""A new log of the bank is followed at once if all that is known here lies in it, else only by the person's word."""

from typing import TYPE_CHECKING

from customer import conversing
from customer.bank_view import BankView
from customer.errors import NotProven
from customer.home import CustomerHome
from customer.store import KeptHead
from protocol import canonical
from protocol.beginnings import LogBeginning, NewLog, check_new_log
from protocol.errors import ProtocolError
from protocol.messages import AskBeginnings, Beginnings

if TYPE_CHECKING:
    from customer.session import Conversation


def explained(
    talk: "Conversation", view: BankView, since: KeptHead, named: str | None = None
) -> tuple[KeptHead, NewLog]:
    """The bank's newest head, and why its log is another than that of ``since``; NotProven if that is not proven.

    ``named`` is the log that it must be.
    """
    answer = conversing.ask(talk, AskBeginnings(number=0, since=since.head.size), Beginnings)
    kept = view.open_head(answer.head)
    if named is not None and kept.head.log != named:
        raise NotProven(f"The bank's log is {kept.head.log}, not {named!a}; ask the bank again. Nothing was changed.")
    try:
        return kept, check_new_log(since.head, kept.head, answer.consistency, answer.beginnings)
    except ProtocolError as error:
        raise NotProven(str(error)) from None


def follow(home: CustomerHome, talk: "Conversation", view: BankView, since: KeptHead) -> KeptHead:
    """Follow the bank's new log if it contains all that is known here, and tell the person; else NotProven says why.

    The sentence names the command that is the person's word.
    """
    kept, found = explained(talk, view, since)
    if not found.whole:
        raise NotProven(
            f"{what_happened(found.last)} Entries that this customer has seen are lost: it knows {since.head.size} of "
            f"the log {since.head.log}. Telephone the bank; if it confirms the new log, go on with `customer verify "
            f"--follow-log {kept.head.log}`, which also names your transfers that were lost."
        )
    home.store.follow_log(kept, canonical.encode(found.last), ())
    home.world.tell(f"{what_happened(found.last)} All that this customer has seen is in it, so it is followed.")
    return kept


def follow_by_word(
    home: CustomerHome, talk: "Conversation", view: BankView, since: KeptHead, log: str
) -> tuple[KeptHead, frozenset[str]]:
    """Follow the new log that the person names, and give the transfers whose entries it has lost."""
    kept, found = explained(talk, view, since, log)
    lost = frozenset(
        order.identifier
        for order in home.store.orders()
        if order.receipt is not None and found.lacks(view.open_head(order.receipt.head).head.log, order.receipt.index)
    )
    home.store.follow_log(kept, canonical.encode(found.last), lost)
    return kept, lost


def what_happened(beginning: LogBeginning) -> str:
    """The bank's own account of it, in a sentence or two."""
    old = beginning.old_head
    gone = old.size - beginning.continued_size
    if old.log != beginning.continued_log:
        lost = f" It names a later log, {old.log} with {old.size} entries, as given up."
    elif gone > 0:
        lost = f" It had signed {old.size}, so the last {gone} are lost."
    else:
        lost = ""
    return (
        f"The bank says that it restored its ledger and began a new log on {beginning.booked}, {beginning.log}, with "
        f"the first {beginning.continued_size} entries of the log {beginning.continued_log}.{lost}"
    )
