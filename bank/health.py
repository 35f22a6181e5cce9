"""Whether a bank can post is found out from what it has written, without asking it or disturbing it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from sqlalchemy import func, select

from bank import schema
from bank.errors import BankError
from bank.figures import FAILED, SEEN, Figures
from bank.heads import newest_head
from bank.home import BankHome
from bank.revocations import RevocationLists
from bank.storage import Ledger
from ca.bridge import CertificateRefused, open_root

SEEN_SECONDS: Final = 15.0
"""A process that has not been seen at work for so long does not serve; it shows itself every second."""

SIGNED_SECONDS: Final = 3.0
"""How long what is recorded may be unsigned, before that is a failure; it takes milliseconds."""

FAILURE_SECONDS: Final = 60.0
"""How long a failure of the posting counts, where no order has come since that could show that it works again."""

_STEP_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is well, and a sentence for a person."""

    check: str
    healthy: bool
    told: str


@dataclass(frozen=True)
class Facts:
    """What ledger and folder say now; times in unix seconds, None where there is none."""

    entries: int
    signed: int
    list_number: int | None
    list_ends: int | None
    certificate_ends: int | None


@dataclass(frozen=True)
class Health:
    """Looks after the bank in a folder, in a process of its own with a ledger of its own; ``clock`` gives unix seconds.

    ``serving`` is how many processes are to serve.
    """

    home: BankHome
    ledger: Ledger
    figures: Figures
    serving: int
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def facts(self) -> Facts:
        """Raises LedgerError where the ledger cannot be read."""
        with self.ledger.reading() as connection:
            newest = newest_head(connection)
            column = schema.entry.c.leaf
            entries = connection.execute(select(func.coalesce(func.max(column), -1) + 1)).scalar_one()
        number = list_ends = certificate_ends = None
        authority, certified = self.home.authority(), self.home.certified()
        if authority is not None and certified is not None:
            certificate_ends = int(
                x509.load_der_x509_certificate(certified.certificate).not_valid_after_utc.timestamp()
            )
            try:
                root = open_root(authority.root, authority.fingerprint)
                found = RevocationLists(self.ledger, root).newest()
            except CertificateRefused:
                found = None
            if found is not None:
                number, list_ends = found.number, found.next_update
        return Facts(entries, newest.size if newest else 0, number, list_ends, certificate_ends)

    def working(self) -> int:
        """How many processes have been at work just now."""
        now = self.monotonic()
        seen = [tally.get(SEEN)[0] for tally in self.figures.tallies[: self.serving]]
        return sum(1 for at in seen if at and now - at < SEEN_SECONDS)

    def checks(self) -> tuple[Check, ...]:
        """Everything that posting needs, each with a sentence; the first thing that is not well is the cause."""
        working = self.working()
        processes = Check("processes", working == self.serving, f"{working} of {self.serving} processes serve.")
        try:
            facts = self._signed()
        except BankError as error:
            return processes, Check("ledger", False, str(error))
        return (
            processes,
            Check("ledger", True, f"The ledger can be read; its log has {facts.entries} entries."),
            self._head(facts),
            self._posting(),
            *self._certificates(facts),
        )

    def _signed(self) -> Facts:
        """The facts, once all entries that there were at first are signed, or the time for that is over."""
        facts = first = self.facts()
        end = self.monotonic() + SIGNED_SECONDS
        while facts.signed < first.entries and self.monotonic() < end:
            time.sleep(_STEP_SECONDS)
            facts = self.facts()
        return Facts(first.entries, facts.signed, facts.list_number, facts.list_ends, facts.certificate_ends)

    def _head(self, facts: Facts) -> Check:
        if facts.signed >= facts.entries:
            return Check("head", True, "Everything that is recorded is signed.")
        missing = facts.entries - facts.signed
        return Check("head", False, f"The last {missing} entries of the log are not signed; gpg-agent may be stuck.")

    def _posting(self) -> Check:
        failures = [tally.get(FAILED)[0] for tally in self.figures.tallies[: self.serving]]
        if any(at and self.monotonic() - at < FAILURE_SECONDS for at in failures):
            return Check(
                "posting", False, "The last orders could not be recorded or signed; the server's log says why."
            )
        return Check("posting", True, "No order has failed to be recorded in the last minute.")

    def _certificates(self, facts: Facts) -> tuple[Check, ...]:
        if facts.certificate_ends is None:
            sentence = "This bank has no certificate; it serves the stages below certified only."
            return (Check("certificate", not self.home.config.minimum_stage.is_certified, sentence),)
        now = self.clock()
        return (
            _ends("certificate", "The bank's certificate", facts.certificate_ends, now, "`bank request`"),
            _ends("revocation-list", "The newest revocation list", facts.list_ends, now, "`bank fetch`"),
        )


def _ends(check: str, name: str, end: int | None, now: float, remedy: str) -> Check:
    if end is None:
        return Check(check, False, f"{name} is not there, and no certified order is accepted; run {remedy}.")
    day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    if now > end:
        return Check(check, False, f"{name} ended at {day}, and no certified order is accepted; see `bank status`.")
    return Check(check, True, f"{name} is good until {day}.")
