"""The audit with real gpg: what was accepted is accepted again, at its own time; what was tampered with is named."""

import dataclasses
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bank import audit as ledger_audit
from bank.audit import OrderRow
from bank.home import BankHome
from bank.reverify import Witnesses, audit_bank
from bank.revocations import RevocationLists
from ca import bridge
from keyring import messages as openpgp
from protocol.orders import format_time, parse_time
from protocol.stages import Stage
from tests.bank.counter import Counter, at_counter
from tests.bank.forgery import forged
from tests.bank.town import DAY, DAYS, Town


@pytest.fixture(scope="module")
def audited(town: Town, make_short_tmp: Any) -> Iterator[tuple[Counter, list[OrderRow]]]:
    """A bank that has posted an order in every stage and serves no longer, with the rows that its audit hands out."""
    town.certified_for(town.alice, "1001", "bank", days=28)  # made before the bookings that it is tried on
    with at_counter(town, make_short_tmp()) as counter:
        for stage in (Stage.SESSION, Stage.SIGNED, Stage.CERTIFIED):
            with counter.session(town.alice, stage) as talk:
                talk.pay(f"audited-{stage.value}")
                talk.pay(f"refused-{stage.value}", amount="99999.00")
    rows: list[OrderRow] = []

    def keep(row: OrderRow) -> None:
        rows.append(row)

    with counter.home.open_ledger() as ledger, Witnesses(counter.home, ledger) as witnesses:
        assert ledger_audit.audit(ledger, verify_order=keep, verify_head=witnesses.head) == ()
    yield counter, rows
    counter.home.gnupg.stop()


@pytest.fixture
def witnesses(audited: tuple[Counter, list[OrderRow]]) -> Iterator[Witnesses]:
    with audited[0].home.open_ledger() as ledger, Witnesses(audited[0].home, ledger) as witnesses:
        yield witnesses


def row_of(audited: tuple[Counter, list[OrderRow]], stage: Stage) -> OrderRow:
    return next(row for row in audited[1] if row.stage == stage.value)


def test_an_honest_ledger_has_no_findings_and_tells_how_much_was_looked_at(
    audited: tuple[Counter, list[OrderRow]],
) -> None:
    told: list[tuple[int, int]] = []
    report = audit_bank(audited[0].home, since=0, progress=lambda done, total: told.append((done, total)))
    assert report.findings == ()
    assert (report.entries, report.orders_verified) == (7, 4)  # the deposit, and two in each stage
    assert report.heads_verified >= 1
    assert told[-1] == (7, 7)


@pytest.mark.parametrize("stage", [Stage.SESSION, Stage.SIGNED, Stage.CERTIFIED])
def test_each_order_stands_as_it_was_accepted(
    audited: tuple[Counter, list[OrderRow]], witnesses: Witnesses, stage: Stage
) -> None:
    assert witnesses.order(row_of(audited, stage)) is None


@pytest.mark.parametrize("stage", [Stage.SIGNED, Stage.CERTIFIED])
def test_an_order_that_was_tampered_with_is_named(
    audited: tuple[Counter, list[OrderRow]], witnesses: Witnesses, stage: Stage
) -> None:
    town, row = audited[0].town, row_of(audited, stage)
    assert row.message is not None
    by_bob = openpgp.sign(town.bob.home, town.bob.fingerprint, row.content)
    bobs: dict[str, Any] = {"key": town.bob.certified, "key_fingerprint": town.bob.fingerprint, "message": by_bob}
    tampered: tuple[tuple[dict[str, Any], str], ...] = (
        ({"content": row.content.replace(b'"1.00"', b'"9.00"')}, "signs other content"),
        ({"message": by_bob}, "signature is not accepted"),
        ({"message": row.message[:-1] + bytes([row.message[-1] ^ 1])}, "signature is not accepted"),
        ({"message": None}, "is missing"),
        ({"key": None}, "is missing"),
        ({"key": town.bob.key}, "does not count"),
        ({"key": b"no key"}, "does not count"),
    )
    for changes, said in tampered:
        finding = witnesses.order(dataclasses.replace(row, **changes))
        assert finding is not None
        assert said in finding
        assert finding.endswith((".", ";"))
    if stage.is_certified:
        assert "was certified for customer 1002" in (witnesses.order(dataclasses.replace(row, **bobs)) or "")
    assert witnesses.order(row) is None


def test_a_key_certified_for_another_role_or_not_at_that_time_does_not_count(
    audited: tuple[Counter, list[OrderRow]], witnesses: Witnesses
) -> None:
    town, row = audited[0].town, row_of(audited, Stage.CERTIFIED)
    as_bank = town.certified_for(town.alice, "1001", "bank", days=28)
    assert "certified for bank 1001" in (witnesses.order(dataclasses.replace(row, key=as_bank)) or "")
    assert witnesses.order(dataclasses.replace(row, key=town.alice.key)) is not None
    entry = msgspec.structs.replace(row.entry, booked=format_time(time.time() + (DAYS + 1) * DAY))
    finding = witnesses.order(dataclasses.replace(row, entry=entry))
    assert finding is not None
    assert witnesses.order(row) is None
    assert "not certified at the time" in (witnesses.order(dataclasses.replace(row, entry=entry)) or "")


def test_the_certificate_of_an_order_is_judged_as_of_its_booking(
    audited: tuple[Counter, list[OrderRow]], witnesses: Witnesses
) -> None:
    town, row = audited[0].town, row_of(audited, Stage.CERTIFIED)
    assert row.certificate == town.alice.certificate
    tampered: tuple[tuple[dict[str, Any], str], ...] = (
        ({"certificate": None}, "is missing"),
        ({"revocation_number": None}, "is missing"),
        ({"revocation_number": 77}, "list 77"),
        ({"certificate": town.bob.certificate}, "did not count"),
        ({"certificate": forged(town, town.alice, role="bank")}, "not for a customer"),
        ({"certificate": forged(town, town.alice, number="1002")}, "for the number 1002"),
        ({"certificate": forged(town, town.alice, issuer=town.bob)}, "not issued by the authority"),
        ({"certificate": forged(town, town.alice, begins=-90, ends=-30)}, "ended on"),
        ({"certificate": forged(town, town.alice, request="1" * 64)}, "same request"),
    )
    for changes, said in tampered:
        finding = witnesses.order(dataclasses.replace(row, **changes))
        assert finding is not None
        assert said in finding
    version_1 = row.content.replace(b'"version":2', b'"version":1')
    signed = openpgp.sign(town.alice.home, town.alice.fingerprint, version_1)
    before: dict[str, Any] = {"content": version_1, "message": signed, "certificate": None, "revocation_number": None}
    assert witnesses.order(dataclasses.replace(row, **before)) is None  # it names the certified key
    assert witnesses.order(row) is None


def test_an_order_that_a_known_list_forbade_is_named(audited: tuple[Counter, list[OrderRow]], short_tmp: Path) -> None:
    town, row = audited[0].town, row_of(audited, Stage.CERTIFIED)
    copy = short_tmp / "bank"
    shutil.copytree(audited[0].home.path, copy, ignore=shutil.ignore_patterns("S.*"))
    bank = BankHome.open(copy)
    booked = int(parse_time(row.entry.booked, "booked").timestamp())
    crl = town.crl(9, town.alice.certificate, ago=600)
    root = bridge.open_root(town.root, town.authority_fingerprint)
    try:
        for taken_at, found in ((booked - 30, False), (booked - 300, True)):
            with bank.open_ledger() as ledger:
                with ledger.writing() as connection:
                    connection.exec_driver_sql("DROP TRIGGER IF EXISTS revocation_list_no_delete")
                    connection.exec_driver_sql("DELETE FROM revocation_list WHERE number = 9")
                RevocationLists(ledger, root).take(crl, taken_at)
                with Witnesses(bank, ledger) as witnesses:
                    assert ("list 9, which the bank had by then" in (witnesses.order(row) or "")) == found
    finally:
        bank.gnupg.stop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE certificate SET der = X'30'", "Its certificate is not the one it names."),
        ("UPDATE entry SET certificate_digest = NULL WHERE stage = 'certified'", "names another certificate"),
        ("UPDATE entry SET revocation_number = NULL WHERE stage = 'certified'", "revocation list, is missing"),
    ],
)
def test_the_audit_compares_order_and_certificate(
    audited: tuple[Counter, list[OrderRow]], short_tmp: Path, change: str, said: str
) -> None:
    copy = short_tmp / "bank"
    shutil.copytree(audited[0].home.path, copy, ignore=shutil.ignore_patterns("S.*"))
    bank = BankHome.open(copy)
    try:
        with bank.open_ledger() as ledger, ledger.writing() as connection:
            for table in ("entry", "certificate"):
                connection.exec_driver_sql(f"DROP TRIGGER {table}_no_update")
            connection.exec_driver_sql(change)
        report = audit_bank(bank, since=0, progress=lambda done, total: None)
    finally:
        bank.gnupg.stop()
    assert [finding.row for finding in report.findings if said in finding.sentence] == ["entry 5", "entry 6"]


def test_an_order_whose_stage_has_no_signature_bears_none(
    audited: tuple[Counter, list[OrderRow]], witnesses: Witnesses
) -> None:
    row = row_of(audited, Stage.SESSION)
    assert witnesses.order(row) is None
    assert witnesses.order(dataclasses.replace(row, message=b"a message")) is not None


def test_only_the_banks_own_heads_count(audited: tuple[Counter, list[OrderRow]], witnesses: Witnesses) -> None:
    counter = audited[0]
    head = (counter.home.path / "newest-head.pgp").read_bytes()
    content = witnesses.head(head)
    assert content is not None
    town = counter.town
    assert witnesses.head(openpgp.sign(town.alice.home, town.alice.fingerprint, content)) is None
    # The bank's primary key signs documents of the ceremony, never heads.
    assert witnesses.head(openpgp.sign(counter.home.gnupg, town.bank_fingerprint, content)) is None
    assert witnesses.head(head[:-1] + bytes([head[-1] ^ 1])) is None


def test_without_the_authoritys_key_certified_orders_cannot_be_vouched_for(
    audited: tuple[Counter, list[OrderRow]], short_tmp: Path
) -> None:
    home = audited[0].home
    copy = short_tmp / "bank"
    shutil.copytree(home.path, copy, ignore=shutil.ignore_patterns("S.*", "authority.pgp"))
    bank = BankHome.open(copy)
    try:
        report = audit_bank(bank, since=0, progress=lambda done, total: None)
    finally:
        bank.gnupg.stop()
    assert [finding.sentence for finding in report.findings if "bank fetch" in finding.sentence]


def test_few_workers_are_kept(
    audited: tuple[Counter, list[OrderRow]], witnesses: Witnesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bank.reverify.KEYS_AT_ONCE", 1)
    for _ in range(2):
        for stage in (Stage.SIGNED, Stage.CERTIFIED):
            assert witnesses.order(row_of(audited, stage)) is None
            assert len(witnesses._keys) == 1
