"""Eight customers share a total of 100.00: their keys are made once, and each test has a bank and homes of its own."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bank import accounts
from bank.home import BankHome
from bank.letters import open_account
from customer import bank_view, ceremony, config
from customer.home import CustomerHome
from customer.store import Fact
from keyring import keys
from protocol import letter
from protocol.orders import format_time
from protocol.stages import Stage
from tests.system.programs import run_here
from tests.system.town import Person, Stand, Town, standing

NUMBERS = tuple(str(number) for number in range(2001, 2009))
TOTAL_MINOR = 100_00
NO_DESK = "127.0.0.1:1"
QUICK = config.Limits(connect_seconds=5, answer_seconds=8, frame_seconds=4)
"""A customer gives an answer up soon, so that faults leave orders whose outcome is unknown."""


@dataclass
class Eight(Town):
    """A bank that needs no authority: all eight are known by the key that they have registered."""

    def close(self) -> None:
        """There is no desk."""


def make_eight(folder: Path) -> Eight:
    """The bank, and the eight with their keys; each has 12.50 and pays in the stage signed."""
    path = folder / "bank"
    named = ("--name", "Example Bank", "--currency", "EUR", "--minimum-stage", "password")
    run_here("bank", "init", "--home", path, *named, "--authority", NO_DESK, "--authority-fingerprint", "0" * 40)
    bank = BankHome.open(path)
    town = Eight(folder, None, NO_DESK, "0" * 40, {number: number for number in NUMBERS})
    signer = bank.signer()
    try:
        with bank.open_ledger() as ledger, bank.open_posting(ledger, signer, time.time) as posting:
            for number in NUMBERS:
                text = open_account(bank, ledger, number=number, name=f"Customer {number}").letter
                (folder / f"{number}.letter").write_text(text)
                key = _settle_in(folder / number, text, bank.public_key())
                bank.customers(ledger).register_key(number, *key)
                share, first = f"{TOTAL_MINOR / len(NUMBERS) / 100:.2f}", format_time(time.time())
                cash = accounts.deposit(ledger, number, share, "", identifier=f"cash-{number}", created=first)
                posting.submit(cash).result()
    finally:
        signer.close()
        bank.gnupg.stop()
    return town


def _settle_in(folder: Path, text: str, bank_key: bytes) -> tuple[str, bytes]:
    """What `customer init` and `customer register` leave behind; the fingerprint and the key that are registered."""
    found = ceremony.from_letter(letter.parse(text))
    made = ceremony.init(folder, found, None, ask=False)
    person = msgspec.structs.replace(made.customer, stage=Stage.SIGNED)
    config.write(folder, config.Config(customer=person, bank=made.bank, authority=made.authority, limits=QUICK))
    bank_view.make_registered(folder, bank_key, made.bank.fingerprint)
    with CustomerHome.open(folder) as home:
        home.store.set_facts({Fact.REGISTERED: b"1"})
        home.store.raise_floor(Stage.SESSION)
        key = home.key, keys.export_minimal(home.keys, home.key)
        home.keys.stop()
    return key


@contextmanager
def eight_standing(town: Town, folder: Path, **limits: Any) -> Iterator[Stand]:
    """A copy of the bank that serves; all eight have a home of their own in it."""
    with standing(town, folder, refusals_per_minute=100_000, **limits) as stand:
        for name in town.names:
            set_limits(stand.person(name), QUICK)
        try:
            yield stand
        finally:
            for name in town.names:
                with CustomerHome.open(stand.person(name).home) as home:
                    home.keys.stop()


def set_limits(person: Person, limits: config.Limits) -> None:
    """How long this customer waits."""
    found = config.read(person.home)
    config.write(person.home, config.Config(found.customer, found.bank, found.authority, limits))


def copied(town: Eight, folder: Path) -> Path:
    """A copy of the bank alone, which nobody serves."""
    shutil.copytree(town.folder / "bank", folder / "bank", ignore=shutil.ignore_patterns("S.*", "notices"))
    return folder / "bank"
