"""Requests: what is refused leaves no trace, what is decided is logged once, a flood is its own customer's only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bank.errors import Busy, LedgerError, OutcomeStands, Stopping
from bank.refusals import RefusalLimiter
from keyring import keys
from keyring import messages as openpgp
from keyring.errors import EngineError
from keyring.home import Home
from protocol import canonical
from protocol.codes import Reason, Status
from protocol.messages import (
    AskBankKey,
    AskEvidence,
    AskHead,
    AskStatement,
    Balance,
    BankKey,
    Evidence,
    Head,
    LookUpOrder,
    NumberedReceipt,
    Refusal,
    Registered,
    RegisterKey,
    Statement,
    SubmitOrder,
    Unknown,
)
from protocol.orders import format_time
from protocol.secret import Secret
from protocol.stages import Stage
from tests.bank.counter import BALANCE, Counter, Talk, at_counter, entry_of
from tests.bank.town import DAY, DAYS, Person, Town


@pytest.fixture(autouse=True)
def _floor(counter: Counter) -> None:
    counter.clock.ahead = 0.0
    for number in ("1001", "1002"):
        if counter.floor(number) is not Stage.PASSWORD:
            counter.server.customers.lower_floor(number, Stage.PASSWORD)


@pytest.fixture
def talk(counter: Counter) -> Iterator[Talk]:
    with counter.session(counter.town.alice, Stage.CERTIFIED) as talk:
        yield talk


def test_an_order_in_each_stage_is_posted_as_that_stage_asks(counter: Counter) -> None:
    for stage in (Stage.SESSION, Stage.SIGNED, Stage.CERTIFIED):
        with counter.session(counter.town.alice, stage) as talk:
            before = counter.balance("1001")
            entry = talk.pay(f"in-{stage.value}")
            assert (entry.status, entry.stage) == (Status.SETTLED, stage.value)
            assert counter.balance("1001") == before - 100


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"debtor": "1002"}, (Reason.NO_RIGHT, "debtor")),
        ({"debtor": "0000"}, (Reason.NO_RIGHT, "debtor")),
        ({"bank": "A" * 40}, (Reason.NO_RIGHT, "bank")),
        ({"certificate": None}, (Reason.CERTIFICATE_INVALID, "certificate")),
        ({"certificate": "0" * 64}, (Reason.CERTIFICATE_INVALID, "certificate")),
    ],
)
def test_an_order_without_authority_is_refused_unlogged(
    counter: Counter, talk: Talk, changes: dict[str, Any], expected: tuple[Reason, str | None]
) -> None:
    logged = counter.count("entry")
    identifier = f"no-right-{abs(hash(str(changes)))}"
    assert talk.refusal(counter.submission(counter.town.alice, identifier, Stage.CERTIFIED, **changes)) == expected
    assert counter.count("entry") == logged
    assert talk.pay(identifier).status is Status.SETTLED  # and its identifier was not used up


def test_an_order_that_the_customer_did_not_sign_is_refused_unlogged(counter: Counter, talk: Talk) -> None:
    town, logged = counter.town, counter.count("entry")
    content = counter.order(town.alice, "unsigned", Stage.CERTIFIED)
    honest = openpgp.sign(town.alice.home, town.alice.fingerprint, content)
    for order in (
        openpgp.sign(town.bob.home, town.bob.fingerprint, content),
        openpgp.sign(town.impostor.home, town.impostor.fingerprint, content),
        content,
        honest + honest,
        honest[:-1] + bytes([honest[-1] ^ 1]),
        counter.seal(honest),
        b"",
    ):
        assert talk.refusal(SubmitOrder(number=1, order=order, since=None)) == (Reason.SIGNATURE, "order")
    assert counter.count("entry") == logged
    assert entry_of(talk.ask(SubmitOrder(number=1, order=honest, since=None))).status is Status.SETTLED


def test_trial_06_signed_content_that_is_no_order_is_malformed(counter: Counter, talk: Talk) -> None:
    alice, logged = counter.town.alice, counter.count("entry")
    good = counter.order(alice, "malformed", Stage.CERTIFIED)
    for content in (b"", b"{}", b"null", b" " + good, good.replace(b'"1.00"', b"1.00"), good[:-1] + b',"amount":"1"}'):
        order = openpgp.sign(alice.home, alice.fingerprint, content)
        assert talk.refusal(SubmitOrder(number=1, order=order, since=None))[0] is Reason.MALFORMED
    assert counter.count("entry") == logged


def test_trial_42_a_certificate_that_ends_in_mid_session_ends_the_orders(counter: Counter, talk: Talk) -> None:
    assert talk.pay("before-the-end").status is Status.SETTLED
    counter.clock.ahead = (DAYS + 1) * DAY
    late = counter.submission(counter.town.alice, "after-the-end", Stage.CERTIFIED)
    assert talk.refusal(late) == (Reason.CERTIFICATE_INVALID, "certificate")
    counter.clock.ahead = 0.0
    assert talk.pay("after-the-end").status is Status.SETTLED


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Busy(""), Reason.BUSY), (Stopping(""), Reason.STOPPING), (LedgerError(""), Reason.BUSY)],
)
def test_what_was_not_taken_is_refused_authenticated_and_unlogged(
    counter: Counter, talk: Talk, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: Reason
) -> None:
    order = counter.submission(counter.town.alice, f"not-taken-{type(error).__name__}", Stage.CERTIFIED)

    def refuse(_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(counter.server.service.posting, "submit", refuse)
        assert talk.refusal(order) == (reason, None)
    assert entry_of(talk.ask(order)).status is Status.SETTLED  # the same bytes again


@pytest.mark.parametrize("error", [LedgerError("rolled back"), OutcomeStands("decided"), TimeoutError()])
def test_an_outcome_that_is_not_known_is_silence(
    counter: Counter, talk: Talk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Never:
        def result(self, _: float) -> None:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(counter.server.service.posting, "submit", lambda _: Never())
        talk.send(counter.submission(counter.town.alice, f"unknown-{type(error).__name__}", Stage.CERTIFIED))
        assert talk.answer() is None


def test_trouble_with_gpg_or_the_ledger_is_busy_and_shows_nothing(
    counter: Counter, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise EngineError("an inner secret")

    with monkeypatch.context() as patch:
        patch.setattr(counter.server.service.posting, "head", fail)
        answer = talk.ask(AskHead(number=1, since=None))
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.BUSY
    assert "secret" not in answer.sentence
    assert isinstance(talk.ask(AskHead(number=2, since=None)), Head)


def test_questions_are_answered_about_the_speaker_only(counter: Counter) -> None:
    with counter.session(counter.town.alice, Stage.SIGNED) as talk:
        made = format_time(counter.clock())
        paid = counter.submission(counter.town.alice, "asked", Stage.SIGNED, created=made)
        order = canonical.digest(counter.order(counter.town.alice, "asked", Stage.SIGNED, created=made))
        receipt = talk.ask(paid)
        assert isinstance(receipt, NumberedReceipt)
        asked = LookUpOrder(number=4, order=entry_of(receipt).order, since=None, transfer_identifier="asked")
        assert order == entry_of(receipt).order
        found = talk.ask(asked)
        assert isinstance(found, NumberedReceipt)
        assert found.receipt.entry == receipt.receipt.entry
        assert found.receipt.duplicate
        evidence = talk.ask(AskEvidence(number=5, transfer_identifier="asked"))
        assert isinstance(evidence, Evidence)
        page = talk.ask(AskStatement(after=0, lines=1, number=6))
        assert isinstance(page, Statement)
        assert (len(page.lines), page.more) == (1, True)
        assert isinstance(talk.ask(AskBankKey(number=1)), BankKey)
    with counter.session(counter.town.bob, Stage.SIGNED) as bob:
        assert isinstance(bob.ask(asked), Unknown)
        assert bob.refusal(AskEvidence(number=5, transfer_identifier="asked"))[0] is Reason.NOT_FOUND
        balance = bob.ask(BALANCE)
        assert isinstance(balance, Balance)
        assert balance.customer == "1002"


def test_a_question_after_an_order_sees_what_became_of_it(counter: Counter, talk: Talk) -> None:
    before = counter.balance("1001")
    talk.send(counter.submission(counter.town.alice, "then-ask", Stage.CERTIFIED), BALANCE)
    assert entry_of(talk.answer()).status is Status.SETTLED
    answer = talk.answer()
    assert isinstance(answer, Balance)
    assert answer.balance == f"{(before - 100) / 100:.2f}"


# Registration


@pytest.fixture(scope="module")
def newcomer(town: Town, counter: Counter, make_short_tmp: Any) -> Iterator[Person]:
    """The owner of account 1003 after the letter: with its password and a key that is not registered yet."""
    home = Home.create(make_short_tmp() / "k", own_keys=True)
    fingerprint = keys.new_customer_key(home, keys.user_id("Alice", "1003"), None)
    customer = counter.server.customers.get("1003")
    assert customer is not None
    password = Secret(counter.server.password_stage._password(customer).reveal())
    yield Person("1003", home, fingerprint, b"", b"", password)
    home.stop()


def test_a_key_is_registered_once_and_never_replaced(counter: Counter, newcomer: Person) -> None:
    foreign = RegisterKey(key=counter.town.bob.key, number=1)
    for key, reason in (
        (foreign.key, Reason.MALFORMED),  # another customer's user ID
        (b"", Reason.MALFORMED),
        (b"no key", Reason.MALFORMED),
        (newcomer.key + newcomer.key, Reason.MALFORMED),
    ):
        answer = counter.ask(newcomer, RegisterKey(key=key, number=1))
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.field) == (reason, "key")
    assert counter.floor("1003") is Stage.PASSWORD
    for _ in range(2):  # repeating it is harmless
        answer = counter.ask(newcomer, RegisterKey(key=newcomer.key, number=1))
        assert isinstance(answer, Registered)
        assert answer.fingerprint == newcomer.fingerprint
    assert counter.floor("1003") is Stage.SESSION
    other = Home.create(newcomer.home.path.parent / "other", own_keys=True)
    try:
        fingerprint = keys.new_customer_key(other, keys.user_id("Alice", "1003"), None)
        answer = counter.ask(newcomer, RegisterKey(key=keys.export(other, fingerprint), number=1))
    finally:
        other.stop()
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.field) == (Reason.REGISTRATION, "key")
    registered = counter.server.customers.get("1003")
    assert registered is not None
    assert registered.registered_fingerprint == newcomer.fingerprint
    with counter.session(newcomer, Stage.SESSION) as talk:
        assert isinstance(talk.ask(BALANCE), Balance)
        assert talk.refusal(RegisterKey(key=newcomer.key, number=2)) == (Reason.REGISTRATION, "key")


# Refusals in a flood


def test_trial_45_a_flood_of_refusals_is_limited_and_others_are_not_affected(town: Town, short_tmp: Path) -> None:
    with (
        at_counter(town, short_tmp, limits={"refusals_per_minute": 3}) as counter,
        counter.session(town.alice, Stage.SIGNED) as talk,
        counter.session(town.bob, Stage.SIGNED) as bob,
    ):
        for place in range(3):
            assert talk.pay(f"too-much-{place}", amount="99999.00").status is Status.REJECTED
        logged = counter.count("entry")
        order = counter.submission(town.alice, "then-good", Stage.SIGNED)
        assert talk.refusal(order) == (Reason.RATE, None)
        assert counter.count("entry") == logged
        assert bob.pay("bobs", creditor="1001").status is Status.REJECTED
        counter.clock.ahead = 61
        assert entry_of(talk.ask(order)).status is Status.SETTLED


def test_settled_orders_and_repeated_refusals_are_not_counted(town: Town, short_tmp: Path) -> None:
    with (
        at_counter(town, short_tmp, limits={"refusals_per_minute": 2}) as counter,
        counter.session(town.alice, Stage.SIGNED) as talk,
    ):
        refused = counter.submission(town.alice, "once", Stage.SIGNED, amount="99999.00")
        for _ in range(4):
            assert entry_of(talk.ask(refused)).status is Status.REJECTED
        for place in range(4):
            assert talk.pay(f"good-{place}").status is Status.SETTLED


def test_the_limiter_remembers_so_many_customers_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bank.refusals.CUSTOMERS", 2)
    limiter = RefusalLimiter(1)
    for number in ("1", "2", "3"):
        limiter.learn(number, 0.0, 1)
    assert limiter.remaining("1", 0.0) == 1  # forgotten: the one whose last refusal is longest ago
    assert limiter.remaining("3", 0.0) == 0
    assert limiter.remaining("3", 60.0) == 1
    assert len(limiter._times) == 2


def test_a_clock_that_is_set_back_does_not_keep_a_customer_waiting() -> None:
    limiter = RefusalLimiter(1)
    limiter.learn("1", 86_400.0, 1)
    assert limiter.remaining("1", 86_459.0) == 0
    assert limiter.remaining("1", 10.0) == 1
