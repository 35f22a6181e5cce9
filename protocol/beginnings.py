"""A bank that lost what it signed says so in its log: a new one begins, and shows what it took over from the old.

A customer goes on with it alone only if it contains all that he knew; otherwise a person decides.
"""

from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from protocol import canonical, merkle
from protocol.orders import Digest, Time
from protocol.receipts import LogIdentifier, ReceiptError, Salt, Size, TreeHead, is_continued


class LogBeginning(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="log-beginning"):
    """The first entry of a log that the bank began anew after a loss, a leaf like every other.

    The entries before it, ``continued_size`` of them, were taken over from the log ``continued_log``. ``old_head`` is
    the last head that the bank knows to have signed before; if it is of that log, what it has beyond ``continued_size``
    is lost.
    """

    booked: Time
    continued_log: LogIdentifier
    continued_size: Size
    log: LogIdentifier
    old_head: TreeHead
    salt: Salt
    version: Literal[1] = 1


class PlacedBeginning(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="placed-beginning"):
    """Proof that a log was begun anew. ``entry``: canonical bytes of a LogBeginning, at leaf ``index``.

    ``proof``: inclusion path in the tree of the head that it comes with.
    """

    entry: bytes
    index: Size
    proof: tuple[Digest, ...]


@dataclass(frozen=True)
class NewLog:
    """Why a log is another than the one known: every beginning in it, in order; the last began it.

    ``whole``: it contains all that the older head covers.
    """

    beginnings: tuple[LogBeginning, ...]
    whole: bool

    @property
    def last(self) -> LogBeginning:
        """What began the log."""
        return self.beginnings[-1]

    def lacks(self, log: str, index: int) -> bool:
        """Whether the entry that had this place in the log of this name is lost."""
        names = [each.log for each in self.beginnings]
        later = self.beginnings[names.index(log) + 1 :] if log in names else self.beginnings
        return any(index >= each.continued_size for each in later)


def check_beginning(placed: PlacedBeginning, head: TreeHead) -> LogBeginning:
    """What began a log anew, proved to lie at its place in the tree of a head whose signature was verified.

    Raises ReceiptError for a wrong index, path, leaf or head.
    """
    found = canonical.decode_signed(LogBeginning, placed.entry)
    path = tuple(bytes.fromhex(item) for item in placed.proof)
    leaf = merkle.leaf_hash(placed.entry)
    if not merkle.verify_inclusion(leaf, placed.index, head.size, path, bytes.fromhex(head.root)):
        raise ReceiptError("What the bank says about a new log is not proven by the head that it signed; ask the bank.")
    if found.continued_size != placed.index or found.old_head.bank != head.bank:
        raise ReceiptError("What the bank says about a new log contradicts its place in the log; ask the bank.")
    return found


def check_new_log(
    older: TreeHead, newer: TreeHead, path: tuple[str, ...] | None, beginnings: tuple[PlacedBeginning, ...]
) -> NewLog:
    """Why the newer head is of another log than the older, proven; ReceiptError if the bank's log does not say."""
    found = tuple(check_beginning(each, newer) for each in beginnings)
    places = [each.continued_size for each in found]
    if older.bank != newer.bank or not found or found[-1].log != newer.log or places != sorted(set(places)):
        raise ReceiptError(
            "The bank shows another log than the one this customer knows, and the log does not say why; ask the bank "
            "before you go on, and keep the receipts."
        )
    whole = older.size <= found[-1].continued_size and is_continued(older, newer, path)
    return NewLog(found, whole)
