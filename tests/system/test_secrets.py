"""No secret lies where somebody else could find it: not in logs, screens, command lines, environments or open files."""

import base64
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyring.home import Home
from protocol.letter import agreed_password
from protocol.records import Channel
from protocol.secret import Secret
from protocol.stages import Stage
from tests.system.programs import Done, run_here
from tests.system.town import PASSPHRASE, Person, Stand, make_town, standing

GNUPG = ("gpg", "gpg-agent", "gpgconf", "gpg-connect-agent")
PLANTED = "correct horse planted staple"
PRIVATE = "private-keys-v1.d"
SHORTEST = 12
"""Bytes; anything shorter could be found by chance."""


@dataclass(frozen=True)
class Found:
    """A secret in a place, by their names."""

    secret: str
    place: str


def spellings(secret: bytes) -> frozenset[bytes]:
    """How a program might write it by mistake."""
    assert len(secret) >= SHORTEST
    encoded = base64.b64encode(secret).rstrip(b"=")
    hexadecimal = secret.hex().encode()
    return frozenset(
        {secret, hexadecimal, hexadecimal.upper(), encoded, encoded.translate(bytes.maketrans(b"+/", b"-_"))}
    )


def found_in(places: Iterator[tuple[str, bytes]], secrets: dict[str, bytes]) -> set[Found]:
    """Every secret in every place, however it is spelled."""
    spelled = {name: spellings(secret) for name, secret in secrets.items()}
    return {
        Found(name, place)
        for place, content in places
        for name, each in spelled.items()
        if any(one in content for one in each)
    }


def private_numbers(key_file: bytes) -> Iterator[bytes]:
    """The secret numbers of a file of gpg-agent, in either of its formats, as long as it has no passphrase.

    Without q, which in keys on curves is the public point.
    """
    for match in re.finditer(rb"1:[dpu](\d+):", key_file):
        yield key_file[match.end() : match.end() + int(match[1])]
    for match in re.finditer(rb"\([dpu]\s+#([0-9A-Fa-f\s]+)#\)", key_file):
        yield bytes.fromhex(b"".join(match[1].split()).decode())


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(folder)), path.read_bytes()


@pytest.fixture
def said(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Whoever starts GnuPG from now on has its command line and environment written to this file."""
    programs, record = short_tmp / "bin", short_tmp / "said"
    programs.mkdir()
    for name in GNUPG:
        real = shutil.which(name)
        wrapper = programs / name
        wrapper.write_text(f'#!/bin/sh\n{{ echo "$0 $*"; env; }} >>{record}\nexec {real} "$@"\n')
        wrapper.chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return record


@pytest.fixture
def session_keys(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The session keys that customers in this process make."""
    made: list[bytes] = []
    honest = Channel.of_customer

    def remembering(key: Secret, shared: Secret, transcript: bytes) -> Channel:
        made.append(key.reveal())
        return honest(key, shared, transcript)

    monkeypatch.setattr(Channel, "of_customer", remembering)
    return made


def with_a_passphrase(stand: Stand, folder: Path) -> Person:
    """Dora, whose key is under a planted passphrase."""
    paper, home, phrase = folder / "dora.letter", folder / "dora", folder / "dora.passphrase"
    phrase.touch(mode=0o600)
    phrase.write_text(PLANTED + "\n")
    stand.bank("open-account", "--number", "1009", "--name", "Dora", "--letter", paper)
    run_here("customer", "init", "--home", home, "--letter", paper, "--passphrase-file", phrase)
    dora = Person("dora", "1009", home, paper)
    dora.set(address=f"127.0.0.1:{stand.port}")
    stand.town.names["dora"] = "1009"
    return dora


def a_day_at_the_bank(stand: Stand, dora: Person) -> list[Done]:
    """Transfers in all four stages, refusals, a wrong password, statements, evidence, an audit: all that is printed."""
    alice, phrase = stand.person("alice"), ("--passphrase-file", dora.letter.parent / "dora.passphrase")
    wrong = ("--letter", stand.person("carol").letter)
    return [
        alice.send_here("--id", "first", stage=Stage.PASSWORD),
        alice.here("send", *alice.transfer(stage=Stage.PASSWORD)[:-2], *wrong, code=2),
        alice.here("register", "--letter", alice.letter),
        *(alice.send_here(stage=stage) for stage in (Stage.SESSION, Stage.SIGNED, Stage.CERTIFIED)),
        alice.send_here(amount="99999.00", code=1),
        dora.here("register", "--letter", dora.letter),
        dora.send_here(*phrase, stage=Stage.SIGNED, code=1),
        alice.here("statement"),
        alice.here("status", "--json"),
        alice.here("evidence", "first", "--out", stand.folder / "evidence"),
        stand.bank("transfers"),
        stand.bank("status"),
        stand.bank("audit"),
    ]


def test_trial_44_no_secret_is_in_a_log_a_command_line_an_environment_or_a_file_that_is_not_its_own(
    short_tmp: Path, said: Path, session_keys: list[bytes]
) -> None:
    town = make_town(short_tmp)
    try:
        (short_tmp / "stand").mkdir(mode=0o700)
        with standing(town, short_tmp / "stand") as stand:
            dora = with_a_passphrase(stand, short_tmp)
            printed = a_day_at_the_bank(stand, dora)
            assert stand.server is not None
            limits = Path(f"/proc/{stand.server.process.pid}/limits").read_text()
            assert re.search(r"Max core file size +0 +0 ", limits)
            places = dict(files_below(short_tmp))
            Home.open(dora.home / "gnupg").stop()
    finally:
        town.close()
    secrets = {"the authority's passphrase": PASSPHRASE.encode(), "a customer's passphrase": PLANTED.encode()}
    for name in (*town.names, "dora"):
        paper = town.letter(name)
        secrets |= {f"{name}'s password": paper.password.encode(), f"{name}'s code": paper.caller_code.encode()}
        secrets |= {f"{name}'s password, decoded": agreed_password(paper.password).reveal()}
    for place, content in places.items():
        if PRIVATE in place:
            secrets |= {f"{place}, number {nth}": number for nth, number in enumerate(private_numbers(content))}
    secrets |= {f"session key {nth}": key for nth, key in enumerate(session_keys)}
    assert len(session_keys) >= 5
    assert sum(PRIVATE in name for name in secrets) >= 20

    own = re.compile(rf"(\.letter|\.passphrase)$|{PRIVATE}")
    places = {place: content for place, content in places.items() if not own.search(place)}
    screens = {f"what `{done.command}` printed": done.said.encode() for done in printed}
    assert {"said", "stand/bank.log"} <= set(places)
    found = found_in(iter([*places.items(), *screens.items()]), secrets)
    # The bank has to know the agreed passwords; they lie in its ledger sealed to its own key.
    assert found == set()


def test_trial_44_the_search_itself_finds_what_is_planted(short_tmp: Path) -> None:
    secret = bytes(range(200, 232))
    for nth, spelling in enumerate(sorted(spellings(secret))):
        (short_tmp / f"{nth}.log").write_bytes(b"before " + spelling + b" after")
    (short_tmp / "clean.log").write_bytes(secret[:-1])
    with sqlite3.connect(short_tmp / "a.sqlite") as database:
        database.execute("CREATE TABLE a (b BLOB)")
        database.execute("INSERT INTO a VALUES (?)", (secret,))
    database.close()
    found = {each.place for each in found_in(files_below(short_tmp), {"it": secret})}
    assert found == {*(f"{nth}.log" for nth in range(len(spellings(secret)))), "a.sqlite"}


@pytest.mark.parametrize("program", ["bank", "customer", "ca"])
def test_trial_44_a_home_that_others_may_enter_is_refused_with_the_command_that_closes_it(
    stand: Stand, short_tmp: Path, program: str
) -> None:
    alice = stand.person("alice")
    source = {"bank": stand.home, "customer": alice.home, "ca": stand.town.ca}[program]
    home = short_tmp / "open" / program
    shutil.copytree(source, home, ignore=shutil.ignore_patterns("S.*"))
    run_here(program, "status", "--home", home)
    home.chmod(0o750)
    refused = run_here(program, "status", "--home", home, code=2 if program == "customer" else 1)
    assert f"chmod 700 '{home}'" in refused.err
    home.chmod(0o700)
    run_here(program, "status", "--home", home)


def test_trial_44_what_the_programs_write_only_their_owner_may_read(stand: Stand) -> None:
    """Whatever the umask of whoever started them."""
    alice, before = stand.person("alice"), time.time()
    mask = os.umask(0)
    try:
        alice.run("send", *alice.transfer())
        stand.restart()
        alice.run("statement")
    finally:
        os.umask(mask)
    files = [path for path in [*stand.home.rglob("*"), *alice.home.rglob("*"), stand.log] if path.is_file()]
    written = [path for path in files if path.stat().st_mtime >= before]
    assert {"ledger.sqlite-wal", "newest-head.pgp", "customer.sqlite", "bank.log"} <= {path.name for path in written}
    assert [path for path in written if path.stat().st_mode & 0o077] == []
