"""A clock that was wrong for a while spoils nothing for the time after: what is signed is dated when it is signed."""

from pathlib import Path

import pytest

from keyring.messages import sign
from keyring.opened import Opened
from keyring.verdict import SignedByBank
from keyring.worker import open_once
from protocol import canonical
from protocol.codes import Reason, Status
from protocol.messages import Answer, AskHead, Head, LookUpOrder, NumberedReceipt, SubmitOrder
from protocol.receipts import LogEntry, TreeHead, check_inclusion
from protocol.stages import Stage
from tests.bank.counter import Counter, at_counter, served
from tests.bank.town import DAY, Town
from tests.singles import single


def proven(counter: Counter, answer: Answer | None) -> LogEntry:
    """The entry of a receipt as a customer proves it whose clock is right."""
    assert isinstance(answer, NumberedReceipt), answer
    return single(check_inclusion(answer.receipt, head_of(counter, answer.receipt.head)))


def head_of(counter: Counter, message: bytes) -> TreeHead:
    expected = SignedByBank(counter.town.bank_fingerprint, counter.home.signing_subkeys, certified=False)
    opened = open_once(counter.town.view, message, expected)
    assert isinstance(opened, Opened), opened
    return canonical.decode_signed(TreeHead, opened.content)


@pytest.mark.parametrize("ahead", [DAY, -3600, 0])
def test_trial_42_after_a_wrong_clock_was_set_right_receipts_prove_themselves(
    town: Town, short_tmp: Path, ahead: float
) -> None:
    """Also for what was booked meanwhile, and after a restart; booking times never run backwards."""
    alice = town.alice
    with at_counter(town, short_tmp) as counter:
        with counter.session(alice, Stage.SIGNED) as talk:
            booked = [talk.pay("before").booked]
            counter.clock.ahead = ahead
            content = counter.order(alice, "meanwhile", Stage.SIGNED)
            meanwhile = SubmitOrder(number=1, order=sign(alice.home, alice.fingerprint, content), since=None)
            answer = talk.ask(meanwhile)
            assert isinstance(answer, NumberedReceipt)
            counter.clock.ahead = 0.0
            again = proven(counter, talk.ask(meanwhile))
            booked.append(again.booked)
            digest = canonical.digest(content)
            question = LookUpOrder(number=1, order=digest, since=None, transfer_identifier="meanwhile")
            assert proven(counter, talk.ask(question)) == again
            after = counter.submission(alice, "after", Stage.SIGNED)
            booked.append(proven(counter, talk.ask(after)).booked)
        home = counter.home
    assert booked == sorted(booked)
    with served(town, home) as counter, counter.session(alice, Stage.SIGNED) as talk:
        assert proven(counter, talk.ask(after)).booked == booked[-1]
        answer = talk.ask(AskHead(number=1, since=None))
        assert isinstance(answer, Head)
        assert head_of(counter, answer.head).size == counter.count("entry")


def test_trial_42_what_has_an_end_ends_by_the_clock(town: Town, short_tmp: Path) -> None:
    """An order made at a time that the bank's clock does not know yet, or knows no more, is refused."""
    with at_counter(town, short_tmp) as counter, counter.session(town.alice, Stage.SIGNED) as talk:
        orders = {}
        for name, days in (("from-tomorrow", 1), ("of-old", -91), ("of-today", 0)):
            counter.clock.ahead = days * DAY
            orders[name] = counter.submission(town.alice, name, Stage.SIGNED)
        counter.clock.ahead = 0.0
        found = {name: proven(counter, talk.ask(order)) for name, order in orders.items()}
        assert {name: entry.reason for name, entry in found.items()} == {
            "from-tomorrow": Reason.DATE,
            "of-old": Reason.DATE,
            "of-today": None,
        }
        # Once decided, it stays so, whatever the clock says.
        counter.clock.ahead = DAY
        again = talk.ask(orders["from-tomorrow"])
        assert isinstance(again, NumberedReceipt)
        assert again.receipt.duplicate
        assert found["from-tomorrow"].status is Status.REJECTED
