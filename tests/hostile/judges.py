"""The doors at which a hostile message may knock: what our code says of it there, and what Sequoia says."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyring import messages, process, verdict
from keyring.home import Home
from keyring.opened import Opened
from keyring.verdict import Expectation, Rejected, Sealed
from keyring.worker import Worker, open_once
from protocol.secret import Secret
from tests.hostile.case import ANY, BANK, Case
from tests.hostile.cast import Cast, make_cast
from tests.hostile.envelopes import EnvelopeCase, Mail
from tests.hostile.sealing import ToKey, UnderPassword
from tests.hostile.second_opinion import decrypted, verified
from tests.keyring.parties import new_party, succeeded


@dataclass(frozen=True)
class Judges:
    """A worker for each home, as the bank has them; the customer's one-off processes; Sequoia."""

    cast: Cast
    mail: Mail
    workers: Mapping[str, Worker]
    receiver: Worker
    keyless: Home
    secret: bytes
    """The receiver's key with its private parts, for Sequoia."""

    def message(self, case: Case | EnvelopeCase) -> bytes:
        return case.make(self.cast) if isinstance(case, Case) else case.make(self.mail)

    def expected(self, case: Case | EnvelopeCase) -> Expectation:
        if isinstance(case, Case):
            return case.expected(self.cast)
        return Sealed() if case.door == "sealed" else verdict.UnderPassword()

    def ask(self, case: Case | EnvelopeCase, message: bytes) -> Opened | Rejected:
        """What the door says that the bank keeps open for such messages."""
        if isinstance(case, Case):
            return self.workers[case.home].open(message, case.expected(self.cast))
        if case.door == "password":
            return messages.open_with_password(self.keyless, Secret(self.mail.password.password), message)
        return self.receiver.open(message, Sealed())

    def found(self, case: Case | EnvelopeCase) -> Opened | Rejected:
        """What our code says, the same at every door that takes such a message."""
        message = self.message(case)
        found = self.ask(case, message)
        if isinstance(case, Case) or case.door == "sealed":
            home = self.cast.homes[case.home] if isinstance(case, Case) else self.receiver.home
            again = open_once(home, message, self.expected(case))
            assert again == found or (case.rule == ANY and isinstance(again, Rejected)), "two doors disagree"
        return found

    def second_opinion(self, case: Case | EnvelopeCase) -> bytes | None:
        """The content that Sequoia gives out, None if it refuses."""
        if isinstance(case, Case):
            person = self.cast.people["bank" if case.by == BANK else case.by]
            everybody = tuple(each.certificate for each in self.cast.people.values())
            opened = verified(self.message(case), everybody if case.home == "crowd" else (person.certificate,))
            return opened[0] if opened else None
        key, password = (self.secret, None) if case.door == "sealed" else (None, self.mail.password.password.decode())
        return decrypted(self.message(case), key, password)


@contextmanager
def sitting(folder: Path) -> Iterator[Judges]:
    """Keys, homes and workers; the workers end with it."""
    cast = make_cast(folder)
    receiver, stranger = (new_party(folder / name, f"{name.capitalize()} (0000)") for name in ("receiver", "stranger"))
    exported = succeeded(process.run(receiver.home, "--export-secret-keys", receiver.fingerprint)).output
    mail = Mail(
        ToKey.of(receiver.export()),
        UnderPassword(b"a password of sixteen random bytes"),
        ToKey.of(stranger.export()),
        receiver.make("--sign", content=b"{}"),
    )
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(home)) for name, home in cast.homes.items()}
        opening = stack.enter_context(Worker(receiver.home))
        for party in (receiver, stranger):
            stack.callback(party.home.stop)
        keyless = Home.create(folder / "keyless", own_keys=False)
        yield Judges(cast, mail, workers, opening, keyless, exported)


def is_as_expected(found: Opened | Rejected, rule: str | None) -> bool:
    """Where gpg may put a fault in one way or another, the table names several rules."""
    if isinstance(found, Opened):
        return rule is None
    return rule is not None and found.sentence.endswith(".") and (rule == ANY or found.rule in rule.split("|"))
