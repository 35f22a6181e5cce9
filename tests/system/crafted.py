"""Frames and customers that the honest program would never make, made with its own parts."""

import os
import shutil
import time

from customer import conversing
from customer.home import CustomerHome
from customer.store import Fact
from keyring import messages as openpgp
from keyring.home import Home
from protocol import canonical, letter, messages
from protocol.frames import Frame, FrameType
from protocol.messages import PasswordFrame, PasswordRequest
from protocol.orders import TransferOrder, encode_order, format_time
from tests.system.town import Person, Stand, submit

DAY_SECONDS = 86_400


def order(stand: Stand, identifier: str, **changes: str) -> bytes:
    """The content of an order of Alice's over one euro, as of now."""
    fields = {
        "amount": "1.00",
        "bank": stand.town.letter("alice").bank_fingerprint,
        "certificate": None,
        "created": format_time(time.time()),
        "creditor": "1002",
        "currency": "EUR",
        "debtor": "1001",
        "description": "",
        "transfer_identifier": identifier,
        **changes,
    }
    return encode_order(TransferOrder(**fields))  # type: ignore[arg-type]


def certificate(home: CustomerHome) -> str:
    """The digest that an order of the stage certified names."""
    return canonical.digest(conversing.offered(home).certificate)


def password_request(stand: Stand, identifier: str) -> bytes:
    """What stands inside a good message of the stage password, in clear."""
    return canonical.encode(
        PasswordRequest(
            bank=stand.town.letter("alice").bank_fingerprint,
            customer="1001",
            nonce=os.urandom(32),
            request=messages.encode(submit(order(stand, identifier))),
            time=format_time(time.time()),
        )
    )


def password_frame(sealed: bytes) -> bytes:
    """The frame that hands in such a message for Alice."""
    return Frame(FrameType.PASSWORD, canonical.encode(PasswordFrame(customer="1001", sealed=sealed))).encode()


def sealed_under_password(person: Person, content: bytes) -> bytes:
    """A good message: under the password of the letter."""
    agreed = letter.agreed_password(letter.parse(person.letter.read_text()).password)
    with person.opened() as home:
        return openpgp.seal_with_password(home.keyless, agreed, content)


def bare_literal(content: bytes) -> bytes:
    """A literal data packet that nothing protects (RFC 4880 section 5.9), in a new-format header."""
    body = b"b\x00" + bytes(4) + content
    return b"\xcb\xff" + len(body).to_bytes(4, "big") + body


def with_keys_of(stand: Stand, victim: str, thief: str) -> Person:
    """Somebody who says that they are the victim, and holds the keys, and only the keys, of the thief."""
    poser, other = stand.person(victim, alias=f"{thief}-as-{victim}"), stand.person(thief)
    shutil.rmtree(poser.home / "gnupg")
    shutil.copytree(other.home / "gnupg", poser.home / "gnupg", ignore=shutil.ignore_patterns("S.*"))
    with other.opened() as home:
        key = home.key
        certified, certificate = home.store.fact(Fact.CERTIFIED_KEY), home.store.fact(Fact.CERTIFICATE)
    poser.set(key=key)
    if certified and certificate:
        offer(poser, certified, certificate)
    return poser


def with_view_of(person: Person, other: Person) -> Person:
    """This customer, knowing the bank's key as the other does who has registered."""
    shutil.copytree(other.home / "views" / "registered", person.home / "views" / "registered", dirs_exist_ok=True)
    return person


def offer(person: Person, key: bytes, certificate: bytes | None = None) -> None:
    """From now on this customer offers this as the certified key, and as the certificate if one is given."""
    with person.opened() as home:
        until = str(int(time.time()) + 90 * DAY_SECONDS).encode()
        facts = {Fact.CERTIFIED_KEY: key, Fact.CERTIFIED_UNTIL: until}
        home.store.set_facts(facts | ({Fact.CERTIFICATE: certificate} if certificate else {}))
        with home.store._writing() as database:
            database.execute("DELETE FROM certificates")


def keys_of(person: Person) -> Home:
    return Home.open(person.home / "gnupg")
