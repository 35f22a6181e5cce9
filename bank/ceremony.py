"""What the authority hands out is stored only after it was proven to be the pinned authority's, for this very bank."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from bank.certificates import keep
from bank.errors import ConfigurationError
from bank.home import BankHome
from bank.own_certificate import NEW_BANK, revocation_in, revocation_told
from bank.revocations import RevocationLists, newest_crl
from bank.storage import Ledger
from ca.applicant import Desk, Proven, read_mailed, verify_bank
from ca.asked import still_asks
from ca.bridge import CertificateRefused, RevocationList, open_crl, open_root
from ca.documents import BANK_NUMBER
from ca.errors import CaError, RequestError
from ca.messages import OPEN_STATES, AuthorityKey, Certified, RequestState, State
from ca.requests import Request, claimed_request, make_request

DAY_SECONDS: Final = 86_400
CERTIFICATE_WARNING_DAYS: Final = 14
LIST_WARNING_DAYS: Final = 7

RENEWAL: Final = f"the authority's operator runs `ca renew {BANK_NUMBER}`, then `bank renew`"
NEW_LIST: Final = "the authority's operator runs `ca crl`, then `bank fetch`"
REQUEST: Final = "bank request"
REQUEST_ELSEWHERE: Final = "`bank request` where the bank's primary key is, then `bank fetch` here"


@dataclass(frozen=True)
class Requested:
    """Where a request stands, and the SHA-256 of its content (64 hex digits; "" if it is not kept in this folder)."""

    state: RequestState
    digest: str


class Source(Protocol):
    """What certificate, root and list come from: the desk, or a file that came by mail. Methods raise CaError."""

    def authority_key(self) -> AuthorityKey:
        """The authority's key and root, still to be verified."""

    def revocations(self) -> bytes:
        """The newest revocation list (DER), still to be verified."""

    def fetch(self, fingerprint: str) -> Certified | RequestState:
        """The certificate of this key, still to be verified, or how far its request has come."""


class Mail:
    """What `ca issue --out` or `ca renew --out` has written, as a source like the desk."""

    def __init__(self, file: Path) -> None:
        self._mailed: Final = read_mailed(file)

    def authority_key(self) -> AuthorityKey:
        """What the file has as the authority's key and root."""
        return self._mailed.authority

    def revocations(self) -> bytes:
        """The revocation list in the file."""
        return self._mailed.crl

    def fetch(self, fingerprint: str) -> Certified:
        """The certificate in the file; whether it is that key's is for who verifies it."""
        return self._mailed.certified


def request(bank: BankHome, desk: Desk, out: Path | None, clock: Callable[[], float] = time.time) -> Requested:
    """Ask the authority for a certificate: at its desk, or by a file to be mailed. Raises CaError or KeyringError.

    Repeated it hands in the same request for some days, so that its identifier stays. Nothing is written to be mailed
    for a key that is known to be revoked, which the authority would send back.
    """
    bank.require_primary("bank request")
    if out is not None and _known_revoked(bank):
        return Requested(RequestState("", State.REVOKED), "")
    before, message = kept_request(bank), _message(bank, clock)
    made = claimed_request(message)
    if out is None:
        answer = desk.submit_request(message)
    else:
        out.write_bytes(message)
        same = before is not None and before.digest == made.digest
        answer = before.state if before and same else RequestState(made.identifier, State.WAITING)
    # The desk may go on with an earlier request for this key, which then is the one that counts.
    if answer.identifier == made.identifier:
        replace_file(bank.request_path, message)
    _remember(bank, answer.state)
    known = {each.digest for each in (made, before) if each is not None}
    return Requested(answer, next((each for each in known if each.startswith(answer.identifier or "-")), ""))


def _known_revoked(bank: BankHome) -> bool:
    """Whether the newest list that is kept here names the bank's certificate."""
    authority, certified = bank.authority(), bank.certified()
    if authority is None or certified is None:
        return False
    with bank.open_ledger() as ledger:
        crl = newest_crl(ledger)
    if crl is None:
        return False
    newest = open_crl(crl, open_root(authority.root, authority.fingerprint))
    return revocation_in(newest, certified.certificate) is not None


def kept_request(bank: BankHome) -> Requested | None:
    """The request that is kept here, with what was last heard of it; None without one. Raises ConfigurationError."""
    made = _kept(bank)
    if made is None:
        return None
    return Requested(RequestState(made.identifier, _remembered(bank) or State.WAITING), made.digest)


def _kept(bank: BankHome) -> Request | None:
    try:
        return claimed_request(bank.request_path.read_bytes())
    except FileNotFoundError:
        return None
    except RequestError as error:
        raise ConfigurationError(
            f"{bank.request_path} is not a request any more ({error}); move it away, then run `bank request`."
        ) from None


def _message(bank: BankHome, clock: Callable[[], float]) -> bytes:
    kept = _kept(bank)
    if kept and still_asks(kept.message, bank.config.fingerprint, _remembered(bank), clock()):
        return kept.message
    try:
        return make_request(
            bank.gnupg,
            bank.config.fingerprint,
            role="bank",
            number=BANK_NUMBER,
            name=bank.config.name,
            domain=bank.config.domain,
            passphrase=None,
            clock=clock,
        )
    finally:
        bank.release()


def _remember(bank: BankHome, state: State) -> None:
    replace_file(bank.request_state_path, f"{state.value}\n".encode())


def _remembered(bank: BankHome) -> State | None:
    """What was last heard of the request, None if nothing was."""
    try:
        return State(bank.request_state_path.read_text("ascii").strip())
    except (FileNotFoundError, ValueError):  # the desk is asked again, and nothing rests on it
        return None


def take_certificate(
    bank: BankHome, ledger: Ledger, source: Source, clock: Callable[[], float] = time.time
) -> Proven | RequestState:
    """Take revocation list and certificate, verify and store them; a running server sees both.

    The list is stored first, and whatever becomes of the certificate: it may say that this one is revoked. Gives how
    far the request has come if there is no certificate yet. Raises CaError and LedgerError.
    """
    config, now = bank.config, int(clock())
    authority = source.authority_key()
    lists = RevocationLists(ledger, open_root(authority.root, config.authority_fingerprint))
    lists.take(source.revocations(), now)
    found = source.fetch(config.fingerprint)
    if isinstance(found, RequestState):
        _remember(bank, found.state)
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
    _remember(bank, State.ISSUED)
    return proven


@dataclass(frozen=True)
class Standing:
    """How the bank stands with the authority, as far as it is known without asking anyone.

    ``request`` is the identifier of the request that is under way with what was last heard of it, "" without one.
    """

    certificate: str
    revocation_list: str
    warnings: tuple[str, ...]
    next_step: str
    request: str = ""


def standing(bank: BankHome, ledger: Ledger, now: float) -> Standing:
    """Certificate, revocation list, what ends soon, and the next command; ``now`` in unix seconds. Raises CaError."""
    found = _standing(bank, ledger, now)
    if found.next_step == REQUEST and not bank.has_primary():
        return replace(found, next_step=REQUEST_ELSEWHERE)
    return found


def _standing(bank: BankHome, ledger: Ledger, now: float) -> Standing:
    asked = kept_request(bank)
    under_way = asked if asked and asked.state.state in (*OPEN_STATES, State.UNKNOWN, State.REVOKED) else None
    found = _certified_standing(bank, ledger, now)
    if under_way is None:
        return found or Standing("none", "none", (), REQUEST)
    told = f"{under_way.state.identifier}, {under_way.state.state.value}"
    if found is None:
        step = _step(under_way.state)
        certificate = "revoked" if under_way.state.state is State.REVOKED else "requested"
        return Standing(certificate, "none", (), step, told)
    # A request beside a certificate is for the time after that one; it is what comes next where that counts no more.
    step = _step(under_way.state) if found.next_step == REQUEST else found.next_step
    return replace(found, next_step=step, request=told)


def _step(asked: RequestState) -> str:
    """Who acts next on a request that is under way, and with which command."""
    match asked.state:
        case State.CONFIRMED | State.VOUCHED:
            return f"the authority's operator runs `ca issue {asked.identifier}`, then `bank fetch`"
        case State.LOCKED:
            return (
                f"the request is locked after three mistakes: telephone the authority, whose operator runs `ca reopen "
                f"{asked.identifier}`; read out what `bank fingerprint` shows, then `bank fetch`"
            )
        case State.REVOKED:
            return NEW_BANK
        case State.UNKNOWN:
            return REQUEST
    return "telephone the authority (`bank fingerprint`), then `bank fetch`"


def _certified_standing(bank: BankHome, ledger: Ledger, now: float) -> Standing | None:
    """How the certificate stands that is here, None without one."""
    authority, certified = bank.authority(), bank.certified()
    if authority is None or certified is None:
        return None
    crl = newest_crl(ledger)
    if crl is None:
        return Standing("not judged without a revocation list", "none", (), "bank fetch")
    try:
        newest = open_crl(crl, open_root(authority.root, authority.fingerprint))
    except CertificateRefused as error:
        return Standing("not judged", f"not valid: {error}", (), "bank fetch")
    said, warnings = _list_standing(newest, now)
    if (revocation := revocation_in(newest, certified.certificate)) is not None:
        gone = f"{revocation_told(newest.number)} Customers' programs send it nothing, and it does not serve."
        return Standing(f"not valid: {revocation}", said, (gone, *warnings), NEW_BANK)
    try:
        proven = _proven(bank, ledger, AuthorityKey(key=authority.key, root=authority.root), certified, int(now))
    except CaError as error:
        step = NEW_LIST if now > newest.next_update else REQUEST
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
