"""Signed content has one spelling: whatever else is offered is refused, naming the field where there is one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import canonical
from protocol.errors import MalformedContent
from protocol.orders import TransferOrder, decode_order, encode_order, first_difference, parse_time
from tests.singles import single_order

FIELDS: dict[str, Any] = {
    "amount": "25.00",
    "bank": "A" * 40,
    "certificate": None,
    "created": "2026-01-31T09:30:00Z",
    "creditor": "1002",
    "currency": "EUR",
    "debtor": "0001",
    "description": "Miete für März €",
    "transfer_identifier": "t-1",
    "type": "transfer-order",
    "version": 1,
}


def spelled(**changes: Any) -> bytes:
    return spell({**FIELDS, **changes})


def spell(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_canonical_form_is_that_of_any_encoder_that_sorts() -> None:
    order = decode_order(spelled())
    assert encode_order(order) == spelled()
    assert order.debtor == "0001"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Co", "Cn", "Zl", "Zp"]), max_size=140))
def test_any_description_that_can_be_shown_survives(description: str) -> None:
    assert single_order(decode_order(spelled(description=description))).description == description


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount": 25}, "amount"),
        ({"amount": 25.0}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "9" * 41}, "amount"),
        ({"version": 3}, "version"),
        ({"version": True}, "version"),
        ({"version": "1"}, "version"),
        ({"type": "transfer"}, "type"),
        ({"bank": "a" * 40}, "bank"),
        ({"certificate": ""}, "certificate"),
        ({"created": "2026-01-31T09:30:00+00:00"}, "created"),
        ({"created": "2026-02-30T09:30:00Z"}, "created"),
        ({"created": "2026-01-31T24:00:00Z"}, "created"),
        ({"description": "x" * 141}, "description"),
        ({"description": "a\u202eb"}, "description"),
        ({"description": "a\nb"}, "description"),
        ({"creditor": "1\u200b"}, "creditor"),
        ({"transfer_identifier": ""}, "transfer_identifier"),
        ({"transfer_identifier": "a/b"}, "transfer_identifier"),
        ({"transfer_identifier": "x" * 36}, "transfer_identifier"),
        ({"extra": 1}, "extra"),
    ],
)
def test_trial_06_a_wrong_field_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(MalformedContent) as caught:
        decode_order(spelled(**changes))
    assert caught.value.field == field


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("version", "type")])
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(MalformedContent) as caught:
        decode_order(spell({key: value for key, value in FIELDS.items() if key != name}))
    assert caught.value.field == name


@pytest.mark.parametrize(
    "change",
    [
        (b'"amount"', b' "amount"'),
        (b"}", b"}\n"),
        ("ü".encode(), b"\\u00fc"),
        (b'"amount":"25.00",', b'"amount":"9.00","amount":"25.00",'),
        (b',"version":1', b',"version":1.0'),
        (b',"version":1', b""),  # a default is written out too
    ],
)
def test_trial_06_another_spelling_is_refused(change: tuple[bytes, bytes]) -> None:
    changed = spelled().replace(*change)
    assert changed != spelled()
    with pytest.raises(MalformedContent):
        decode_order(changed)


@given(st.binary(max_size=200))
def test_trial_35_any_bytes_are_content_or_a_typed_error(data: bytes) -> None:
    with pytest.raises(MalformedContent):
        canonical.decode_signed(TransferOrder, data)


@given(st.integers(0, 400), st.integers(0, 255))
def test_trial_35_any_byte_changed_is_refused_or_another_order(place: int, byte: int) -> None:
    changed = bytearray(spelled())
    changed[place % len(changed)] = byte
    try:
        order = decode_order(bytes(changed))
    except MalformedContent:
        return
    assert encode_order(order) == bytes(changed)


@pytest.mark.parametrize(
    "text", ["", "2026-01-31", "2026-W05-6T09:30:00Z", "2026-01-31 09:30:00Z", "2026-01-31T09:30:60Z"]
)
def test_no_other_form_of_a_time_is_read(text: str) -> None:
    with pytest.raises(MalformedContent, match="The field due is not a time"):
        parse_time(text, "due")


def test_the_first_difference_is_named_in_a_fixed_order() -> None:
    original = decode_order(spelled())
    assert first_difference(original, decode_order(spelled())) == ""
    assert first_difference(original, decode_order(spelled(amount="1", creditor="7"))) == "creditor"
    assert first_difference(original, decode_order(spelled(amount="25.0", description="x"))) == "amount"
