"""A receipt proves exactly one decision under exactly one head, and a head only continues its own log."""

from typing import Any

import msgspec
import pytest

from protocol import canonical, merkle, receipts
from protocol.codes import Reason, Status
from protocol.errors import MalformedContent
from protocol.receipts import LogEntry, Receipt, ReceiptError, TreeHead

BANK, LOG = "A" * 40, "1" * 32


def entry(number: int, **changes: Any) -> LogEntry:
    fields: dict[str, Any] = {
        "amount": "25.00",
        "booked": "2026-01-31T09:30:00Z",
        "creditor": "1002",
        "currency": "EUR",
        "debtor": "1001",
        "field": None,
        "order": canonical.digest(str(number).encode()),
        "reason": None,
        "reference": str(number + 1),
        "salt": f"{number:032x}",
        "stage": "signed",
        "status": Status.SETTLED,
        "transfer_identifier": f"t-{number}",
    }
    return LogEntry(**{**fields, **changes})


ENTRIES = tuple(canonical.encode(entry(number)) for number in range(7))


def node(level: int, position: int) -> bytes:
    if level == 0:
        return merkle.leaf_hash(ENTRIES[position])
    return merkle.node_hash(node(level - 1, 2 * position), node(level - 1, 2 * position + 1))


def head(size: int, **changes: Any) -> TreeHead:
    fields: dict[str, Any] = {
        "bank": BANK,
        "log": LOG,
        "root": merkle.root_hash(size, node).hex(),
        "size": size,
        "time": "2026-01-31T09:30:00Z",
    }
    return TreeHead(**{**fields, **changes})


def receipt(index: int, size: int, **changes: Any) -> Receipt:
    proof = tuple(item.hex() for item in merkle.inclusion_path(index, size, node))
    made = Receipt(consistency=None, duplicate=False, entry=ENTRIES[index], head=b"signed", index=index, proof=proof)
    return msgspec.structs.replace(made, **changes)


def path(older: int, newer: int) -> tuple[str, ...]:
    return tuple(item.hex() for item in merkle.consistency_path(older, newer, node))


@pytest.mark.parametrize("size", range(1, 8))
def test_a_receipt_proves_its_entry(size: int) -> None:
    for index in range(size):
        assert receipts.check_inclusion(receipt(index, size), head(size)) == entry(index)


def test_trial_45_anything_else_in_a_receipt_is_refused() -> None:
    good = receipt(2, 7)
    for wrong, under in (
        (msgspec.structs.replace(good, index=3), head(7)),
        (msgspec.structs.replace(good, index=99), head(7)),
        (receipt(2, 7, proof=good.proof[:-1]), head(7)),
        (receipt(2, 7, proof=good.proof[::-1]), head(7)),
        (receipt(2, 7, proof=(*good.proof, "0" * 64)), head(7)),
        (receipt(2, 7, entry=ENTRIES[3]), head(7)),
        (receipt(2, 7, entry=canonical.encode(entry(2, amount="26.00"))), head(7)),
        (good, head(6)),
        (good, head(7, root="0" * 64)),
        (good, head(0)),
    ):
        with pytest.raises(ReceiptError, match="does not lead to the head"):
            receipts.check_inclusion(wrong, under)


def test_an_entry_that_is_not_canonical_is_refused_even_if_it_is_in_the_log() -> None:
    with pytest.raises(MalformedContent):
        receipts.check_inclusion(receipt(2, 7, entry=b" " + ENTRIES[2]), head(7))


def test_an_entry_decides_the_order_that_was_sent() -> None:
    receipts.check_order(entry(2), b"2", "1001", "t-2")
    receipts.check_order(
        entry(2, status=Status.REJECTED, reason=Reason.INSUFFICIENT_FUNDS, field="amount", reference=None),
        b"2",
        "1001",
        "t-2",
    )
    for content, debtor, identifier, field in (
        (b"3", "1001", "t-2", "order"),
        (b"2", "1002", "t-2", "debtor"),
        (b"2", "1001", "t-3", "transfer_identifier"),
    ):
        with pytest.raises(ReceiptError, match=f"its {field} differs"):
            receipts.check_order(entry(2), content, debtor, identifier)


@pytest.mark.parametrize("older", range(8))
def test_a_log_that_grows_is_consistent(older: int) -> None:
    receipts.check_consistency(head(older), head(7), path(older, 7))


def test_trial_46_a_log_that_was_rewritten_is_not() -> None:
    for older, newer, proof in (
        (head(4, root="0" * 64), head(7), path(4, 7)),
        (head(4), head(7, root="0" * 64), path(4, 7)),
        (head(4), head(7), None),
        (head(4), head(7), path(3, 7)),
        (head(7), head(4), path(4, 7)),
        (head(7), head(7, root="0" * 64), ()),
    ):
        with pytest.raises(ReceiptError, match="history was changed"):
            receipts.check_consistency(older, newer, proof)


@pytest.mark.parametrize("changes", [{"bank": "B" * 40}, {"log": "2" * 32}])
def test_trial_45_a_head_of_another_bank_or_log_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ReceiptError, match="another log"):
        receipts.check_consistency(head(4), head(7, **changes), path(4, 7))
