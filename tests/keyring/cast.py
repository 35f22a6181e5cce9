"""The people of the worker's tests: Alice is certified, Bob is not, and a subkey came too late."""

from collections.abc import Callable
from dataclasses import dataclass

from keyring.home import Home
from keyring.opened import Opened
from keyring.process import run
from keyring.verdict import Rejected, SignedByCustomer
from keyring.worker import Worker
from tests.keyring.parties import Party, succeeded

ORDER = b'{"amount":"25.00","creditor":"1002"}'


@dataclass(frozen=True)
class Cast:
    """Alice is certified in ``judges``; Bob is known there, not certified; the subkey came after the certification."""

    authority: Party
    alice: Party
    bob: Party
    late_subkey: str
    judges: Home

    @property
    def by_alice(self) -> SignedByCustomer:
        return SignedByCustomer(self.alice.fingerprint, certified=True)


def rule_of(found: Opened | Rejected) -> str:
    assert isinstance(found, Rejected), "the message was opened"
    return found.rule


def assert_opens(worker: Worker, cast: Cast, content: bytes = ORDER) -> None:
    found = worker.open(cast.alice.make("--sign", content=content), cast.by_alice)
    assert isinstance(found, Opened), found
    assert found.content == content


def verdict_rules() -> tuple[Callable[..., str | None], ...]:
    from keyring.verdict import SEALED_RULES

    return SEALED_RULES


def seal_to(party: Party, cast: Cast, *arguments: str, content: bytes = ORDER) -> bytes:
    recipient = ("--trust-model", "always", "--recipient", party.fingerprint)
    return succeeded(run(cast.judges, "-z", "0", *arguments, *recipient, "--encrypt", stdin=content)).output
