"""Everything that the ledger says is computed again from what was ordered and signed; the first bad row is named.

A finding is a value. The audit reads one snapshot and writes nothing, so it may run beside the server.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import DBAPIError

from bank import schema
from bank.batch import identity
from bank.beginning import Names
from bank.errors import HistoryLost
from bank.heads import HeadVerifier, head_file
from bank.log import HASH_BYTES, Log
from bank.replay import Leg, Legs, Walk, disagreement
from bank.storage import Ledger
from protocol import canonical, merkle
from protocol.errors import MalformedContent
from protocol.money import AmountError
from protocol.orders import Order, decode_order, format_time
from protocol.receipts import Entry, TreeHead, decode_entry
from protocol.stages import Stage

FINDINGS: Final = 100
"""After so many findings the audit ends: what follows a bad row is usually bad because of it."""

SIGNING_SECONDS: Final = 2.0
"""How long entries without a signed head are waited for, in case that a server is about to sign them."""

PROGRESS_ENTRIES: Final = 1000
"""How often the progress is told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: the row, such as ``entry 17``, and a sentence that says what about it."""

    row: str
    sentence: str


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as the audit hands it out to be verified again.

    ``key``, ``certificate`` (DER) and ``revocation_number`` are those under which it was accepted, if any.
    """

    leaf: int
    entry: Entry
    content: bytes
    message: bytes | None
    stage: str
    key_fingerprint: str | None
    key: bytes | None
    certificate: bytes | None
    revocation_number: int | None


OrderVerifier = Callable[[OrderRow], str | None]
"""None if the order's message is what its debtor signed, else a sentence."""


class _Enough(Exception):
    """There are so many findings that more would not help."""


def audit(
    ledger: Ledger,
    *,
    verify_order: OrderVerifier,
    verify_head: HeadVerifier,
    since: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Finding, ...]:
    """All that is wrong from leaf ``since`` on, in order; empty if nothing is.

    With ``since``, hashes and balances of the entries before it are believed. ``progress`` gets done and total.
    """
    outside = _outside(ledger)
    with ledger.reading() as connection:
        return _Audit(ledger, connection, verify_order, verify_head, progress).run(since, outside)


class _Audit:
    def __init__(
        self,
        ledger: Ledger,
        connection: Connection,
        verify_order: OrderVerifier,
        verify_head: HeadVerifier,
        progress: Callable[[int, int], None],
    ) -> None:
        self._ledger = ledger
        self._connection = connection
        self._verify_order = verify_order
        self._verify_head = verify_head
        self._progress = progress
        self._findings: list[Finding] = []
        self._identities: set[str] = set()
        self._heads: dict[int, list[tuple[str, bytes]]] = {}
        self._signed_size = -1
        self._at = 0

    def run(self, since: int, outside: bytes | None) -> tuple[Finding, ...]:
        """All findings, in the order in which they were met."""
        try:
            for damage in self._ledger.damage(self._connection):
                self._find("the database", f"The database is damaged: {damage}.")
            self._names = Names(self._connection, self._ledger.log)
            self._read_heads(since, outside)
            walk = self._begin(since)
            self._walk(walk, since)
            self._end(walk, since)
        except _Enough:
            pass
        except (DBAPIError, TypeError, ValueError, OverflowError) as error:
            # SQLite gives out whatever the bytes of a damaged row say, also of another type than the column's.
            self._findings.append(Finding(f"entry {self._at}", f"It or a row near it cannot be read: {error}"))
        return tuple(self._findings)

    def _find(self, row: str, sentence: str) -> None:
        self._findings.append(Finding(row, sentence))
        if len(self._findings) >= FINDINGS:
            raise _Enough

    # Heads

    def _read_heads(self, since: int, outside: bytes | None) -> None:
        """Collects what each signed head says about the root at its size; signatures are verified here."""
        heads = self._connection.execute(
            select(schema.head).where(schema.head.c.size >= since).order_by(schema.head.c.size)
        ).all()
        for size, content, message in heads:
            row = f"head {size}"
            if self._verify_head(message) != content:
                self._find(row, "Its message is not this content under the bank's signature.")
            self._read_head(row, content, size)
        if outside is not None:
            row = f"file {head_file(self._ledger).name}"
            verified = self._verify_head(outside)
            if verified is None:
                self._find(row, "It does not bear the bank's signature.")
            else:
                self._read_head(row, verified, None)
        elif any(size for size, *_ in heads):
            self._find(f"file {head_file(self._ledger).name}", "The newest head outside the database is missing.")

    def _read_head(self, row: str, content: bytes, size: int | None) -> None:
        try:
            head = canonical.decode_signed(TreeHead, content)
        except MalformedContent as error:
            self._find(row, f"It is not a head of a log: {error}")
            return
        if (head.bank, head.log) != (self._ledger.bank, self._names.at(head.size)):
            self._find(row, "It is a head of another log.")
        elif size is not None and head.size != size:
            self._find(row, f"It stands under the size {size}, but was signed for {head.size} entries.")
        else:
            self._heads.setdefault(head.size, []).append((row, bytes.fromhex(head.root)))
            self._signed_size = max(self._signed_size, head.size)

    def _compare_root(self, walk: Walk) -> None:
        for row, root in self._heads.pop(walk.size, ()):
            if root != walk.root():
                self._find(row, f"The first {walk.size} entries are not those that the bank signed.")

    # Entries

    def _signed_meanwhile(self, walk: Walk) -> bool:
        """Whether a server at work signs the last entries, as it does within moments of their commit."""
        deadline = time.monotonic() + SIGNING_SECONDS
        while not (signed := self._signed_now(walk)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return signed

    def _signed_now(self, walk: Walk) -> bool:
        content = self._verify_head(_outside(self._ledger) or b"")
        if content is None:
            return False
        head, log = canonical.decode(TreeHead, content), Log(self._ledger)
        if (head.bank, head.log) != (self._ledger.bank, self._ledger.log) or head.size < walk.size:
            return False
        try:
            return (log.root(walk.size), log.root(head.size).hex()) == (walk.root(), head.root)
        except HistoryLost:  # what is missing was found on the way, or will be the next time
            return False

    def _begin(self, since: int) -> Walk:
        walk = Walk()
        if since == 0:
            return walk
        entry = schema.entry.c
        before = self._connection.execute(
            select(entry.booked_at, entry.booking_count).where(entry.leaf == since - 1)
        ).one_or_none()
        if before is None:
            self._find(f"entry {since - 1}", "It is missing.")
            raise _Enough
        walk.size, walk.booked_at, walk.booking_count = since, before[0], before[1]
        position = 0
        for level in reversed(range(since.bit_length())):
            if since >> level & 1:
                position += 1 << level
                hashes = (
                    self._connection.execute(select(entry.hashes).where(entry.leaf == position - 1)).scalar() or b""
                )
                walk.peaks.append(hashes[level * HASH_BYTES : (level + 1) * HASH_BYTES])
        booking = schema.booking.c
        latest = (
            select(booking.account, func.max(booking.number).label("number"))
            .where(booking.leaf < since)
            .group_by(booking.account)
            .subquery()
        )
        rows = self._connection.execute(
            select(booking.account, booking.balance_after_minor).join(
                latest, (booking.account == latest.c.account) & (booking.number == latest.c.number)
            )
        )
        walk.balances = dict(rows.all())
        return walk

    def _walk(self, walk: Walk, since: int) -> None:
        entry, key, certificate = schema.entry, schema.key, schema.certificate
        total = self._connection.execute(select(func.count()).select_from(entry)).scalar_one()
        legs = Legs(self._connection, since)
        self._compare_root(walk)
        for row in self._connection.execute(
            select(entry, key.c.fingerprint, key.c.data, certificate.c.der)
            .join_from(entry, key, entry.c.key_digest == key.c.digest, isouter=True)
            .join(certificate, entry.c.certificate_digest == certificate.c.digest, isouter=True)
            .where(entry.c.leaf >= since)
            .order_by(entry.c.leaf)
        ):
            self._at = walk.size
            if row.leaf != walk.size:
                self._find(f"entry {walk.size}", f"It is missing; the next one is entry {row.leaf}.")
                raise _Enough  # every hash and balance after a gap differs
            self._entry(walk, row, legs.of(row.leaf))
            self._compare_root(walk)
            if walk.size % PROGRESS_ENTRIES == 0:
                self._progress(walk.size, total)
        self._progress(walk.size, total)
        for leg in legs.rest():
            self._find(f"booking {leg.number} of account {leg.account}", f"There is no entry {leg.leaf} for it.")

    def _entry(self, walk: Walk, row: "Row[*tuple[Any, ...]]", legs: list[Leg]) -> None:
        name = f"entry {row.leaf}"
        hashes = walk.append(merkle.leaf_hash(row.entry))
        if hashes != row.hashes:
            self._find(name, "Its hashes are not those of its content: the row was changed.")
        if row.stage == schema.LOG_STAGE:
            self._beginning(walk, row, legs)
            return
        try:
            entry, order = decode_entry(row.entry), decode_order(row.content)
        except MalformedContent as error:
            self._find(name, f"It cannot be read: {error}")
            return
        for wrong, sentence in (
            (canonical.digest(row.content) != entry.order, "Its order is not the one that was decided."),
            (row.order_digest != entry.order, "Its digest of the order is not the entry's."),
            (row.data is not None and canonical.digest(row.data) != row.key_digest, "Its key is not the one it names."),
            (
                row.der is not None and canonical.digest(row.der) != row.certificate_digest,
                "Its certificate is not the one it names.",
            ),
            (order.certificate != _named(order, row), "It names another certificate than it was accepted under."),
            (row.stage != entry.stage, f"It stands under the stage {row.stage}, but was decided in {entry.stage}."),
            (
                row.identity != identity(entry.debtor, entry.transfer_identifier),
                "It stands under another's identifier.",
            ),
            (
                (order.debtor, order.transfer_identifier, order.currency, order.bank)
                != (entry.debtor, entry.transfer_identifier, entry.currency, self._ledger.bank),
                "Its order names other parties, another bank or another currency.",
            ),
            (format_time(row.booked_at) != entry.booked, "Its booking time is not the entry's."),
            (row.booked_at < walk.booked_at, "It was booked before the entry before it."),
            (row.identity in self._identities, "Its transfer identifier was used before."),
        ):
            if wrong:
                self._find(name, sentence)
        self._identities.add(row.identity)
        walk.booked_at = row.booked_at
        refusal = self._verify_order(
            OrderRow(
                row.leaf,
                entry,
                row.content,
                row.message,
                row.stage,
                row.fingerprint,
                row.data,
                row.der,
                row.revocation_number,
            )
        )
        if refusal is not None:
            self._find(name, refusal)
        self._legs(walk, name, entry, order, row.booking_count, legs)

    def _beginning(self, walk: Walk, row: "Row[*tuple[Any, ...]]", legs: list[Leg]) -> None:
        """An entry that begins a new log moves no money and decides no order."""
        name = f"entry {row.leaf}"
        for flaw in self._names.flaws(row.leaf, row, walk.booked_at, walk.booking_count):
            self._find(name, flaw)
        if row.message is None or self._verify_head(row.message) != row.content:
            self._find(name, "Its old head does not bear the bank's signature.")
        for leg in legs:
            self._find(f"booking {leg.number} of account {leg.account}", f"It does not follow from {name}.")
        walk.booked_at = row.booked_at

    # Bookings

    def _legs(self, walk: Walk, name: str, entry: Entry, order: Order, booking_count: int, legs: list[Leg]) -> None:
        try:
            flaw = disagreement(entry, order)
            if flaw is not None:
                self._find(name, flaw)
            expected = walk.book(entry, order, self._ledger.currency)
        except AmountError as error:
            self._find(name, f"Its amount cannot be booked: {error}")
            return
        for leg in expected:
            if leg.balance_minor < 0 and leg.account != schema.BANK_ACCOUNT:
                self._find(name, f"With it the account {leg.account} falls below zero.")
        first = str(expected[0].number) if expected else None
        if entry.reference != first or booking_count != walk.booking_count:
            self._find(name, "Its booking number does not follow the one before it.")
        found, owed = set(legs), set(expected)
        for leg in expected:
            if leg not in found:
                self._find(f"booking {leg.number} of account {leg.account}", f"It is missing or differs from {name}.")
        for leg in legs:
            if leg not in owed:
                self._find(f"booking {leg.number} of account {leg.account}", f"It does not follow from {name}.")

    def _end(self, walk: Walk, since: int) -> None:
        for size, heads in sorted(self._heads.items()):
            if size > walk.size:
                for row, _ in heads:
                    self._find(row, f"The bank signed {size} entries, but there are {walk.size}: the last are lost.")
        if walk.size > max(self._signed_size, since) and not self._signed_meanwhile(walk):
            self._find(
                f"entry {max(self._signed_size, since)}",
                "No signed head covers it and what follows. If the server was stopped hard a moment ago, start it: it "
                "signs them. Else they were added by another hand.",
            )
        rows = self._connection.execute(select(schema.account.c.number, schema.account.c.balance_minor)).all()
        kept = dict(rows)
        for number in sorted(kept.keys() | walk.balances.keys()):
            computed = walk.balances.get(number, 0)
            if number not in kept:
                self._find(f"account {number}", "It has bookings, but it is missing.")
            elif kept[number] != computed:
                self._find(
                    f"account {number}",
                    f"Its balance is {kept[number]} minor units; its bookings add up to {computed}.",
                )
        if sum(kept.values()):
            self._find("accounts", f"All balances add up to {sum(kept.values())} minor units instead of zero.")


def _named(order: Order, row: "Row[*tuple[object, ...]]") -> object:
    """What the order must name: in version 1 the certified key, in later ones the X.509 certificate."""
    if row.stage != Stage.CERTIFIED.value:
        return None
    return row.key_digest if order.version == 1 else row.certificate_digest


def _outside(ledger: Ledger) -> bytes | None:
    try:
        return head_file(ledger).read_bytes()
    except FileNotFoundError:
        return None
