"""The commands as a person types them: the whole ceremony through real processes, and every mistake as a sentence."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click.testing
import pytest

from ca.applicant import Desk, read_mailed, verify_bank, verify_own
from ca.authority import DECISIONS_FILE, KEYS_FOLDER
from ca.cli import cli
from ca.errors import CaError
from ca.messages import Certified, RequestState, State
from keyring import readout
from keyring.home import Home
from keyring.unfinished import MARK
from protocol.transport import Address
from tests.ca.cast import CODE, PASSPHRASE, Cast

TIMEOUT_SECONDS = 60


@pytest.fixture
def passphrase_file(short_tmp: Path) -> Path:
    path = short_tmp / "passphrase"
    path.write_bytes(PASSPHRASE.reveal() + b"\n")
    return path


@pytest.fixture
def home(cast: Cast, short_tmp: Path) -> Path:
    """An authority that has certified nobody."""
    shutil.copytree(cast.folder, short_tmp / "ca")
    return short_tmp / "ca"


def ca(home: Path, *arguments: str, typed: str = "", exit_code: int = 0) -> str:
    """Run the command; what it printed, on both streams."""
    outcome = subprocess.run(
        [str(Path(sys.executable).parent / "ca"), *arguments],
        env={**os.environ, "CA_HOME": str(home)},
        input=typed,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        start_new_session=True,  # without the terminal of whoever runs the tests, so that prompts read what is typed
        check=False,
    )
    assert outcome.returncode == exit_code, outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stderr
    return outcome.stdout + outcome.stderr


@contextmanager
def open_desk(home: Path, log: Path) -> Iterator[Desk]:
    """`ca serve` in a process of its own, ended by SIGTERM."""
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "ca"), "serve", "--listen", "127.0.0.1:0", "--log-file", str(log)],
        env={**os.environ, "CA_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line.startswith("The desk listens at 127.0.0.1:")
        yield Desk(Address.parse(line.split()[-1]))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_SECONDS) == 0
        assert not process.stdout.read()
        process.stdout.close()


def requests(home: Path) -> list[dict[str, object]]:
    found = json.loads(ca(home, "requests", "--json"))
    assert isinstance(found, list)
    return found


def test_the_desks_log_that_was_moved_away_is_made_anew(home: Path, short_tmp: Path) -> None:
    log = short_tmp / "desk.log"
    with open_desk(home, log) as desk:
        for name in ("first", "second"):
            with pytest.raises(CaError):
                desk.submit_request(b"no request")
            kept = log.rename(short_tmp / name)
            assert [json.loads(line)["event"] for line in kept.read_text().splitlines()] == ["refused"]


def test_whole_ceremony_by_the_commands(cast: Cast, home: Path, short_tmp: Path, passphrase_file: Path) -> None:
    log, alice, bank = short_tmp / "desk.log", cast.alice, cast.bank
    pinned = json.loads(ca(home, "fingerprint", "--json"))["fingerprint"]
    secret = ("--passphrase-file", str(passphrase_file))
    with open_desk(home, log) as desk:
        # The desk's machine has neither the private key nor the decisions.
        for name in (KEYS_FOLDER, DECISIONS_FILE):
            shutil.move(home / name, short_tmp / name)
        theirs = desk.submit_request(bank.request()).identifier
        for name in (KEYS_FOLDER, DECISIONS_FILE):
            shutil.move(short_tmp / name, home / name)
        ca(home, "confirm", theirs, "--hex", bank.fingerprint, "--called-back", "+49 30 1234")
        ca(home, "issue", theirs, *secret)
        verify_bank(
            desk.bank_key(),
            authority=desk.authority_key(),
            crl=desk.revocations(),
            ca_fingerprint=pinned,
            bank_fingerprint=bank.fingerprint,
            at=int(time.time()),
        )
        desk.submit_notice(bank.notice(alice))
        hers = desk.submit_request(alice.request()).identifier
        table = ca(home, "requests")
        assert re.search(rf"{hers} +1001 +Alice +customer +\S+ +waiting for the call +3", table)
        # The operator types the code, then the words.
        said = ca(home, "confirm", hers[:6], typed=f"{CODE}\n{alice.words}\n")
        assert f"ca issue {hers}" in said
        assert "the customer 1001, Alice" in said
        assert "customer fetch" in ca(home, "issue", hers, "--days", "30", *secret)
        offered = desk.fetch(alice.fingerprint)
        assert isinstance(offered, Certified)
        proven = verify_own(
            offered,
            authority=desk.authority_key(),
            crl=desk.revocations(),
            ca_fingerprint=pinned,
            fingerprint=alice.fingerprint,
            number="1001",
            role="customer",
            at=int(time.time()),
        )
        assert proven.certification.reached_by == "code from the letter"
        assert proven.certificate.crl_number == 1
    listed = json.loads(ca(home, "list", "--json"))
    assert [(row["number"], row["days_left"] in (29, 30), row["state"]) for row in listed] == [
        ("1001", True, "valid"),
        ("0000", False, "valid"),
    ]
    assert readout.hex_groups(pinned) in ca(home, "fingerprint")
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["request", "notice", "request"]
    assert CODE not in log.read_text()


def test_mistakes_on_the_telephone(cast: Cast, home: Path, short_tmp: Path) -> None:
    with open_desk(home, short_tmp / "desk.log") as desk:
        identifier = desk.submit_request(cast.alice.request()).identifier
        back = ("--called-back", "1")
        dropped = " ".join(cast.alice.words.split()[1:])
        said = ca(home, "confirm", identifier, *back, "--words", dropped, exit_code=1)
        assert "so 1 is missing" in said
        for left in ("2 tries are left", "1 try is left", "was the third mistake"):
            said = ca(home, "confirm", identifier, *back, typed=f"{cast.bob.words}\n", exit_code=1)
            assert left in said
            assert cast.alice.fingerprint not in said
            # Two words of the list stand in our own sentences.
            assert not (set(cast.alice.words.split()) - {"customer", "applicant"}) & set(said.split())
        assert f"`ca reopen {identifier} --reason" in said
        assert "`ca reopen" in ca(home, "confirm", identifier, *back, exit_code=1)
        assert f"`ca reopen {identifier} --reason" in ca(home, "issue", identifier, exit_code=1)
        assert [row["state"] for row in requests(home)] == ["locked: reopen it, or drop it"]
        fetched = desk.fetch(cast.alice.fingerprint)
        assert isinstance(fetched, RequestState)
        assert fetched.state is State.LOCKED
        assert cast.alice.fingerprint not in json.dumps(requests(home))


def test_request_and_certificate_may_go_by_mail(cast: Cast, home: Path, short_tmp: Path, passphrase_file: Path) -> None:
    taken, mailed = short_tmp / "request", short_tmp / "certificate"
    taken.write_bytes(b"junk")
    assert "not a signed message" in ca(home, "requests", "--take", str(taken), exit_code=1)
    taken.write_bytes(cast.alice.request())
    identifier = str(json.loads(ca(home, "requests", "--take", str(taken), "--json"))[0]["request"])
    secret = ("--passphrase-file", str(passphrase_file))
    assert "not confirmed" in ca(home, "issue", identifier, "--out", str(mailed), *secret, exit_code=1)
    assert not mailed.exists()
    ca(home, "confirm", identifier, "--words", cast.alice.words, "--called-back", "1")
    ca(home, "issue", identifier, "--out", str(mailed), *secret)
    found = read_mailed(mailed)
    assert found.bank is None
    verify_own(
        found.certified,
        authority=found.authority,
        crl=found.crl,
        at=int(time.time()),
        ca_fingerprint=json.loads(ca(home, "fingerprint", "--json"))["fingerprint"],
        fingerprint=cast.alice.fingerprint,
        number="1001",
        role="customer",
    )


def test_inventory_renewal_and_revocation_by_the_commands(
    with_alice: Path, cast: Cast, short_tmp: Path, passphrase_file: Path
) -> None:
    home, public, mailed = short_tmp / "ca", short_tmp / "public", short_tmp / "mailed"
    shutil.copytree(with_alice, home)
    secret = ("--passphrase-file", str(passphrase_file))

    def serials() -> list[tuple[str, str]]:
        return [(row["serial"], row["state"]) for row in json.loads(ca(home, "list", "--json"))]

    ((_, valid),) = [each for each in serials() if each[0] != json.loads(ca(home, "show", "0000", "--json"))["serial"]]
    assert valid == "valid"
    shown = json.loads(ca(home, "show", "1001", "--json"))
    assert (shown["fingerprint"], shown["number"]) == (cast.alice.fingerprint, "1001")
    assert f"serial          {shown['serial']}\n" in ca(home, "show", shown["request"][:16])
    assert ca(home, "show", shown["serial"][:8], "--pem") == shown["pem"]
    assert "ca list" in ca(home, "show", "1002", exit_code=1)
    assert "Renewed until" in ca(home, "renew", "1001", "--days", "120", "--out", str(mailed), *secret)
    renewed = json.loads(ca(home, "show", "1001", "--json"))
    assert (renewed["renews"], renewed["request"]) == (shown["serial"], shown["request"])
    assert base64.b64decode("".join(renewed["pem"].split("\n")[1:-2])) == read_mailed(mailed).certified.certificate
    assert "list 2 lies at the desk, good until" in ca(home, "crl", "--days", "10", *secret)
    said = ca(home, "revoke", "1001", "--reason", "key-compromise", *secret)
    assert cast.alice.fingerprint in said
    assert "The revocation list 3 lies at the desk" in said
    assert "bank fetch" in said
    assert "ca crl" in ca(home, "revoke", "1001", "--reason", "superseded", exit_code=1)
    assert "make a new key" in ca(home, "renew", "1001", exit_code=1)
    assert {state for serial, state in serials() if serial in (shown["serial"], renewed["serial"])} == {"revoked"}
    assert "key-compromise" in ca(home, "show", renewed["serial"])
    assert re.search(rf"{shown['serial'][:16]} .* revoked", ca(home, "list"))
    assert f"files are in {public}." in ca(home, "publish", str(public))
    assert (public / "root.pem").is_file()
    status = json.loads(ca(home, "status", "--json"))
    assert (status["crl_number"], status["certificates"]) == (3, {"revoked": 2, "valid": 1})
    assert "2 revoked, 1 valid" in ca(home, "status")


def test_locked_request_is_reopened_by_the_command(cast: Cast, home: Path, short_tmp: Path) -> None:
    with open_desk(home, short_tmp / "desk.log") as desk:
        identifier = desk.submit_request(cast.alice.request()).identifier
        back = ("--called-back", "1", "--words")
        assert "there is nothing to reopen" in ca(home, "reopen", identifier, "--reason", "a", exit_code=1)
        for _ in range(3):
            ca(home, "confirm", identifier, *back, cast.bob.words, exit_code=1)
        assert f"ca reopen {identifier}" in ca(home, "confirm", identifier, *back, cast.alice.words, exit_code=1)
        assert f"ca confirm {identifier}" in ca(home, "reopen", identifier, "--reason", "the line was bad")
        assert desk.fetch(cast.alice.fingerprint) == RequestState(identifier, State.WAITING)
        assert f"ca confirm {identifier}" in ca(home, "status")
        assert "Confirmed" in ca(home, "confirm", identifier, *back, cast.alice.words)


def test_init_makes_an_authority_once(short_tmp: Path, passphrase_file: Path) -> None:
    home = short_tmp / "new"
    made = ("init", "--name", "Example Authority", "--listen", "127.0.0.1:7499")
    assert "do not match" in ca(home, *made, typed="one\nother\n", exit_code=1)
    assert not home.exists()
    assert "cannot stand in a name" in ca(
        home, "init", "--name", "A<B", "--passphrase-file", str(passphrase_file), exit_code=1
    )
    assert not home.exists()
    wrong = ("--publish-url", "ftp://ca.example", "--passphrase-file", str(passphrase_file))
    assert "give an http or https address" in ca(home, *made, *wrong, exit_code=1)
    assert not home.exists()
    published = ("--publish-url", "https://ca.example/pki")
    said = ca(home, *made, *published, "--passphrase-file", str(passphrase_file))
    fingerprint = json.loads(ca(home, "fingerprint", "--json"))
    assert readout.hex_groups(fingerprint["fingerprint"]) in said
    assert all(word in said for word in fingerprint["words"])
    assert 'address = "127.0.0.1:7499"' in (home / "ca.toml").read_text()
    assert 'publish_url = "https://ca.example/pki"' in (home / "ca.toml").read_text()
    assert "https://ca.example/pki" in ca(home, "status")
    again = ca(home, *made, typed="one\none\n", exit_code=1)
    assert "There is an authority" in again
    assert "Passphrase" not in again, "it is asked for only where an authority can be made"
    assert home.stat().st_mode & 0o777 == 0o700
    assert "already" in ca(home, *made, "--passphrase-file", str(passphrase_file), exit_code=1)
    assert "No request waits" in ca(home, "requests")
    assert "Nothing has been issued" in ca(home, "list")


def test_usage_errors_have_exit_code_2(home: Path) -> None:
    for arguments in (
        ("confirm",),
        ("confirm", "abcd", "--words", "a", "--hex", "b"),
        ("confirm", "abcd", "--caller-code", "a", "--called-back", "b"),
        ("issue", "abcd", "--days", "0"),
        ("revoke", "1001"),
        ("revoke", "1001", "--reason", "anger"),
        ("reopen", "abcd"),
        ("crl", "--days", "101"),
        ("no-such-command",),
    ):
        ca(home, *arguments, exit_code=2)


def test_errors_are_sentences_with_the_next_step(home: Path, short_tmp: Path) -> None:
    assert "ca init" in ca(short_tmp / "nowhere", "requests", exit_code=1)
    assert "ca requests" in ca(home, "confirm", "abcdef", exit_code=1)
    with (home / "ca.toml").open("a") as file:
        file.write("[limits]\nconections = 1\n")
    assert "limits.conections" in ca(home, "serve", exit_code=1)


def test_every_command_has_help_with_an_example() -> None:
    runner = click.testing.CliRunner()
    for name in cli.commands:
        outcome = runner.invoke(cli, [name, "--help"])
        assert f"Example:  ca {name}" in outcome.output
        assert outcome.exit_code == 0


@pytest.mark.parametrize("seconds", [0.05, 0.4])
def test_init_that_was_killed_is_begun_anew(short_tmp: Path, passphrase_file: Path, seconds: float) -> None:
    """Killed at one moment or another; whatever it had done by then, the same command again makes the authority."""
    home = short_tmp / "new"
    arguments = ("init", "--name", "Authority", "--passphrase-file", str(passphrase_file))
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "ca"), *arguments],
        env={**os.environ, "CA_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (home / MARK).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(seconds)  # by chance it may even be done; then there is an authority, which the next init leaves alone
    process.kill()
    process.wait()
    if not (home / "ca.toml").exists():
        assert (home / MARK).exists()
        ca(home, *arguments)
    assert not list(home.glob("*.unfinished")) or "already" in ca(home, *arguments, exit_code=1)
    assert json.loads(ca(home, "status", "--json"))["crl_number"] == 1
    assert "already" in ca(home, *arguments, exit_code=1)
    Home.open(home / KEYS_FOLDER).stop()


def test_init_leaves_the_folder_of_another_as_it_is(short_tmp: Path, passphrase_file: Path) -> None:
    theirs = short_tmp / "theirs" / "gnupg"
    theirs.mkdir(parents=True)
    (theirs / "private").write_text("key")
    said = ca(theirs.parent, "init", "--name", "Authority", "--passphrase-file", str(passphrase_file), exit_code=1)
    assert "not empty" in said
    assert (theirs / "private").read_text() == "key"


def test_callers_code_comes_from_a_file_or_from_standard_input(cast: Cast, short_tmp: Path) -> None:
    shutil.copytree(cast.with_bank, short_tmp / "ca")
    home, file, request = short_tmp / "ca", short_tmp / "code", short_tmp / "request"
    request.write_bytes(cast.alice.request())
    ca(home, "requests", "--take", str(request))
    (short_tmp / "notice").write_bytes(cast.bank.notice(cast.alice))
    file.touch(mode=0o600)
    file.write_text(f"{CODE}\nsomething else\n")
    fixed = ("confirm", "1001", "--notice", str(short_tmp / "notice"), "--operator", "operator")
    heard = ("--hex", cast.alice.fingerprint)
    both = ca(home, *fixed, *heard, "--caller-code-file", str(file), "--called-back", "1", exit_code=2)
    assert "Give one of" in both
    assert "cannot be read" in ca(home, *fixed, *heard, "--caller-code-file", str(short_tmp / "none"), exit_code=1)
    assert "empty first line" in ca(home, *fixed, *heard, "--caller-code-file", "-", typed="\n", exit_code=1)
    code = " ".join(readout.encode(b"nobody"))
    assert "not the one in the letter" in ca(home, *fixed, *heard, "--caller-code-file", "-", typed=code, exit_code=1)
    assert "Confirmed." in ca(home, *fixed, *heard, "--caller-code-file", str(file))
