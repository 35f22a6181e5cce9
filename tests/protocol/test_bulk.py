"""A bulk order has one form and its results one reading; every vector of both is run against the code."""

from typing import Any

import pytest

from protocol import canonical
from protocol.errors import MalformedContent
from protocol.orders import BulkOrder, TransferOrder, decode_order, encode_order, first_difference, payments_of
from protocol.receipts import BulkEntry, ReceiptError, check_order, check_results, decode_entry
from tests.protocol.test_vectors import named, vectors


@named("bulk.json")
def test_bulk_orders_and_their_results(vector: dict[str, Any]) -> None:
    content = bytes.fromhex(vector["order"])
    assert canonical.digest(content) == vector["digest"]
    if vector["wrong"] == "order":
        with pytest.raises(MalformedContent) as caught:
            decode_order(content)
        assert caught.value.field == vector["field"]
        return
    order = decode_order(content)
    assert isinstance(order, BulkOrder)
    assert encode_order(order) == content
    if vector["entry"] is not None:
        assert failing_check(bytes.fromhex(vector["entry"]), order, content) == vector["wrong"]


def failing_check(data: bytes, order: BulkOrder, content: bytes) -> str | None:
    try:
        entry = decode_entry(data)
    except MalformedContent:
        return "entry"
    assert isinstance(entry, BulkEntry)
    check_order(entry, content, order.debtor, order.transfer_identifier)
    try:
        check_results(entry, order)
    except ReceiptError:
        return "results"
    return None


def test_a_single_order_is_its_own_one_payment() -> None:
    single = decode_order(bytes.fromhex(vectors("orders.json")[0]["content"]))
    bulk = decode_order(bytes.fromhex(vectors("bulk.json")[0]["order"]))
    assert isinstance(single, TransferOrder)
    assert isinstance(bulk, BulkOrder)
    assert payments_of(single) == (single,)
    assert payments_of(bulk) == bulk.payments
    assert first_difference(single, bulk) == first_difference(bulk, single) == "type"
    assert first_difference(bulk, bulk) == ""
