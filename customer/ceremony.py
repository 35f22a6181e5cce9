"""A customer becomes one step by step; each step can be repeated, and none replaces a key or a pinned fingerprint."""

from dataclasses import dataclass
from pathlib import Path

from ca.applicant import Desk, explain, read_mailed, verify_own
from ca.asked import still_asks
from ca.errors import DeskError, UnprovenKey
from ca.messages import AuthorityKey, Certified, RequestState, State
from ca.requests import claimed_request, make_request
from customer import bank_view, config, conversing, revocations, rotation
from customer.config import Config
from customer.errors import CustomerError, NotProven
from customer.home import KEYS_FOLDER, CustomerHome, gnupg_home, make_folder
from customer.store import Fact, KeptCertificate
from keyring import keys
from keyring.home import Home
from keyring.keys import public_key_fingerprint
from protocol.codes import Reason
from protocol.letter import Letter
from protocol.messages import Registered, RegisterKey
from protocol.orders import format_time
from protocol.secret import Secret
from protocol.stages import Stage
from protocol.transport import Address

_PINNED = (
    ("customer", "number"),
    ("customer", "name"),
    ("customer", "currency"),
    ("bank", "name"),
    ("bank", "address"),
    ("bank", "fingerprint"),
    ("bank", "domain"),
    ("authority", "address"),
    ("authority", "fingerprint"),
)


@dataclass(frozen=True)
class Requested:
    """Where a request stands, and the SHA-256 of its content (64 hex digits; "" if it was not made in this home)."""

    state: RequestState
    digest: str


@dataclass(frozen=True)
class Fetched:
    """What the authority handed out: until when it certifies the own key (Unix seconds), or how far the request is.

    ``before`` is until when the own key was certified as known here before, None if it was not; ``crl_number`` and
    ``crl_until`` are those of the newest revocation list that is kept, 0 without one. ``taken_over`` is the fingerprint
    of a new key that is in use from now on, ``next_state`` how far one is that is not yet.
    """

    until: int | None
    state: State
    before: int | None = None
    crl_number: int = 0
    crl_until: int = 0
    taken_over: str = ""
    next_state: State | None = None


@dataclass(frozen=True)
class _HandedOut:
    """What came from the desk or by mail, nothing of it verified; ``bank`` is None where the mail has none.

    ``fingerprint`` is the own key that it should be for: the one in use, or the next; ``next_state`` how far that is.
    """

    own: Certified
    authority: AuthorityKey
    bank: Certified | None
    crl: bytes
    fingerprint: str
    next_state: State | None = None


def from_letter(letter: Letter) -> Config:
    """The customer.toml that a letter gives, still without a key."""
    return Config(
        customer=config.Person(number=letter.customer, name=letter.name, currency=letter.currency),
        bank=config.Bank(
            name=letter.bank,
            address=letter.bank_address,
            fingerprint=letter.bank_fingerprint,
            domain=letter.domain,
        ),
        authority=config.Authority(address=letter.authority_address, fingerprint=letter.authority_fingerprint),
    )


def init(folder: Path, wanted: Config, passphrase: Secret | None, *, ask: bool) -> Config:
    """Pin what the letter says and make the key pair; what was done already stays as it is.

    Raises CustomerError if the home belongs to another customer or letter, KeyringError if no key can be made.
    """
    make_folder(folder)
    user_id = keys.user_id(wanted.customer.name, wanted.customer.number, wanted.bank.domain)
    found = _existing(folder, wanted)
    if found is None:
        config.write(folder, wanted)
        found = wanted
    home = gnupg_home(folder / KEYS_FOLDER, own_keys=True)
    if found.customer.key:
        keys.secret_key(home, found.customer.key)
        return found
    if _own_key(home, user_id) is None:
        home.stop()  # an interrupted init may have left a gpg at work; without its agent it makes no second key
    key = _own_key(home, user_id) or keys.new_customer_key(home, user_id, passphrase, ask=ask)
    made = Config(
        customer=config.Person(
            number=found.customer.number,
            name=found.customer.name,
            currency=found.customer.currency,
            key=key,
            stage=found.customer.stage,
        ),
        bank=found.bank,
        authority=found.authority,
        limits=found.limits,
    )
    config.write(folder, made)
    return made


def register(home: CustomerHome) -> None:
    """Register the own key under the agreed password, and take the bank's, if it is the pinned one.

    Raises RefusedByBank, KeyringError or NotProven.
    """
    key = keys.export_minimal(home.keys, home.key)
    with conversing.conversation(home, Stage.PASSWORD, to_register=True) as talk:
        answer = conversing.ask(talk, RegisterKey(key=key, number=0), Registered)
    if answer.fingerprint != home.key:
        raise NotProven("The bank registered another key than ours; telephone the bank.")
    bank_view.make_registered(home.folder, answer.bank_key, home.config.bank.fingerprint)
    home.store.set_facts({Fact.REGISTERED: _now(home), Fact.REGISTERED_KEY: home.key.encode()})
    home.store.raise_floor(Stage.SESSION)


def request(home: CustomerHome, out: Path | None) -> Requested:
    """Ask the authority for a certificate: at its desk, or by a file to be mailed. Raises CaError or KeyringError.

    Nothing is written to be mailed for a key that is known to be revoked, which the authority would send back.
    """
    if out is not None and revocations.names_own(home):
        return Requested(RequestState(home.store.text(Fact.REQUEST), State.REVOKED), "")
    message = _message(home)
    made = claimed_request(message)
    if out is None:
        answer = _desk(home).submit_request(message)
    else:
        try:
            out.write_bytes(message)
        except OSError as error:
            raise CustomerError(f"{out} cannot be written: {error.strerror}.") from None
        same = message == home.store.fact(Fact.REQUEST_MESSAGE)
        answer = RequestState(made.identifier, (request_state(home) if same else None) or State.WAITING)
    # The desk may go on with an earlier request for this key, which then is the one that counts.
    earlier = home.store.text(Fact.REQUEST_DIGEST)
    digest = next((each for each in (made.digest, earlier) if each.startswith(answer.identifier or "-")), "")
    home.store.set_facts(
        {
            Fact.REQUEST: answer.identifier.encode(),
            Fact.REQUEST_DIGEST: digest.encode(),
            Fact.REQUEST_MESSAGE: message if digest == made.digest else b"",
            Fact.REQUEST_STATE: answer.state.encode(),
            Fact.REQUESTED: _now(home),
        }
    )
    return Requested(answer, digest)


def request_state(home: CustomerHome) -> State | None:
    """What was last heard of the request for the key in use; None before."""
    return rotation.told_state(home, Fact.REQUEST_STATE)


def _message(home: CustomerHome) -> bytes:
    """The request: that of last time for some days, so that repeating it is harmless and its identifier stays."""
    kept = home.store.fact(Fact.REQUEST_MESSAGE)
    if kept and still_asks(kept, home.key, request_state(home), home.world.clock()):
        return kept
    return make_request(
        home.keys,
        home.key,
        role="customer",
        number=home.number,
        name=home.config.customer.name,
        domain=home.config.bank.domain,
        passphrase=home.secrets.passphrase,
        clock=home.world.clock,
    )


def fetch(home: CustomerHome, file: Path | None) -> Fetched:
    """Take both forms of the own certificate and of the bank's, and the revocation list; all is verified.

    Raises CaError if the desk gives no answer or something else; what was verified before that is kept.
    """
    before = certified_until(home)
    handed_out = _from_file(home, file) if file is not None else _from_desk(home)
    if isinstance(handed_out, RequestState):
        home.store.set_facts({Fact.REQUEST_STATE: handed_out.state.encode()})
        revocations.refresh(home)  # it may be a revocation that left nothing to hand out
        return Fetched(None, handed_out.state, before)
    authority, pinned = handed_out.authority, home.config.authority.fingerprint
    # First, so that a revocation is known even where it is the reason why nothing else is taken.
    newest = revocations.take(home, handed_out.crl, authority.root)
    try:
        proven = verify_own(
            handed_out.own,
            authority=authority,
            crl=newest.crl,
            ca_fingerprint=pinned,
            fingerprint=handed_out.fingerprint,
            number=home.number,
            role="customer",
            at=int(home.world.clock()),
            highest_crl_number=newest.number,
        )
    except UnprovenKey as error:
        if error.reason is Reason.CERTIFICATE_REVOKED:
            heard = Fact.REQUEST_STATE if handed_out.fingerprint == home.key else Fact.NEXT_STATE
            home.store.set_facts({heard: State.REVOKED.encode()})
        raise
    home.store.keep_certificate(
        KeptCertificate(
            handed_out.own.certificate,
            handed_out.own.key,
            proven.certification.expires,
            handed_out.fingerprint,
            proven.certificate.serial,
        )
    )
    new = handed_out.fingerprint if handed_out.fingerprint != home.key else ""
    # All at once, so that key and certificate in use always go together.
    home.store.set_facts(
        {
            **(rotation.taken_over(home, new) if new else {}),
            Fact.REQUEST_STATE: State.ISSUED.encode(),
            Fact.CERTIFIED_KEY: handed_out.own.key,
            Fact.CERTIFICATE: handed_out.own.certificate,
            Fact.CERTIFICATE_SERIAL: f"{proven.certificate.serial:x}".encode(),
            Fact.CERTIFIED_UNTIL: str(proven.certification.expires).encode(),
            Fact.AUTHORITY_KEY: authority.key,
            Fact.AUTHORITY_ROOT: authority.root,
        }
    )
    bank = handed_out.bank
    if bank is None:
        if file is not None:
            raise DeskError(
                f"Your own certificate is taken, but {file} does not hold the bank's; once the authority has certified "
                "the bank, take it with `customer fetch`, or ask for a new file."
            )
        bank = _desk(home).bank_key()
    try:
        bank_view.make_certified(
            home.folder,
            bank,
            home.config.bank.fingerprint,
            authority,
            pinned,
            crl=newest.crl,
            at=int(home.world.clock()),
            highest_crl_number=newest.number,
        )
    except UnprovenKey as error:
        if error.reason is Reason.CERTIFICATE_REVOKED:
            home.store.set_facts({Fact.BANK_REVOKED: str(newest.number).encode()})
        # Else a customer would take the bank's revocation for the own one, and make a new key.
        sentence = f"Your own certificate is good and taken. What follows is about the bank's, and not yours: {error}"
        raise UnprovenKey(sentence, error.rule, error.reason) from None
    home.store.set_facts({Fact.BANK_REVOKED: b""})
    until, next_state = proven.certification.expires, handed_out.next_state
    return Fetched(until, State.ISSUED, before, newest.number, newest.next_update, new, next_state)


def certified_until(home: CustomerHome) -> int | None:
    """When the own certificate ends (Unix seconds), None while there is none."""
    return home.store.number(Fact.CERTIFIED_UNTIL)


def explain_state(state: State) -> str:
    """What a state means, who acts next, and with which command."""
    return explain(state, "customer")


def _existing(folder: Path, wanted: Config) -> Config | None:
    """The customer.toml that is there, if it says the same; CustomerError names the first difference."""
    if not (folder / config.FILE_NAME).exists():
        return None
    found = config.read(folder)
    for section, name in _PINNED:
        if getattr(getattr(found, section), name) != getattr(getattr(wanted, section), name):
            raise CustomerError(
                f"{folder / config.FILE_NAME} is there already and says something else ({section}.{name}). For another "
                "customer or bank name another home with --home; the one that is there was not touched."
            )
    return found


def _own_key(home: Home, user_id: str) -> str | None:
    """The key that an interrupted `init` made."""
    found = [key for key in keys.secret_keys(home) if [each.text for each in key.user_ids] == [user_id]]
    if len(found) > 1:
        raise CustomerError(f"{home.path} holds several keys of this customer; begin again with a new --home.")
    return found[0].fingerprint if found else None


def _from_desk(home: CustomerHome) -> _HandedOut | RequestState:
    desk, new = _desk(home), rotation.pending(home)
    own = desk.fetch(new.fingerprint if new else home.key)
    fingerprint, next_state = new.fingerprint if new else home.key, None
    if new is not None and isinstance(own, RequestState):
        next_state = own.state
        home.store.set_facts({Fact.NEXT_STATE: next_state.encode()})
        own, fingerprint = desk.fetch(home.key), home.key
    if isinstance(own, RequestState):
        return own
    return _HandedOut(own, desk.authority_key(), None, desk.revocations(), fingerprint, next_state)


def _from_file(home: CustomerHome, file: Path) -> _HandedOut:
    """The same out of one file of the authority's, as it came by mail."""
    mailed, new = read_mailed(file), rotation.pending(home)
    fingerprint = home.key
    if new is not None and public_key_fingerprint(mailed.certified.key) == new.fingerprint:
        fingerprint = new.fingerprint
    return _HandedOut(mailed.certified, mailed.authority, mailed.bank, mailed.crl, fingerprint)


def _desk(home: CustomerHome) -> Desk:
    return Desk(Address.parse(home.config.authority.address), timeout_seconds=home.config.limits.answer_seconds)


def _now(home: CustomerHome) -> bytes:
    return format_time(home.world.clock()).encode()
