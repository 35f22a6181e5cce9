"""A gpg or gpg-agent that dies or hangs in the middle of a transfer costs time, and neither money nor a receipt."""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from customer import sending
from customer.sending import Outcome, Wish
from keyring import messages as openpgp
from keyring.home import Home
from keyring.opened import Opened
from keyring.verdict import SignedByCustomer
from keyring.worker import Worker
from tests.bank.counter import eventually
from tests.system.town import Person, Stand
from tests.trials import faults
from tests.trials.eight import QUICK, Eight, set_limits

BOUND_SECONDS = 60.0
"""Far above what three tries of five seconds take, and below what a person calls hung."""
SIGNERS = 64
WISH = Wish("2002", "1.00", "", "EUR", identifier="rent")


@pytest.fixture
def alice(stand: Stand) -> Iterator[Person]:
    """A customer whose gpg worker at the bank is at work already, with time to wait for a replacement."""
    alice = stand.person("2001")
    alice.set()  # it waits twenty seconds for an answer
    alice.here("send", "--to", "2002", "--amount", "0.01", "--description", "")
    yield alice
    faults.clear(stand)


class Sending(threading.Thread):
    """A transfer under way."""

    def __init__(self, person: Person) -> None:
        super().__init__()
        self._person = person
        self._found: list[Outcome] = []
        self.start()

    def run(self) -> None:
        with self._person.opened() as home:
            self._found.append(sending.send(home, WISH))

    def outcome(self) -> Outcome:
        self.join(BOUND_SECONDS)
        assert not self.is_alive(), "it takes too long"
        (found,) = self._found
        return found


def workers_of_customers(stand: Stand) -> list[psutil.Process]:
    at_bank = [str(stand.home / "gnupg")]
    return [each for each in faults.workers(stand) if each.cmdline()[2:3] != at_bank]


def has_message(worker: psutil.Process) -> bool:
    return any(Path(worker.cwd()).glob("*.gpg"))


@contextmanager
def going_on(stand: Stand) -> Iterator[None]:
    """In the end others are served, and the books are in order."""
    yield
    stand.person("2003").here("send", "--to", "2004", "--amount", "0.50", "--description", "")
    assert stand.postings("2001", "rent") == 1
    assert stand.balance("2001") == 12_50 - 1 - 1_00
    stand.require_order()


@pytest.mark.parametrize("which", ["the customer's", "the bank's own"])
@pytest.mark.parametrize("fate", ["killed", "hung"])
def test_trial_32_a_gpg_worker_killed_or_hung_with_a_message_in_it(
    stand: Stand, alice: Person, which: str, fate: str
) -> None:
    """The one with the customer's key has the order in it, the bank's own the sealed opening."""
    others = workers_of_customers(stand)
    (worker,) = others if which == "the customer's" else [each for each in faults.workers(stand) if each not in others]
    worker.send_signal(signal.SIGSTOP)
    with going_on(stand):
        sent = Sending(alice)
        eventually(lambda: has_message(worker))
        if fate == "killed":
            worker.kill()
        assert sent.outcome().posted
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_trial_32_an_agent_killed_between_commit_and_signature(stand: Stand, alice: Person) -> None:
    (agent,) = faults.agents(stand.home)
    with going_on(stand), stand.between(alice) as proxy:
        opened = threading.Event()

        def rule(direction: str, number: int, frame: bytes) -> bytes:
            if number == 1 and not opened.is_set():  # once the session is open, which needs the agent too
                agent.send_signal(signal.SIGSTOP)
                opened.set()
            return frame

        proxy.rule = rule
        sent = Sending(alice)
        eventually(lambda: stand.postings("2001", "rent") == 1)
        assert sent.is_alive(), "without the agent nothing is signed, and nothing unsigned is said"
        agent.kill()
        assert sent.outcome().posted


def test_trial_32_an_agent_that_hangs_leaves_the_outcome_unknown_until_it_is_back(stand: Stand, alice: Person) -> None:
    (agent,) = faults.agents(stand.home)
    with going_on(stand), stand.between(alice) as proxy:
        set_limits(alice, QUICK)

        def rule(direction: str, number: int, frame: bytes) -> bytes:
            if number == 1:
                agent.send_signal(signal.SIGSTOP)
            return frame

        proxy.rule = rule
        begun = time.monotonic()
        try:
            done = alice.send_here("--id", "rent", to="2002", amount="1.00", code=3)
        finally:
            agent.send_signal(signal.SIGCONT)
        assert time.monotonic() - begun < BOUND_SECONDS
        assert "customer resume" in done.err
        proxy.rule = lambda direction, number, frame: frame
        (found,) = alice.resume()
        assert (found["status"], found["duplicate"]) == ("posted", True)


def test_trial_33_sixty_four_signers_at_once(eight: Eight, short_tmp: Path) -> None:
    """One agent serves them all, and each signature is good."""
    person = eight_person(eight, short_tmp)
    start = threading.Barrier(SIGNERS)
    made: dict[int, bytes] = {}
    failed: list[Exception] = []

    def sign(number: int) -> None:
        start.wait()
        try:
            made[number] = openpgp.sign(*person, f"order {number}".encode())
        except Exception as error:  # noqa: BLE001 - shown by the test
            failed.append(error)

    in_threads(sign, SIGNERS)
    assert not failed
    home, fingerprint = person
    with Worker(home) as worker:
        for number, message in made.items():
            opened = worker.open(message, SignedByCustomer(fingerprint, certified=False))
            assert isinstance(opened, Opened)
            assert opened.content == f"order {number}".encode()
    home.stop()


def eight_person(eight: Eight, folder: Path) -> tuple[Home, str]:
    """The keys of one customer, copied."""
    shutil.copytree(eight.folder / "2001" / "gnupg", folder / "gnupg", ignore=shutil.ignore_patterns("S.*"))
    with Person("2001", "2001", eight.folder / "2001", eight.folder / "2001.letter").opened() as home:
        return Home.open(folder / "gnupg"), home.key


def in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_SECONDS)
        assert not thread.is_alive()
