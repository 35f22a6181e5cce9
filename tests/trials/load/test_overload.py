"""Above its capacity the bank says "busy" at once, under the session's protection, and "busy" uses up nothing."""

import random
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bank import accounts
from bank.admission import Admission
from bank.posting import Posting
from bank.verifier import Verifier
from protocol import canonical, messages
from protocol.codes import Reason, Status
from protocol.messages import LookUpOrder, NumberedReceipt, Refusal, SubmitOrder, Unknown
from protocol.receipts import decode_entry
from protocol.stages import Stage
from tests.bank.counter import BALANCE, Talk, at_counter, entry_of, eventually
from tests.bank.town import SECONDS, Town
from tests.trials.load.bank_process import Tell, bank_process, percentile
from tests.trials.load.offered import Told, offer

ATTEMPTS = 3
DEPOSITS = 1
"""What the town's ledger holds before."""


def test_trial_38_places_are_bounded_for_all_and_for_each_and_come_back() -> None:
    admission = Admission(places=10, places_per_customer=8)
    with admission.places("1001", [100] * 9) as first:
        assert first == 8
        with admission.places("1001", [100] * 1) as more, admission.places("1002", [100] * 5) as others:
            assert (more, others) == (0, 2)
        with admission.places("1002", [100] * 1) as again:
            assert again == 1
    with pytest.raises(ZeroDivisionError), admission.places("1001", [100] * 8):
        raise ZeroDivisionError
    with admission.places("1001", [100] * 64) as whole, admission.places("1002", [100] * 64) as rest:
        assert (whole, rest) == (8, 2)
    assert not admission._taken


@pytest.mark.parametrize("stage", [Stage.SESSION, Stage.SIGNED])
def test_trial_38_busy_is_said_at_once_in_the_session_and_uses_up_nothing(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    gate = threading.Event()
    asked: list[bytes] = []
    posts, opens = Posting._transact, Verifier.open_all

    def transact(self: Posting, submissions: Any) -> Any:
        assert gate.wait(60)
        return posts(self, submissions)

    async def opened(self: Verifier, identity: Any, messages: Sequence[bytes]) -> Any:
        asked.extend(messages)
        return await opens(self, identity, messages)

    monkeypatch.setattr(Posting, "_transact", transact)
    monkeypatch.setattr(Verifier, "open_all", opened)
    with (
        at_counter(town, short_tmp, limits={"queue": 10, "queue_per_customer": 8}) as counter,
        counter.session(town.alice, stage) as alice,
        counter.session(town.alice, stage) as other,
        counter.session(town.bob, stage) as bob,
    ):
        orders = {name: counter.submission(town.alice, name, stage) for name in (f"order-{n}" for n in range(12))}
        ours, rest = list(orders.values())[:8], list(orders.values())[8:]
        bobs = [counter.submission(town.bob, f"bobs-{n}", stage, creditor="1001", amount="0.01") for n in range(2)]
        before, logged = counter.balance("1001"), counter.count("entry")
        try:
            asked.clear()  # openings in a session that is known already ask, too
            _send_together(alice, ours)
            eventually(lambda: counter.server.service.admission._taken["1001"] == 8)
            if stage is Stage.SIGNED:
                eventually(lambda: len(asked) == 8)
            # The posting stands still, and yet these are answered: in the session, with the order's number.
            for number, order in enumerate(rest):
                answer = other.ask(SubmitOrder(number=number, order=order.order, since=None))
                assert isinstance(answer, Refusal)
                assert (answer.reason, answer.number) == (Reason.BUSY, number)
            assert len(asked) == (8 if stage is Stage.SIGNED else 0), "gpg is not asked about what is told busy"
            # Reading goes on, and the other customer has room of his own.
            assert _is_unknown(other, "order-11", rest[-1].order)
            _send_together(bob, bobs)
            eventually(lambda: counter.server.service.admission._taken["1002"] == 2)
            assert counter.count("entry") == logged
        finally:
            gate.set()
        assert all(entry_of(alice.answer()).status is Status.SETTLED for _ in ours)
        assert all(isinstance(bob.answer(), NumberedReceipt) for _ in bobs)
        assert counter.count("entry") == logged + 10
        # The same bytes again, in the same session and in another one.
        for talk, order in zip((other, other, alice, alice), rest, strict=True):
            answer = talk.ask(order)
            assert isinstance(answer, NumberedReceipt)
            assert not answer.receipt.duplicate
            assert decode_entry(answer.receipt.entry).status is Status.SETTLED
        assert counter.balance("1001") == before - 12_00 + 2
        assert not isinstance(other.ask(BALANCE), Refusal)


@pytest.mark.measured
@pytest.mark.timeout(300)
def test_trial_38_at_three_times_the_capacity_the_goodput_stays(town: Town, short_tmp: Path, tell: Tell) -> None:
    """In the stage session, where a receipt costs least and "busy" is therefore the dearest beside it."""
    limits = {"queue": 128, "queue_per_customer": 128}
    with bank_process(town, short_tmp, limits=limits) as (counter, _), ExitStack() as stack:
        talks = [stack.enter_context(counter.session(town.alice, Stage.SESSION)) for _ in range(8)]
        ratios: list[float] = []
        busy: list[str] = []
        receipts = 0
        for attempt in range(ATTEMPTS):
            peak, per_second, behind = 0.0, 400.0, 0
            while True:  # the capacity: what is answered of more and more, until more is offered than can be answered
                told, _ = offer(talks, prefix=f"ramp-{attempt}-{per_second:.0f}", seconds=2, per_second=per_second)
                goodput = _count(told) / 2
                receipts += _everything(told)
                peak = max(peak, goodput)
                busy += [identifier for each in told for identifier in each.identifiers]
                behind += goodput < 0.8 * per_second
                if behind == 2:  # once may be a machine that had other things to do
                    break
                per_second *= 1.5
            told, sent = offer(talks, prefix=f"over-{attempt}", seconds=5, per_second=3 * peak)
            goodput, waits = _count(told) / 5, [wait for each in told for wait in each.busy]
            receipts += _everything(told)
            busy += [identifier for each in told for identifier in each.identifiers]
            assert not [reason for each in told for reason in each.others]
            assert waits, "three times the capacity, and nobody was told busy"
            ratios.append(goodput / peak)
            tell(
                f"trial 38: peak {peak:.0f} receipts a second; offered {sent:.0f} (times {sent / peak:.1f}): "
                f"{goodput:.0f} receipts (times {ratios[-1]:.2f}) and {len(waits) / 5:.0f} busy a second, "
                f"busy after {percentile(waits, 50) * 1000:.0f} ms (p99 {percentile(waits, 99) * 1000:.0f} ms)"
            )
            if ratios[-1] >= 0.9 and sent >= 2.5 * peak:
                break
        assert max(ratios) >= 0.9, ratios
        # Nothing was recorded of what was told busy, and each receipt is one entry.
        talk = talks[0]
        for identifier in random.sample(busy, 50):
            assert _is_unknown(talk, identifier, b"")
        with counter.home.open_ledger() as ledger:
            assert len(accounts.transfers(ledger, lines=10**6)) == receipts + DEPOSITS
        assert talk.pay(busy[0], amount="0.01").status is Status.SETTLED


def _count(told: list[Told]) -> int:
    """Receipts that came in the time in which orders were offered."""
    return sum(len(each.receipts) for each in told)


def _everything(told: list[Told]) -> int:
    """All receipts, also those that came later."""
    return sum(each.receipted for each in told)


def _send_together(talk: Talk, orders: list[SubmitOrder]) -> None:
    """In one piece, so that the bank reads them as one group."""
    frames = [talk.channel.seal(messages.encode(order)) for order in orders]
    talk.connection.send(*frames, timeout_seconds=SECONDS)


def _is_unknown(talk: Talk, identifier: str, message: bytes) -> bool:
    digest = canonical.digest(message)  # of a signed order it should be its content's; the bank knows neither
    question = LookUpOrder(number=9, order=digest, since=None, transfer_identifier=identifier)
    return isinstance(talk.ask(question), Unknown)
