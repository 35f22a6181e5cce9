"""A real bank that serves in this process and can be made to lie or to hang up, and customers with real keys."""

import shutil
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec
from cryptography import x509

from bank import accounts, letters
from bank import config as bank_configuration
from bank.ceremony import take_certificate
from bank.config import BankConfig
from bank.home import BankHome
from bank.server import Server
from bank.service import Service
from bank.serving import serving
from bank.storage import Ledger
from ca.applicant import Desk
from ca.messages import AuthorityKey, Certified, MailedCertificates, encode
from customer import ceremony, config
from customer.home import CustomerHome, Secrets, World
from customer.store import Fact
from keyring import keys
from keyring.home import Home
from protocol import letter
from protocol.errors import RemoteProtocolError
from protocol.letter import Letter
from protocol.messages import Answer
from protocol.stages import Stage
from protocol.transport import Address
from tests.customer.authority import PASSPHRASE, Authority

NUMBERS = {"alice": "1001", "bob": "1002"}
START = "1000.00"


@dataclass(frozen=True)
class Template:
    """A bank with two customers, made once and copied for each test.

    ``certified``: certificates as the authority gave them; ``crl``: its first revocation list, of nobody.
    """

    folder: Path
    letters: dict[str, Letter]
    authority: Authority
    certified: dict[str, Certified]
    crl: bytes

    @property
    def bank_fingerprint(self) -> str:
        return self.letters["alice"].bank_fingerprint


def make_template(folder: Path) -> Template:
    """The keys of authority, bank and customers, certifications, accounts, letters, and money for Alice."""
    ca = Home.create(folder / "ca", own_keys=True)
    (folder / "bank").mkdir(mode=0o700)
    gnupg = Home.create(folder / "bank" / "gnupg", own_keys=True)
    with ThreadPoolExecutor() as pool:  # the keys are what takes long
        people = [pool.submit(_make_customer_key, folder / name, number) for name, number in NUMBERS.items()]
        bank_key = pool.submit(keys.new_bank_key, gnupg, keys.user_id("Example Bank", "0000"))
        authority_key = pool.submit(keys.new_ca_key, ca, "Authority", PASSPHRASE).result()
        for made in people:
            made.result()
    bank = _make_bank(folder / "bank", bank_key.result(), authority_key)
    with bank.open_ledger() as ledger:
        texts = {
            name: letters.open_account(bank, ledger, number=number, name=name.capitalize()).letter
            for name, number in NUMBERS.items()
        }
        _deposit(bank, ledger, NUMBERS["alice"])
    found = {name: letter.parse(text) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / f"{name}.letter").write_text(text)
        ceremony.init(folder / name, ceremony.from_letter(found[name]), None, ask=False)
    authority = Authority.make(ca, authority_key)
    certified = {
        name: authority.certify(Home.open(folder / name / "gnupg"), number, "customer")
        for name, number in NUMBERS.items()
    }
    certified["bank"] = authority.certify(bank.gnupg, "0000", "bank")
    crl = authority.crl(1)
    with bank.open_ledger() as ledger:
        take_certificate(bank, ledger, cast(Desk, HandingOut(certified["bank"], authority.public, crl)))
    for home in (ca, bank.gnupg, *(Home.open(folder / name / "gnupg") for name in NUMBERS)):
        home.stop()
    return Template(folder, found, authority, certified, crl)


@dataclass
class Stand:
    """One test's bank, serving, and its customers' folders; ``faults`` decides what it does wrong."""

    template: Template
    folder: Path
    bank: BankHome
    server: Server
    address: Address
    faults: "Faults"

    def customer(
        self, name: str = "alice", *, world: World | None = None, certified: bool = True, seconds: float = 10.0
    ) -> CustomerHome:
        """A customer's home, opened; with ``certified`` as after `customer fetch`."""
        folder = self.folder / name
        if not folder.exists():
            shutil.copytree(self.template.folder / name, folder, ignore=shutil.ignore_patterns("S.*", "*.sqlite*"))
            found = config.read(folder)
            limits = config.Limits(connect_seconds=seconds, answer_seconds=seconds, frame_seconds=seconds)
            bank = config.Bank(name=found.bank.name, address=str(self.address), fingerprint=found.bank.fingerprint)
            config.write(
                folder, config.Config(customer=found.customer, bank=bank, authority=found.authority, limits=limits)
            )
        home = CustomerHome.open(folder, world or World(sleep=lambda _: None), self.secrets(name))
        if certified and home.store.fact(Fact.CERTIFIED_KEY) is None:
            self._certify(home, name)
        return home

    def secrets(self, name: str) -> Secrets:
        return Secrets(None, lambda: letter.agreed_password(self.template.letters[name].password))

    def balance(self, name: str = "alice") -> str:
        """What the bank has on a customer's account."""
        with self.bank.open_ledger() as ledger:
            return f"{accounts.get(ledger, NUMBERS[name]).balance_minor / 100:.2f}"

    def postings(self, identifier: str) -> int:
        """How often the bank moved money under an identifier."""
        with self.bank.open_ledger() as ledger:
            every = accounts.transfers(ledger, lines=1000)
        return sum(each.entry.transfer_identifier == identifier and each.entry.reason is None for each in every)

    def _certify(self, home: CustomerHome, name: str) -> None:
        """As `customer fetch` does it, without a desk."""
        template, file = self.template, self.folder / f"{name}.mail"
        mail(template, file, template.certified[name])
        ceremony.fetch(home, file)


def mail(template: Template, file: Path, certified: Certified, crl: bytes = b"", bank: Certified | None = None) -> None:
    """What the authority would write for those who have no way to its desk."""
    made = MailedCertificates(
        authority=template.authority.public,
        bank=bank or template.certified["bank"],
        certified=certified,
        crl=crl or template.crl,
    )
    file.write_bytes(encode(made))


def serial_of(certified: Certified) -> int:
    """The serial number of a certificate."""
    return x509.load_der_x509_certificate(certified.certificate).serial_number


@dataclass
class Faults:
    """What the bank does wrong. ``lie`` changes an answer; ``hang_up`` names when the connection is cut."""

    lie: Callable[[msgspec.Struct, Answer], Answer] = lambda request, answer: answer
    hang_up: str = ""
    asked: list[msgspec.Struct] = field(default_factory=list)


@dataclass(frozen=True)
class FaultyService:
    """The bank's service, whose answers pass through the faults of the test."""

    honest: Service
    faults: Faults

    def __getattr__(self, name: str) -> object:
        return getattr(self.honest, name)

    def answer(self, speaker: object, requests: list[bytes]) -> list[Answer]:
        """As the server asks for them in the stage password."""
        return self.honest.loop.wait(self._answers(speaker, requests))

    async def parts(self, speaker: object, requests: list[bytes]) -> AsyncGenerator[list[Answer], None]:
        """As the server asks for them in a session: here in one part."""
        yield await self._answers(speaker, requests)

    async def _answers(self, speaker: object, requests: list[bytes]) -> list[Answer]:
        from protocol.messages import SubmitOrder, decode_request

        decoded = [decode_request(data) for data in requests]
        self.faults.asked.extend(decoded)
        submits = any(isinstance(each, SubmitOrder) for each in decoded)
        if submits and self.faults.hang_up == "before posting":
            raise RemoteProtocolError("hung up")
        answers = await self.honest._answers(speaker, requests)  # type: ignore[arg-type]
        if submits and self.faults.hang_up == "after posting":
            raise RemoteProtocolError("hung up")
        return [self.faults.lie(request, answer) for request, answer in zip(decoded, answers, strict=True)]


@contextmanager
def standing(template: Template, folder: Path, minimum: Stage = Stage.PASSWORD) -> Iterator[Stand]:
    """A copy of the template's bank that serves at a free port."""
    shutil.copytree(template.folder / "bank", folder / "bank", ignore=shutil.ignore_patterns("S.*"))
    made = BankHome.open(folder / "bank")
    bank = BankHome(made.path, msgspec.structs.replace(made.config, minimum_stage=minimum))
    with serving(bank) as (server, address):
        faults = Faults()
        server.service = FaultyService(server.service, faults)  # type: ignore[assignment]
        yield Stand(template, folder, bank, server, address, faults)


@dataclass(frozen=True)
class HandingOut:
    """A desk without a port: what the bank asks it for when it fetches."""

    certified: Certified
    authority: AuthorityKey
    crl: bytes

    def fetch(self, fingerprint: str) -> Certified:
        return self.certified

    def authority_key(self) -> AuthorityKey:
        return self.authority

    def revocations(self) -> bytes:
        return self.crl


def _make_customer_key(folder: Path, number: str) -> None:
    """What an interrupted `customer init` leaves; the next one goes on with this key."""
    home = Home.create(folder / "gnupg", own_keys=True)
    keys.new_customer_key(home, keys.user_id(folder.name.capitalize(), number), None)


def _make_bank(folder: Path, key: keys.BankKey, authority: str) -> BankHome:
    settings = BankConfig(
        name="Example Bank",
        currency="EUR",
        fingerprint=key.primary,
        listen="127.0.0.1:0",
        public_address="127.0.0.1:7401",
        minimum_stage=Stage.PASSWORD,
        authority_fingerprint=authority,
    )
    bank_configuration.save(folder, settings)
    Ledger.create(
        folder / "ledger.sqlite", bank_fingerprint=key.primary, currency="EUR", opened_at=int(time.time())
    ).close()
    return BankHome.open(folder)


def _deposit(bank: BankHome, ledger: Ledger, number: str) -> None:
    from protocol.orders import format_time

    order = accounts.deposit(ledger, number, START, "cash", identifier="deposit-1", created=format_time(time.time()))
    with bank.signer() as signer, bank.open_posting(ledger, signer, time.time) as posting:
        posting.submit(order).result(timeout=30)
