"""What was last heard of a request decides what comes next, and a repeated request is the same one."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ca.errors import UnprovenKey
from ca.messages import RequestState, State
from ca.requests import open_request
from customer import asking, ceremony, progress, revocations, rotation
from customer.asking import Next
from customer.cli import commands
from customer.home import CustomerHome, World
from customer.progress import Progress
from customer.store import Fact
from keyring.console import WAITS
from protocol.transport import Address
from tests.customer.authority import DAY
from tests.customer.desk import DeskStandIn, newcomer
from tests.customer.scene import Stand, Template, mail, serial_of

AtDesk = tuple[DeskStandIn, Address]
DIGEST = "SHA-256 of the request"


def called(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(commands, [*arguments, "--home", str(home)], prog_name="customer")


def reopened(home: CustomerHome) -> Progress:
    """What another run of the program says."""
    with CustomerHome.open(home.folder) as again:
        return progress.progress(again)


def step(found: Progress, name: str) -> tuple[bool, str]:
    (one,) = (each for each in found.steps if each.name == name)
    return one.done, one.detail


@pytest.mark.parametrize(
    ("told", "who", "said", "command"),
    [
        (State.WAITING, "you and the authority", "read out the words", "customer fetch"),
        (State.CONFIRMED, "the authority, then you", "`ca issue {}`", "customer fetch"),
        (State.LOCKED, "you and the authority", "`ca reopen {}`", "customer fetch"),
        (State.UNKNOWN, "you", "make one. If you have mailed one", "customer request"),
        (State.EXPIRED, "you", "has ended", "customer request"),
        (State.REVOKED, "you", "was revoked", "customer init --home NEW-FOLDER --letter FILE"),
    ],
)
def test_status_remembers_what_the_desk_said(
    bank_template: Template, short_tmp: Path, desk: AtDesk, told: State, who: str, said: str, command: str
) -> None:
    stand_in, address = desk
    with newcomer(bank_template, short_tmp / "alice", address) as home:
        made = ceremony.request(home, None)
        stand_in.own = told
        assert ceremony.fetch(home, None).state is told
        found = reopened(home)
        assert (found.next.who, found.next.command) == (who, command)
        assert said.format(made.state.identifier) in found.next.what
        assert step(found, "requested")[1].endswith(f", {told.value}")
        stand_in.own = bank_template.certified["alice"]
        ceremony.fetch(home, None)
        assert reopened(home).next.command.startswith("customer send")


def test_what_the_desk_says_of_a_repeated_request_is_remembered_too(
    bank_template: Template, short_tmp: Path, desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with newcomer(bank_template, short_tmp / "alice", desk[1]) as home:
        made = ceremony.request(home, None)
        locked = RequestState(made.state.identifier, State.LOCKED)
        monkeypatch.setattr(desk[0], "answer", lambda question: locked)
        assert ceremony.request(home, None).state == locked
        assert "`ca reopen" in reopened(home).next.what
        # Written to a file it is the same request, and as locked as before.
        assert ceremony.request(home, short_tmp / "request") == ceremony.Requested(locked, made.digest)


def test_a_repeated_request_is_the_same_until_it_has_served(
    bank_template: Template, short_tmp: Path, desk: AtDesk
) -> None:
    stand_in, address = desk
    file, now = short_tmp / "request", [time.time()]
    with newcomer(bank_template, short_tmp / "alice", address, World(clock=lambda: now[0])) as home:
        first = ceremony.request(home, file)
        now[0] += DAY
        assert ceremony.request(home, None).state.identifier == first.state.identifier
        assert ceremony.request(home, file) == first
        assert stand_in.submitted == [file.read_bytes()]
        assert first.digest == open_request(file.read_bytes()).digest
        now[0] += 28 * DAY  # the authority keeps the first for 30 days, and would file no other
        assert ceremony.request(home, file) == first
        for told, days in ((State.UNKNOWN, 1), (State.ISSUED, 1), (State.WAITING, 31)):
            home.store.set_facts({Fact.REQUEST_STATE: told.encode()})
            now[0] += days * DAY
            other = ceremony.request(home, file)
            assert other.digest not in ("", first.digest)
            first = other


def test_a_key_that_was_revoked_before_its_certificate_was_fetched_is_known_as_that(
    bank_template: Template, short_tmp: Path, desk: AtDesk
) -> None:
    own = bank_template.certified["alice"]
    with newcomer(bank_template, short_tmp / "alice", desk[1]) as home:
        ceremony.request(home, None)
        desk[0].crl = bank_template.authority.crl(2, serial_of(own))
        with pytest.raises(UnprovenKey, match="revoked"):
            ceremony.fetch(home, None)
        assert reopened(home).next == asking.REVOKED


# The bank's certificate


def test_status_says_of_a_revoked_bank_that_it_is_revoked(
    bank_template: Template, short_tmp: Path, desk: AtDesk
) -> None:
    desk[0].crl = bank_template.authority.crl(2, serial_of(bank_template.certified["bank"]))
    with newcomer(bank_template, short_tmp / "alice", desk[1]) as home:
        with pytest.raises(UnprovenKey, match="about the bank's"):
            ceremony.fetch(home, None)
        found = reopened(home)
        assert step(found, "bank known") == (False, "revocation list 2 has REVOKED the bank's certificate")
        assert found.next.who == "the bank"
        assert "Telephone the bank" in found.next.what
        assert found.next.command == asking.NEW_HOME


def test_also_where_the_bank_was_known_before(stand: Stand) -> None:
    template, file = stand.template, stand.folder / "mail"
    with stand.customer() as home:
        assert step(reopened(home), "bank known")[0]
        mail(
            template, file, template.certified["alice"], template.authority.crl(2, serial_of(template.certified["bob"]))
        )
        ceremony.fetch(home, file)  # the honest twin: somebody else is revoked
        assert step(reopened(home), "bank known")[0]
        root = home.store.fact(Fact.AUTHORITY_ROOT)
        assert root is not None
        # As it comes before an opening, without a fetch.
        revocations.take(home, template.authority.crl(3, serial_of(template.certified["bank"])), root)
        found = reopened(home)
        assert step(found, "bank known") == (False, "revocation list 3 has REVOKED the bank's certificate")
        assert found.next.who == "the bank"


# A new key


@pytest.mark.parametrize(
    ("told", "who", "said"),
    [
        (None, "the authority, then you", "needs no call"),
        (State.VOUCHED, "the authority, then you", "needs no call"),
        (State.CONFIRMED, "the authority, then you", "`ca issue 00ff`"),
        (State.LOCKED, "you and the authority", "`ca reopen 00ff`"),
        (State.WAITING, "you and the authority", "`customer fingerprint --new`"),
        (State.UNKNOWN, "you", "not announced"),
    ],
)
def test_a_new_key_waits_for_whom_the_desk_named(told: State | None, who: str, said: str) -> None:
    new = rotation.Pending("A" * 40, "00ff", "2026-01-31T09:30:00Z", "00ff" * 16, told)
    found: Next = asking.next_key(new)
    assert found.who == who
    assert said in found.what


# At the command line


def test_waiting_has_an_exit_code_of_its_own(bank_template: Template, short_tmp: Path, desk: AtDesk) -> None:
    with newcomer(bank_template, short_tmp / "alice", desk[1]) as customer:
        home, given = customer.folder, desk[0].own
    desk[0].own = State.WAITING
    said = called(home, "fetch")
    assert (said.exit_code, said.stderr) == (WAITS, "")
    assert "telephone the authority" in said.stdout
    said = called(home, "fetch", "--json")
    assert (said.exit_code, json.loads(said.stdout)["state"]) == (WAITS, "waiting")
    desk[0].own = given
    assert called(home, "fetch").exit_code == 0


def test_only_a_request_that_waits_for_the_call_is_read_out(
    bank_template: Template, short_tmp: Path, desk: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with newcomer(bank_template, short_tmp / "alice", desk[1]) as customer:
        home = customer.folder
    said = called(home, "request").stdout
    assert "then read out:" in said
    made = json.loads(called(home, "request", "--json").stdout)
    for state, told in ((State.CONFIRMED, "is confirmed"), (State.LOCKED, "is locked")):
        answer = RequestState(made["request"], state)
        monkeypatch.setattr(desk[0], "answer", lambda question, answer=answer: answer)
        said = called(home, "request").stdout
        assert told in said
        assert made["request"] in said
        assert "then read out:" not in said


def test_the_digest_of_the_request_is_shown_with_the_fingerprint(
    bank_template: Template, short_tmp: Path, desk: AtDesk
) -> None:
    with newcomer(bank_template, short_tmp / "alice", desk[1]) as customer:
        home = customer.folder
    assert DIGEST not in called(home, "fingerprint").stdout
    assert "sha256" not in json.loads(called(home, "fingerprint", "--json").stdout)
    made = json.loads(called(home, "request", "--json").stdout)
    shown = called(home, "fingerprint").stdout
    assert shown.endswith(f"\n{DIGEST} {made['request']}:\n  {made['sha256']}\n")
    facts = json.loads(called(home, "fingerprint", "--json").stdout)
    assert (facts["request"], facts["sha256"]) == (made["request"], made["sha256"])
    for other in ("--bank", "--ca", "--digits"):
        assert DIGEST not in called(home, "fingerprint", other).stdout
