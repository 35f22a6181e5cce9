"""A customer becomes one step by step; each step can be repeated, and none replaces a key or a pinned fingerprint."""

from dataclasses import dataclass
from pathlib import Path

from ca.applicant import Desk, explain, verify_own
from ca.messages import RequestState, State
from ca.requests import claimed_request, make_request
from customer import bank_view, config, conversing
from customer.config import Config
from customer.errors import CustomerError, NotProven, NotReady
from customer.home import KEYS_FOLDER, CustomerHome, gnupg_home, make_folder
from customer.store import Fact
from keyring import keys, packets
from keyring.errors import KeyringError
from keyring.home import Home
from protocol.letter import Letter
from protocol.messages import Registered, RegisterKey
from protocol.orders import format_time
from protocol.secret import Secret
from protocol.stages import Stage
from protocol.transport import Address

PUBLIC_KEY_TAG = 6
_PINNED = (
    ("customer", "number"),
    ("customer", "name"),
    ("customer", "currency"),
    ("bank", "name"),
    ("bank", "address"),
    ("bank", "fingerprint"),
    ("authority", "address"),
    ("authority", "fingerprint"),
)


@dataclass(frozen=True)
class Fetched:
    """What the authority handed out: until when it certifies the own key (Unix seconds), or how far the request is."""

    until: int | None
    state: State


def from_letter(letter: Letter) -> Config:
    """The customer.toml that a letter gives, still without a key."""
    return Config(
        customer=config.Person(number=letter.customer, name=letter.name, currency=letter.currency),
        bank=config.Bank(name=letter.bank, address=letter.bank_address, fingerprint=letter.bank_fingerprint),
        authority=config.Authority(address=letter.authority_address, fingerprint=letter.authority_fingerprint),
    )


def init(folder: Path, wanted: Config, passphrase: Secret | None, *, ask: bool) -> Config:
    """Pin what the letter says and make the key pair; what was done already stays as it is.

    Raises CustomerError if the home belongs to another customer or letter, KeyringError if no key can be made.
    """
    make_folder(folder)
    user_id = keys.user_id(wanted.customer.name, wanted.customer.number)
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
    home.store.set_facts({Fact.REGISTERED: _now(home)})
    home.store.raise_floor(Stage.SESSION)


def request(home: CustomerHome, out: Path | None) -> RequestState:
    """Ask the authority for a certificate: at its desk, or by a file to be mailed. Raises CaError or KeyringError."""
    message = make_request(
        home.keys,
        home.key,
        role="customer",
        number=home.number,
        name=home.config.customer.name,
        passphrase=home.secrets.passphrase,
        clock=home.world.clock,
    )
    if out is None:
        answer = _desk(home).submit_request(message)
    else:
        try:
            out.write_bytes(message)
        except OSError as error:
            raise CustomerError(f"{out} cannot be written: {error.strerror}.") from None
        answer = RequestState(identifier=claimed_request(message).identifier, state=State.WAITING)
    home.store.set_facts({Fact.REQUEST: answer.identifier.encode(), Fact.REQUESTED: _now(home)})
    return answer


def fetch(home: CustomerHome, file: Path | None) -> Fetched:
    """Take the own certificate, the authority's key and the bank's certificate, each verified against what is pinned.

    Raises CaError if the desk gives no answer or something else; what was verified before that is kept.
    """
    own, authority, bank = _from_file(home, file) if file is not None else _from_desk(home)
    if isinstance(own, RequestState):
        return Fetched(None, own.state)
    certification = verify_own(
        own,
        ca_key=authority,
        ca_fingerprint=home.config.authority.fingerprint,
        fingerprint=home.key,
        number=home.number,
        role="customer",
    )
    home.store.set_facts(
        {
            Fact.CERTIFIED_KEY: own,
            Fact.CERTIFIED_UNTIL: str(certification.expires).encode(),
            Fact.AUTHORITY_KEY: authority,
        }
    )
    if bank is None:
        bank = _desk(home).bank_key()
    bank_view.make_certified(
        home.folder, bank, home.config.bank.fingerprint, authority, home.config.authority.fingerprint
    )
    return Fetched(certification.expires, State.ISSUED)


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


def _from_desk(home: CustomerHome) -> tuple[bytes | RequestState, bytes, bytes | None]:
    desk = _desk(home)
    own = desk.fetch(home.key)
    return own, b"" if isinstance(own, RequestState) else desk.authority_key(), None


def _from_file(home: CustomerHome, file: Path) -> tuple[bytes, bytes, bytes]:
    """The three keys out of one file such as `gpg --export` writes, told apart by their fingerprints."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CustomerError(f"{file} cannot be read: {error.strerror}.") from None
    try:
        starts = [packet.offset for packet in packets.split(data) if packet.tag == PUBLIC_KEY_TAG]
    except KeyringError as error:
        raise KeyringError(f"{file} does not hold keys as `gpg --export` writes them. {error}") from None
    parts = [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
    by_fingerprint = {keys.public_key_fingerprint(part): part for part in parts}
    found = []
    for whose, fingerprint in (
        ("your own", home.key),
        ("the authority's", home.config.authority.fingerprint),
        ("the bank's", home.config.bank.fingerprint),
    ):
        if fingerprint not in by_fingerprint:
            raise NotReady(f"{file} does not hold {whose} key; ask the authority for all three keys in one file.")
        found.append(by_fingerprint[fingerprint])
    return found[0], found[1], found[2]


def _desk(home: CustomerHome) -> Desk:
    return Desk(Address.parse(home.config.authority.address), timeout_seconds=home.config.limits.answer_seconds)


def _now(home: CustomerHome) -> bytes:
    return format_time(home.world.clock()).encode()
