"""An order is the canonical content that its debtor stands for; it is read from what gpg verified and nowhere else."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol import canonical
from protocol.errors import MalformedContent
from protocol.limits import DESCRIPTION_CHARACTERS, IDENTIFIER_CHARACTERS

ACCOUNT_NUMBER = re.compile("[0-9]{1,16}", re.ASCII)
"""A customer number; it is a string, so leading zeros survive."""

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z", re.ASCII)

# \Z and not $, which would also match before a line feed at the end.
Fingerprint = Annotated[str, Meta(pattern=r"^[0-9A-F]{40}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Identifier = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9-]{{1,{IDENTIFIER_CHARACTERS}}}\Z")]
Time = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")]
Number = Annotated[str, Meta(max_length=34)]
"""An account number as given: whether it is well formed is decided, and answered with AC01."""


class TransferOrder(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="transfer-order"):
    """One transfer as its debtor orders it.

    ``amount`` is a decimal string and is judged by the bank, so that an impossible one gets a receipted refusal;
    ``bank`` is the bank's fingerprint, so that the order means nothing elsewhere; ``certificate`` is, in the stage
    certified, the SHA-256 of the debtor's X.509 certificate (DER); in version 1, which is no longer made, of the
    certified OpenPGP key. In the other stages it is null.
    """

    amount: Annotated[str, Meta(max_length=40)]
    bank: Fingerprint
    certificate: Digest | None
    created: Time
    creditor: Number
    currency: Annotated[str, Meta(max_length=8)]
    debtor: Number
    description: Annotated[str, Meta(max_length=DESCRIPTION_CHARACTERS)]
    transfer_identifier: Identifier
    version: Literal[1, 2] = 2


def encode_order(order: TransferOrder) -> bytes:
    """The canonical bytes that are signed; also what the digest of an order is taken over."""
    require_order(order)
    return canonical.encode(order)


def decode_order(content: bytes) -> TransferOrder:
    """The order of content that gpg verified; MalformedContent (FF01) names the field at fault."""
    order = canonical.decode_signed(TransferOrder, content)
    require_order(order)
    return order


def require_order(order: TransferOrder) -> None:
    """What the types alone do not say: text can be shown, the time exists."""
    for field in ("amount", "creditor", "currency", "debtor", "description"):
        canonical.require_printable(getattr(order, field), field)
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


def first_difference(original: TransferOrder, other: TransferOrder) -> str:
    """The first field in which two orders differ, ``""`` if none does."""
    return next((name for name in COMPARED_FIELDS if getattr(original, name) != getattr(other, name)), "")
