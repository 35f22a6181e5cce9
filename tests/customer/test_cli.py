"""At each door of the command line: the exit code that was promised, a sentence for people, JSON for scripts."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from customer import sending
from customer.cli import commands
from customer.cli.watching import printer
from customer.home import World
from customer.sending import Wish
from keyring import readout
from keyring.home import Home
from protocol import messages
from protocol.codes import Reason
from protocol.errors import RemoteProtocolError
from protocol.messages import Answer, Evidence, Statement, StatementLine, SubmitOrder
from protocol.stages import Stage
from tests.changes import with_last_byte_changed
from tests.customer.authority import copied
from tests.customer.scene import Stand, Template, mail

TIME = "2026-01-31T09:30:00Z"
EVERY_COMMAND = tuple(commands.list_commands(None))  # type: ignore[arg-type]


def called(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, [str(each) for each in arguments], prog_name="customer")


@pytest.fixture
def alice(stand: Stand) -> Path:
    home = stand.customer()
    home.store.close()
    return home.folder


def send(home: Path, *more: str) -> Result:
    return called("send", "--home", home, "--to", "1002", "--amount", "25.00", "--description", "rent", *more)


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_every_command_has_help_with_an_example(command: str) -> None:
    outcome = called(command, "--help")
    assert outcome.exit_code == 0
    assert f"Example: customer {command}" in " ".join(outcome.output.split())


@pytest.mark.parametrize("command", [name for name in EVERY_COMMAND if name not in ("init", "status")])
def test_without_a_home_every_command_names_the_first_step(command: str, short_tmp: Path) -> None:
    needed = {
        "send": ("--to", "1002", "--amount", "1.00"),
        "evidence": ("x", "--out", str(short_tmp / "out")),
        "register": ("--letter", "x"),
    }
    outcome = called(command, "--home", short_tmp / "nowhere", *needed.get(command, ()))
    assert outcome.exit_code == 2
    assert "customer init" in outcome.output
    assert not (short_tmp / "nowhere").exists()


def test_status_knows_the_beginning(short_tmp: Path) -> None:
    found = json.loads(called("status", "--home", short_tmp / "nowhere", "--json").output)
    assert found["next"]["command"] == "customer init --letter FILE"


@pytest.mark.parametrize(
    "arguments",
    [
        ("send",),
        ("send", "--to", "1002"),
        ("send", "--to", "1002", "--amount", "1", "--stage", "none"),
        ("send", "--to", "1002", "--amount", "1", "--no-check"),
        ("evidence", "x"),
        ("statement", "--after", "-1"),
        ("verify", "x", "--head", "y"),
        ("init", "--letter", "x", "--number", "1001"),
        ("init", "--letter", "x", "--no-passphrase", "--passphrase-file", "y"),
        ("init", "--number", "1001", "--no-passphrase"),
        ("pay",),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    outcome = called(*arguments)
    assert outcome.exit_code == 2
    assert "Error" in outcome.output
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit)


def test_init_pins_the_letter_and_protects_the_key(
    bank_template: Template, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, letter = short_tmp / "alice", bank_template.folder / "alice.letter"
    files = {name: short_tmp / name for name in ("right", "wrong", "empty")}
    for name, file in files.items():
        file.write_text(f"{name} passphrase\n" if name != "empty" else "\n")
        file.chmod(0o600)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    init = ("init", "--home", home, "--letter", letter)
    assert "--passphrase-file" in called(*init).output
    assert called(*init, "--passphrase-file", files["empty"]).exit_code == 2
    assert not home.exists()
    made = called(*init, "--passphrase-file", files["right"])
    assert made.exit_code == 0
    assert "openpgp-revocs.d" in made.output
    own = json.loads(called("fingerprint", "--home", home, "--json").output)["fingerprint"]
    assert own in made.output.replace(" ", "")
    again = called(*init, "--passphrase-file", files["wrong"])
    assert own in again.output.replace(" ", "")
    Home.open(home / "gnupg").stop()  # the agent forgets the passphrase
    request = ("request", "--home", home, "--out", short_tmp / "request", "--passphrase-file")
    refused = called(*request, files["wrong"])
    assert (refused.exit_code, "passphrase" in refused.output) == (2, True)
    assert not (short_tmp / "request").exists()
    asked = called(*request, files["right"], "--json")
    assert json.loads(asked.output)["fingerprint"] == own
    assert "customer fetch" in called("status", "--home", home).output


def test_a_transfer_from_the_order_to_the_evidence(stand: Stand, alice: Path, short_tmp: Path) -> None:
    sent = send(alice, "--id", "rent-1", "--json")
    assert sent.exit_code == 0
    facts = json.loads(sent.output)
    assert facts | {"booked": "", "reference": ""} == {
        "status": "posted",
        "code": "ACSC",
        "rule": None,
        "reason": None,
        "sentence": None,
        "field": None,
        "retry_helps": False,
        "next": None,
        "transfer_identifier": "rent-1",
        "to": "1002",
        "amount": "25.00",
        "currency": "EUR",
        "description": "rent",
        "stage": "certified",
        "reference": "",
        "booked": "",
        "entry": 1,
        "duplicate": False,
    }
    balance = json.loads(called("balance", "--home", alice, "--json").output)
    assert (balance["balance"], balance["currency"], balance["customer"]) == ("975.00", "EUR", "1001")
    assert "975.00 EUR" in called("balance", "--home", alice).output
    statement = json.loads(called("statement", "--home", alice, "--json").output)
    assert [line["amount"] for line in statement["lines"]] == ["1000.00", "-25.00"]
    later = called("statement", "--home", alice, "--after", str(statement["lines"][-1]["booking"]))
    assert "no bookings after" in later.output
    (row,) = json.loads(called("outbox", "--home", alice, "--json").output)
    assert (row["transfer_identifier"], row["state"]) == ("rent-1", "posted")
    (verified,) = json.loads(called("verify", "--home", alice, "--json").output)
    assert (verified["transfer_identifier"], verified["status"], verified["entry"]) == ("rent-1", "ACSC", 1)
    out = short_tmp / "evidence"
    evidence = json.loads(called("evidence", "rent-1", "--home", alice, "--out", out, "--json").output)
    assert sorted(each.name for each in out.iterdir()) == evidence["files"]
    again = called("evidence", "rent-1", "--home", alice, "--out", out)
    assert (again.exit_code, "not empty" in again.output) == (2, True)


def test_a_refusal_tells_code_sentence_field_retry_and_next_step(alice: Path) -> None:
    outcome = send(alice, "--amount", "5000.00")
    assert outcome.exit_code == 1
    for said in ("balance is too low", "AM04", "amount", "does not help", "customer balance", "5000.00 EUR"):
        assert said in outcome.output


def test_renewal_says_whether_there_is_one(stand: Stand, alice: Path, short_tmp: Path) -> None:
    file = short_tmp / "certificates"
    mail(stand.template, file, stand.template.certified["alice"])
    same = json.loads(called("renew", "--home", alice, "--in", file, "--json").output)
    assert (same["renewed"], same["state"], same["revocation_list"]) == (False, "issued", 1)
    assert "`ca renew 1001`" in called("renew", "--home", alice, "--in", file).output
    authority = copied(stand.template.authority, short_tmp / "ca")
    mail(stand.template, file, authority.certify(Home.open(alice / "gnupg"), "1001", "customer", days=100))
    authority.home.stop()
    renewed = json.loads(called("renew", "--home", alice, "--in", file, "--json").output)
    assert renewed["renewed"] is True
    assert renewed["certified_until"] > same["certified_until"]
    assert send(alice).exit_code == 0


def test_without_a_certificate_there_is_nothing_to_renew(stand: Stand) -> None:
    with stand.customer(certified=False) as home:
        outcome = called("renew", "--home", home.folder)
    assert (outcome.exit_code, "customer status" in outcome.output) == (2, True)


def test_the_same_identifier_again_has_the_original_exit_code(stand: Stand, alice: Path) -> None:
    for amount, code in (("25.00", 0), ("5000.00", 1)):
        first, second = (send(alice, "--amount", amount, "--id", f"id-{code}") for _ in range(2))
        assert (first.exit_code, second.exit_code) == (code, code)
        assert "AM05" not in first.output
        assert "AM05" in second.output
    assert stand.balance("bob") == "25.00"


def test_an_unlogged_refusal_is_exit_code_1_and_shows_no_strangers_escape(stand: Stand, alice: Path) -> None:
    def lie(request: msgspec.Struct, answer: Answer) -> Answer:
        if isinstance(request, SubmitOrder):
            return messages.refuse(
                Reason.RATE, number=request.number, time=TIME, sentence="\x1b[2Jslow\u202e", field="a\nb"
            )
        return answer

    stand.faults.lie = lie
    outcome = send(alice)
    assert outcome.exit_code == 1
    assert "\\x1b[2Jslow\\u202e" in outcome.output
    assert "can help" in outcome.output
    assert "\x1b" not in outcome.output


def hang_up(request: msgspec.Struct, answer: Answer) -> Answer:
    raise RemoteProtocolError("hung up")


def test_an_unknown_outcome_is_exit_code_3_until_resumed(stand: Stand, alice: Path) -> None:
    stand.faults.lie = hang_up
    lost = send(alice)
    assert (lost.exit_code, "customer resume" in lost.output) == (3, True)
    assert "customer resume" in called("status", "--home", alice).output
    other = json.loads(send(alice, "--id", "rent-2", "--json").stdout)
    assert other == {"status": "unknown", "transfer_identifier": "rent-2"}
    still = called("resume", "--home", alice, "--json")
    assert still.exit_code == 3
    stand.faults.lie = lambda request, answer: answer
    resumed = called("resume", "--home", alice, "--json")
    assert resumed.exit_code == 0
    assert [each["status"] for each in json.loads(resumed.output)] == ["posted", "posted"]
    assert "nothing to resume" in called("resume", "--home", alice).output
    assert stand.balance("bob") == "50.00"


def test_a_bank_that_is_not_there_is_exit_code_2(stand: Stand, alice: Path) -> None:
    stand.server.stop()
    for outcome in (send(alice), called("balance", "--home", alice)):
        assert outcome.exit_code == 2
        assert "Nobody answers" in outcome.output
        assert outcome.output.count("Nothing was sent") <= 1
    assert "unsent" in called("outbox", "--home", alice).output


def test_a_fault_of_the_program_is_never_taken_for_a_refusal(alice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from customer import conversing

    def broken(*_: object) -> Any:
        raise RuntimeError("a fault")

    monkeypatch.setattr(conversing, "view_in", broken)
    outcome = send(alice)
    assert outcome.exit_code == 2
    assert "Nothing was sent" in outcome.output


def test_a_stage_below_the_floor_is_refused_here(stand: Stand, alice: Path) -> None:
    assert send(alice).exit_code == 0
    outcome = send(alice, "--stage", "signed")
    assert (outcome.exit_code, "weaker stage" in outcome.output) == (2, True)


def test_the_password_comes_from_the_letter_of_this_customer(stand: Stand, alice: Path) -> None:
    letters = {name: stand.template.folder / f"{name}.letter" for name in ("alice", "bob")}
    wrong = send(alice, "--stage", "password", "--letter", str(letters["bob"]))
    assert (wrong.exit_code, "for customer 1002" in wrong.output) == (2, True)
    missing = send(alice, "--stage", "password")
    assert (missing.exit_code, "--letter" in missing.output) == (2, True)
    assert send(alice, "--stage", "password", "--letter", str(letters["alice"])).exit_code == 0
    assert called("register", "--home", alice, "--letter", letters["alice"]).exit_code == 0


def test_the_wire_is_shown(stand: Stand, alice: Path) -> None:
    outcome = send(alice, "--show-wire")
    assert outcome.exit_code == 0
    for said in ("OPEN (1)", "RECORD (3)", "HKDF", "nonce counter: 0", "not shown", "one-pass", "submit-order"):
        assert said.lower() in outcome.output.lower(), said


def test_the_wire_shows_no_secret(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    drawn: list[bytes] = []

    def random(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    world = World(random=random, watch=printer(to_stderr=False))
    letter = stand.template.letters["alice"]
    for stage in (Stage.PASSWORD, Stage.CERTIFIED):
        with stand.customer(world=world) as home:
            assert sending.send(home, Wish("1002", "1.00", "rent", "EUR", stage)).posted
    shown = capsys.readouterr().out
    assert "PASSWORD (4)" in shown
    assert "OPEN (1)" in shown
    share, session_key = (each for each in drawn[-2:])
    assert len(share) == len(session_key) == 32
    for secret in (share, session_key):
        assert secret.hex() not in shown.lower()
        assert base64.b64encode(secret).decode().rstrip("=") not in shown
    assert letter.password not in shown


def test_fingerprints_are_shown_as_words_and_hex(stand: Stand, alice: Path) -> None:
    own = json.loads(called("fingerprint", "--home", alice, "--json").output)
    assert len(own["words"]) == 20
    bank = called("fingerprint", "--home", alice, "--bank").output
    assert len([line for line in bank.splitlines() if line.strip()]) == 6
    assert stand.template.bank_fingerprint in bank.replace(" ", "")
    authority = json.loads(called("fingerprint", "--home", alice, "--ca", "--json").output)
    assert authority["fingerprint"] == stand.template.letters["alice"].authority_fingerprint
    digits = called("fingerprint", "--home", alice, "--digits").output
    assert readout.parse(digits) == own["fingerprint"]
    picture = stand.folder / "code.svg"
    shown = called("fingerprint", "--home", alice, "--qr", "--qr-file", picture)
    assert readout.qr_text(own["fingerprint"]) in shown.output
    assert b"<svg" in picture.read_bytes()


def test_foreign_text_in_a_statement_is_escaped(stand: Stand, alice: Path) -> None:
    def lie(request: msgspec.Struct, answer: Answer) -> Answer:
        if isinstance(answer, Statement):
            lines = tuple(msgspec.structs.replace(line, description="\x1b]0;x\x07") for line in answer.lines)
            return msgspec.structs.replace(answer, lines=lines)
        return answer

    stand.faults.lie = lie
    outcome = called("statement", "--home", alice)
    assert "\x1b" not in outcome.output
    assert "\\x1b]0;x\\x07" in outcome.output


def test_a_statement_about_another_customer_or_part_is_not_shown(stand: Stand, alice: Path) -> None:
    changes: tuple[Callable[[Statement], Statement], ...] = (
        lambda found: msgspec.structs.replace(found, customer="1002"),
        lambda found: msgspec.structs.replace(found, lines=(), more=True),
        lambda found: msgspec.structs.replace(found, lines=(line(0),)),
    )
    for change in changes:
        stand.faults.lie = lambda request, answer, change=change: (  # type: ignore[misc]
            change(answer) if isinstance(answer, Statement) else answer
        )
        assert called("statement", "--home", alice).exit_code == 2


def line(booking: int) -> StatementLine:
    return StatementLine("1.00", "1.00", TIME, booking, "0000", "", None, None, "", None)


def test_heads_of_two_customers_are_compared(stand: Stand, alice: Path, short_tmp: Path) -> None:
    assert send(alice).exit_code == 0
    given, bob = short_tmp / "head.pgp", stand.customer("bob")
    bob.store.close()
    assert called("verify", "--home", alice, "--save-head", given).exit_code == 0
    same = called("verify", "--home", bob.folder, "--head", given)
    assert (same.exit_code, "one log" in same.output) == (0, True)
    given.write_bytes(given.read_bytes()[:-1])
    assert called("verify", "--home", bob.folder, "--head", given).exit_code == 2


@pytest.mark.parametrize("name", ["order.pgp", "receipt.pgp", "customer.pgp", "bank.pgp", "VERIFY.md", "../order.pgp"])
def test_evidence_that_is_not_about_the_order_is_not_written(
    stand: Stand, alice: Path, short_tmp: Path, name: str
) -> None:
    def lie(request: msgspec.Struct, answer: Answer) -> Answer:
        if isinstance(answer, Evidence):
            other = {"customer.pgp": "bob", "bank.pgp": "bob"}.get(name)
            changed = stand.template.certified[other] if other else with_last_byte_changed(answer.files.get(name, b"x"))
            return msgspec.structs.replace(answer, files=answer.files | {name: changed})
        return answer

    assert send(alice, "--id", "rent-1").exit_code == 0
    stand.faults.lie = lie
    outcome = called("evidence", "rent-1", "--home", alice, "--out", short_tmp / "out")
    assert outcome.exit_code == 2
    assert not (short_tmp / "out").exists()
    stand.faults.lie = lambda request, answer: answer
    assert called("evidence", "rent-1", "--home", alice, "--out", short_tmp / "out").exit_code == 0


def test_the_program_starts_without_what_a_transfer_does_not_need() -> None:
    program = (
        "import sys, customer.cli.transfers, customer.sending, customer.session\n"
        "slow = {'sqlalchemy', 'alembic', 'gnupg', 'iso4217', 'tabulate', 'platformdirs', 'cryptography.x509'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"
