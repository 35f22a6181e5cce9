"""Customers as a bank comes to know them, without a server."""

from bank.customers import Customer
from bank.identities import Identities, Identity, Read
from keyring import messages as openpgp
from keyring.opened import Opened
from protocol.stages import Stage
from tests.bank.town import Person


def customer(person: Person) -> Customer:
    return Customer(person.number, "Alice", Stage.PASSWORD, b"", person.fingerprint, person.key)


def signed(person: Person, content: bytes = b"{}") -> bytes:
    return openpgp.sign(person.home, person.fingerprint, content)


def known(identities: Identities, person: Person, stage: Stage = Stage.SIGNED) -> Identity:
    """The identity after an opening that the person signed."""
    message = signed(person)

    def accept(identity: Identity, read: Read) -> None:
        assert isinstance(read(message), Opened)

    return identities.present(stage, customer(person), person.certified if stage.is_certified else None, accept)
