"""Keys, certifications and a bank's folder, made once for all tests of the server and copied for each of them."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from bank import accounts, config, letters
from bank.certificates import keep
from bank.config import BankConfig, Limits
from bank.home import BankHome
from bank.revocations import RevocationLists
from bank.storage import Ledger
from ca import bridge
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
    """The key as the authority certified it, in OpenPGP."""
    certificate: bytes
    """The same in X.509, DER."""
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
    root: bytes
    bank_fingerprint: str
    view: Home
    alice: Person
    bob: Person
    impostor: Person
    """Has made a key in Alice's name, which nobody certified."""

    def crl(self, number: int, *revoked: bytes, days: float = DAYS, ago: int = 0) -> bytes:
        """A revocation list of the authority, made so many seconds ago, with these certificates (DER) in it."""
        at = int(time.time()) - ago
        entries = [bridge.Revocation(x509.load_der_x509_certificate(each).serial_number, at) for each in revoked]
        with bridge.agent_key(self.authority, self.authority_fingerprint, PASSPHRASE) as key:
            root = bridge.open_root(self.root, self.authority_fingerprint)
            end = at + int(days * DAY)
            return bridge.make_crl(key, root, number=number, at=at, next_update=end, revoked=entries)

    def certified_for(self, person: Person, number: str, role: str, *, days: int = DAYS, succeeds: str = "") -> bytes:
        """The person's key as an authority would have certified it for something else, in a copy of its home."""
        path = self.folder / f"ca-{person.fingerprint[:8]}-{number}-{role}-{days}{succeeds[:8]}"
        kept = path / "certified.pgp"
        if kept.exists():
            return kept.read_bytes()
        shutil.copytree(self.authority.path, path, ignore=shutil.ignore_patterns("S.*", "*.lock"))
        home = Home.open(path)
        try:
            kept.write_bytes(certified_by(home, person.home, person.fingerprint, number, role, days, succeeds))
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
    home.certified_key_path.write_bytes(certified_by(homes["ca"], gnupg, bank, "0000", "bank"))
    home.authority_path.write_bytes(keys.export(homes["ca"], authority))
    root = make_root(homes["ca"], authority)
    home.root_path.write_bytes(root)
    home.certificate_path.write_bytes(make_leaf(homes["ca"], root, gnupg, bank, "0000", "bank"))
    passwords = {}
    with home.open_ledger() as ledger:
        for name, number in (("alice", "1001"), ("bob", "1002")):
            letter = letters.open_account(home, ledger, number=number, name=name.capitalize()).letter
            passwords[name] = agreed_password(parse(letter).password)
            key = keys.export_minimal(homes[name], fingerprints[name])
            home.customers(ledger).register_key(number, fingerprints[name], key)
            home.customers(ledger).lower_floor(number, Stage.PASSWORD)
        letters.open_account(home, ledger, number="1003", name="Alice")
        certificate = home.certificate_path.read_bytes()
        with ledger.writing() as connection:
            keep(connection, certificate, judged(certificate, root, bank, "0000", "bank"))
        _deposit(home, ledger, "1001", "10000.00")
    view = registered_home(folder / "view", key=home.public_key(), expected_fingerprint=bank)
    gnupg.stop()

    def person(name: str, number: str) -> Person:
        certified = certificate = b""
        if name != "impostor":
            certified = certified_by(homes["ca"], homes[name], fingerprints[name], number)
            certificate = make_leaf(homes["ca"], root, homes[name], fingerprints[name], number)
        password = passwords.get(name, Secret(b"a guess"))
        return Person(number, homes[name], fingerprints[name], certified, certificate, password)

    town = Town(
        folder,
        homes["ca"],
        authority,
        root,
        bank,
        view,
        person("alice", "1001"),
        person("bob", "1002"),
        person("impostor", "1001"),
    )
    with home.open_ledger() as ledger:
        RevocationLists(ledger, bridge.open_root(root, authority)).take(town.crl(1), int(time.time()))
    return town


def certified_by(
    ca: Home,
    home: Home,
    fingerprint: str,
    number: str,
    role: str = "customer",
    days: int = DAYS,
    succeeds: str = "",
) -> bytes:
    """The key of a home, certified by this authority; with the same key again, a renewal."""
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
        notations={"succeeds": succeeds} if succeeds else {},
    )
    return keys.export(ca, fingerprint)


def make_root(ca: Home, fingerprint: str) -> bytes:
    """A root certificate of an authority, good for ten years."""
    with bridge.agent_key(ca, fingerprint, PASSPHRASE) as key:
        return bridge.make_root(key, name="Authority", not_before=key.created, not_after=key.created + 3650 * DAY)


def make_leaf(ca: Home, root_der: bytes, home: Home, fingerprint: str, number: str, role: str = "customer") -> bytes:
    """The X.509 form of what the authority certified last of this key."""
    name = keys.public_key(home, fingerprint).user_ids[0].text.rpartition(" (")[0]
    with (
        bridge.agent_key(ca, keys.secret_keys(ca)[0].fingerprint, PASSPHRASE) as key,
        bridge.agent_key(home, fingerprint, None) as own,
    ):
        request = bridge.open_request(
            bridge.make_request(own, role=role, number=number, name=name),
            fingerprint=fingerprint,
            role=role,
            number=number,
            name=name,
        )
        made = certification.read_certification(ca, fingerprint, key.fingerprint)
        return bridge.make_leaf(key, bridge.open_root(root_der, key.fingerprint), request, made, crl_url=None)


def judged(certificate: bytes, root: bytes, fingerprint: str, number: str, role: str) -> bridge.JudgedCertificate:
    """What the certificate is judged to be now, its revocation left aside."""
    issued_by = x509.load_der_x509_certificate(root).subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value
    return bridge.judge_leaf(
        certificate,
        root=bridge.open_root(root, str(issued_by)),
        role=role,
        number=number,
        fingerprint=fingerprint,
        at=int(time.time()),
    )


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
