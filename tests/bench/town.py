"""The town of the benchmark is made by the real command lines, key by key, and kept until what makes it changes.

An authority, a bank in its default configuration, and customers whose keys GnuPG makes and the authority certifies on
the telephone. It lies in ``build/bench/town``; each measurement serves a fresh copy of the bank.
"""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ca.decisions import AuthorityStore
from ca.store import DeskStore
from customer import schema as customer_schema
from keyring.home import Home
from tests.bench.cast import FILE_NAME, Cast, read_cast, write_cast
from tests.system.programs import Serving, run_here
from tests.system.town import PASSPHRASE, Town

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
CUSTOMERS = 64
FIRST_NUMBER = 1001
MONEY = "1000000.00"
KEPT_SECONDS = 7 * 24 * 3600
"""How old a town may be; the authority's certificates last longer."""

MADE_BY = (DeskStore.VERSION, AuthorityStore.VERSION, customer_schema.VERSION)
"""What files of these versions are in it; others are made anew. (A bank's ledger is brought up to date by itself.)"""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BenchTown:
    """Where everything lies, and who is who."""

    folder: Path
    cast: Cast

    @property
    def bank(self) -> Path:
        return self.folder / "bank"

    @property
    def cast_file(self) -> Path:
        return self.folder / FILE_NAME

    @property
    def orders(self) -> Path:
        return self.folder / "orders"

    def customer(self, number: str) -> Path:
        return self.folder / f"customer-{number}"


def town(customers: int, say: Progress) -> BenchTown:
    """The kept town if it still serves, else a new one."""
    folder = BUILD / "town"
    stamp, mark = folder / "made", f"{MADE_BY} {customers}"
    if stamp.exists() and stamp.read_text() == mark and time.time() - stamp.stat().st_mtime < KEPT_SECONDS:
        say("using the town in build/bench/town")
        return BenchTown(folder, read_cast(folder / FILE_NAME))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    made = _make(folder, customers, say)
    stamp.write_text(mark)
    return made


def _make(folder: Path, customers: int, say: Progress) -> BenchTown:
    passphrase = folder / "ca.passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(PASSPHRASE + "\n")
    ca = folder / "ca"
    say("making an authority and a bank")
    run_here("ca", "init", "--home", ca, "--name", "Example Authority", "--passphrase-file", passphrase)
    desk = Serving("ca", "--home", ca, "--listen", "127.0.0.1:0", log=folder / "ca.log")
    try:
        made = _open_bank(folder, ca, passphrase, desk)
        _admit(made, [str(FIRST_NUMBER + place) for place in range(customers)], say)
    finally:
        desk.terminate()
        for home in folder.glob("*/gnupg"):
            Home.open(home).stop()
    numbers = range(FIRST_NUMBER, FIRST_NUMBER + customers)
    return BenchTown(folder, read_cast(write_cast(folder, [folder / f"customer-{number}" for number in numbers])))


def _open_bank(folder: Path, ca: Path, passphrase: Path, desk: Serving) -> Town:
    bank = folder / "bank"
    authority = run_here("ca", "fingerprint", "--home", ca, "--json").json()
    address = desk.first_line.split()[-1]
    seen = ("--authority", address, "--authority-fingerprint", " ".join(authority["words"]))
    run_here("bank", "init", "--home", bank, "--name", "Example Bank", "--currency", "EUR", *seen)
    run_here("bank", "request", "--home", bank)
    words = " ".join(run_here("bank", "fingerprint", "--home", bank, "--json").json()["words"])
    (waiting,) = run_here("ca", "requests", "--home", ca, "--json").json()
    called = ("--called-back", "+00 000 0000", "--operator", "operator")
    run_here("ca", "confirm", waiting["request"], "--home", ca, *called, "--words", words)
    run_here("ca", "issue", waiting["request"], "--home", ca, "--passphrase-file", passphrase)
    run_here("bank", "fetch", "--home", bank)
    return Town(folder, desk, address, authority["fingerprint"])


def _admit(made: Town, numbers: list[str], say: Progress) -> None:
    """Accounts with money; then the keys, two at a time; then the certificates, one telephone call each."""
    bank, folder = made.folder / "bank", made.folder
    for number in numbers:
        paper = folder / f"customer-{number}.letter"
        name = f"customer-{number}"
        run_here("bank", "open-account", "--home", bank, "--number", number, "--name", name, "--letter", paper)
        run_here("bank", "deposit", "--home", bank, "--to", number, "--amount", MONEY)
    with ProcessPoolExecutor(2) as pool:
        for done, _ in enumerate(pool.map(_make_key, [folder] * len(numbers), numbers), 1):
            if done % 16 == 0:
                say(f"{done} of {len(numbers)} customers have made their key")
    for done, number in enumerate(numbers, 1):
        made.certify(folder / f"customer-{number}", f"customer-{number}")
        if done % 16 == 0:
            say(f"{done} of {len(numbers)} customers have their certificate")


def _make_key(folder: Path, number: str) -> None:
    paper = folder / f"customer-{number}.letter"
    run_here("customer", "init", "--home", folder / f"customer-{number}", "--letter", paper, "--no-passphrase")
