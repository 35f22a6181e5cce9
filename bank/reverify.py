"""Stored orders and heads are verified again by gpg, each under the key and at the time at which it was accepted."""

import tempfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from bank.audit import Finding, OrderRow, audit
from bank.errors import RecordError
from bank.home import BankHome
from bank.identities import ROLE, Authority
from bank.log import size_of_log
from bank.revocations import RevocationLists
from bank.storage import Ledger
from ca.bridge import CertificateRefused, JudgedCertificate, RevocationList, Root, judge_leaf, open_root
from keyring.certification import Certification, judged_home, registered_home
from keyring.errors import KeyringError
from keyring.verdict import Rejected, SignedByBank, SignedByCustomer
from keyring.worker import Worker
from protocol.orders import decode_order, parse_time
from protocol.stages import OPERATOR, Stage

KEYS_AT_ONCE = 64
"""Keys whose workers, and certificates whose judgements, are kept while the audit walks through the orders."""

GRACE_SECONDS = 60
"""How much later than it was judged an order may have been booked."""


@dataclass(frozen=True)
class Report:
    """What an audit found; ``entries`` and ``heads`` tell how much was looked at."""

    findings: tuple[Finding, ...]
    orders_verified: int
    heads_verified: int
    entries: int


def audit_bank(bank: BankHome, *, since: int, progress: Callable[[int, int], None]) -> Report:
    """Audit the bank's whole ledger from leaf ``since`` on; it may be serving meanwhile."""
    entries = 0

    def count(done: int, total: int) -> None:
        nonlocal entries
        entries = done
        progress(done, total)

    with bank.open_ledger() as ledger, Witnesses(bank, ledger) as witnesses:
        with ledger.reading() as connection:
            size = size_of_log(connection)
        if since > size:
            raise RecordError(f"The log has {size} entries, and --since {since} is past them; name an earlier place.")
        findings = audit(
            ledger,
            verify_order=witnesses.order,
            verify_head=witnesses.head,
            since=since,
            progress=count,
        )
        return Report(findings, witnesses.orders, witnesses.heads, entries)


class Witnesses:
    """Verifies orders and heads; keeps a gpg worker for each of the keys used last."""

    def __init__(self, bank: BankHome, ledger: Ledger) -> None:
        self.orders = self.heads = 0
        self._bank = bank
        self._ledger = ledger
        self._judged: dict[tuple[bytes, str, str], JudgedCertificate] = {}
        self._keys: OrderedDict[bytes, tuple[Worker, Certification | None]] = OrderedDict()
        self._made = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cs-")))
            self._bank_worker = stack.enter_context(Worker(self._bank.gnupg))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for worker, _certification in self._keys.values():
            worker.close()
        self._stack.close()

    def head(self, message: bytes) -> bytes | None:
        """The content of a message that the bank signed, else None."""
        self.heads += 1
        expected = SignedByBank(self._bank.config.fingerprint, self._bank.signing_subkeys, certified=False)
        opened = self._bank_worker.open(message, expected)
        return None if isinstance(opened, Rejected) else opened.content

    def order(self, row: OrderRow) -> str | None:
        """None if the order is what its debtor signed under the key of that time, else a sentence."""
        if row.stage == OPERATOR or not Stage(row.stage).orders_are_signed:
            return None if row.message is None else "Its stage has no signed orders, but there is a message."
        if row.message is None or row.key is None or row.key_fingerprint is None:
            return "Its stage has signed orders, but the message or the key is missing."
        try:
            worker, certification = self._known(row, row.key, row.key_fingerprint)
        except KeyringError as error:
            return f"The key that it was accepted under does not count: {error}"
        opened = worker.open(row.message, SignedByCustomer(row.key_fingerprint, certified=False))
        if isinstance(opened, Rejected):
            return f"Its signature is not accepted: {opened.sentence}"
        if opened.content != row.content:
            return "Its message signs other content than the one that is stored."
        if certification:
            booked = parse_time(row.entry.booked, "booked").timestamp()
            if not certification.created <= booked < certification.expires:
                return "Its key was not certified at the time when it was booked."
            if (certification.number, certification.role) != (row.entry.debtor, ROLE):
                return f"Its key was certified for {certification.role} {certification.number}, not for its debtor."
            refusal = self._certificate(row, row.key_fingerprint, certification, int(booked))
            if refusal is not None:
                return refusal
        self.orders += 1
        return None

    def _certificate(self, row: OrderRow, fingerprint: str, certification: Certification, booked: int) -> str | None:
        """None if the X.509 certificate was good when the order was booked, by the list of that time."""
        if row.certificate is None or row.revocation_number is None:
            if decode_order(row.content).version == 1:
                return None  # it names the certified key itself
            return "The certificate that it was accepted under, or the number of the revocation list, is missing."
        place = (row.certificate, row.entry.debtor, fingerprint)
        try:
            if row.revocation_number not in self._lists:
                return f"The revocation list {row.revocation_number}, by which it was accepted, is missing."
            judged = self._judged.get(place) or judge_leaf(
                row.certificate,
                root=self._root,
                role=ROLE,
                number=row.entry.debtor,
                fingerprint=fingerprint,
                at=booked,
            )
            judged.require_good(booked, self._lists[row.revocation_number][0])
        except (CertificateRefused, KeyringError) as error:
            return f"Its certificate did not count when it was booked: {error}"
        if len(self._judged) >= KEYS_AT_ONCE:
            self._judged.clear()
        self._judged[place] = judged
        if judged.request_digest != certification.request_digest:
            return "Its certificate and its certified key were not issued on the same request."
        for newer, taken_at in self._lists.values():
            if judged.serial in newer.revoked and taken_at + GRACE_SECONDS < booked:
                return f"The revocation list {newer.number}, which the bank had by then, revokes its certificate."
        return None

    @cached_property
    def _lists(self) -> dict[int, tuple[RevocationList, int]]:
        """All revocation lists by number, and when each was taken."""
        lists = RevocationLists(self._ledger, self._root)
        return {each.number: (each, taken_at) for each, taken_at in lists.every()}

    @cached_property
    def _root(self) -> Root:
        authority = self._authority()
        return open_root(authority.root, authority.fingerprint)

    def _known(self, row: OrderRow, key: bytes, fingerprint: str) -> tuple[Worker, Certification | None]:
        found = self._keys.get(key)
        if found is None:
            self._made += 1
            path = self._folder / str(self._made)
            # The signature is judged without the authority, whose certification may have expired since; that it
            # was valid then is asked of gpg separately, at that time.
            home = registered_home(path, key=key, expected_fingerprint=fingerprint)
            certification = self._certified(row, key, fingerprint) if Stage(row.stage).is_certified else None
            found = self._keys[key] = (Worker(home), certification)
            while len(self._keys) > KEYS_AT_ONCE:
                self._keys.popitem(last=False)[1][0].close()
        self._keys.move_to_end(key)
        return found

    def _certified(self, row: OrderRow, key: bytes, fingerprint: str) -> Certification:
        authority = self._authority()
        with tempfile.TemporaryDirectory(prefix="cs-", dir=self._folder) as folder:
            _, certification, _ = judged_home(
                Path(folder) / "k",
                ca_key=authority.key,
                ca_fingerprint=authority.fingerprint,
                offered=key,
                expected_fingerprint=fingerprint,
                at=int(parse_time(row.entry.booked, "booked").timestamp()),
            )
        return certification

    def _authority(self) -> Authority:
        authority = self._bank.authority()
        if authority is None:
            raise KeyringError("the authority's key is not here; run `bank fetch`.")
        return authority
