"""The whole ceremony and a transfer work from any folder, by the command lines alone and each a process of its own."""

import re
from pathlib import Path

from tests.conftest import stop_agents_below
from tests.system.programs import Serving, free_port, run

NAME = "a folder with 'quotes', spaces and more characters than the way to a socket may have, " * 2


def test_the_whole_ceremony_and_a_transfer(short_tmp: Path) -> None:
    folder = short_tmp / NAME
    folder.mkdir(mode=0o700)
    assert len(str(folder)) > 130
    ca, bank, alice, letter = (folder / name for name in ("ca", "bank", "alice", "alice.letter"))
    passphrase = folder / "ca passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("a passphrase of tests\n")
    at = f"127.0.0.1:{free_port()}"
    servers: list[Serving] = []

    def certify(said: str, *caller: object, words: str) -> None:
        found = re.search(r"\b[0-9a-f]{16}\b", said)
        assert found
        run("ca", "confirm", found[0], "--home", ca, "--operator", "operator", *caller, "--words", words)
        run("ca", "issue", found[0], "--home", ca, "--passphrase-file", passphrase)

    try:
        run("ca", "init", "--home", ca, "--name", "Authority", "--passphrase-file", passphrase)
        authority = run("ca", "fingerprint", "--home", ca, "--json").json()["fingerprint"]
        servers.append(Serving("ca", "--home", ca, "--listen", "127.0.0.1:0", log=folder / "ca.log"))
        seen = ("--authority", servers[0].first_line.split()[-1], "--authority-fingerprint", authority)
        run("bank", "init", "--home", bank, "--name", "Bank", "--currency", "EUR", "--listen", at, *seen)
        words = " ".join(run("bank", "fingerprint", "--home", bank, "--json").json()["words"])
        certify(run("bank", "request", "--home", bank).out, "--called-back", "+00", words=words)
        run("bank", "fetch", "--home", bank)
        run("bank", "open-account", "--home", bank, "--number", "1001", "--name", "Alice", "--letter", letter)
        run("bank", "open-account", "--home", bank, "--number", "1002", "--name", "Bob", "--letter", folder / "b")
        run("bank", "deposit", "--home", bank, "--to", "1001", "--amount", "100.00")
        servers.append(Serving("bank", "--home", bank, log=folder / "bank.log"))
        run("customer", "init", "--home", alice, "--letter", letter, "--no-passphrase")
        asked = run("customer", "request", "--home", alice).out
        words = " ".join(run("customer", "fingerprint", "--home", alice, "--json").json()["words"])
        (code,) = re.findall(r"Caller's code: +(.*)", letter.read_text())
        certify(asked, "--caller-code", code, words=words)
        run("customer", "fetch", "--home", alice)
        sent = run("customer", "send", "--home", alice, "--to", "1002", "--amount", "25.00", "--json").json()
        assert sent["status"] == "posted"
        evidence = folder / "evidence"
        run("customer", "evidence", sent["transfer_identifier"], "--home", alice, "--out", evidence)
        assert (evidence / "VERIFY.md").exists()
        run("customer", "verify", "--home", alice)
        run("bank", "audit", "--home", bank)
        (row,) = run("bank", "accounts", "1002", "--home", bank, "--json").json()
        assert row["balance"] == "25.00"
        assert run("keyring", "list", "--home", alice, "--json").json()
        for server in reversed(servers):
            assert server.terminate() == 0
    finally:
        for server in servers:
            server.kill()
        stop_agents_below(folder)
