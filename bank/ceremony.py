"""What the authority hands out is stored only after it was proven to be the pinned authority's, for this very bank."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bank.certificates import keep
from bank.home import BankHome
from bank.revocations import RevocationLists, newest_crl
from bank.storage import Ledger
from ca.applicant import Desk, Proven, verify_bank
from ca.bridge import CertificateRefused, RevocationList, open_crl, open_root
from ca.documents import BANK_NUMBER
from ca.errors import CaError
from ca.messages import AuthorityKey, Certified, RequestState

DAY_SECONDS: Final = 86_400
CERTIFICATE_WARNING_DAYS: Final = 14
LIST_WARNING_DAYS: Final = 7

RENEWAL: Final = f"the authority's operator runs `ca renew {BANK_NUMBER}`, then `bank renew`"
NEW_LIST: Final = "the authority's operator runs `ca crl`, then `bank fetch`"


def take_certificate(
    bank: BankHome, ledger: Ledger, desk: Desk, clock: Callable[[], float] = time.time
) -> Proven | RequestState:
    """Fetch revocation list and certificate from the desk, verify and store them; a running server sees the list.

    The list is stored first, and whatever becomes of the certificate: it may say that this one is revoked. Gives how
    far the request has come if there is no certificate yet. Raises CaError and LedgerError.
    """
    config, now = bank.config, int(clock())
    authority = desk.authority_key()
    lists = RevocationLists(ledger, open_root(authority.root, config.authority_fingerprint))
    lists.take(desk.revocations(), now)
    found = desk.fetch(config.fingerprint)
    if isinstance(found, RequestState):
        return found
    proven = _proven(bank, ledger, authority, found, now)
    for path, data in (
        (bank.authority_path, authority.key),
        (bank.root_path, authority.root),
        (bank.certified_key_path, found.key),
        (bank.certificate_path, found.certificate),
    ):
        replace_file(path, data)
    with ledger.writing() as connection:
        keep(connection, found.certificate, proven.certificate)
    return proven


@dataclass(frozen=True)
class Standing:
    """How the bank stands with the authority, as far as it is known without asking anyone."""

    certificate: str
    revocation_list: str
    warnings: tuple[str, ...]
    next_step: str


def standing(bank: BankHome, ledger: Ledger, now: float) -> Standing:
    """Certificate, revocation list, what ends soon, and the next command; ``now`` in unix seconds."""
    authority, certified = bank.authority(), bank.certified()
    if authority is None or certified is None:
        if bank.request_path.exists():
            step = "telephone the authority (`bank fingerprint`), then `bank fetch`"
            return Standing("requested", "none", (), step)
        return Standing("none", "none", (), "bank request")
    crl = newest_crl(ledger)
    if crl is None:
        return Standing("not judged without a revocation list", "none", (), "bank fetch")
    try:
        newest = open_crl(crl, open_root(authority.root, authority.fingerprint))
    except CertificateRefused as error:
        return Standing("not judged", f"not valid: {error}", (), "bank fetch")
    said, warnings = _list_standing(newest, now)
    try:
        proven = _proven(bank, ledger, AuthorityKey(key=authority.key, root=authority.root), certified, int(now))
    except CaError as error:
        step = NEW_LIST if now > newest.next_update else "bank request"
        return Standing(f"not valid: {error}", said, warnings, step)
    days = _days(proven.certificate.not_after, now)
    valid = f"valid until {day(proven.certificate.not_after)} ({days} days)"
    step = NEW_LIST if warnings else "nothing" if bank.is_serving() else "bank serve"
    if days < CERTIFICATE_WARNING_DAYS:
        ending = f"The bank's certificate ends in {days} days, on {day(proven.certificate.not_after)}: {RENEWAL}."
        warnings, step = (ending, *warnings), RENEWAL
    return Standing(valid, said, warnings, step)


def _list_standing(newest: RevocationList, now: float) -> tuple[str, tuple[str, ...]]:
    days, end = _days(newest.next_update, now), day(newest.next_update)
    if now > newest.next_update:
        ended = f"The revocation list ran out on {end}, and no certified order is accepted: {NEW_LIST}."
        return f"number {newest.number}, ran out on {end}", (ended,)
    said = f"number {newest.number}, good until {end} ({days} days)"
    if days < LIST_WARNING_DAYS:
        ending = f"The revocation list runs out in {days} days, on {end}; after that no certified order is accepted: "
        return said, (f"{ending}{NEW_LIST}.",)
    return said, ()


def _proven(bank: BankHome, ledger: Ledger, authority: AuthorityKey, certified: Certified, now: int) -> Proven:
    return verify_bank(
        certified,
        authority=authority,
        crl=newest_crl(ledger) or b"",
        ca_fingerprint=bank.config.authority_fingerprint,
        bank_fingerprint=bank.config.fingerprint,
        at=now,
    )


def _days(end: int, now: float) -> int:
    return int(end - now) // DAY_SECONDS


def day(unix_seconds: int) -> str:
    """The day in UTC, such as 2026-01-31."""
    return time.strftime("%Y-%m-%d", time.gmtime(unix_seconds))


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, also if the power fails."""
    temporary = path.with_suffix(path.suffix + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
