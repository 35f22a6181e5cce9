"""Folders with one thing wrong in X.509 each; in OpenPGP, and in everything else, they are right."""

from pathlib import Path

from protocol import evidence
from protocol.evidence import Certificates
from protocol.orders import encode_order
from tests.bank.evidence_tamperings import redecided
from tests.bank.evidence_world import DAY, ENCRYPT, RSA, Files, Party, World


def rival_of(world: World, folder: Path) -> Party:
    """Another authority, with a key that X.509 takes."""
    return Party.make(folder, "Usurper (ca)", world.born, "Key-Type: RSA", "Key-Length: 3072", "Key-Usage: cert")


def files(world: World, **changes: bytes) -> Files:
    return world.case(x509=True, changes=changes).files()


def own(world: World) -> Certificates:
    return world.certificates


def customer_of_another_authority(world: World, folder: Path) -> Files:
    by = rival_of(world, folder)
    return files(world, customer=by.issue(world.alice, "1001", "customer", world.born + 60, name="Alice"))


def root_of_another_authority(world: World, folder: Path) -> Files:
    """All four by the other one, so that openssl alone would be content."""
    by, at = rival_of(world, folder), world.born + 60
    return files(
        world,
        authority=by.root(),
        bank=by.issue(world.bank, "0000", "bank", at, name="Bank"),
        customer=by.issue(world.alice, "1001", "customer", at, name="Alice"),
        revocations=by.crl(3, world.born + 9 * DAY),
    )


def certificate_for_another_number(world: World, folder: Path) -> Files:
    made = world.authority.issue(world.alice, "10011", "customer", world.born + 60, name="Alice")
    return files(world, customer=made)


def certificate_for_another_key(world: World, folder: Path) -> Files:
    other = Party.make(folder, "Alice (1001)", world.born, *RSA, *ENCRYPT)
    return files(world, customer=world.authority.issue(other, "1001", "customer", world.born + 60, name="Alice"))


def certificate_of_a_bank_for_the_customer(world: World, folder: Path) -> Files:
    return files(world, customer=world.authority.issue(world.alice, "1001", "bank", world.born + 60, name="Alice"))


def certificate_of_a_customer_for_the_bank(world: World, folder: Path) -> Files:
    return files(world, bank=world.authority.issue(world.bank, "0000", "customer", world.born + 60, name="Bank"))


def certificate_of_the_bank_for_another_number(world: World, folder: Path) -> Files:
    return files(world, bank=world.authority.issue(world.bank, "0001", "bank", world.born + 60, name="Bank"))


def certificate_of_the_customer_in_the_banks_file(world: World, folder: Path) -> Files:
    return {**files(world), evidence.BANK_CERTIFICATE: own(world).customer or b""}


def certificate_that_the_order_does_not_name(world: World, folder: Path) -> Files:
    """Another one for the same key, as good as the first."""
    other = world.authority.issue(world.alice, "1001", "customer", world.born + 60, name="Alice")
    assert other != own(world).customer
    return {**files(world), evidence.CUSTOMER_CERTIFICATE: other}


def certificate_that_ended_before_the_booking(world: World, folder: Path) -> Files:
    made = world.authority.issue(world.alice, "1001", "customer", world.born + 60, name="Alice", days=9)
    return files(world, customer=made)


def certificate_that_began_after_the_booking(world: World, folder: Path) -> Files:
    made = world.authority.issue(world.alice, "1001", "customer", world.ordered + 60, name="Alice")
    return files(world, customer=made)


def booked_after_the_end_of_the_list(world: World, folder: Path) -> Files:
    return files(world, revocations=world.authority.crl(3, world.born + 2 * DAY, days=7))


def booked_before_the_list(world: World, folder: Path) -> Files:
    return files(world, revocations=world.authority.crl(4, world.ordered + DAY))


def customer_revoked(world: World, folder: Path) -> Files:
    return files(world, revocations=world.authority.crl(4, world.born + 9 * DAY, own(world).customer or b""))


def bank_revoked(world: World, folder: Path) -> Files:
    return files(world, revocations=world.authority.crl(4, world.born + 9 * DAY, own(world).bank))


def list_of_another_authority(world: World, folder: Path) -> Files:
    return files(world, revocations=rival_of(world, folder).crl(3, world.born + 9 * DAY))


def order_of_version_1_that_names_the_certificate(world: World, folder: Path) -> Files:
    """Version 1 names the certified key, so whoever reads it so would find another."""
    case = world.case(x509=True)
    content = encode_order(world.order(certificate=case.order.certificate, version=1))
    return redecided(world, case, content, world.alice.sign(content, world.ordered))


CERTIFICATE_TAMPERINGS = (
    *(customer_of_another_authority, root_of_another_authority, certificate_for_another_number),
    *(certificate_for_another_key, certificate_of_a_bank_for_the_customer, certificate_of_a_customer_for_the_bank),
    *(certificate_of_the_bank_for_another_number, certificate_of_the_customer_in_the_banks_file),
    *(certificate_that_the_order_does_not_name, certificate_that_ended_before_the_booking),
    *(certificate_that_began_after_the_booking, booked_after_the_end_of_the_list, booked_before_the_list),
    *(customer_revoked, bank_revoked, list_of_another_authority, order_of_version_1_that_names_the_certificate),
)
