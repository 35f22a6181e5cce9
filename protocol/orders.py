"""An order is the canonical content that its debtor stands for; it is read from what gpg verified and nowhere else."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from protocol import canonical
from protocol.errors import MalformedContent
from protocol.limits import DESCRIPTION_CHARACTERS, IDENTIFIER_CHARACTERS, PAYMENTS_IN_ORDER

ACCOUNT_NUMBER = re.compile("[0-9]{1,16}", re.ASCII)
"""A customer number; it is a string, so leading zeros survive."""

_IDENTIFIER = re.compile(f"[A-Za-z0-9-]{{1,{IDENTIFIER_CHARACTERS}}}", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z", re.ASCII)

# \Z and not $, which would also match before a line feed at the end.
Fingerprint = Annotated[str, Meta(pattern=r"^[0-9A-F]{40}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Identifier = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9-]{{1,{IDENTIFIER_CHARACTERS}}}\Z")]
Time = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")]
Number = Annotated[str, Meta(max_length=34)]
"""An account number as given: whether it is well formed is decided, and answered with AC01."""
Amount = Annotated[str, Meta(max_length=40)]
Description = Annotated[str, Meta(max_length=DESCRIPTION_CHARACTERS)]
Execution = Literal["atomic", "best-effort"]
"""Whether a bulk order's payments are made all or none, or each that can be."""


class TransferOrder(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="transfer-order"):
    """One transfer as its debtor orders it.

    ``amount`` is a decimal string and is judged by the bank, so that an impossible one gets a receipted refusal;
    ``bank`` is the bank's fingerprint, so that the order means nothing elsewhere; ``certificate`` is, in the stage
    certified, the SHA-256 of the debtor's X.509 certificate (DER); in version 1, which is no longer made, of the
    certified OpenPGP key. In the other stages it is null.
    """

    amount: Amount
    bank: Fingerprint
    certificate: Digest | None
    created: Time
    creditor: Number
    currency: Annotated[str, Meta(max_length=8)]
    debtor: Number
    description: Description
    transfer_identifier: Identifier
    version: Literal[1, 2] = 2


class Payment(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One payment of a bulk order; its fields mean what they mean in a TransferOrder."""

    amount: Amount
    creditor: Number
    description: Description


class BulkOrder(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="bulk-order"):
    """Many payments of one debtor under one signature and one identifier; the other fields as in a TransferOrder.

    ``count`` and ``sum`` repeat how many payments there are and what they add up to; the bank refuses the whole order
    where they do not fit. ``version`` begins with 2: orders of both types have one meaning of ``certificate``.
    """

    bank: Fingerprint
    certificate: Digest | None
    count: Annotated[int, Meta(ge=0, lt=2**53)]
    created: Time
    currency: Annotated[str, Meta(max_length=8)]
    debtor: Number
    execution: Execution
    payments: Annotated[tuple[Payment, ...], Meta(min_length=1, max_length=PAYMENTS_IN_ORDER)]
    sum: Amount
    transfer_identifier: Identifier
    version: Literal[2] = 2


Order = TransferOrder | BulkOrder


def encode_order(order: Order) -> bytes:
    """The canonical bytes that are signed; also what the digest of an order is taken over."""
    require_order(order)
    return canonical.encode(order)


def decode_order(content: bytes) -> Order:
    """The order of content that gpg verified; MalformedContent (FF01) names the field at fault."""
    order = canonical.decode_signed_union(_ORDER, content)
    require_order(order)
    return order


def payments_of(order: Order) -> tuple[TransferOrder | Payment, ...]:
    """The payments of an order; a single one is its own one payment."""
    return order.payments if isinstance(order, BulkOrder) else (order,)


def require_order(order: Order) -> None:
    """What the types alone do not say: text can be shown, the time exists."""
    for field in ("currency", "debtor", *(("sum",) if isinstance(order, BulkOrder) else ())):
        canonical.require_printable(getattr(order, field), field)
    for place, payment in enumerate(payments_of(order)):
        if (payment.amount + payment.creditor + payment.description).isprintable():
            continue
        for field in ("amount", "creditor", "description"):
            path = f"payments[{place}].{field}" if isinstance(order, BulkOrder) else field
            canonical.require_printable(getattr(payment, field), path)
    parse_time(order.created, "created")


def parse_time(text: str, field: str) -> datetime:
    """A UTC time of RFC 3339 with second precision and the letter Z."""
    try:
        # Twenty times as fast as strptime, but it knows other forms of ISO 8601 too, which are refused here.
        return datetime.fromisoformat(text if _TIME.fullmatch(text) else "")
    except ValueError:
        raise MalformedContent(f"The field {field} is not a time such as 2026-01-31T09:30:00Z.", field) from None


LAST_SECOND = 253_402_300_799
"""The end of the year 9999 in Unix seconds, the last that can be written down."""


def format_time(unix_seconds: float) -> str:
    """RFC 3339 in UTC with second precision."""
    return datetime.fromtimestamp(int(unix_seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


COMPARED_FIELDS = ("creditor", "amount", "currency", "description", "bank", "certificate", "created")
"""Fields of two orders with one identifier, in the order in which a difference is named."""

COMPARED_BULK_FIELDS = ("payments", "count", "sum", "currency", "execution", "bank", "certificate", "created")
"""The same, of two bulk orders."""


def first_difference(original: Order, other: Order) -> str:
    """The first field in which two orders differ, ``""`` if none does; ``type`` where only one is a bulk order."""
    if type(original) is not type(other):
        return "type"
    names = COMPARED_BULK_FIELDS if isinstance(original, BulkOrder) else COMPARED_FIELDS
    return next((name for name in names if getattr(original, name) != getattr(other, name)), "")


_ORDER: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


def identifier_flaw(identifier: str) -> str:
    """Why this cannot be the identifier of an order that a person gives with --id; "" if it can."""
    if _IDENTIFIER.fullmatch(identifier):
        return ""
    return (
        f"The identifier (--id) is not 1 to {IDENTIFIER_CHARACTERS} letters A-Z, a-z, digits and hyphens; leave it "
        "out to get a new one."
    )


def description_flaw(description: str) -> str:
    """Why this is too long for the description of a payment; "" if it is not."""
    if len(description) <= DESCRIPTION_CHARACTERS:
        return ""
    return f"The description has {len(description)} characters; at most {DESCRIPTION_CHARACTERS} are possible."
