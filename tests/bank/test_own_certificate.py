"""What becomes of a bank whose own certificate is revoked, and what it remembers of the way to one, by desk or mail."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bank import ceremony
from bank.cli import accounts, certificate, commands, records, serve, setup
from bank.errors import ConfigurationError
from bank.home import BankHome
from bank.own_certificate import NEW_BANK
from bank.revocations import RevocationLists
from bank.serving import serving
from ca.applicant import Desk as RealDesk
from ca.bridge import open_root
from ca.messages import AuthorityKey, Certified, MailedCertificates, State, encode
from ca.requests import open_request
from keyring import keys
from keyring.console import WAITS
from protocol import canonical
from protocol.codes import Reason, Status
from protocol.messages import AskBalance, Balance
from protocol.stages import Stage
from protocol.transport import Address
from tests.bank.counter import at_counter, eventually, refusal_in
from tests.bank.desks import Desk, opened
from tests.bank.town import DAY, Town, copied_bank

for module in (setup, certificate, accounts, serve, records):
    module.add_to(commands)

CERTIFIED = Stage.CERTIFIED


def call(home: BankHome, *arguments: str) -> Result:
    return CliRunner().invoke(commands, [*arguments, "--home", str(home.path)])


def status(home: BankHome) -> dict[str, str]:
    found: dict[str, str] = json.loads(call(home, "status", "--json").output)
    return found


@pytest.fixture
def desk(town: Town) -> Desk:
    """An honest desk."""
    own = BankHome.open(town.folder / "bank").certified()
    assert own is not None
    authority = AuthorityKey(key=keys.export(town.authority, town.authority_fingerprint), root=town.root)
    return Desk(authority, own, town.crl(2))


@pytest.fixture
def home(town: Town, short_tmp: Path, desk: Desk) -> Iterator[BankHome]:
    """A bank that knows the desk's address."""
    with opened(desk) as address:
        home = copied_bank(town, short_tmp, authority_address=str(address))
        yield home
        home.gnupg.stop()


def without_certificate(home: BankHome) -> None:
    for path in (home.authority_path, home.root_path, home.certified_key_path, home.certificate_path):
        path.unlink()


# Revoked


def test_a_revoked_bank_does_not_begin_to_serve_and_says_who_does_what(town: Town, home: BankHome, desk: Desk) -> None:
    root = open_root(town.root, town.authority_fingerprint)

    def learn(crl: bytes) -> None:
        with home.open_ledger() as ledger:
            RevocationLists(ledger, root).take(crl, 2**31)

    learn(town.crl(2, town.alice.certificate))
    with serving(home):  # the honest twin: somebody else is revoked
        pass
    desk.crl = town.crl(3, home.certificate_path.read_bytes())
    learn(desk.crl)
    said = r"revocation list 3.*telephone the authority.*`bank init --home"
    with pytest.raises(ConfigurationError, match=said), serving(home):
        raise AssertionError("it serves")
    refused = call(home, "serve")
    assert refused.exit_code == 1
    assert NEW_BANK in refused.output
    assert not home.is_serving()


def test_a_running_server_that_learns_of_its_own_revocation_says_so_and_opens_no_certified_session(
    town: Town, short_tmp: Path, desk: Desk
) -> None:
    limits = {"revocation_seconds": 0.05}
    with (
        opened(desk) as address,
        at_counter(town, short_tmp, authority_address=str(address), limits=limits) as counter,
        counter.session(town.alice, CERTIFIED) as talk,
    ):
        own = counter.home.certificate_path.read_bytes()
        assert talk.pay("before").status is Status.SETTLED
        assert "bank-certificate-revoked" not in counter.log.getvalue()
        desk.crl = town.crl(3, own)
        eventually(lambda: '"bank-certificate-revoked", "number": 3, "next": ' in counter.log.getvalue())
        opening = counter.opening(town.alice, CERTIFIED).frame
        said = refusal_in(counter.say(opening))
        assert (said.reason, said.field, said.rule) == (Reason.CA_UNKNOWN, "stage", "bank-not-revoked")
        assert "revocation list 3" in said.sentence
        assert "nothing was recorded" in said.sentence
        assert talk.pay("under-way").status is Status.SETTLED  # what was open goes on: its customer judged the bank
        with counter.session(town.bob, Stage.SIGNED) as lower:  # where the bank is known by the letter alone
            assert isinstance(lower.ask(AskBalance(number=1)), Balance)
        asked = desk.asked
        eventually(lambda: desk.asked > asked + 2)
        assert counter.log.getvalue().count('"bank-certificate-revoked"') == 1


def test_the_revocation_of_others_stops_no_session(town: Town, short_tmp: Path, desk: Desk) -> None:
    desk.crl = town.crl(3, town.bob.certificate)
    limits = {"revocation_seconds": 0.05}
    with opened(desk) as address, at_counter(town, short_tmp, authority_address=str(address), limits=limits) as counter:
        eventually(lambda: '"revocation-list", "number": 3' in counter.log.getvalue())
        with counter.session(town.alice, CERTIFIED) as talk:
            assert talk.pay("as-ever").status is Status.SETTLED
        assert "bank-certificate-revoked" not in counter.log.getvalue()


def test_the_desk_that_says_revoked_is_remembered(home: BankHome, desk: Desk) -> None:
    without_certificate(home)
    assert call(home, "request", "--out", str(home.path / "mail")).exit_code == 0
    desk.own = State.REVOKED
    assert call(home, "fetch").exit_code == WAITS
    report = status(home)
    assert (report["certificate"], report["next"]) == ("revoked", NEW_BANK)


# The request


@pytest.mark.parametrize(
    ("told", "step"),
    [
        (State.WAITING, "telephone the authority (`bank fingerprint`), then `bank fetch`"),
        (State.CONFIRMED, "the authority's operator runs `ca issue {}`, then `bank fetch`"),
        (State.LOCKED, "`ca reopen {}`"),
        (State.UNKNOWN, "bank request"),
    ],
)
def test_status_remembers_what_the_desk_said_of_the_request(home: BankHome, desk: Desk, told: State, step: str) -> None:
    without_certificate(home)
    assert status(home)["next"] == "bank request"
    made = json.loads(call(home, "request", "--out", str(home.path / "mail"), "--json").output)
    assert status(home)["next"] == "telephone the authority (`bank fingerprint`), then `bank fetch`"
    desk.own = told
    assert call(home, "fetch").exit_code == WAITS
    report = status(home)
    assert step.format(made["request"]) in report["next"]
    assert report["request"] == f"{made['request']}, {told.value}"
    assert f"{made['request']}, {told.value}" in call(home, "status").output


def test_a_repeated_request_is_the_same_and_its_digest_is_shown(home: BankHome, short_tmp: Path) -> None:
    without_certificate(home)
    files = [short_tmp / name for name in ("first", "second")]
    said = call(home, "request", "--out", str(files[0]))
    assert said.exit_code == 0, said.output
    digest = open_request(files[0].read_bytes()).digest
    assert digest in said.output
    facts = json.loads(call(home, "request", "--out", str(files[1]), "--json").output)
    assert facts["sha256"] == digest
    assert (facts["request"], facts["state"], facts["file"]) == (digest[:16], "waiting", str(files[1]))
    assert files[0].read_bytes() == files[1].read_bytes()
    shown = json.loads(call(home, "fingerprint", "--json").output)
    assert (shown["request"], shown["sha256"]) == (digest[:16], digest)
    assert call(home, "fingerprint").output.endswith(f"SHA-256 of the request {digest[:16]}:\n  {digest}\n")
    assert digest not in call(home, "fingerprint", "--authority").output
    assert call(home, "fetch").exit_code == 0
    nobody = RealDesk(Address("127.0.0.1", 1))
    later = ceremony.request(home, nobody, files[0], lambda: time.time() + DAY)  # what was issued on serves no more
    assert later.digest not in ("", digest)
    assert ceremony.request(home, nobody, files[1], lambda: time.time() + 29 * DAY) == later
    assert ceremony.request(home, nobody, files[1], lambda: time.time() + 32 * DAY).digest not in (digest, later.digest)


def test_a_damaged_request_is_named_with_its_remedy(home: BankHome) -> None:
    home.request_path.write_bytes(b"no request")
    for command in ("fingerprint", "status", "request"):
        said = call(home, command)
        assert said.exit_code == 1
        assert f"{home.request_path} is not a request any more" in said.output
        assert "move it away" in said.output


def test_without_a_request_no_digest_is_shown(home: BankHome) -> None:
    home.request_path.unlink(missing_ok=True)
    assert "SHA-256" not in call(home, "fingerprint").output
    assert "sha256" not in json.loads(call(home, "fingerprint", "--json").output)


# By mail


def mailed(desk: Desk, file: Path, own: Certified) -> str:
    crl = desk.crl or b""
    file.write_bytes(encode(MailedCertificates(authority=desk.authority, bank=None, certified=own, crl=crl)))
    return str(file)


def test_what_came_by_mail_is_verified_like_that_from_the_desk(
    town: Town, home: BankHome, desk: Desk, short_tmp: Path
) -> None:
    assert isinstance(desk.own, Certified)
    own, file = desk.own, short_tmp / "mail"
    without_certificate(home)
    desk.own = State.WAITING  # so that nothing can come from there
    (home.path / "notices").mkdir(exist_ok=True)
    (home.path / "notices" / "1009.pgp").write_bytes(b"notice")
    alices = Certified(certificate=town.alice.certificate, key=town.alice.certified)
    refused = call(home, "fetch", "--in", mailed(desk, file, alices))
    assert (refused.exit_code, "not for a bank" in refused.output) == (1, True)
    assert home.certified() is None
    taken = call(home, "fetch", "--in", mailed(desk, file, own), "--json")
    assert taken.exit_code == 0, taken.output
    facts = json.loads(taken.output)
    assert (facts["state"], facts["revocation_list"]) == ("issued", 2)
    assert (facts["notices_handed_in"], facts["notices_waiting"]) == (0, 1)
    assert home.certified() == own
    assert desk.asked == 0
    again = call(home, "renew", "--in", str(file), "--json")
    assert (again.exit_code, json.loads(again.output)["renewed"]) == (0, False)
    assert canonical.digest(home.certificate_path.read_bytes()) == canonical.digest(own.certificate)
    file.write_bytes(b"-----BEGIN CERTIFICATE-----")
    junk = call(home, "fetch", "--in", str(file))
    assert (junk.exit_code, "ca issue --out" in junk.output) == (1, True)
