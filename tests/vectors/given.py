"""What all vectors are made of: one order, one entry, one head, the canonical form, and secrets that are none."""

import base64
import hashlib
import json
from typing import Any

BANK = "0123456789ABCDEF0123456789ABCDEF01234567"
LOG = "00112233445566778899aabbccddeeff"
TIME = "2026-01-31T09:30:00Z"
ORDER: dict[str, Any] = {
    "amount": "25.00",
    "bank": BANK,
    "certificate": None,
    "created": TIME,
    "creditor": "1002",
    "currency": "EUR",
    "debtor": "1001",
    "description": "rent",
    "transfer_identifier": "5f0c2b1e9a7d4c3b8e6f1a2b3c4d5e6f",
    "type": "transfer-order",
    "version": 2,
}
ENTRY: dict[str, Any] = {
    "amount": "25.00",
    "booked": TIME,
    "creditor": "1002",
    "currency": "EUR",
    "debtor": "1001",
    "field": None,
    "order": "ab" * 32,
    "reason": None,
    "reference": "1",
    "salt": "00" * 16,
    "stage": "certified",
    "status": "ACSC",
    "transfer_identifier": "5f0c2b1e9a7d4c3b8e6f1a2b3c4d5e6f",
    "type": "log-entry",
    "version": 1,
}
HEAD: dict[str, Any] = {
    "bank": BANK,
    "log": LOG,
    "root": "cd" * 32,
    "size": 1,
    "time": TIME,
    "type": "tree-head",
    "version": 1,
}

REFUSAL: dict[str, Any] = {
    "field": "certificate",
    "number": 0,
    "reason": "DS0D",
    "rule": "not-expired",
    "sentence": "The certificate has ended.",
    "time": TIME,
    "transfer_identifier": None,
    "type": "refusal",
}
REFUSED: dict[str, Any] = {"field": "amount", "reason": "AM04", "reference": None, "status": "RJCT"}


def canonical(value: object) -> bytes:
    """RFC 8785, for values with ASCII keys and without fractions."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def secret(label: str) -> bytes:
    """32 bytes that everybody knows."""
    return sha256(b"countersign test vector, not a secret: " + label.encode())


def base64_of(data: bytes) -> str:
    """RFC 4648, section 4, with padding."""
    return base64.b64encode(data).decode()
