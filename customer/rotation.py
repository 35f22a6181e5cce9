"""A new key takes over only once the authority has certified it; until then, and for what is under way, all stays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ca.applicant import Desk
from ca.asked import still_asks
from ca.messages import RequestState, State
from ca.requests import claimed_request, make_request
from customer.errors import CustomerError, NotReady
from customer.home import CustomerHome
from customer.store import Fact
from keyring import keys
from keyring.home import Home
from protocol.orders import format_time
from protocol.transport import Address

_NEXT: Final = (Fact.NEXT_KEY, Fact.NEXT_REQUEST, Fact.NEXT_REQUESTED, Fact.NEXT_STATE)


@dataclass(frozen=True)
class Announced:
    """A new key that the present one vouches for: how far its request is, and the SHA-256 of that (64 hex digits)."""

    fingerprint: str
    state: RequestState
    digest: str


@dataclass(frozen=True)
class Pending:
    """A new key that is not in use yet; ``request`` and ``requested`` (RFC 3339) are "" until it was announced.

    ``digest`` is the SHA-256 of the request (64 hex digits), ``state`` what was last heard of it, None if nothing was.
    """

    fingerprint: str
    request: str
    requested: str
    digest: str = ""
    state: State | None = None


def announce(home: CustomerHome, out: Path | None, *, ask: bool) -> Announced:
    """Make the next key, have the present one vouch for it, and hand that in, or write it to a file.

    Repeated it goes on with the same key. ``ask``: pinentry asks for the new key's passphrase. Raises NotReady where
    the present key cannot vouch, CustomerError, KeyringError or CaError.
    """
    _require_able(home)
    if out is not None and not out.parent.is_dir():
        raise CustomerError(f"{out} cannot be written: there is no such folder.")  # before a key is made for it
    fingerprint = _next_key(home, ask=ask)
    message = _message(home, fingerprint)
    made = claimed_request(message)
    if out is None:
        address = Address.parse(home.config.authority.address)
        answer = Desk(address, timeout_seconds=home.config.limits.answer_seconds).submit_request(message)
    else:
        try:
            out.write_bytes(message)
        except OSError as error:
            raise CustomerError(f"{out} cannot be written: {error.strerror}.") from None
        answer = RequestState(made.identifier, told_state(home, Fact.NEXT_STATE) or State.VOUCHED)
    home.store.set_facts({Fact.NEXT_STATE: answer.state.encode()})
    if not home.store.fact(Fact.NEXT_REQUESTED):
        home.store.set_facts({Fact.NEXT_REQUESTED: format_time(home.world.clock()).encode()})
    return Announced(fingerprint, answer, made.digest)


def pending(home: CustomerHome) -> Pending | None:
    """The new key that is not in use yet, if there is one."""
    found, message, requested, _ = (home.store.fact(name) or b"" for name in _NEXT)
    if not found:
        return None
    if not requested:
        return Pending(found.decode(), "", "")
    made = claimed_request(message)
    state = told_state(home, Fact.NEXT_STATE)
    return Pending(found.decode(), made.identifier, requested.decode(), made.digest, state)


def told_state(home: CustomerHome, name: Fact) -> State | None:
    """The state of a request as it was last heard and kept; None if nothing was heard."""
    try:
        return State(home.store.text(name))
    except ValueError:
        return None


def taken_over(home: CustomerHome, fingerprint: str) -> dict[Fact, bytes]:
    """What is to be kept, with the certificate of the new key, so that it is the one in use from then on."""
    message = home.store.fact(Fact.NEXT_REQUEST) or b""
    made = claimed_request(message) if message else None
    return {
        Fact.KEY: fingerprint.encode(),
        Fact.KEY_BEFORE: home.key.encode(),
        Fact.REQUEST: made.identifier.encode() if made else b"",
        Fact.REQUEST_DIGEST: made.digest.encode() if made else b"",
        Fact.REQUEST_MESSAGE: b"",
        Fact.REQUESTED: home.store.fact(Fact.NEXT_REQUESTED) or b"",
        **dict.fromkeys(_NEXT, b""),
    }


def _require_able(home: CustomerHome) -> None:
    until = home.store.fact(Fact.CERTIFIED_UNTIL)
    serial = int(home.store.fact(Fact.CERTIFICATE_SERIAL) or b"0", 16)
    newest = home.store.revocations()
    if not until or int(until) <= home.world.clock() or (newest is not None and serial in newest.revoked):
        raise NotReady(
            "Your key has no certificate that counts, so it can vouch for no other. A new key begins with `customer "
            "init` in another --home, and takes a call."
        )


def _next_key(home: CustomerHome, *, ask: bool) -> str:
    """The key made for this before, also by one that was interrupted, or a new one beside the present key."""
    if kept := home.store.text(Fact.NEXT_KEY):
        return kept
    user_id = keys.user_id(home.config.customer.name, home.number, home.config.bank.domain)
    found = _unused(home, user_id)
    if not found:
        home.keys.stop()  # an interrupted one may have left a gpg at work; without its agent it makes no second key
        found = _unused(home, user_id)
    if len(found) > 1:
        raise CustomerError(
            f"{home.keys.path} holds several keys of this customer that are not in use ({', '.join(found)}); delete all"
            " but one with gpg, then repeat this."
        )
    made = found[0] if found else keys.new_customer_key(home.keys, user_id, home.secrets.passphrase, ask=ask)
    home.store.set_facts({Fact.NEXT_KEY: made.encode()})
    return made


def _unused(home: CustomerHome, user_id: str) -> list[str]:
    gnupg: Home = home.keys
    return [
        key.fingerprint
        for key in keys.secret_keys(gnupg)
        if [each.text for each in key.user_ids] == [user_id] and key.fingerprint not in home.own_keys
    ]


def _message(home: CustomerHome, fingerprint: str) -> bytes:
    """The request: that of last time for some days, so that repeating it is harmless."""
    kept = home.store.fact(Fact.NEXT_REQUEST)
    if kept:
        told = told_state(home, Fact.NEXT_STATE)
        vouched = claimed_request(kept).content.succeeds == home.key
        if vouched and still_asks(kept, fingerprint, told, home.world.clock()):
            return kept
    message = make_request(
        home.keys,
        fingerprint,
        role="customer",
        number=home.number,
        name=home.config.customer.name,
        domain=home.config.bank.domain,
        passphrase=home.secrets.passphrase,
        clock=home.world.clock,
        succeeds=home.key,
    )
    home.store.set_facts({Fact.NEXT_REQUEST: message, Fact.NEXT_REQUESTED: b"", Fact.NEXT_STATE: b""})
    return message
