"""Scripts get one JSON value on standard output, with the keys that docs/ceremony.md names, and no prompt among it."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ca.requests import claimed_request
from keyring import readout
from protocol.orders import format_time
from tests.ca.cast import CODE, PASSPHRASE, Cast
from tests.system.programs import run, run_here

DOCUMENT = Path(__file__).parents[2] / "docs" / "ceremony.md"
EACH = {"request", "number", "state"}
"""The keys of each request that was dropped."""
ROWS = re.findall(r"^\| `ca ([a-z]+)` \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)


def documented(command: str) -> set[str]:
    """The keys that the table names, those of `ca show` spelt out where it refers to them."""
    told = dict(ROWS)[command]
    names = set(re.findall(r"`([a-z_0-9]+)`", told))
    return names | (documented("show") if "those of `ca show`" in told else set())


@pytest.fixture
def secret(short_tmp: Path) -> tuple[str, str]:
    path = short_tmp / "passphrase"
    path.touch(mode=0o600)
    path.write_bytes(PASSPHRASE.reveal() + b"\n")
    return ("--passphrase-file", str(path))


def facts(home: Path, command: str, *arguments: object, code: int = 0) -> dict[str, Any]:
    """What the command prints with --json, which has the documented keys and no others."""
    done = run_here("ca", command, *arguments, "--home", home, "--json", code=code)
    found = json.loads(done.out)
    assert isinstance(found, dict)
    assert set(found) == documented(command) - (EACH if command == "drop" else set())
    return found


def test_every_command_that_makes_something_gives_the_documented_json(
    cast: Cast, short_tmp: Path, secret: tuple[str, str]
) -> None:
    home, mailed, alice = short_tmp / "ca", short_tmp / "request", cast.alice
    shutil.copytree(cast.with_bank, home)
    mailed.write_bytes(alice.request())
    digest = claimed_request(mailed.read_bytes()).digest
    (listed,) = run_here("ca", "requests", "--take", mailed, "--home", home, "--json").json()
    assert set(listed) == documented("requests")
    assert (listed["sha256"], listed["request"]) == (digest, digest[:16])
    call = ("1001", "--called-back", "+00 1", "--operator", "operator")
    mistakes = [facts(home, "confirm", *call, "--words", cast.bob.words, code=1) for _ in range(3)]
    assert [(each["confirmed"], each["counted"], each["tries_left"]) for each in mistakes] == [
        *((False, True, left) for left in (2, 1, 0))
    ]
    assert f"ca reopen {listed['request']}" in mistakes[-1]["mistake"]
    reopened = facts(home, "reopen", "1001", "--reason", "the line was bad", "--operator", "operator")
    assert (reopened["reason"], reopened["sha256"]) == ("the line was bad", digest)
    swapped = " ".join(reversed(readout.lines(alice.fingerprint)))
    mistake = facts(home, "confirm", *call, "--words", swapped, code=1)
    assert (mistake["counted"], mistake["tries_left"]) == (False, 3)
    confirmed = facts(home, "confirm", *call, "--words", alice.words)
    assert (confirmed["confirmed"], confirmed["mistake"], confirmed["sha256"]) == (True, "", digest)
    assert (confirmed["dialled"], confirmed["operator"], confirmed["address"]) == ("+00 1", "operator", "")
    assert alice.fingerprint not in json.dumps((listed, reopened, mistake, confirmed))
    issued = facts(home, "issue", "1001", "--days", "30", *secret)
    assert (issued["fingerprint"], issued["request"], issued["overlap_ends"]) == (alice.fingerprint, digest, "")
    shown = facts(home, "show", "1001")
    assert {**issued, **shown} == issued
    while format_time(time.time()) <= issued["issued"]:  # nothing is renewed in the second in which it was issued
        time.sleep(0.05)
    renewed = facts(home, "renew", "1001", *secret)
    assert (renewed["renews"], renewed["fingerprint"]) == (issued["serial"], alice.fingerprint)
    assert facts(home, "crl", *secret)["crl_number"] == 2
    revoked = facts(home, "revoke", "1001", "--reason", "superseded", "--operator", "operator", *secret)
    assert {each["serial"] for each in revoked["revoked"]} == {issued["serial"], renewed["serial"]}
    assert all(set(each) == documented("show") - {"pem"} for each in revoked["revoked"])
    assert {(each["state"], each["reason"]) for each in revoked["revoked"]} == {("revoked", "superseded")}
    assert (revoked["crl_number"], revoked["crl_next_update"] > revoked["crl_issued"]) == (3, True)
    mailed.write_bytes(cast.bob.request())
    assert len(run_here("ca", "requests", "--take", mailed, "--home", home, "--json").json()) == 1
    (dropped,) = facts(home, "drop", "1002", "--reason", "none", "--operator", "operator")["requests"]
    assert set(dropped) == EACH
    assert facts(home, "status")["certificates"] == {"valid": 1, "revoked": 2}
    assert facts(home, "fingerprint")["words"]
    assert set(run_here("ca", "list", "--home", home, "--json").json()[0]) == documented("list")
    published = facts(home, "publish", short_tmp / "public")
    assert (
        {str(each.relative_to(short_tmp / "public")) for each in (short_tmp / "public").rglob("*.*")}
        >= {"root.pem"}
        <= set(published["files"])
    )


def test_init_gives_the_documented_json(short_tmp: Path, secret: tuple[str, str]) -> None:
    made = facts(short_tmp / "new", "init", "--name", "Authority", *secret)
    assert readout.words(made["fingerprint"]) == tuple(made["words"])
    assert (made["authority"], made["desk"], made["home"]) == ("Authority", "127.0.0.1:7402", str(short_tmp / "new"))


def test_readout_and_code_on_standard_input_leave_standard_output_to_the_json(cast: Cast, short_tmp: Path) -> None:
    """First the code, then the words, in lines; prompts and errors are on standard error."""
    home, notice, mailed = short_tmp / "ca", short_tmp / "notice", short_tmp / "request"
    shutil.copytree(cast.with_bank, home)
    notice.write_bytes(cast.bank.notice(cast.alice))
    mailed.write_bytes(cast.alice.request())
    run_here("ca", "requests", "--take", mailed, "--home", home)
    call = ("ca", "confirm", "1001", "--notice", notice, "--operator", "operator", "--home", home, "--json")
    nothing = run(*call, code=1)
    assert "Standard input ended where this was asked for: The caller's code" in nothing.err
    few = run(*call, stdin=f"{CODE}\ntopmost\n".encode(), code=1)
    assert not nothing.out + few.out
    assert (
        few.err.index("code from the letter") < few.err.index("in words or in hexadecimal") < few.err.index("1 of 20")
    )
    assert "so 19 are missing" in few.err
    assert not run(*call, stdin=b"\xff\xfe\n", code=1).out
    # The option takes one line, and leaves the others to be read on.
    lines = "\n".join(readout.lines(cast.alice.fingerprint))
    done = run(*call, "--caller-code-file", "-", stdin=f"{CODE}\n{lines}\n".encode())
    assert done.json()["confirmed"] is True
    assert set(done.json()) == documented("confirm")
    assert "code from the letter" not in done.err
