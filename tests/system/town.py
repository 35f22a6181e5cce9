"""A town is an authority, its bank and their customers: made once by the real command lines, copied for each test."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bank import accounts
from bank import config as bank_configuration
from bank.home import BankHome
from bank.serving import runtime_folder
from customer import config
from customer.home import CustomerHome, Secrets, World
from protocol import letter
from protocol.messages import SubmitOrder
from protocol.orders import TransferOrder
from protocol.receipts import LogEntry
from protocol.stages import Stage
from protocol.transport import Address
from tests.singles import single
from tests.system.programs import Done, Serving, free_port, run, run_here
from tests.system.proxy import Proxy
from tests.system.witness import require_second_opinion

START = "1000.00"
PASSPHRASE = "the authority's passphrase in tests"
NUMBERS = {"alice": "1001", "bob": "1002", "carol": "1003"}
EIGHT = {f"customer-{number}": str(number) for number in range(2001, 2009)}
QUICK = {"handshake_seconds": 4.0, "frame_seconds": 2.0, "wait_seconds": 20.0}
"""Deadlines of the bank that make a test of lost bytes short."""


@dataclass
class Town:
    """The authority at its desk, and a bank with customers in it that does not serve yet.

    Alice and Bob are certified and have money; Carol has only made her key, and has nothing.
    """

    folder: Path
    desk: Serving | None
    desk_address: str
    authority: str
    names: dict[str, str] = field(default_factory=dict)

    @property
    def ca(self) -> Path:
        return self.folder / "ca"

    @property
    def passphrase(self) -> Path:
        return self.folder / "ca.passphrase"

    def letter(self, name: str) -> letter.Letter:
        return letter.parse((self.folder / f"{name}.letter").read_text())

    def admit(self, name: str, number: str, *, certified: bool, money: bool, bank: Path | None = None) -> None:
        """Open an account, make the customer's key, and have it certified on the telephone."""
        at = bank or self.folder / "bank"
        paper, home = self.folder / f"{name}.letter", self.folder / name
        run_here("bank", "open-account", "--home", at, "--number", number, "--name", name, "--letter", paper)
        if money:
            run_here("bank", "deposit", "--home", at, "--to", number, "--amount", START)
        run_here("customer", "init", "--home", home, "--letter", paper, "--no-passphrase")
        self.names[name] = number
        if certified:
            self.certify(home, name)

    def certify(self, home: Path, name: str) -> None:
        """The ceremony from `customer request` to `customer fetch`."""
        asked = run_here("customer", "request", "--home", home, "--json").json()["request"]
        words = " ".join(run_here("customer", "fingerprint", "--home", home, "--json").json()["words"])
        code = ("--caller-code", self.letter(name).caller_code, "--operator", "operator")
        run_here("ca", "confirm", asked, "--home", self.ca, *code, "--words", words)
        run_here("ca", "issue", asked, "--home", self.ca, "--passphrase-file", self.passphrase)
        run_here("customer", "fetch", "--home", home)

    def close(self) -> None:
        if self.desk:
            self.desk.terminate()


def make_town(folder: Path) -> Town:
    """Everything from `ca init` to the customers' `fetch`."""
    passphrase = folder / "ca.passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(PASSPHRASE + "\n")
    ca, bank = folder / "ca", folder / "bank"
    run_here("ca", "init", "--home", ca, "--name", "Example Authority", "--passphrase-file", passphrase)
    desk = Serving("ca", "--home", ca, "--listen", "127.0.0.1:0", log=folder / "ca.log")
    try:
        address = desk.first_line.split()[-1]
        authority = run_here("ca", "fingerprint", "--home", ca, "--json").json()
        town = Town(folder, desk, address, authority["fingerprint"])
        named = ("--name", "Example Bank", "--currency", "EUR", "--minimum-stage", "password")
        seen = ("--authority", address, "--authority-fingerprint", " ".join(authority["words"]))
        run_here("bank", "init", "--home", bank, *named, *seen)
        run_here("bank", "request", "--home", bank)
        words = " ".join(run_here("bank", "fingerprint", "--home", bank, "--json").json()["words"])
        (waiting,) = run_here("ca", "requests", "--home", ca, "--json").json()
        called = ("--called-back", "+00 000 0000", "--operator", "operator")
        run_here("ca", "confirm", waiting["request"], "--home", ca, *called, "--words", words)
        run_here("ca", "issue", waiting["request"], "--home", ca, "--passphrase-file", passphrase)
        run_here("bank", "fetch", "--home", bank)
        for name, number in NUMBERS.items():
            town.admit(name, number, certified=name != "carol", money=name != "carol")
    except BaseException:
        desk.kill()
        raise
    return town


@dataclass
class Person:
    """A customer's copy of the home, and how to act as this customer."""

    name: str
    number: str
    home: Path
    letter: Path

    def run(self, command: str, *arguments: object, code: int | None = 0) -> Done:
        """A command in a process of its own."""
        return run("customer", command, "--home", self.home, *arguments, code=code)

    def here(self, command: str, *arguments: object, code: int | None = 0) -> Done:
        """The same command line, inside this process."""
        return run_here("customer", command, "--home", self.home, *arguments, code=code)

    def transfer(self, to: str = "1002", amount: str = "25.00", *, stage: Stage | None = None) -> tuple[object, ...]:
        """The options of a transfer; the letter is always at hand."""
        options = () if stage is None else ("--stage", stage.value)
        return ("--to", to, "--amount", amount, "--description", "rent", *options, "--letter", self.letter)

    def send(
        self, *more: object, code: int | None = 0, to: str = "1002", amount: str = "25.00", stage: Stage | None = None
    ) -> Done:
        """`customer send` as a process of its own."""
        return self.run("send", *self.transfer(to, amount, stage=stage), *more, code=code)

    def send_here(
        self, *more: object, code: int | None = 0, to: str = "1002", amount: str = "25.00", stage: Stage | None = None
    ) -> Done:
        return self.here("send", *self.transfer(to, amount, stage=stage), *more, code=code)

    def resume(self, code: int | None = 0) -> Any:
        """What `customer resume` finds out, a fact sheet for each transfer."""
        return self.here("resume", "--letter", self.letter, "--json", code=code).json()

    def outbox(self) -> dict[str, str]:
        """The state of every transfer that was made here, by its identifier."""
        return {row["transfer_identifier"]: row["state"] for row in self.here("outbox", "--json").json()}

    def opened(self, world: World | None = None) -> CustomerHome:
        """The customer's own library, for what the command line does not let one do."""
        secrets = Secrets(None, lambda: letter.agreed_password(letter.parse(self.letter.read_text()).password))
        return CustomerHome.open(self.home, world, secrets)

    def set(self, *, address: str | None = None, key: str | None = None, number: str | None = None) -> None:
        """Change customer.toml: where the bank is, or who one is."""
        found = config.read(self.home)
        bank = msgspec.structs.replace(found.bank, address=address) if address else found.bank
        changes = {name: value for name, value in (("key", key), ("number", number)) if value is not None}
        limits = config.Limits(connect_seconds=5, answer_seconds=20, frame_seconds=2)
        person = msgspec.structs.replace(found.customer, **changes)
        config.write(self.home, config.Config(customer=person, bank=bank, authority=found.authority, limits=limits))

    def forget(self, table: str, condition: str = "1") -> None:
        """A customer's program that has forgotten: rows of its database are deleted."""
        with _database(self.home / "customer.sqlite") as database:
            database.execute(f"DELETE FROM {table} WHERE {condition}")

    def forget_receipt(self, identifier: str) -> None:
        """What became of this transfer is not known here any more."""
        with _database(self.home / "customer.sqlite") as database:
            change = "UPDATE outbox SET state = 'unknown', receipt = NULL WHERE identifier = ?"
            database.execute(change, (identifier,))

    def forget_floor(self) -> None:
        self.forget("facts", "name = 'floor'")


@dataclass
class Stand:
    """One test's copy of the town's bank, served by a process of its own, and of its customers."""

    town: Town
    folder: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    server: Serving | None = None
    played_by: tuple[str, ...] = ()
    """What is started in place of `bank`, for a test that lets the server meet with an accident."""
    _people: dict[str, Person] = field(default_factory=dict)
    _registered: set[str] = field(default_factory=set)

    @property
    def home(self) -> Path:
        return self.folder / "bank"

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    @property
    def log(self) -> Path:
        return self.folder / "bank.log"

    def start(self, *, minimum: Stage | None = None) -> Serving:
        """Serve, at the same port as always; ``minimum``: another lowest stage from now on."""
        if minimum:
            found = bank_configuration.load(self.home)
            bank_configuration.save(self.home, msgspec.structs.replace(found, minimum_stage=minimum))
        listen = f"127.0.0.1:{self.port}"
        self.server = Serving(
            "bank",
            "--home",
            self.home,
            "--listen",
            listen,
            log=self.log,
            environment=self.environment,
            played_by=self.played_by,
        )
        return self.server

    def stop(self) -> int:
        """SIGTERM, if it serves; the exit code."""
        code = self.server.terminate() if self.server else 0
        self.server = None
        return code

    def kill(self) -> None:
        """SIGKILL."""
        server, self.server = self.server, None
        if server:
            server.kill()

    def restart(self, *, minimum: Stage | None = None) -> None:
        self.stop()
        self.start(minimum=minimum)

    def person(self, name: str, *, alias: str | None = None) -> Person:
        """A customer as the town made them; ``alias``: a second home of the same customer, as a thief would have."""
        key = alias or name
        if key not in self._people:
            home = self.folder / key
            source = self.town.folder / name
            shutil.copytree(source, home, ignore=shutil.ignore_patterns("S.*"))
            self._people[key] = Person(key, self.town.names[name], home, self.town.folder / f"{name}.letter")
            self._people[key].set(address=f"127.0.0.1:{self.port}")
        return self._people[key]

    def ready(self, name: str, stage: Stage) -> Person:
        """A customer who can send in this stage: registered where that is needed."""
        person = self.person(name)
        if stage in (Stage.SESSION, Stage.SIGNED) and name not in self._registered:
            person.here("register", "--letter", person.letter)
            self._registered.add(name)
        return person

    def bank(self, command: str, *arguments: object, code: int | None = 0) -> Done:
        """An operator's command."""
        return run_here("bank", command, "--home", self.home, *arguments, code=code)

    @contextmanager
    def between(self, *people: Person) -> Iterator[Proxy]:
        """A proxy between these customers and the bank."""
        with Proxy(self.address) as proxy:
            for person in people:
                person.set(address=proxy.address)
            try:
                yield proxy
            finally:
                for person in people:
                    person.set(address=f"127.0.0.1:{self.port}")

    def balance(self, number: str) -> int:
        """What the ledger has for an account, in cents."""
        with BankHome.open(self.home).open_ledger() as ledger:
            return accounts.get(ledger, number).balance_minor

    def entries(self) -> tuple[LogEntry, ...]:
        """Every decision in the log."""
        with BankHome.open(self.home).open_ledger() as ledger:
            return tuple(single(each.entry) for each in accounts.transfers(ledger, lines=100_000))

    def postings(self, debtor: str, identifier: str) -> int:
        """How often money moved under this identifier."""
        found = (each for each in self.entries() if (each.debtor, each.transfer_identifier) == (debtor, identifier))
        return sum(each.reason is None for each in found)

    def require_order(self) -> None:
        """`bank audit` finds nothing, and the sum of all accounts is zero."""
        self.bank("audit")
        with BankHome.open(self.home).open_ledger() as ledger:
            assert sum(each.balance_minor for each in accounts.every(ledger)) == 0


def standing_still(town: Town, folder: Path, *, minimum: Stage = Stage.PASSWORD, **limits: Any) -> Stand:
    """A copy of the town's bank, which does not serve yet."""
    shutil.copytree(town.folder / "bank", folder / "bank", ignore=shutil.ignore_patterns("S.*", "notices"))
    found = bank_configuration.load(folder / "bank")
    bounds = msgspec.structs.replace(found.limits, **{**QUICK, **limits})
    changed = msgspec.structs.replace(found, minimum_stage=minimum, limits=bounds)
    bank_configuration.save(folder / "bank", changed)
    return Stand(town, folder, free_port())


@contextmanager
def standing(town: Town, folder: Path, *, minimum: Stage = Stage.PASSWORD, **limits: Any) -> Iterator[Stand]:
    """A copy of the town's bank that serves; it and whatever is still open is ended in the end.

    After a test that passed, Sequoia is asked about every order and head that the bank has stored meanwhile.
    """
    stand = standing_still(town, folder, minimum=minimum, **limits)
    stand.start()
    try:
        yield stand
    finally:
        try:
            stand.stop()
        finally:
            stand.kill()
            shutil.rmtree(runtime_folder(stand.home), ignore_errors=True)  # if it was killed
    require_second_opinion(stand.home)


def submit(message: bytes) -> SubmitOrder:
    """An order handed in as it is."""
    return SubmitOrder(number=0, order=message, since=None)


def order_of(content: bytes) -> TransferOrder:
    return msgspec.json.decode(content, type=TransferOrder)


def parsed(address: str) -> Address:
    return Address.parse(address)


@contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            yield connection
    finally:
        connection.close()
