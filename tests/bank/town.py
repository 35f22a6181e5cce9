"""Keys, certifications and a bank's folder, made once for all tests of the server and copied for each of them."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bank import accounts, config, letters
from bank.config import BankConfig, Limits
from bank.home import BankHome
from bank.storage import Ledger
from keyring import certification, keys
from keyring.certification import registered_home
from keyring.home import Home
from protocol.letter import agreed_password, parse
from protocol.orders import format_time
from protocol.secret import Secret
from protocol.stages import Stage

PASSPHRASE = Secret(b"authority")
REQUEST = "0" * 64
DAYS = 30
DAY = 86_400  # seconds
SECONDS = 10.0
"""Longest wait for anything that should come at once."""


@dataclass(frozen=True)
class Person:
    """A customer of the bank, or somebody who would like to be taken for one."""

    number: str
    home: Home
    fingerprint: str
    certified: bytes
    password: Secret

    @property
    def key(self) -> bytes:
        return keys.export_minimal(self.home, self.fingerprint)


@dataclass(frozen=True)
class Town:
    """Keys and a bank's folder, made once; Alice (1001) has money, Bob (1002) has none, both have registered keys."""

    folder: Path
    authority: Home
    authority_fingerprint: str
    bank_fingerprint: str
    view: Home
    alice: Person
    bob: Person
    impostor: Person
    """Has made a key in Alice's name, which nobody certified."""

    def certified_for(self, person: Person, number: str, role: str, *, days: int = DAYS) -> bytes:
        """The person's key as an authority would have certified it for something else, in a copy of its home."""
        path = self.folder / f"ca-{number}-{role}-{days}"
        kept = path / "certified.pgp"
        if kept.exists():
            return kept.read_bytes()
        shutil.copytree(self.authority.path, path, ignore=shutil.ignore_patterns("S.*", "*.lock"))
        home = Home.open(path)
        try:
            kept.write_bytes(_certify(home, person.home, person.fingerprint, number, role, days))
        finally:
            home.stop()
        return kept.read_bytes()


def make_town(folder: Path) -> Town:
    """Five RSA keys, two at a time."""
    homes = {name: Home.create(folder / name, own_keys=True) for name in ("ca", "alice", "bob", "impostor")}
    path = folder / "bank"
    path.mkdir(mode=0o700)
    gnupg = Home.create(path / "gnupg", own_keys=True)
    with ThreadPoolExecutor(2) as pool:
        ca = pool.submit(keys.new_ca_key, homes["ca"], "Authority", PASSPHRASE)
        made = pool.submit(keys.new_bank_key, gnupg, keys.user_id("Example Bank", "0000"))
        names = {"alice": "Alice (1001)", "bob": "Bob (1002)", "impostor": "Alice (1001)"}
        people = {name: pool.submit(keys.new_customer_key, homes[name], text, None) for name, text in names.items()}
        authority, bank = ca.result(), made.result().primary
        fingerprints = {name: each.result() for name, each in people.items()}
    settings = BankConfig(
        name="Example Bank",
        currency="EUR",
        fingerprint=bank,
        listen="127.0.0.1:0",
        minimum_stage=Stage.PASSWORD,
        authority_address="127.0.0.1:1",
        authority_fingerprint=authority,
    )
    config.save(path, settings)
    Ledger.create(path / "ledger.sqlite", bank_fingerprint=bank, currency="EUR").close()
    home = BankHome.open(path)
    home.certificate_path.write_bytes(_certify(homes["ca"], gnupg, bank, "0000", "bank"))
    home.authority_path.write_bytes(keys.export(homes["ca"], authority))
    passwords = {}
    with home.open_ledger() as ledger:
        for name, number in (("alice", "1001"), ("bob", "1002")):
            letter = letters.open_account(home, ledger, number=number, name=name.capitalize()).letter
            passwords[name] = agreed_password(parse(letter).password)
            key = keys.export_minimal(homes[name], fingerprints[name])
            home.customers(ledger).register_key(number, fingerprints[name], key)
            home.customers(ledger).lower_floor(number, Stage.PASSWORD)
        letters.open_account(home, ledger, number="1003", name="Alice")
        _deposit(home, ledger, "1001", "10000.00")
    view = registered_home(folder / "view", key=home.public_key(), expected_fingerprint=bank)
    gnupg.stop()

    def person(name: str, number: str) -> Person:
        certified = b"" if name == "impostor" else _certify(homes["ca"], homes[name], fingerprints[name], number)
        return Person(number, homes[name], fingerprints[name], certified, passwords.get(name, Secret(b"a guess")))

    return Town(
        folder,
        homes["ca"],
        authority,
        bank,
        view,
        person("alice", "1001"),
        person("bob", "1002"),
        person("impostor", "1001"),
    )


def _certify(ca: Home, home: Home, fingerprint: str, number: str, role: str = "customer", days: int = DAYS) -> bytes:
    keys.import_key(ca, keys.export_minimal(home, fingerprint), expected_fingerprint=fingerprint)
    user_id = keys.public_key(home, fingerprint).user_ids[0].text
    certification.certify(
        ca,
        fingerprint,
        user_id,
        number=number,
        role=role,
        request_digest=REQUEST,
        days=days,
        passphrase=PASSPHRASE,
        notations={},
    )
    return keys.export(ca, fingerprint)


def _deposit(home: BankHome, ledger: Ledger, number: str, amount: str) -> None:
    signer = home.signer()
    created = format_time(time.time())
    try:
        with home.open_posting(ledger, signer, time.time) as posting:
            posting.submit(
                accounts.deposit(ledger, number, amount, "cash", identifier=f"cash-{number}", created=created)
            ).result(SECONDS)
    finally:
        signer.close()


def copied_bank(town: Town, folder: Path, **changes: Any) -> BankHome:
    """A copy of the town's bank; ``limits`` and other keys of bank.toml may be changed."""
    path = folder / "bank"
    shutil.copytree(town.folder / "bank", path, ignore=shutil.ignore_patterns("S.*", "*.lock", "*.new"))
    home = BankHome.open(path)
    limits = Limits(**changes.pop("limits", {}))
    config.save(path, msgspec.structs.replace(home.config, limits=limits, **changes))
    return BankHome.open(path)
