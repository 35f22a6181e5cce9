"""The bank and the authority's desk: what `bank fetch` takes, what the watcher learns, what `bank status` warns of."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding

from bank.ceremony import standing
from bank.cli import accounts, certificate, commands, records, serve, setup
from bank.home import BankHome
from bank.own_certificate import NEW_BANK
from ca import bridge
from ca.messages import AuthorityKey, Certified, State
from keyring import keys
from keyring.console import WAITS
from keyring.home import Home
from protocol.codes import Reason, Status
from protocol.messages import AskBankKey, AskEvidence, BankKey, Evidence
from protocol.stages import Stage
from tests.bank.counter import at_counter, eventually, served
from tests.bank.desks import Desk, opened
from tests.bank.forgery import forged, rival_root
from tests.bank.town import DAY, DAYS, Person, Town, certified_by, copied_bank, make_leaf

for module in (setup, certificate, accounts, serve, records):
    module.add_to(commands)


@pytest.fixture
def desk(town: Town) -> Desk:
    """An honest desk."""
    folder = town.folder / "bank"
    own = Certified(
        certificate=(folder / "certificate.crt").read_bytes(), key=(folder / "certificate.pgp").read_bytes()
    )
    authority = AuthorityKey(key=keys.export(town.authority, town.authority_fingerprint), root=town.root)
    return Desk(authority, own, town.crl(2))


@pytest.fixture
def home(town: Town, short_tmp: Path, desk: Desk) -> Iterator[BankHome]:
    """A bank that knows the desk's address."""
    with opened(desk) as address:
        home = copied_bank(town, short_tmp, authority_address=str(address))
        yield home
        home.gnupg.stop()


def call(home: BankHome, *arguments: str) -> Result:
    return CliRunner().invoke(commands, [*arguments, "--home", str(home.path)])


def lists(home: BankHome) -> list[int]:
    with home.open_ledger() as ledger, ledger.reading() as connection:
        return list(connection.exec_driver_sql("SELECT number FROM revocation_list ORDER BY number").scalars())


def test_fetch_takes_both_forms_and_the_list(town: Town, home: BankHome, desk: Desk) -> None:
    for path in (home.authority_path, home.root_path, home.certified_key_path, home.certificate_path):
        path.unlink()
    assert home.authority() is None
    assert home.certified() is None
    result = call(home, "fetch")
    assert result.exit_code == 0, result.output
    assert "number 2" in result.output
    assert home.certified() == desk.own
    found = home.authority()
    assert found is not None
    assert (found.key, found.root) == (desk.authority.key, desk.authority.root)
    assert lists(home) == [1, 2]


def test_trial_26_an_older_list_is_refused_and_nothing_else_is_taken(town: Town, home: BankHome, desk: Desk) -> None:
    assert call(home, "fetch").exit_code == 0
    desk.crl = town.crl(1)
    result = call(home, "fetch")
    assert result.exit_code == 1
    assert "older than list 2" in result.output
    assert lists(home) == [1, 2]


def bank_as_person(town: Town) -> Person:
    return replace(town.alice, home=BankHome.open(town.folder / "bank").gnupg, fingerprint=town.bank_fingerprint)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "of another authority": ({"role": "bank", "number": "0000"}, "not issued by the authority"),
    "for a customer": ({"role": "customer", "number": "0000"}, "not for a bank"),
    "for another number": ({"role": "bank", "number": "1001"}, "for the number 1001"),
    "expired": ({"role": "bank", "number": "0000", "begins": -90, "ends": -30}, "ended on"),
    "on another request": ({"role": "bank", "number": "0000", "request": "1" * 64}, "same request"),
}


@pytest.mark.parametrize("case", WRONG)
def test_trial_26_a_certificate_that_is_not_the_banks_own_is_not_taken(
    town: Town, home: BankHome, desk: Desk, case: str
) -> None:
    changes, said = WRONG[case]
    issuer = town.bob if case == "of another authority" else None
    assert isinstance(desk.own, Certified)
    certificate = forged(town, bank_as_person(town), issuer=issuer, **changes)
    desk.own = Certified(certificate=certificate, key=desk.own.key)
    before = home.certified()
    result = call(home, "fetch")
    assert result.exit_code == 1
    assert said in result.output
    assert home.certified() == before


def test_trial_26_a_customers_certificate_is_not_taken_for_the_banks(town: Town, home: BankHome, desk: Desk) -> None:
    alice = town.alice
    desk.own = Certified(certificate=alice.certificate, key=alice.certified)
    assert "not for a bank" in call(home, "fetch").output
    assert lists(home) == [1, 2]  # the list counts, whatever becomes of the certificate


def test_a_root_of_another_authority_is_not_taken(town: Town, home: BankHome, desk: Desk) -> None:
    with bridge.agent_key(town.bob.home, town.bob.fingerprint, None) as key:
        root = rival_root(key).certificate.public_bytes(Encoding.DER)
    desk.authority = AuthorityKey(key=desk.authority.key, root=root)
    result = call(home, "fetch")
    assert result.exit_code == 1
    assert "and pinned here is" in result.output
    assert "read out `ca fingerprint` again" in result.output
    assert "correct it in bank.toml" in result.output
    assert lists(home) == [1]


def test_without_a_certificate_it_is_said_how_far_the_request_has_come(home: BankHome, desk: Desk) -> None:
    desk.own = State.WAITING
    result = call(home, "fetch")
    assert (result.exit_code, result.stderr) == (WAITS, "")
    assert "bank fingerprint" in result.output
    told = call(home, "fetch", "--json")
    assert (told.exit_code, json.loads(told.output)["state"]) == (WAITS, "waiting")


def test_the_banks_own_revocation_is_learned_and_said(town: Town, home: BankHome, desk: Desk) -> None:
    desk.crl = town.crl(3, home.certificate_path.read_bytes())
    assert "was revoked on" in call(home, "fetch").output
    assert lists(home) == [1, 3]
    report = json.loads(call(home, "status", "--json").output)
    assert "was revoked on" in report["certificate"]
    assert report["next"] == NEW_BANK
    (warning,) = report["warnings"]
    assert "`bank init --home NEW-FOLDER`" in warning


def test_nothing_is_written_to_be_mailed_for_a_bank_that_is_revoked(town: Town, home: BankHome, desk: Desk) -> None:
    out = home.path / "request"
    assert call(home, "request", "--out", str(out)).exit_code == 0
    out.unlink()
    desk.crl = town.crl(3, home.certificate_path.read_bytes())
    call(home, "fetch")
    told = call(home, "request", "--out", str(out))
    assert "was revoked" in told.output
    assert f"is in {out}" not in told.output
    assert not out.exists()


# Renewal, and a server that runs meanwhile


def renewed(town: Town, home: BankHome, folder: Path) -> Certified:
    """The bank's key with new dates, in both forms, by a copy of the authority."""
    path = folder / "ca"
    shutil.copytree(town.authority.path, path, ignore=shutil.ignore_patterns("S.*", "*.lock"))
    authority = Home.open(path)
    try:
        key = certified_by(authority, home.gnupg, town.bank_fingerprint, "0000", "bank", DAYS + 30)
        leaf = make_leaf(authority, town.root, home.gnupg, town.bank_fingerprint, "0000", "bank")
    finally:
        authority.stop()
    return Certified(certificate=leaf, key=key)


def test_renew_takes_new_dates_and_says_who_acts_while_there_are_none(
    town: Town, home: BankHome, desk: Desk, short_tmp: Path
) -> None:
    before = home.certified()
    said = call(home, "renew")
    assert said.exit_code == 0, said.output
    assert said.output.startswith("Not renewed yet.")
    assert "`ca renew 0000`, then repeat: bank renew" in said.output
    assert home.certified() == before
    desk.own = renewed(town, home, short_tmp)
    said = call(home, "renew", "--json")
    assert json.loads(said.output)["renewed"] is True, said.output
    assert home.certified() == desk.own != before


def test_renew_needs_a_certificate(home: BankHome) -> None:
    home.certificate_path.unlink()
    said = call(home, "renew")
    assert (said.exit_code, "bank status" in said.output) == (1, True)


def test_a_running_server_gives_out_its_renewed_certificate(town: Town, short_tmp: Path, desk: Desk) -> None:
    with opened(desk) as address, at_counter(town, short_tmp, authority_address=str(address)) as counter:
        with counter.session(town.alice, Stage.CERTIFIED) as talk:
            assert talk.pay("before").status is Status.SETTLED
            desk.own = new = renewed(town, counter.home, short_tmp)
            assert call(counter.home, "renew").exit_code == 0
            assert talk.pay("after").status is Status.SETTLED
            given = talk.ask(AskBankKey(number=1))
            assert isinstance(given, BankKey)
            assert given.key == new.key
            evidence = talk.ask(AskEvidence(number=1, transfer_identifier="after"))
        assert isinstance(evidence, Evidence)
        assert evidence.files["bank.pgp"] == new.key
        assert evidence.files["bank.crt"] == new.certificate


def test_a_server_that_began_without_a_certificate_takes_it_up(town: Town, short_tmp: Path, desk: Desk) -> None:
    with opened(desk) as address:
        home = copied_bank(town, short_tmp, authority_address=str(address), limits={"revocation_seconds": 0.05})
        for path in (home.authority_path, home.root_path, home.certified_key_path, home.certificate_path):
            path.unlink()
        with served(town, home) as counter:
            opening = counter.opening(town.alice, Stage.CERTIFIED).frame
            assert counter.refusal(opening)[0] is Reason.CA_UNKNOWN
            assert desk.asked == 0
            assert call(home, "fetch").exit_code == 0
            with counter.session(town.alice, Stage.CERTIFIED) as talk:
                assert talk.pay("at-once").status is Status.SETTLED
            # And from then on it watches the lists.
            desk.crl = town.crl(9)
            eventually(lambda: lists(home)[-1] == 9)


# The watcher


def test_trial_50_a_serving_bank_learns_of_a_revocation_by_itself(town: Town, short_tmp: Path, desk: Desk) -> None:
    with (
        opened(desk) as address,
        at_counter(town, short_tmp, authority_address=str(address), limits={"revocation_seconds": 0.05}) as counter,
        counter.session(town.alice, Stage.CERTIFIED) as talk,
    ):
        assert talk.pay("before").status is Status.SETTLED
        desk.crl = town.crl(3, town.alice.certificate)
        eventually(lambda: lists(counter.home)[-1] == 3)
        order = counter.submission(town.alice, "after", Stage.CERTIFIED)
        assert talk.refusal(order) == (Reason.CERTIFICATE_REVOKED, "certificate")
        desk.crl = town.crl(1)
        asked = desk.asked
        eventually(lambda: desk.asked > asked + 1)
        assert talk.refusal(order) == (Reason.CERTIFICATE_REVOKED, "certificate")
        assert '"revocation-list", "number": 3, "revoked": 1' in counter.log.getvalue()


def test_a_desk_that_fails_is_noted_once_and_stops_nothing(town: Town, short_tmp: Path, desk: Desk) -> None:
    good, desk.crl = desk.crl, None
    with (
        opened(desk) as address,
        at_counter(town, short_tmp, authority_address=str(address), limits={"revocation_seconds": 0.01}) as counter,
    ):
        eventually(lambda: desk.asked > 3)
        assert counter.log.getvalue().count('"revocations-failed"') == 1
        with counter.session(town.alice, Stage.CERTIFIED) as talk:
            assert talk.pay("meanwhile").status is Status.SETTLED
        desk.crl = b"no list"
        eventually(lambda: "not a revocation list" in counter.log.getvalue())
        desk.crl = good
        eventually(lambda: lists(counter.home) == [1, 2])
        eventually(lambda: '"revocations-reached"' in counter.log.getvalue())
        assert counter.log.getvalue().count('"revocations-failed"') == 2


# Status


@pytest.mark.parametrize(
    ("days", "list_days", "warned"),
    [
        (0, 30, ()),
        (DAYS - 15, 90, ()),
        (DAYS - 13, 90, ("certificate",)),
        (1, 9, ()),
        (3, 9, ("revocation list",)),
        (DAYS - 1, DAYS + 2, ("certificate", "revocation list")),
        (10, 9, ("ran out",)),
    ],
)
def test_status_warns_in_time_and_says_who_must_do_what(
    town: Town, home: BankHome, desk: Desk, days: float, list_days: float, warned: tuple[str, ...]
) -> None:
    desk.crl = town.crl(5, days=list_days)
    assert call(home, "fetch").exit_code == 0
    with home.open_ledger() as ledger:
        found = standing(home, ledger, time.time() + days * DAY)
    assert len(found.warnings) == len(warned)
    for warning, said in zip(found.warnings, warned, strict=True):
        assert said in warning
        assert "`" in warning
    if "ran out" in warned:
        assert "`ca crl`" in found.next_step
        assert "not valid" in found.certificate
    elif "certificate" in warned:
        assert "`ca renew 0000`" in found.next_step
    elif warned:
        assert "`ca crl`" in found.next_step


def test_status_tells_dates_and_the_list(home: BankHome) -> None:
    assert call(home, "fetch").exit_code == 0
    report = json.loads(call(home, "status", "--json").output)
    assert report["certificate"].startswith("valid until ")
    assert report["revocation_list"].startswith("number 2, good until ")
    assert report["warnings"] == []
    shown = call(home, "status").output
    assert "revocation list  number 2" in shown
    assert "Warning" not in shown
