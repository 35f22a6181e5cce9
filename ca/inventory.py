"""Lists for the operator are made from the documents and the authority's own records, not from the desk's word."""

from dataclasses import asdict, dataclass
from typing import Any

from ca.authority import Authority
from ca.errors import CaError
from ca.messages import State
from ca.requests import IDENTIFIER_DIGITS, CertificateRequest, claimed_request
from ca.store import Filed
from protocol.orders import format_time

DAY_SECONDS = 86_400
SOON_DAYS = 14
_TOLD = {
    State.WAITING: "waiting for the call",
    State.CONFIRMED: "confirmed, to be issued",
    State.LOCKED: "locked, a new request is needed",
    State.ISSUED: "issued, but not at the desk: issue again",
}


@dataclass(frozen=True)
class OpenRequest:
    """A request that is not issued; the fingerprint is left out, so that nobody reads it where it should be heard."""

    request: str
    number: str
    name: str
    role: str
    received: str
    state: str
    tries_left: int

    def as_dict(self) -> dict[str, Any]:
        """By column, in their order."""
        return asdict(self)


@dataclass(frozen=True)
class Issued:
    """A certificate in the inventory; times are RFC 3339."""

    number: str
    role: str
    name: str
    fingerprint: str
    issued: str
    expires: str
    days_left: int
    state: str

    def as_dict(self) -> dict[str, Any]:
        """By column, in their order."""
        return asdict(self)


def open_requests(authority: Authority, now: int) -> tuple[OpenRequest, ...]:
    """Requests whose certificate is not at the desk yet, oldest first; ``now`` in Unix seconds."""
    keys_of: dict[tuple[str, str], set[str]] = {}
    for certificate in authority.decisions.certificates():
        if certificate.expires > now:
            keys_of.setdefault((certificate.number, certificate.role), set()).add(certificate.fingerprint)
    filed = [(each, _claimed(each)) for each in authority.desk.requests(State.WAITING, State.CONFIRMED, State.LOCKED)]
    for _, claimed in filed:
        if claimed:
            keys_of.setdefault((claimed.number, claimed.role), set()).add(claimed.fingerprint)
    return tuple(
        OpenRequest(
            request=each.digest[:IDENTIFIER_DIGITS],
            number=claimed.number if claimed else "?",
            name=claimed.name if claimed else "?",
            role=claimed.role if claimed else "?",
            received=format_time(each.received),
            state=_told(authority.state(each.digest), len(keys_of[claimed.number, claimed.role]) > 1)
            if claimed
            else "altered at the desk",
            tries_left=authority.decisions.tries_left(each.digest),
        )
        for each, claimed in filed
    )


def certificates(authority: Authority, now: int) -> tuple[Issued, ...]:
    """The inventory, what expires next first and what has expired last."""
    found = sorted(authority.decisions.certificates(), key=lambda each: (each.expires <= now, each.expires))
    return tuple(
        Issued(
            number=each.number,
            role=each.role,
            name=each.name,
            fingerprint=each.fingerprint,
            issued=format_time(each.issued),
            expires=format_time(each.expires),
            days_left=max(0, (each.expires - now) // DAY_SECONDS),
            state=_certificate_state(each.expires - now),
        )
        for each in found
    )


def _certificate_state(seconds_left: int) -> str:
    if seconds_left <= 0:
        return "expired"
    return "expires soon" if seconds_left < SOON_DAYS * DAY_SECONDS else "valid"


def _claimed(filed: Filed) -> CertificateRequest | None:
    """What the document says of itself; None if it is not the one that the desk calls by this digest."""
    try:
        claimed = claimed_request(filed.message)
    except CaError:
        return None
    return claimed.content if claimed.digest == filed.digest else None


def _told(state: State, contested: bool) -> str:
    return _TOLD[state] + ("; another key for the same number" if contested else "")
