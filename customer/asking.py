"""Whoever has asked for a certificate is told who acts next, by what was last heard of the request."""

from dataclasses import dataclass
from typing import Final

from ca.messages import State
from customer.home import CustomerHome
from customer.rotation import Pending, told_state
from customer.store import Fact

YOU: Final = "you"
YOU_AND_THE_AUTHORITY: Final = "you and the authority"
THE_AUTHORITY: Final = "the authority, then you"
FETCH: Final = "customer fetch"
REQUEST: Final = "customer request"
NEW_HOME: Final = "customer init --home NEW-FOLDER --letter FILE"


@dataclass(frozen=True)
class Next:
    """The next act: ``who`` acts, what is done, and the command for it ("" if there is none to type)."""

    who: str
    what: str
    command: str


def example_transfer(number: str, options: str = "") -> str:
    """A transfer that the customer with this number can send as it stands, save for who gets it: never himself."""
    other = "1002" if number != "1002" else "1001"
    return f'customer send{options} --to {other} --amount 25.00 --description "rent"'


REVOKED: Final = Next(
    YOU,
    "The certificate was revoked. Telephone the authority; with a new key begin in another folder.",
    NEW_HOME,
)
ENDED: Final = Next(YOU, "The certificate has ended; ask for a new one.", REQUEST)


@dataclass(frozen=True)
class Asked:
    """The request for the key in use: its identifier, "" without one, and what was last heard of it."""

    request: str
    state: State | None


def asked(home: CustomerHome) -> Asked:
    """The request for the key in use, from what is kept here."""
    return Asked(home.store.text(Fact.REQUEST), told_state(home, Fact.REQUEST_STATE))


def step(asked: Asked) -> Next:
    """What comes next while there is no certificate that counts."""
    match asked.state:
        case State.REVOKED:
            return REVOKED
        case State.EXPIRED:
            return ENDED
        case State.ISSUED:
            return Next(YOU, "The certificate is issued; take it.", FETCH)
        case State.UNKNOWN:
            return Next(
                YOU,
                "The authority's desk has no request for your key; make one. If you have mailed one, the authority's "
                "operator takes it in with `ca requests --take FILE`; then `customer fetch`.",
                REQUEST,
            )
    if not asked.request:
        return Next(YOU, "Ask the authority for a certificate.", REQUEST)
    return _under_way(
        asked.request,
        asked.state,
        "say the caller's code from the letter and read out the words of `customer fingerprint`",
        "When it has issued the certificate, fetch it.",
    )


def next_key(new: Pending) -> Next:
    """What comes next for a new key that is not in use yet, while the present one counts."""
    match new.state if new.request else State.UNKNOWN:
        case State.UNKNOWN:
            return Next(YOU, "A new key is made and not announced yet.", "customer renew --new-key")
        case State.WAITING | State.LOCKED | State.CONFIRMED as state:
            read_out = "read out the words of `customer fingerprint --new`"
            return _under_way(new.request, state, read_out, "Then take the new key into use.")
    return Next(
        THE_AUTHORITY,
        f"Have the authority run `ca issue {new.request}`, which needs no call; then take the new key into use.",
        FETCH,
    )


def too_late(new: Pending) -> Next:
    """What comes next when the present key's certificate has ended before the new key was certified."""
    return Next(
        YOU_AND_THE_AUTHORITY,
        "The certificate has ended before the new key was certified, so that takes a call: telephone the authority "
        f"about request {new.request}, and read out the words of `customer fingerprint --new`. Then fetch it.",
        FETCH,
    )


def _under_way(request: str, state: State | None, read_out: str, then: str) -> Next:
    if state in (State.CONFIRMED, State.VOUCHED):
        return Next(
            THE_AUTHORITY,
            f"The request {request} is confirmed: the authority's operator issues it with `ca issue {request}`. {then}",
            FETCH,
        )
    if state is State.LOCKED:
        return Next(
            YOU_AND_THE_AUTHORITY,
            f"The request {request} is locked after three mistakes on the telephone. Telephone the authority: its "
            f"operator reopens it with `ca reopen {request}`; then {read_out}. {then}",
            FETCH,
        )
    return Next(YOU_AND_THE_AUTHORITY, f"Telephone the authority about request {request}: {read_out}. {then}", FETCH)
