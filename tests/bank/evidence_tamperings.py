"""Folders with one thing wrong each; everything else about them is right, so that nothing but this can be noticed."""

from dataclasses import replace
from pathlib import Path

from keyring import keys, packets, process
from protocol import canonical, evidence
from protocol.orders import encode_order
from tests.bank.evidence_world import DAY, QUICK, Case, Files, Party, World


def keys_of_another_authority(world: World, folder: Path) -> Files:
    at = world.born + 60
    alice_key = world.rival.certify_as(world.alice, "1001", "customer", at)
    case = world.case_of(alice_key, world.alice)
    bank_key = world.rival.certify_as(world.bank, "0000", "bank", at)
    return replace(case, bank_key=bank_key, authority=world.rival.key).files()


def key_certified_by_another_authority(world: World, folder: Path) -> Files:
    return world.case_of(world.rival.certify_as(world.alice, "1001", "customer", world.born + 60), world.alice).files()


def certification_stripped_from_the_customer(world: World, folder: Path) -> Files:
    return world.case_of(world.alice.key, world.alice).files()


def certification_stripped_from_the_bank(world: World, folder: Path) -> Files:
    return replace(world.case(), bank_key=world.bank.key).files()


def key_file_of_another_customer(world: World, folder: Path) -> Files:
    return {**world.case().files(), evidence.CUSTOMER_KEY: world.bob_key}


def another_customer_signs(world: World, folder: Path) -> Files:
    return world.case_of(world.bob_key, world.bob).files()


def another_customer_finds_someone_to_note_the_number(world: World, folder: Path) -> Files:
    """A signature with the notation, which is not the authority's, beside the authority's own."""
    notations = ("number@countersign.example=1001", "role@countersign.example=customer")
    key = world.rival.certify(world.bob_key, world.bob.fingerprint, world.born + 90, *notations)
    return world.case_of(key, world.bob).files()


def key_certified_for_two_numbers(world: World, folder: Path) -> Files:
    notations = ("number@countersign.example=1001", "role@countersign.example=customer")
    key = world.authority.certify(world.bob_key, world.bob.fingerprint, world.born + 90, *notations)
    return world.case_of(key, world.bob).files()


def key_certified_for_a_longer_number(world: World, folder: Path) -> Files:
    key = world.authority.certify_as(world.alice, "10011", "customer", world.born + 60)
    return world.case_of(key, world.alice).files()


def customer_certified_as_bank(world: World, folder: Path) -> Files:
    return world.case_of(world.authority.certify_as(world.alice, "1001", "bank", world.born + 60), world.alice).files()


def bank_certified_as_customer(world: World, folder: Path) -> Files:
    key = world.authority.certify_as(world.bank, "0000", "customer", world.born + 60)
    return replace(world.case(), bank_key=key).files()


def order_before_the_certification(world: World, folder: Path) -> Files:
    return replace(world.case(), at=world.born + 30).files()


def order_after_the_end_of_the_certification(world: World, folder: Path) -> Files:
    return replace(world.case(), at=world.born + 91 * DAY).files()


def receipt_after_the_end_of_the_certification(world: World, folder: Path) -> Files:
    return replace(world.case(), signed_later=91 * DAY).files()


def certification_revoked_before_the_order(world: World, folder: Path) -> Files:
    return world.case_of(world.authority.revoked(world.alice_key, world.alice, world.born + DAY), world.alice).files()


def order_signed_by_a_subkey(world: World, folder: Path) -> Files:
    carol = Party.make(folder, "Carol (1001)", world.born, *QUICK)
    key = world.authority.certify_as(carol, "1001", "customer", world.born + 60)
    added = ("--passphrase", "", "--pinentry-mode", "loopback", "--quick-add-key", carol.fingerprint)
    process.run(carol.home, *added, "ed25519", "sign", "0", faked_time=world.born + 90)
    process.run(carol.home, "--import", stdin=key, faked_time=world.born + 90)
    subkey = next(part.fingerprint for part in keys.secret_key(carol.home, carol.fingerprint).subkeys)
    case = world.case_of(carol.key, carol)
    honest = case.files()
    assert honest[evidence.CUSTOMER_KEY] == carol.key
    return replace(case, message=carol.sign(case.content, world.ordered, subkey)).files()


def order_to_another_bank(world: World, folder: Path) -> Files:
    return decided(world, encode_order(world.order(bank=world.rival.fingerprint)))


def order_that_names_another_certificate(world: World, folder: Path) -> Files:
    return decided(world, encode_order(world.order(certificate="0" * 64)))


def receipt_of_another_order(world: World, folder: Path) -> Files:
    other = world.order(transfer_identifier="T-2")
    files = replace(world.case(), order=other, content=encode_order(other)).files()
    return {**files, evidence.ORDER: world.case().files()[evidence.ORDER]}


def receipt_signed_by_the_customer(world: World, folder: Path) -> Files:
    files = world.case().files()
    content = packets.split(files[evidence.RECEIPT])[1].body[6:]
    return {**files, evidence.RECEIPT: world.alice.sign(content, world.ordered), evidence.BANK_KEY: world.alice_key}


def head_of_another_state(world: World, folder: Path) -> Files:
    other = replace(world.case(), entry_changes={"salt": "1e" * 16}).files()
    return {**world.case().files(), evidence.HEAD: other[evidence.HEAD]}


def order_without_a_signature(world: World, folder: Path) -> Files:
    files = world.case().files()
    literal = packets.split(files[evidence.ORDER])[1]
    end = packets.split(files[evidence.ORDER])[2].offset
    return {**files, evidence.ORDER: files[evidence.ORDER][literal.offset : end]}


def order_twice(world: World, folder: Path) -> Files:
    files = world.case().files()
    return {**files, evidence.ORDER: files[evidence.ORDER] * 2}


def content_with_a_doubled_field(world: World, folder: Path) -> Files:
    honest = encode_order(world.order())
    return decided(world, honest.replace(b'"debtor":"1001"', b'"debtor":"1001","debtor":"1002"'))


def content_with_another_field(world: World, folder: Path) -> Files:
    return decided(world, encode_order(world.order()).replace(b"{", b'{"advice":"none",', 1))


def content_of_two_lines(world: World, folder: Path) -> Files:
    return decided(world, encode_order(world.order()) + b"\n")


def content_that_moves_the_cursor(world: World, folder: Path) -> Files:
    return decided(world, encode_order(world.order()).replace(b"Miete", b"\x1b[2K"))


def order_signed_as_text(world: World, folder: Path) -> Files:
    """A signature of class 01 over other bytes than those that gpg puts out."""
    content = encode_order(world.order())
    options = ("-z", "0", "--textmode", "--local-user", f"{world.alice.fingerprint}!", "--sign")
    return decided(
        world, content, process.run(world.alice.home, *options, stdin=content, faked_time=world.ordered).output
    )


def receipt_that_names_another_file(world: World, folder: Path) -> Files:
    files = world.case().files()
    return resigned(world, files, canonical.digest(files[evidence.ORDER]), "0" * 64)


def receipt_that_names_another_content(world: World, folder: Path) -> Files:
    return resigned(world, world.case().files(), canonical.digest(world.case().content), "0" * 64)


def receipt_of_another_stage(world: World, folder: Path) -> Files:
    return resigned(world, world.case().files(), '"stage":"certified"', '"stage":"signed"')


def receipt_of_another_type(world: World, folder: Path) -> Files:
    return resigned(world, world.case().files(), "transfer-receipt", "receipt")


def receipt_that_names_another_bank(world: World, folder: Path) -> Files:
    return resigned(world, world.case().files(), world.bank.fingerprint, world.rival.fingerprint)


def head_of_another_type(world: World, folder: Path) -> Files:
    return resigned(world, world.case().files(), "tree-head", "tree", name=evidence.HEAD)


def decided(world: World, content: bytes, message: bytes | None = None) -> Files:
    """Evidence of content that Alice signed and the bank decided, although no honest bank would have."""
    return redecided(world, world.case(), content, message or world.alice.sign(content, world.ordered))


def redecided(world: World, case: Case, content: bytes, message: bytes) -> Files:
    """The evidence of a case, in which the bank decided on other content."""
    files = case.files()
    named = resigned(world, files, canonical.digest(files[evidence.ORDER]), canonical.digest(message))
    if content != case.content:
        named = resigned(world, named, canonical.digest(case.content), canonical.digest(content))
    return {**named, evidence.ORDER: message}


def resigned(world: World, files: Files, old: str, new: str, name: str = evidence.RECEIPT) -> Files:
    """The bank signs something else in place of its receipt (or head)."""
    content = packets.split(files[name])[1].body[6:]
    assert content.count(old.encode()) == 1
    return {**files, name: world.signer.sign(content.replace(old.encode(), new.encode()), world.ordered + 3600)}


TAMPERINGS = (
    *(keys_of_another_authority, key_certified_by_another_authority, certification_stripped_from_the_customer),
    *(certification_stripped_from_the_bank, key_file_of_another_customer, another_customer_signs),
    *(another_customer_finds_someone_to_note_the_number, key_certified_for_two_numbers),
    *(key_certified_for_a_longer_number, customer_certified_as_bank, bank_certified_as_customer),
    *(order_before_the_certification, order_after_the_end_of_the_certification),
    *(receipt_after_the_end_of_the_certification, certification_revoked_before_the_order, order_signed_by_a_subkey),
    *(order_to_another_bank, receipt_of_another_order, receipt_signed_by_the_customer, head_of_another_state),
    *(order_without_a_signature, order_twice, content_with_a_doubled_field),
    *(order_that_names_another_certificate, content_with_another_field, content_of_two_lines),
    *(content_that_moves_the_cursor, order_signed_as_text, receipt_that_names_another_file),
    *(receipt_that_names_another_content, receipt_of_another_stage, receipt_of_another_type),
    *(receipt_that_names_another_bank, head_of_another_type),
)
