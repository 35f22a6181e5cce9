"""The commands of VERIFY.md, run by sh in an empty home, accept honest evidence made a year ago and nothing else."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bank.evidence import EvidenceRefused, Keys, SentOrder, make_evidence
from bank.revocations import RevocationLists
from ca import bridge
from keyring import certification, keys, messages, packets
from keyring.home import Home
from keyring.signature import HeadSigner
from protocol import canonical, evidence
from protocol.codes import Reason, Status
from protocol.limits import PAYMENTS_IN_ORDER
from protocol.orders import encode_order, format_time
from protocol.stages import Stage
from tests.bank.certificate_tamperings import CERTIFICATE_TAMPERINGS
from tests.bank.counter import at_counter
from tests.bank.evidence_run import Verify, accepted
from tests.bank.evidence_tamperings import TAMPERINGS
from tests.bank.evidence_world import DAY, Files, World
from tests.bank.town import PASSPHRASE, Town, make_leaf, make_root


def empty_list(authority: Home, root: bytes, fingerprint: str) -> bytes:
    """The first revocation list of an authority."""
    at = int(time.time())
    with bridge.agent_key(authority, fingerprint, PASSPHRASE) as key:
        opened = bridge.open_root(root, fingerprint)
        return bridge.make_crl(key, opened, number=1, at=at, next_update=at + DAY, revoked=[])


KINDS = tuple(kind for kind in evidence.kinds() if kind.with_head == (kind.stage in {Stage.CERTIFIED, Stage.SESSION}))
"""Every stage with and without an authority; the head's step is the same in all."""


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_trial_47_honest_evidence_passes_a_year_later(world: World, verify: Verify, kind: evidence.Kind) -> None:
    case = world.case(kind.stage, bank_certified=kind.bank_certified, with_head=kind.with_head, x509=kind.x509)
    files = case.files()
    assert evidence.require_folder(files) == kind
    run = verify(files)
    assert accepted(files, run), run.output
    assert encode_order(case.order).decode() in run.output
    assert '"status":"ACSC"' in run.output


def test_evidence_of_today_with_keys_of_the_real_ceremony_passes(world: World, verify: Verify, short_tmp: Path) -> None:
    """Nothing is made by hand here: the keys, the certifications with all their notations, and the order."""
    authority, bank, alice = (Home.create(short_tmp / name, own_keys=True) for name in ("ca", "bank", "alice"))
    passphrase = PASSPHRASE
    by = keys.new_ca_key(authority, "Authority (ca)", passphrase)
    bank_of = keys.new_bank_key(bank, keys.user_id("Bank", "0000")).primary
    alice_of = keys.new_customer_key(alice, keys.user_id("Alice", "0042"), None)
    certified = []
    for home, fingerprint, name, number, role in (
        (bank, bank_of, "Bank", "0000", "bank"),
        (alice, alice_of, "Alice", "0042", "customer"),
    ):
        keys.import_key(authority, keys.export_minimal(home, fingerprint), expected_fingerprint=fingerprint)
        certification.certify(
            *(authority, fingerprint, keys.user_id(name, number)),
            number=number,
            role=role,
            request_digest="0" * 64,
            days=90,
            passphrase=passphrase,
            notations={"confirmed-by": "the operator: by call, 100 %", "reached-by": "+1 555 spk:20:1"},
        )
        certified.append(keys.export(authority, fingerprint))
    root = make_root(authority, by)
    own_certificates = evidence.Certificates(
        authority=root,
        bank=make_leaf(authority, root, bank, bank_of, "0000", "bank"),
        customer=make_leaf(authority, root, alice, alice_of, "0042"),
        revocations=empty_list(authority, root, by),
    )
    assert own_certificates.customer is not None
    changes = {
        "bank": bank_of,
        "certificate": canonical.digest(own_certificates.customer),
        "debtor": "0042",
        "version": 2,
    }
    order = world.order(**changes)
    content = encode_order(order)
    now = {"booked": format_time(time.time())}
    case = replace(world.case(with_head=False), order=order, content=content, entry_changes=now)
    sent = SentOrder(content, messages.sign(alice, alice_of, content))
    own = Keys(certified[0], certified[1], keys.export(authority, by), own_certificates)
    with HeadSigner.for_home(bank, bank_of) as signer:
        files = make_evidence(case.logged(), sent, own, signer, int(time.time()))
    run = verify(files, AUTHORITY=by)
    assert accepted(files, run), run.output


def test_trial_47_evidence_of_the_time_stands_after_renewal_and_revocation(
    town: Town, verify: Verify, short_tmp: Path
) -> None:
    """From the ledger of a bank that knows by now of another list, in which the customer's certificate is revoked."""
    with at_counter(town, short_tmp) as counter:
        with counter.session(town.alice, Stage.CERTIFIED) as talk:
            assert talk.pay("paid").status is Status.SETTLED
        with counter.session(town.bob, Stage.SIGNED) as talk:
            talk.pay("signed", creditor="1001")
        lists = RevocationLists(counter.ledger, bridge.open_root(town.root, town.authority_fingerprint))
        at = int(counter.clock())
        assert lists.take(town.crl(2, town.alice.certificate, counter.home.certificate_path.read_bytes()), at)
        gnupg = counter.home.gnupg
        renewed = make_leaf(town.authority, town.root, gnupg, town.bank_fingerprint, "0000", "bank")
        of_then = counter.home.certificate_path.read_bytes()
        counter.home.certificate_path.write_bytes(renewed)
        certified = counter.server.service.dossier.files("1001", "paid")
        signed = counter.server.service.dossier.files("1002", "signed")
    assert certified is not None
    assert signed is not None
    assert certified[evidence.BANK_CERTIFICATE] == of_then
    assert certified[evidence.CUSTOMER_CERTIFICATE] == town.alice.certificate
    assert signed[evidence.BANK_CERTIFICATE] == renewed
    known = {"AUTHORITY": town.authority_fingerprint, "CUSTOMER": town.bob.fingerprint}
    for files in (certified, signed):
        run = verify(files, **known)
        assert accepted(files, run), run.output


@pytest.mark.parametrize("shell", [("bash", "--posix"), ("bash", "-e"), ("sh",)], ids=" ".join)
def test_commands_run_in_other_shells_and_without_stopping_at_errors(
    world: World, verify: Verify, shell: tuple[str, ...]
) -> None:
    files = world.case().files()
    assert accepted(files, verify(files, *shell))


def test_after_a_failed_step_none_passes_even_if_the_shell_goes_on(world: World, verify: Verify) -> None:
    files = world.case().files()
    altered = {**files, evidence.ORDER: files[evidence.ORDER].replace(b"transfer-order", b"transfer-orders")}
    run = verify(altered, "sh")
    assert not accepted(altered, run)
    assert run.passed == evidence.require_folder(files).passed_lines()[: len(run.passed)]
    assert len(run.passed) == 2


def test_fingerprint_may_be_typed_in_groups_and_small_letters(world: World, verify: Verify) -> None:
    typed = keys.checked_fingerprint(world.authority.fingerprint).lower()
    files = world.case().files()
    assert accepted(files, verify(files, AUTHORITY=" ".join(typed[at : at + 4] for at in range(0, 40, 4))))


def test_refused_transfer_has_evidence_of_the_refusal(world: World, verify: Verify) -> None:
    refusal = {"status": Status.REJECTED, "reason": Reason.INSUFFICIENT_FUNDS, "reference": None, "field": "amount"}
    files = replace(world.case(), entry_changes=refusal).files()
    run = verify(files)
    assert accepted(files, run)
    assert '"status":"RJCT"' in run.output
    assert '"reason":"AM04"' in run.output


@pytest.mark.parametrize("stage", [Stage.CERTIFIED, Stage.SESSION])
def test_trial_47_a_bulk_order_has_evidence_with_the_result_of_every_payment(
    world: World, verify: Verify, stage: Stage
) -> None:
    case = world.bulk_case(stage, payments=3 if stage is Stage.SESSION else PAYMENTS_IN_ORDER)
    files = case.files()
    run = verify(files)
    assert accepted(files, run), run.output
    assert case.content.decode() in run.output
    for line in ('"status":"PART"', '{"field":"creditor","payment":2,"reason":"AC06"}', '"reason":"payments"'):
        assert line in run.output.splitlines()
    # Its honest twin done, a folder with another list of payments, and one whose receipt has other results.
    other = case.content.replace(b'"amount":"1.00"', b'"amount":"9.00"', 1)
    name = evidence.ORDER_CONTENT if stage is Stage.SESSION else evidence.ORDER
    forged = other if stage is Stage.SESSION else world.alice.sign(other, world.ordered)
    assert not accepted(files, verify({**files, name: forged}))
    extended = case.content.replace(b'"payments":[', b'"payments":[{"amount":"1.00","creditor":"1002"},', 1)
    unknown = replace(case, content=extended, entry_changes={"order": canonical.digest(extended)})
    with pytest.raises(EvidenceRefused):
        unknown.files()


@pytest.mark.parametrize("stage", [Stage.PASSWORD, Stage.SESSION])
def test_unsigned_order_is_said_to_prove_nothing_about_the_debtor(world: World, stage: Stage) -> None:
    text = world.case(stage).files()[evidence.INSTRUCTIONS].decode()
    assert "There is no signature of the debtor" in " ".join(text.split())


@pytest.mark.parametrize("known", ["", "0" * 40, "AUTHORITY", "bank"])
def test_wrong_or_missing_fingerprint_from_outside_is_refused(world: World, verify: Verify, known: str) -> None:
    files = world.case().files()
    assert not accepted(files, verify(files, AUTHORITY=world.bank.fingerprint if known == "bank" else known))


def regions(message: bytes) -> dict[str, range]:
    """The places of an inline-signed message by their meaning (RFC 4880, sections 5.2.3, 5.4 and 5.9)."""
    one_pass, literal, signature = packets.split(message)
    start = signature.offset + signature.header_length
    hashed = 6 + int.from_bytes(signature.body[4:6])
    unhashed = hashed + 2 + int.from_bytes(signature.body[hashed : hashed + 2])
    content = literal.offset + literal.header_length + 2 + literal.body[1] + 4
    return {
        "one-pass": range(one_pass.offset, literal.offset),
        "literal": range(literal.offset, content),
        "content": range(content, signature.offset),
        "hashed": range(signature.offset, start + hashed),
        "unhashed": range(start + hashed, start + unhashed),
        "value": range(start + unhashed, len(message)),
    }


def flipped(data: bytes, place: int, bit: int = 1) -> bytes:
    return data[:place] + bytes((data[place] ^ bit,)) + data[place + 1 :]


@pytest.mark.parametrize("region", ["one-pass", "literal", "content", "hashed", "unhashed", "value"])
def test_changed_order_file_is_refused(world: World, verify: Verify, region: str) -> None:
    files = world.case(with_head=False).files()
    places = regions(files[evidence.ORDER])[region]
    for place in places[:: max(1, len(places) // 4)]:
        changed = {**files, evidence.ORDER: flipped(files[evidence.ORDER], place, 1 << place % 8)}
        assert not accepted(files, verify(changed)), place


@pytest.mark.parametrize("name", [evidence.ORDER, evidence.RECEIPT, evidence.HEAD])
@pytest.mark.parametrize("region", ["content", "hashed"])
def test_changed_signed_bytes_are_refused_by_the_signature_alone(
    world: World, verify: Verify, name: str, region: str
) -> None:
    """Also if the digests, which would notice them too, were not compared."""
    files = world.case().files()
    instructions = "".join(evidence.commands(files[evidence.INSTRUCTIONS].decode()))
    commands = "".join(line for line in instructions.splitlines(True) if "sha256sum" not in line)
    assert commands != instructions
    assert verify(files, commands=commands).exit_code == 0
    places = regions(files[name])[region]
    for place in places[:: max(1, len(places) // 3)]:
        changed = {**files, name: flipped(files[name], place, 1 << place % 8)}
        assert verify(changed, commands=commands).exit_code != 0, place


@pytest.mark.parametrize(
    "tampering", TAMPERINGS + CERTIFICATE_TAMPERINGS, ids=lambda each: each.__name__.replace("_", "-")
)
def test_trial_47_tampered_evidence_is_refused(
    world: World, verify: Verify, short_tmp: Path, tampering: Callable[[World, Path], Files]
) -> None:
    files = tampering(world, short_tmp)
    run = verify(files)
    assert not accepted(files, run), run.output
    # Each is noticed where it is wrong: what openssl is asked comes last.
    assert ("ok: the tools for certificates are there" in run.passed) == (tampering in CERTIFICATE_TAMPERINGS)


@pytest.mark.parametrize("name", [evidence.CUSTOMER_KEY, evidence.BANK_KEY, evidence.AUTHORITY_KEY])
def test_changed_key_file_is_refused(world: World, verify: Verify, name: str) -> None:
    """In the key itself, in its user ID, and in the first signature over both."""
    files = world.case(with_head=False).files()
    for part in packets.split(files[name])[:3]:
        place = part.offset + part.header_length + len(part.body) - 5
        assert not accepted(files, verify({**files, name: flipped(files[name], place)})), part.tag


WHOLE = evidence.Kind(Stage.CERTIFIED, bank_certified=True, with_head=True, x509=True)


@pytest.mark.parametrize("name", sorted(WHOLE.names - {evidence.INSTRUCTIONS} | {evidence.ORDER_CONTENT}))
def test_missing_file_is_refused(world: World, verify: Verify, name: str) -> None:
    files = world.case(Stage.PASSWORD if name == evidence.ORDER_CONTENT else Stage.CERTIFIED, x509=True).files()
    assert name in files
    assert not accepted(files, verify({other: data for other, data in files.items() if other != name}))


X509 = (
    evidence.AUTHORITY_CERTIFICATE,
    evidence.BANK_CERTIFICATE,
    evidence.CUSTOMER_CERTIFICATE,
    evidence.REVOCATIONS,
)


@pytest.mark.parametrize("name", X509)
def test_trial_47_changed_certificate_or_list_is_refused(world: World, verify: Verify, name: str) -> None:
    files = world.case(x509=True).files()
    length = len(files[name])
    for place in (3, length // 3, length // 2, length - 150, length - 1):
        changed = {**files, name: flipped(files[name], place)}
        assert not accepted(files, verify(changed)), place


def test_registered_key_must_be_the_one_that_was_named(world: World, verify: Verify) -> None:
    files = world.case(Stage.SIGNED, bank_certified=False).files()
    assert not accepted(files, verify(files, CUSTOMER=world.bob.fingerprint))
    assert not accepted(files, verify(files, BANK=world.bob.fingerprint))


def test_changed_content_of_an_unsigned_order_is_refused(world: World, verify: Verify) -> None:
    files = world.case(Stage.SESSION).files()
    other = encode_order(world.order(certificate=None, amount="26.00"))
    assert not accepted(files, verify({**files, evidence.ORDER_CONTENT: other}))
