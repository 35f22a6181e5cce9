"""Lists for the operator are made from the documents and the authority's own records, not from the desk's word."""

from dataclasses import asdict, dataclass
from typing import Any

from ca import given_up, vouching
from ca.authority import SHORTEST_PREFIX, Authority
from ca.decisions import Certificate
from ca.errors import CaError, RequestError, VouchingError
from ca.messages import OPEN_STATES, State
from ca.requests import IDENTIFIER_DIGITS, Request, claimed_request
from ca.store import Filed
from protocol import canonical
from protocol.orders import format_time

DAY_SECONDS = 86_400
SOON_DAYS = 14
REVOCATION = "revocation"
SERIAL_DIGITS = 16
"""So many of a serial number's 40 hexadecimal digits tell it apart in a table."""
_TOLD = {
    State.WAITING: "waiting for the call",
    State.VOUCHED: "vouched for, to be issued",
    State.CONFIRMED: "confirmed, to be issued",
    State.LOCKED: "locked: reopen it, or drop it",
    State.ISSUED: "issued, but not at the desk: issue again",
}


@dataclass(frozen=True)
class OpenRequest:
    """A request that is not issued; the fingerprint is left out, so that nobody reads it where it should be heard.

    ``sha256`` is that of the request's content, as `customer request` prints it. Of a key that its owner has given up
    ``request`` is "revocation", and ``sha256`` is "".
    """

    request: str
    number: str
    name: str
    role: str
    received: str
    state: str
    tries_left: int
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        """By column, in their order."""
        return asdict(self)

    def as_row(self) -> dict[str, Any]:
        """As :meth:`as_dict`, without the SHA-256 of the request, which does not fit in a table."""
        return {name: value for name, value in asdict(self).items() if name != "sha256"}


@dataclass(frozen=True)
class Issued:
    """A certificate in the inventory; times are RFC 3339."""

    number: str
    role: str
    name: str
    fingerprint: str
    serial: str
    issued: str
    expires: str
    days_left: int
    state: str

    def as_dict(self) -> dict[str, Any]:
        """By column, in their order."""
        return asdict(self)

    def as_row(self) -> dict[str, Any]:
        """As :meth:`as_dict`, but with a serial number that fits in a table."""
        return {**asdict(self), "serial": self.serial[:SERIAL_DIGITS]}


def open_requests(authority: Authority, now: int) -> tuple[OpenRequest, ...]:
    """Requests whose certificate is not at the desk yet, oldest first, after keys that were given up.

    ``now`` is in Unix seconds.
    """
    keys_of: dict[tuple[str, str], set[str]] = {}
    for certificate in authority.decisions.certificates():
        if certificate.is_live(now):
            keys_of.setdefault((certificate.number, certificate.role), set()).add(certificate.fingerprint)
    filed = [(each, _claimed(each)) for each in authority.desk.requests(*OPEN_STATES)]
    for _, request in filed:
        if request:
            claimed = request.content
            keys_of.setdefault((claimed.number, claimed.role), set()).add(claimed.fingerprint)
    open_now = tuple(_open_request(authority, each, request, keys_of, now) for each, request in filed)
    return _given_up(authority, now) + open_now


def open_state(authority: Authority, filed: Filed, now: int) -> State:
    """How far a request that is not issued has come, by the authority's own records and the document itself."""
    return _state(authority, filed, _claimed(filed), now)


def _given_up(authority: Authority, now: int) -> tuple[OpenRequest, ...]:
    """A key that its owner has declared invalid asks for its revocation, and comes before all that can wait."""
    return tuple(
        OpenRequest(
            request=REVOCATION,
            number=each.certificate.number,
            name=each.certificate.name,
            role=each.certificate.role,
            received=format_time(each.given_up.received),
            state=f"given up by its owner: {each.command}",
            tries_left=0,
            sha256="",
        )
        for each in given_up.waiting(authority, now)
    )


def certificates(authority: Authority, now: int) -> tuple[Issued, ...]:
    """The inventory: what counts, what expires next first; then what has expired or was revoked."""
    every = authority.decisions.certificates()
    renewed, succeeded = {each.renews for each in every}, {each.succeeds for each in every}
    return tuple(
        Issued(
            number=each.number,
            role=each.role,
            name=each.name,
            fingerprint=each.fingerprint,
            serial=each.serial,
            issued=format_time(each.issued),
            expires=format_time(each.ends),
            days_left=max(0, (each.ends - now) // DAY_SECONDS),
            state=certificate_state(each, now, renewed=each.serial in renewed, succeeded=each.fingerprint in succeeded),
        )
        for each in sorted(every, key=lambda each: (not each.is_live(now), each.ends))
    )


def certificate_state(certificate: Certificate, now: int, *, renewed: bool, succeeded: bool = False) -> str:
    """In a word or two what the certificate is worth at ``now`` (unix seconds)."""
    if certificate.is_revoked(now):
        return "revoked"
    if not certificate.is_live(now):
        return "expired"
    if succeeded:
        return "valid, succeeded"
    if renewed:
        return "valid, renewed"
    return "expires soon" if certificate.expires - now < SOON_DAYS * DAY_SECONDS else "valid"


def described(authority: Authority, certificate: Certificate, now: int) -> dict[str, Any]:
    """One certificate in full, by the names of its parts; "" where there is nothing to say."""
    every = authority.decisions.certificates()
    renewal = next((each for each in every if each.renews == certificate.serial), None)
    successor = next((each.fingerprint for each in every if each.succeeds == certificate.fingerprint), "")
    confirmation = authority.decisions.confirmation(certificate.digest)
    return {
        "number": certificate.number,
        "role": certificate.role,
        "name": certificate.name,
        "state": certificate_state(certificate, now, renewed=renewal is not None, succeeded=bool(successor)),
        "fingerprint": certificate.fingerprint,
        "serial": certificate.serial,
        "sha256": canonical.digest(certificate.der),
        "issued": format_time(certificate.issued),
        "expires": format_time(certificate.ends),
        "request": certificate.digest,
        "confirmed_by": confirmation.operator if confirmation else "",
        "confirmed_at": format_time(confirmation.at) if confirmation else "",
        "reached_by": f"{confirmation.reached_by} {confirmation.dialled}".strip() if confirmation else "",
        "reopened": "; ".join(
            f"{format_time(each.at)} by {each.operator}: {each.reason}"
            for each in authority.decisions.reopenings(certificate.fingerprint, certificate.number)
        ),
        "renews": certificate.renews,
        "renewed_by": renewal.serial if renewal else "",
        "succeeds": certificate.succeeds,
        "succeeded_by": successor,
        "revoked": format_time(certificate.revoked_at) if certificate.revoked_at is not None else "",
        "reason": certificate.reason,
        "revoked_by": certificate.revoked_by,
    }


def find(authority: Authority, text: str, now: int) -> Certificate:
    """The certificate with this number, fingerprint, serial number or request; of several the newest that counts.

    Of two keys that count for a number it is that of the one that succeeds the other. Serial numbers and requests may
    be shortened. Raises RequestError.
    """
    every = authority.decisions.certificates()
    wanted = "".join(text.split())
    found = [each for each in every if wanted in (each.number, each.fingerprint) or wanted.upper() == each.fingerprint]
    if not found and len(wanted) >= SHORTEST_PREFIX:
        prefix = wanted.lower()
        found = [each for each in every if each.serial.startswith(prefix)] or [
            each for each in every if each.digest.startswith(prefix)
        ]
        if len({each.digest for each in found}) > 1:
            raise RequestError(f"Several certificates or requests begin with {prefix[:40]}; give more digits.")
    if not found:
        raise RequestError(
            f"There is no certificate {text[:60]!a}; give a customer number, fingerprint, serial number or request, as"
            " `ca list` and `ca requests` show them."
        )
    succeeded = {each.succeeds for each in every}
    return max(found, key=lambda each: (each.is_live(now), each.fingerprint not in succeeded, each.issued))


def last_of(authority: Authority, fingerprint: str) -> Certificate | None:
    """The newest certificate of the key with this fingerprint, None if there is none."""
    found = [each for each in authority.decisions.certificates() if fingerprint and each.fingerprint == fingerprint]
    return max(found, key=lambda each: each.issued, default=None)


def _open_request(
    authority: Authority, filed: Filed, request: Request | None, keys_of: dict[tuple[str, str], set[str]], now: int
) -> OpenRequest:
    claimed = request.content if request else None
    state = "altered at the desk"
    if claimed:
        contested = claimed.succeeds is None and len(keys_of[claimed.number, claimed.role]) > 1
        state = _told(_state(authority, filed, request, now), contested)
    return OpenRequest(
        request=filed.digest[:IDENTIFIER_DIGITS],
        number=claimed.number if claimed else "?",
        name=claimed.name if claimed else "?",
        role=claimed.role if claimed else "?",
        received=format_time(filed.received),
        state=state,
        tries_left=authority.decisions.tries_left(claimed.fingerprint, claimed.number) if claimed else 0,
        sha256=filed.digest,
    )


def _state(authority: Authority, filed: Filed, request: Request | None, now: int) -> State:
    state = authority.state(request) if request else State.WAITING
    if state is not State.WAITING or request is None or request.vouching is None:
        return state
    try:
        vouching.require_able(authority, request, now)
    except VouchingError:
        return state
    return State.VOUCHED


def _claimed(filed: Filed) -> Request | None:
    """What the document says of itself; None if it is not the one that the desk calls by this digest."""
    try:
        claimed = claimed_request(filed.message)
    except CaError:
        return None
    return claimed if claimed.digest == filed.digest else None


def _told(state: State, contested: bool) -> str:
    return _TOLD[state] + ("; another key for the same number" if contested else "")
