"""Trial 45, the customer's side: a receipt that does not prove what it says is kept, and never believed."""

import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from customer import conversing, sending, verifying
from customer.errors import NotProven, NotReady, OutcomeUnknown
from customer.home import CustomerHome
from customer.sending import Wish
from customer.store import KeptHead, State
from keyring import messages as openpgp
from protocol import canonical, merkle
from protocol.codes import Reason, Status
from protocol.messages import Answer, AskHead, Beginnings, Head, LookUpOrder, NumberedReceipt, SubmitOrder
from protocol.receipts import LogEntry, Receipt, TreeHead, decode_entry
from protocol.stages import Stage
from tests.customer.scene import Stand

RENT = Wish(creditor="1002", amount="25.00", description="rent", currency="EUR", identifier="rent-1")
OTHER_LOG = "0" * 32
Change = Callable[[Stand, Receipt], Receipt]


def edited(receipt: Receipt, **changes: object) -> Receipt:
    return msgspec.structs.replace(receipt, **changes)


def signed_by_the_bank(stand: Stand, head: TreeHead) -> bytes:
    with stand.bank.signer() as signer:
        return signer.sign(canonical.encode(head), int(time.time()))


def the_head(stand: Stand, receipt: Receipt) -> TreeHead:
    content = stand.bank.verify(receipt.head)
    assert content is not None
    return canonical.decode_signed(TreeHead, content)


def with_head(stand: Stand, receipt: Receipt, **changes: object) -> Receipt:
    """The receipt with another head that the bank really signed."""
    head = msgspec.structs.replace(the_head(stand, receipt), **changes)
    return edited(receipt, head=signed_by_the_bank(stand, head))


def alone(stand: Stand, receipt: Receipt, **changes: object) -> Receipt:
    """The bank signs a log of its own for this one entry, which says something else; every proof in it is right."""
    entry = canonical.encode(msgspec.structs.replace(decode_entry(receipt.entry), **changes))
    head = msgspec.structs.replace(the_head(stand, receipt), size=1, root=merkle.leaf_hash(entry).hex())
    return edited(receipt, entry=entry, index=0, proof=(), head=signed_by_the_bank(stand, head))


def inner_node(stand: Stand, receipt: Receipt) -> Receipt:
    """The two halves below the root given out as a leaf."""
    node = bytes.fromhex(receipt.proof[0]) + merkle.leaf_hash(receipt.entry)
    return with_head(stand, edited(receipt, entry=node, index=0, proof=()), size=1)


def old_head(stand: Stand, receipt: Receipt) -> Receipt:
    """The head of the batch before."""
    with stand.bank.open_ledger() as ledger, ledger.reading() as connection:
        message = connection.exec_driver_sql("SELECT message FROM head ORDER BY size LIMIT 1").scalar_one()
    return edited(receipt, head=message)


def strangers_head(stand: Stand, receipt: Receipt) -> Receipt:
    with stand.customer("bob") as home:
        return edited(receipt, head=openpgp.sign(home.keys, home.key, canonical.encode(the_head(stand, receipt))))


def flipped(data: bytes) -> bytes:
    return data[:-20] + bytes((data[-20] ^ 1,)) + data[-19:]


LIES: dict[str, Change] = {
    "index too high": lambda stand, receipt: edited(receipt, index=receipt.index + 1),
    "index too low": lambda stand, receipt: edited(receipt, index=0),
    "path too short": lambda stand, receipt: edited(receipt, proof=()),
    "path too long": lambda stand, receipt: edited(receipt, proof=(*receipt.proof, "0" * 64)),
    "another path": lambda stand, receipt: edited(receipt, proof=("0" * 64,)),
    "leaf and sibling swapped": lambda stand, receipt: edited(receipt, proof=(merkle.leaf_hash(receipt.entry).hex(),)),
    "node in place of a leaf": inner_node,
    "head of the batch before": old_head,
    "head signed by a stranger": strangers_head,
    "head with a broken signature": lambda stand, receipt: edited(receipt, head=flipped(receipt.head)),
    "no head": lambda stand, receipt: edited(receipt, head=b""),
    "two heads": lambda stand, receipt: edited(receipt, head=receipt.head * 2),
    "head of another bank": lambda stand, receipt: with_head(stand, receipt, bank="A" * 40),
    "head with another root": lambda stand, receipt: with_head(stand, receipt, root="0" * 64),
    "entry that says posted": lambda stand, receipt: edited(
        receipt, entry=receipt.entry.replace(b'"25.00"', b'"26.00"')
    ),
    "another debtor": lambda stand, receipt: alone(stand, receipt, debtor="1002"),
    "another identifier": lambda stand, receipt: alone(stand, receipt, transfer_identifier="rent-2"),
    "another order": lambda stand, receipt: alone(stand, receipt, order="0" * 64),
    "another creditor": lambda stand, receipt: alone(stand, receipt, creditor="1003"),
    "another amount": lambda stand, receipt: alone(stand, receipt, amount="26.00"),
    "another currency": lambda stand, receipt: alone(stand, receipt, currency="USD"),
}


def lying(stand: Stand, change: Change) -> Callable[[msgspec.Struct, Answer], Answer]:
    def lie(request: msgspec.Struct, answer: Answer) -> Answer:
        if isinstance(answer, NumberedReceipt):
            return msgspec.structs.replace(answer, receipt=change(stand, answer.receipt))
        return answer

    return lie


def honest(request: msgspec.Struct, answer: Answer) -> Answer:
    return answer


@pytest.mark.parametrize("name", LIES)
def test_trial_45_a_false_receipt_is_not_believed(stand: Stand, name: str) -> None:
    stand.faults.lie = lying(stand, LIES[name])
    with stand.customer() as home:
        with pytest.raises(OutcomeUnknown):
            sending.send(home, RENT)
        (order,) = home.store.orders()
        assert order.state is State.UNKNOWN
        assert order.receipt is None
        assert home.store.newest_head() is None
        ((sentence, kept),) = home.store.doubts("rent-1")
        assert sentence
        assert canonical.decode(Receipt, kept).index >= 0
        with pytest.raises(OutcomeUnknown):
            sending.send_again(home, order)
        stand.faults.lie = honest
        assert sending.send_again(home, order).posted
    assert stand.postings("rent-1") == 1


def test_the_honest_twin_a_log_of_one_entry_is_believed(stand: Stand) -> None:
    stand.faults.lie = lying(stand, alone)
    with stand.customer() as home:
        outcome = sending.send(home, RENT)
        assert outcome.posted
        assert outcome.receipt is not None
        assert outcome.receipt.index == 0


def another_log(stand: Stand, receipt: Receipt) -> Receipt:
    return with_head(stand, receipt, log=OTHER_LOG)


def rewritten(stand: Stand, receipt: Receipt) -> Receipt:
    """A log of the same length whose earlier entries are others; the entry itself is proven in it."""
    sibling = "0" * 64
    head = the_head(stand, receipt)
    root = merkle.node_hash(bytes.fromhex(sibling), merkle.leaf_hash(receipt.entry))
    forged = msgspec.structs.replace(head, size=2, root=root.hex())
    return edited(receipt, index=1, proof=(sibling,), head=signed_by_the_bank(stand, forged))


@pytest.mark.parametrize(
    "change",
    [another_log, rewritten, lambda stand, receipt: edited(receipt, consistency=None), alone, old_head],
    ids=["another log", "history rewritten", "no proof of consistency", "shorter log", "older head"],
)
def test_trial_45_a_log_that_does_not_continue_the_known_one_is_not_believed(stand: Stand, change: Change) -> None:
    with stand.customer() as home:
        assert sending.send(home, replace(RENT, identifier="first")).posted
        known = home.store.newest_head()
        stand.faults.lie = lying(stand, change)
        with pytest.raises(OutcomeUnknown):
            sending.send(home, RENT)
        assert home.store.newest_head() == known
        stand.faults.lie = honest
        assert sending.send_again(home, home.store.in_doubt()[0]).posted


def test_a_new_log_that_the_bank_does_not_explain_is_not_followed(stand: Stand) -> None:
    """The honest twin is tests/system/test_new_log.py: a bank that restored a backup."""

    def lie(request: msgspec.Struct, answer: Answer) -> Answer:
        if isinstance(answer, NumberedReceipt):
            return msgspec.structs.replace(answer, receipt=another_log(stand, answer.receipt))
        if isinstance(answer, Beginnings):
            content = stand.bank.verify(answer.head)
            assert content is not None
            head = msgspec.structs.replace(canonical.decode_signed(TreeHead, content), log=OTHER_LOG)
            return msgspec.structs.replace(answer, head=signed_by_the_bank(stand, head))
        return answer

    with stand.customer() as home:
        assert sending.send(home, replace(RENT, identifier="first")).posted
        known = home.store.newest_head()
        stand.faults.lie = lie
        with pytest.raises(OutcomeUnknown, match="does not say why"):
            sending.send(home, RENT)
        with pytest.raises(NotProven, match="does not say why"):
            verifying.follow_log(home, OTHER_LOG, Stage.CERTIFIED)
        assert home.store.newest_head() == known
        stand.faults.lie = honest
        assert known is not None
        with pytest.raises(NotProven, match=f"The bank's log is {known.head.log}, not"):
            verifying.follow_log(home, OTHER_LOG, Stage.CERTIFIED)
        with pytest.raises(NotReady, match="already"):
            verifying.follow_log(home, known.head.log, Stage.CERTIFIED)
        assert sending.send_again(home, home.store.in_doubt()[0]).posted


def test_two_logs_of_one_size_are_noticed_also_between_two_programs(stand: Stand) -> None:
    with stand.customer() as home:
        assert sending.send(home, RENT).posted
        kept = home.store.newest_head()
        assert kept is not None
        other = KeptHead(msgspec.structs.replace(kept.head, root="0" * 64), kept.message)
        with pytest.raises(NotProven, match="two different logs"):
            home.store.keep_head(other)
        home.store.keep_head(kept)
        assert home.store.heads() == (kept,)


def test_a_refusal_with_a_false_receipt_is_not_believed_either(stand: Stand) -> None:
    stand.faults.lie = lying(
        stand,
        lambda stand, receipt: edited(
            receipt,
            entry=canonical.encode(
                msgspec.structs.replace(
                    decode_entry(receipt.entry),
                    status=Status.REJECTED,
                    reason=Reason.INSUFFICIENT_FUNDS,
                    reference=None,
                )
            ),
        ),
    )
    with stand.customer() as home, pytest.raises(OutcomeUnknown):
        sending.send(home, RENT)


def ask_head(home: CustomerHome) -> KeptHead:
    with conversing.conversation(home, Stage.CERTIFIED) as talk:
        return conversing.newest_head(home, talk, conversing.view_in(home, talk))


def test_a_head_that_is_asked_for_must_continue_the_known_one(stand: Stand) -> None:
    with stand.customer() as home:
        assert sending.send(home, RENT).posted
        assert ask_head(home).head.size == 2

        def lie(request: msgspec.Struct, answer: Answer) -> Answer:
            if isinstance(request, AskHead) and isinstance(answer, Head):
                content = stand.bank.verify(answer.head)
                assert content is not None
                head = msgspec.structs.replace(canonical.decode_signed(TreeHead, content), size=3, root="0" * 64)
                return msgspec.structs.replace(answer, head=signed_by_the_bank(stand, head), consistency=("0" * 64,))
            return answer

        stand.faults.lie = lie
        with pytest.raises(NotProven, match="history was changed"):
            ask_head(home)


def test_an_answer_to_another_request_ends_the_session(stand: Stand) -> None:
    def lie(request: msgspec.Struct, answer: Answer) -> Answer:
        return msgspec.structs.replace(answer, number=answer.number + 1)

    stand.faults.lie = lie
    with stand.customer() as home, pytest.raises(OutcomeUnknown, match="in place of"):
        sending.send(home, RENT)


def test_the_bank_learns_the_size_of_the_known_log_and_nothing_else(stand: Stand) -> None:
    with stand.customer() as home:
        for identifier in ("first", "second"):
            assert sending.send(home, replace(RENT, identifier=identifier)).posted
    sizes = [each.since for each in stand.faults.asked if isinstance(each, SubmitOrder | LookUpOrder)]
    assert sizes == [None, 2]


def test_entries_are_what_they_say() -> None:
    """The forgeries above change fields that exist."""
    assert {"debtor", "transfer_identifier", "order", "creditor", "amount", "currency"} <= set(
        LogEntry.__struct_fields__
    )
