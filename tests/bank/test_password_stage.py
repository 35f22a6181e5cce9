"""The stage password: only a fresh message under the agreed password speaks, once, and guessing shuts nobody out."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bank.identities import OpeningRefused
from bank.password_stage import Nonces
from bank.service import Speaker
from bank.storage import Ledger
from keyring import messages as openpgp
from protocol.codes import Reason
from protocol.frames import Frame, FrameType
from protocol.messages import AskBalance, AskBankKey, Balance, BankKey, Close, Closed, Refusal
from protocol.secret import Secret
from protocol.stages import Stage
from tests.bank.counter import Counter, at_counter, entry_of, receive, refusal_in, send
from tests.bank.ledgers import Bank
from tests.bank.town import Town

BALANCE = AskBalance(number=3)


@pytest.fixture(autouse=True)
def _floor(counter: Counter) -> None:
    counter.clock.ahead = 0.0
    if counter.floor("1001") is not Stage.PASSWORD:
        counter.server.customers.lower_floor("1001", Stage.PASSWORD)


def test_a_message_under_the_agreed_password_is_answered_under_it(counter: Counter) -> None:
    answer = counter.ask(counter.town.alice, BALANCE)
    assert isinstance(answer, Balance)
    assert (answer.customer, answer.number) == ("1001", 3)


def test_one_connection_carries_several_messages_until_it_is_closed(counter: Counter) -> None:
    alice = counter.town.alice
    connection = counter.connect()
    send(connection, counter.password_frame(alice, BALANCE))
    assert isinstance(counter.opened(alice, receive(connection)), Balance)
    send(connection, counter.password_frame(alice, Close(number=4)))
    assert counter.opened(alice, receive(connection)) == Closed(number=4)
    assert receive(connection) is None
    connection.close()


def test_an_order_of_the_stage_password_is_posted(counter: Counter) -> None:
    alice, before = counter.town.alice, counter.balance("1001")
    entry = entry_of(counter.ask(alice, counter.submission(alice, "by-password", Stage.PASSWORD)))
    assert (entry.stage, counter.balance("1001")) == ("password", before - 100)


def test_what_was_not_made_with_the_password_is_refused(counter: Counter) -> None:
    town = counter.town

    def to_the_bank(content: bytes) -> bytes:  # its public key is known to all (trial 27)
        return counter.seal(content)

    def bare(content: bytes) -> bytes:
        return b"\xcb\xff" + (len(content) + 6).to_bytes(4) + b"b\0\0\0\0\0" + content

    def signed(content: bytes) -> bytes:
        return openpgp.sign(town.alice.home, town.alice.fingerprint, content)

    def guessed(content: bytes) -> bytes:
        return openpgp.seal_with_password(town.view, Secret(b"a guess"), content)

    def both(content: bytes) -> bytes:  # openable with the bank's key or with the password, whoever comes first
        sealed = counter.seal(content)
        return sealed[: 2 + sealed[1]] + openpgp.seal_with_password(town.view, town.alice.password, content)

    def twice(content: bytes) -> bytes:
        return 2 * openpgp.seal_with_password(town.view, town.alice.password, content)

    for seal in (to_the_bank, bare, signed, guessed, both, twice, bytes, lambda _: b""):
        frame = counter.password_frame(town.alice, BALANCE, seal=seal)
        assert counter.refusal(frame) == (Reason.PASSWORD, "customer"), seal


def test_a_stranger_and_a_wrong_password_get_the_same_words(counter: Counter) -> None:
    alice, bob = counter.town.alice, counter.town.bob
    stranger = refusal_in(counter.say(counter.password_frame(alice, BALANCE, claimed="4444")))
    wrong = refusal_in(counter.say(counter.password_frame(bob, BALANCE, claimed="1001", customer="1001")))
    assert (stranger.reason, stranger.sentence, stranger.field) == (wrong.reason, wrong.sentence, wrong.field)
    assert stranger.reason is Reason.PASSWORD


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bank": "A" * 40}, (Reason.NO_RIGHT, "bank")),
        ({"customer": "1002"}, (Reason.NO_RIGHT, "customer")),
        ({"time": "2020-01-01T00:00:00Z"}, (Reason.CLOCK, "time")),
        ({"time": "2020-02-30T00:00:00Z"}, (Reason.MALFORMED, "time")),
        ({"nonce": b"short"}, (Reason.MALFORMED, "nonce")),
        ({"content": b"no JSON"}, (Reason.MALFORMED, None)),
        ({"content": b'{ "type":"password-request"}'}, (Reason.MALFORMED, "bank")),
    ],
)
def test_a_message_that_is_not_whole_is_refused_by_name(
    counter: Counter, changes: dict[str, Any], expected: tuple[Reason, str | None]
) -> None:
    assert counter.refusal(counter.password_frame(counter.town.alice, BALANCE, **changes)) == expected


@pytest.mark.parametrize("request_", [b"", b"{}", b'{"type":"steal"}', b'{"number":-1,"type":"close"}', b"[" * 9_000])
def test_a_malformed_request_inside_is_refused(counter: Counter, request_: bytes) -> None:
    assert counter.refusal(counter.password_frame(counter.town.alice, request_))[0] is Reason.MALFORMED


@pytest.mark.parametrize(("seconds", "accepted"), [(290, True), (-290, True), (310, False), (-310, False)])
def test_clocks_may_differ_by_five_minutes(counter: Counter, seconds: float, accepted: bool) -> None:
    frame = counter.password_frame(counter.town.alice, BALANCE)
    counter.clock.ahead = seconds
    answer = counter.say(frame)
    if accepted:
        assert isinstance(counter.opened(counter.town.alice, answer), Balance)
    else:
        assert refusal_in(answer).reason is Reason.CLOCK


def test_a_message_is_taken_once(counter: Counter) -> None:
    alice = counter.town.alice
    frame = counter.password_frame(alice, BALANCE)
    assert isinstance(counter.opened(alice, counter.say(frame)), Balance)
    assert counter.refusal(frame) == (Reason.MALFORMED, "nonce")
    assert isinstance(counter.ask(alice, BALANCE), Balance)


def test_nonces_are_forgotten_only_when_their_message_is_stale(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    try:
        _forgets_only_what_is_stale(bank)
    finally:
        bank.close()


def _forgets_only_what_is_stale(bank: Bank) -> None:
    nonces = Nonces(bank.ledger, limit=2)
    nonces.take(b"a", 1000.0)
    with pytest.raises(OpeningRefused) as caught:
        nonces.take(b"a", 1600.0)
    assert caught.value.reason is Reason.MALFORMED
    nonces.take(b"b", 1600.0)
    with pytest.raises(OpeningRefused) as caught:
        nonces.take(b"c", 1600.5)
    assert caught.value.reason is Reason.BUSY
    nonces.take(b"c", 1602.0)
    assert bank.count("nonce") == 2
    # Another process, or the same one after a new start, knows them, too.
    with Ledger.open(bank.place) as ledger, pytest.raises(OpeningRefused) as caught:
        Nonces(ledger, limit=3).take(b"c", 1603.0)
    assert caught.value.field == "nonce"


def test_above_the_stage_the_password_serves_for_the_banks_key_only(counter: Counter) -> None:
    alice = counter.town.alice
    counter.server.customers.raise_floor("1001", Stage.SIGNED)
    before = counter.balance("1001")
    for request in (BALANCE, counter.submission(alice, "too-low", Stage.PASSWORD, number=3)):
        answer = counter.ask(alice, request)
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.field, answer.number) == (Reason.STAGE_TOO_LOW, "stage", 3)
    assert counter.balance("1001") == before
    assert isinstance(counter.ask(alice, AskBankKey(number=1)), BankKey)


def test_an_answer_is_no_request_and_a_record_no_password_frame(counter: Counter) -> None:
    alice = counter.town.alice
    answer = counter.say(counter.password_frame(alice, BALANCE))
    assert answer is not None
    assert counter.refusal(answer)[0] is Reason.MALFORMED  # reflected: another type than the request's
    connection = counter.connect()
    send(connection, counter.password_frame(alice, BALANCE))
    assert receive(connection) is not None
    send(connection, Frame(FrameType.RECORD, b""))
    assert receive(connection) is None
    connection.close()


@pytest.mark.parametrize("body", [b"", b"{}", b'{"customer":1001,"sealed":"","type":"password-frame"}'])
def test_a_malformed_envelope_is_refused(counter: Counter, body: bytes) -> None:
    assert counter.refusal(Frame(FrameType.PASSWORD, body))[0] is Reason.MALFORMED


def test_an_answer_waits_for_its_turn_rather_than_deny_what_was_done(town: Town, short_tmp: Path) -> None:
    limits = {"password_messages_at_once": 1, "wait_seconds": 0.05}
    with at_counter(town, short_tmp, limits=limits) as counter:
        stage, before = counter.server.password_stage, counter.balance("1001")
        frame = counter.password_frame(town.alice, counter.submission(town.alice, "patient", Stage.PASSWORD))
        asked = stage.open(frame, "127.0.0.1")
        posted = counter.server.service.answer(Speaker("1001", Stage.PASSWORD, None), [asked.request])[0]
        done: list[Frame] = []
        with stage.turns.turn("192.0.2.1"):
            thread = threading.Thread(target=lambda: done.append(stage.seal(asked, posted)))
            thread.start()
            thread.join(0.2)
            assert not done
        thread.join(10)
        assert entry_of(counter.opened(town.alice, done[0])).transfer_identifier == "patient"
        assert counter.balance("1001") == before - 100
        with stage.turns.turn("192.0.2.1"):
            assert counter.refusal(counter.password_frame(town.alice, BALANCE)) == (Reason.BUSY, None)


def test_trial_43_guessing_locks_nobody_out(counter: Counter) -> None:
    town = counter.town
    wrong = counter.password_frame(
        town.alice, BALANCE, seal=lambda content: openpgp.seal_with_password(town.view, Secret(b"a guess"), content)
    )
    right = counter.password_frame(town.alice, BALANCE)
    stop, guesses = threading.Event(), []

    def guess() -> None:
        while not stop.is_set():
            guesses.append(counter.say(wrong))

    guessers = [threading.Thread(target=guess) for _ in range(12)]
    for each in guessers:
        each.start()
    try:
        started = time.monotonic()
        answer = counter.opened(town.alice, counter.say(right))
        assert isinstance(answer, Balance)
        assert time.monotonic() - started < 5
    finally:
        stop.set()
        for each in guessers:
            each.join()
    assert guesses
    assert {refusal_in(each).reason for each in guesses} <= {Reason.PASSWORD, Reason.BUSY}
