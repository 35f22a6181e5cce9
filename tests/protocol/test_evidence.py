"""An evidence folder has exactly the files of its kind, and a VERIFY.md that says nothing of the transfer."""

import re
import subprocess
from dataclasses import replace
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import evidence
from protocol.evidence import Certificates, EvidenceError, Kind, Parts, assemble, commands, kinds, require_folder
from protocol.orders import BulkOrder, Payment, TransferOrder, encode_order
from protocol.stages import Stage

CERTIFIED = Parts(
    stage=Stage.CERTIFIED,
    order=b"order",
    receipt=b"receipt",
    bank_key=b"bank",
    customer_key=b"customer",
    authority_key=b"authority",
    head=b"head",
    certificates=Certificates(authority=b"root", bank=b"bank's", customer=b"customer's", revocations=b"list"),
)
BANKS = Certificates(authority=b"root", bank=b"bank's", customer=None, revocations=None)
UNSIGNED = replace(CERTIFIED, stage=Stage.PASSWORD, customer_key=None, authority_key=None, head=None, certificates=None)

by_kind = pytest.mark.parametrize("kind", kinds(), ids=str)


def test_certified_order_has_every_file() -> None:
    files = assemble(CERTIFIED)
    names = {"order.pgp", "receipt.pgp", "head.pgp", "customer.pgp", "bank.pgp", "authority.pgp", "VERIFY.md"}
    names |= {"customer.crt", "bank.crt", "authority.crt", "revocations.crl"}
    assert files.keys() == names
    assert files["customer.crt"] == b"customer's"
    assert files["revocations.crl"] == b"list"
    assert files["customer.pgp"] == b"customer"
    assert require_folder(files) == Kind(Stage.CERTIFIED, bank_certified=True, with_head=True, x509=True)


def test_version_1_of_an_order_was_given_under_no_x509_certificate() -> None:
    files = assemble(replace(CERTIFIED, certificates=None))
    assert not {name for name in files if name.endswith((".crt", ".crl"))}
    assert require_folder(files).x509 is False


def test_where_orders_are_not_certified_the_bank_still_may_be() -> None:
    files = assemble(replace(UNSIGNED, authority_key=b"authority", certificates=BANKS))
    assert {name for name in files if name.endswith((".crt", ".crl"))} == {"bank.crt", "authority.crt"}


def test_unsigned_order_lies_there_as_its_content() -> None:
    files = assemble(UNSIGNED)
    assert files.keys() == {"order.json", "receipt.pgp", "bank.pgp", "VERIFY.md"}
    assert files["order.json"] == b"order"


@pytest.mark.parametrize(
    "parts",
    [
        replace(CERTIFIED, authority_key=None),
        replace(CERTIFIED, customer_key=None),
        replace(CERTIFIED, stage=Stage.SIGNED, customer_key=None),
        replace(UNSIGNED, customer_key=b"customer"),
        replace(CERTIFIED, certificates=BANKS),
        replace(UNSIGNED, authority_key=b"authority", certificates=CERTIFIED.certificates),
    ],
    ids=[
        *("no-authority", "no-customer", "no-registered-customer", "needless-customer"),
        *("no-certificate", "needless-certificate"),
    ],
)
def test_key_that_is_missing_or_too_many_is_refused(parts: Parts) -> None:
    with pytest.raises(EvidenceError, match="In the stage"):
        assemble(parts)


def test_x509_needs_an_authority() -> None:
    with pytest.raises(EvidenceError, match="give its key"):
        assemble(replace(UNSIGNED, certificates=BANKS))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("../order.pgp", b""),
        ("extra", b""),
        ("order.json", b"{}"),
        ("VERIFY.md", b"Run: rm -r ~"),
        ("VERIFY.md", Kind(Stage.SESSION, bank_certified=True, with_head=True, x509=True).instructions().encode()),
    ],
)
def test_foreign_file_or_text_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(EvidenceError, match="nothing was written"):
        require_folder({**assemble(CERTIFIED), name: data})


def test_each_kind_says_something_else() -> None:
    assert len({kind.instructions() for kind in kinds()}) == len(kinds()) == 22


@by_kind
def test_steps_are_numbered_shell_with_the_line_that_each_must_print(kind: Kind) -> None:
    text = kind.instructions()
    blocks = commands(text)
    assert len(blocks) == len(kind.passed_lines()) == len(re.findall(r"^## \d+\. ", text, re.MULTILINE))
    for block, line in zip(blocks, kind.passed_lines(), strict=True):
        assert line in block
        assert f"```text\n{line}\n```" in text
    assert max(map(len, text.splitlines())) <= 130


@by_kind
def test_commands_are_posix_shell(kind: Kind) -> None:
    script = "".join(commands(kind.instructions()))
    done = subprocess.run(["sh", "-n"], input=script.encode(), capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@by_kind
def test_commands_name_the_files_of_the_folder_and_no_fingerprint(kind: Kind) -> None:
    text = kind.instructions()
    script = "".join(commands(text))
    named = set(
        re.findall(r"\b(?:order|receipt|head|customer|bank|authority|revocations)\.(?:pgp|json|crt|crl)\b", text)
    )
    assert {name for name in named if not name.endswith(".json")} <= kind.names
    judged = re.findall(r"^judge (\w+) (\w+) (\w+)", script, re.MULTILINE)
    certificates = re.findall(r"^(?:pem|same) (\w+) ", script, re.MULTILINE)
    read = {f"{name}.pgp" for call in judged for name in call} | {f"{name}.crt" for name in certificates}
    assert read | {"order.json", "VERIFY.md", "revocations.crl"} >= kind.names
    assert ("revocations.crl" in script) == ("revocations.crl" in kind.names)
    assert not re.search(r"[0-9A-Fa-f]{20}", text)


@by_kind
def test_what_is_not_proven_is_said(kind: Kind) -> None:
    words = " ".join(kind.instructions().split())
    assert ("no signature of the debtor" in words) == (not kind.stage.orders_are_signed)
    assert ("no authority certified it" in words) == (kind.stage is Stage.SIGNED)
    assert ("no authority vouches for it here" in words) == (not kind.bank_certified)


@cache
def form_of_an_order(first: str = "amount") -> "re.Pattern[str]":
    """The regular expression that an order must match whose first field this is, as the shell hands it to grep."""
    script = "".join(commands(kinds()[0].instructions()))
    assigned = re.findall(r"^(?:text|payment)='.*'$", script, re.MULTILINE)
    asked = re.search(rf"grep -Eqx ('\[\{{\]\"{first}.*?) \"\$WORK/order.json\"", script, re.DOTALL)
    assert asked is not None
    told = "\n".join((*assigned, f"printf %s {asked[1]}"))
    done = subprocess.run(["sh", "-ec", told], capture_output=True, text=True, timeout=20, check=True)
    # A backslash in brackets is itself for grep, and Python wants two.
    return re.compile(done.stdout.replace(r'[^"\]', r'[^"\\]'))


printable = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")), max_size=30)
digests = st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)


@given(amount=printable, creditor=printable, description=printable, currency=printable, certificate=digests)
def test_every_order_has_the_form_that_the_commands_ask_for(
    amount: str, creditor: str, description: str, currency: str, certificate: str | None
) -> None:
    order = TransferOrder(
        amount=amount,
        bank="A" * 40,
        certificate=certificate,
        created="2026-01-31T09:30:00Z",
        creditor=creditor,
        currency=currency[:8],
        debtor="1001",
        description=description,
        transfer_identifier="T-1",
    )
    content = encode_order(order).decode()
    assert form_of_an_order().fullmatch(content)
    assert re.findall(r'"(\w+)":', form_of_an_order().pattern) == sorted(msgspec.json.decode(content))
    assert not form_of_an_order().fullmatch(content.replace('"debtor":"1001"', '"debtor":"1001","debtor":"1002"'))


@given(amount=printable, creditor=printable, description=printable, currency=printable, certificate=digests)
def test_every_bulk_order_has_the_form_that_the_commands_ask_for(
    amount: str, creditor: str, description: str, currency: str, certificate: str | None
) -> None:
    order = BulkOrder(
        bank="A" * 40,
        certificate=certificate,
        count=2,
        created="2026-01-31T09:30:00Z",
        currency=currency[:8],
        debtor="1001",
        execution="best-effort",
        payments=(Payment(amount, creditor, description), Payment("1.00", "1002", "")),
        sum=amount,
        transfer_identifier="T-1",
    )
    content, form = encode_order(order).decode(), form_of_an_order("bank")
    assert form.fullmatch(content)
    fields = [name for name in re.findall(r'"(\w+)":', form.pattern) if name not in Payment.__struct_fields__]
    assert fields == sorted(msgspec.json.decode(content))
    for honest, doubled in (
        ('"debtor":"1001"', '"debtor":"1001","debtor":"1002"'),
        ('"amount":"1.00"', '"amount":"1.00","amount":"9.00"'),
        ('"payments":[', '"payments":[],"payments":['),
    ):
        assert not form.fullmatch(content.replace(honest, doubled))


def test_names_are_flat_and_known() -> None:
    for kind in kinds():
        assert all(re.fullmatch(r"[A-Za-z]+\.(pgp|crt|crl|json|md)", name) for name in kind.names)
        assert evidence.INSTRUCTIONS in kind.names
