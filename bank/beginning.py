"""A log that cannot be proved to continue what was signed ends; a new one takes over what is left, and says so first.

The new log has another name, and its first entry is the old head. The entries before stay where they are in the tree,
so that their receipts are proved against the new log's heads as before, and a customer who knows a head that covers no
lost entry gets a consistency proof from the old log to the new one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from bank import schema
from bank.errors import HistoryLost
from bank.log import Growth, Log
from bank.storage import Ledger
from protocol import canonical
from protocol.beginnings import LogBeginning
from protocol.errors import MalformedContent
from protocol.orders import format_time
from protocol.receipts import TreeHead

SALT_BYTES: Final = 16
LOG_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class OldHead:
    """The last head that the bank is known to have signed, and the OpenPGP message of it."""

    head: TreeHead
    message: bytes


def begin(ledger: Ledger, old: OldHead, *, clock: Callable[[], float], random: Callable[[int], bytes]) -> LogBeginning:
    """Begins a new log in a ledger, in one transaction; its head is to be signed next (Heads.start does it).

    HistoryLost if the ledger has heads of more entries than it has: then rows are missing from its midst.
    """
    entry, signed = schema.entry.c, schema.head.c
    with ledger.writing() as connection:
        last = connection.execute(
            select(entry.leaf, entry.booked_at, entry.booking_count).order_by(entry.leaf.desc()).limit(1)
        ).one_or_none()
        size = 0 if last is None else last.leaf + 1
        if (connection.execute(select(func.max(signed.size))).scalar() or 0) > size:
            raise HistoryLost(
                f"The ledger {ledger} holds heads of entries that it has lost, so it is damaged in its midst; "
                "restore a backup with `bank restore`."
            )
        booked_at = max(int(clock()), last.booked_at if last else 0)
        made = LogBeginning(
            booked=format_time(booked_at),
            continued_log=ledger.log,
            continued_size=size,
            log=random(LOG_BYTES).hex(),
            old_head=old.head,
            salt=random(SALT_BYTES).hex(),
        )
        data, content = canonical.encode(made), canonical.encode(old.head)
        connection.execute(
            insert(schema.entry),
            {
                "leaf": size,
                "hashes": Growth(Log(ledger), size).append(data),
                "booked_at": booked_at,
                "booking_count": last.booking_count if last else 0,
                "identity": identity(made.log),
                "order_digest": canonical.digest(content),
                "stage": schema.LOG_STAGE,
                "entry": data,
                "content": content,
                "message": old.message,
            },
        )
        connection.execute(update(schema.ledger).values(log=made.log))
    ledger.log = made.log
    return made


def identity(log: str) -> str:
    """What stands in ``entry.identity``; no debtor's number is a word, so no transfer can have it."""
    return f"{schema.LOG_STAGE}/{log}"


def beginnings(connection: Connection) -> tuple[tuple[int, bytes], ...]:
    """The leaves at which the log was begun anew, with their entries, in order."""
    entry = schema.entry.c
    # The identity is indexed and unique; the stage is not.
    between = entry.identity.between(identity(""), identity("g"))
    rows = connection.execute(select(entry.leaf, entry.entry).where(between).order_by(entry.leaf))
    return tuple((leaf, data) for leaf, data in rows)


def begun_after(connection: Connection, log: str, head: TreeHead) -> bool:
    """Whether the log with this name was begun with this old head, and none of its own heads is stored yet."""
    found = beginnings(connection)
    if not found:
        return False
    last = canonical.decode_signed(LogBeginning, found[-1][1])
    newest = connection.execute(select(func.max(schema.head.c.size))).scalar() or 0
    return last.log == log and last.old_head == head and newest <= last.continued_size


class Names:
    """Which log a head of a given size was of: the tree is one, but its name changes where a log was begun anew."""

    def __init__(self, connection: Connection, log: str) -> None:
        """``log``: the name that the ledger says it has now."""
        self._current = log
        self._found: list[LogBeginning] = []
        for _, data in beginnings(connection):
            try:
                self._found.append(canonical.decode_signed(LogBeginning, data))
            except MalformedContent:
                continue  # the audit names it where it meets it

    def at(self, size: int) -> str:
        """The name of the log when it had so many entries."""
        return next((each.continued_log for each in self._found if size <= each.continued_size), self._current)

    def flaws(self, leaf: int, row: "Row[*tuple[Any, ...]]", booked_at: int, booking_count: int) -> Iterator[str]:
        """What is wrong with a row that begins a log at ``leaf``, after what was booked until then."""
        try:
            said = canonical.decode_signed(LogBeginning, row.entry)
        except MalformedContent as error:
            yield f"It cannot be read: {error}"
            return
        for wrong, sentence in (
            (said.continued_size != leaf, "It says that another number of entries was taken over."),
            (said.continued_log != self.at(leaf), "It says that another log was continued."),
            (said.log != self.at(leaf + 1), "The log that it begins is not the one that follows."),
            (row.identity != identity(said.log), "It stands under another's identifier."),
            (canonical.encode(said.old_head) != row.content, "Its old head is not the one that was kept."),
            (canonical.digest(row.content) != row.order_digest, "Its digest is not that of the old head."),
            (format_time(row.booked_at) != said.booked, "Its time is not the entry's."),
            (row.booked_at < booked_at, "It was recorded before the entry before it."),
            (row.booking_count != booking_count, "It books something, which it cannot."),
        ):
            if wrong:
                yield sentence
