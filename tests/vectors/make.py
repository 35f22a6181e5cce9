"""The vectors are computed here from fixed inputs by the definitions themselves, without a line of the tested code.

Run ``python -m tests.vectors.make`` to write them anew; a test compares what it makes with what is kept. Every key here
is a test vector, known to everybody, and of no use elsewhere.
"""

import hmac
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.bulk import bulk_vectors
from tests.vectors.given import BANK, ENTRY, HEAD, ORDER, REFUSAL, REFUSED, TIME, base64_of, canonical, secret, sha256
from tests.vectors.texts import amount_vectors, letter_vectors, password_vectors
from tests.vectors.trees import beginning_vectors, merkle_vectors, receipt_vectors

HERE = Path(__file__).parent


# Frames


def frame(kind: int, body: bytes, version: int = 1, length: int | None = None) -> bytes:
    return struct.pack(">IBB", len(body) if length is None else length, version, kind) + body


def frame_vectors() -> list[dict[str, Any]]:
    """``limit`` applies to every frame of the stream; ``wrong`` is the part of the header that is at fault."""

    def valid(name: str, limit: int, *frames: tuple[int, bytes], rest: bytes = b"") -> dict[str, Any]:
        stream = b"".join(frame(kind, body) for kind, body in frames) + rest
        told = [{"type": kind, "body": body.hex()} for kind, body in frames]
        return {"name": name, "limit": limit, "stream": stream.hex(), "frames": told, "rest": len(rest), "wrong": None}

    def invalid(name: str, limit: int, wrong: str, stream: bytes, *before: tuple[int, bytes]) -> dict[str, Any]:
        stream = b"".join(frame(kind, body) for kind, body in before) + stream
        told = [{"type": kind, "body": body.hex()} for kind, body in before]
        return {"name": name, "limit": limit, "stream": stream.hex(), "frames": told, "rest": None, "wrong": wrong}

    kinds = (1, 2, 3, 4, 5, 16, 17)
    return [
        *(valid(f"type {kind}", 65536, (kind, b"{}")) for kind in kinds),
        valid("empty body", 65536, (3, b"")),
        valid("body of exactly the limit", 16, (3, bytes(16))),
        valid("three frames in one piece", 65536, (1, b"{}"), (3, bytes(range(256))), (5, b"x")),
        valid("incomplete header", 65536, (3, b"abc"), rest=b"\x00\x00\x00\x02\x01"),
        valid("incomplete body", 65536, rest=frame(3, b"abc")[:-1]),
        valid("nothing", 65536),
        invalid("version 0", 65536, "version", frame(3, b"abc", version=0)),
        invalid("version 2", 65536, "version", frame(3, b"abc", version=2)),
        invalid("version 2 behind a whole frame", 65536, "version", frame(3, b"abc", version=2), (3, b"abc")),
        invalid(
            "version 2 of unknown type and length: the version is named", 16, "version", b"\xff\xff\xff\xff\x02\xff"
        ),
        *(invalid(f"unknown type {kind}", 65536, "type", frame(kind, b"abc")) for kind in (0, 6, 15, 18, 255)),
        invalid("body one byte above the limit", 16, "length", frame(3, bytes(17))),
        invalid("length above the limit, refused without its body", 65536, "length", frame(1, b"", length=65537)),
        invalid("largest length", 1048576, "length", frame(3, b"", length=0xFFFFFFFF)),
        invalid("text of another protocol", 65536, "version", b"GET / HTTP/1.1\r\n\r\n"),
    ]


# Canonical content


def canonical_vectors() -> list[dict[str, Any]]:
    """``wrong`` names what is at fault (null: valid); ``field`` the field that an implementation must name, if any."""
    good, text = canonical(ORDER), canonical(ORDER).decode()

    def vector(name: str, content: bytes, wrong: str | None = None, field: str = "", kind: str = "") -> dict[str, Any]:
        kind = kind or "transfer-order"
        return {"name": name, "type": kind, "content": content.hex(), "wrong": wrong, "field": field}

    def order(**changed: object) -> bytes:
        return canonical({**ORDER, **changed})

    def without(name: str) -> bytes:
        return canonical({key: value for key, value in ORDER.items() if key != name})

    entry_with_controls = canonical({**ENTRY, "creditor": '\x00\x08\t\n\x0b\x0c\r\x1f\x7f"\\/\u2028\U0001f600'})
    return [
        vector("an order", good),
        vector("with a certificate", order(certificate="ef" * 32)),
        vector("version 1, with the digest of a certified key", order(certificate="ef" * 32, version=1)),
        vector("letters of many scripts", order(description="Miete März, χάρις, 家賃, \U0001f3e0")),
        vector("quotes and backslashes", order(description='"a" \\ /b')),
        vector("longest description", order(description="é" * 140)),
        vector("longest identifier", order(transfer_identifier="A-9" + "z" * 32)),
        vector("impossible amount, which the bank judges", order(amount="-1e5")),
        vector("impossible recipient, which the bank judges", order(creditor="not a number")),
        vector("empty text", order(description="")),
        vector("an entry", canonical(ENTRY), kind="log-entry"),
        vector("an entry of a refusal", canonical({**ENTRY, **REFUSED}), kind="log-entry"),
        vector("control characters, escaped as RFC 8785 says", entry_with_controls, kind="log-entry"),
        vector("a tree head", canonical(HEAD), kind="tree-head"),
        vector("a refusal with its rule", canonical(REFUSAL), kind="refusal"),
        vector("a refusal without a rule", canonical({**REFUSAL, "rule": None}), kind="refusal"),
        vector("largest size", canonical({**HEAD, "size": 2**53 - 1}), kind="tree-head"),
        vector("space after a colon", text.replace('":', '": ', 1).encode(), "white-space"),
        vector("line feed at the end", good + b"\n", "white-space"),
        vector("byte order mark", b"\xef\xbb\xbf" + good, "json"),
        vector("keys in another order", in_reverse(ORDER), "key-order"),
        vector("doubled field, equal values", text.replace("{", '{"amount":"25.00",', 1).encode(), "doubled"),
        vector("doubled field, other value first", text.replace("{", '{"amount":"9.00",', 1).encode(), "doubled"),
        vector("escaped letter", text.replace("rent", "\\u0072ent").encode(), "escape"),
        vector("escaped solidus", text.replace("rent", "a\\/b").encode(), "escape"),
        vector(
            "escape in capitals",
            canonical({**ENTRY, "creditor": "\x1f"}).replace(b"\\u001f", b"\\u001F"),
            "escape",
            kind="log-entry",
        ),
        vector("control character without escape", text.replace("rent", "a\nb").encode(), "json"),
        vector("not UTF-8", good.replace(b"rent", b"r\xffnt"), "utf-8"),
        vector("a surrogate alone", text.replace("rent", "\\ud800").encode(), "json"),
        vector("cut short", good[:-1], "json"),
        vector("something after it", good + b"{}", "json"),
        vector("nothing", b"", "json"),
        vector("a list", b"[" + good + b"]", "type"),
        vector("unknown field", order(colour="red"), "unknown", "colour"),
        *(
            vector(f"without {name}", without(name), "missing", name)
            for name in ORDER
            if name not in ("type", "version")
        ),
        vector("without version", without("version"), "missing"),
        vector("without type", without("type"), "missing"),
        vector("version 3", order(version=3), "value", "version"),
        vector("version 0", order(version=0), "value", "version"),
        vector("another type", order(type="tree-head"), "value", "type"),
        vector("amount as a number", order(amount=25), "kind", "amount"),
        vector("customer number as a number", order(debtor=1001), "kind", "debtor"),
        vector("version as a string", order(version="1"), "kind", "version"),
        vector("size as a fraction", canonical(HEAD).replace(b'"size":1', b'"size":1.0'), "kind", "size", "tree-head"),
        vector("size with exponent", canonical(HEAD).replace(b'"size":1', b'"size":1e0'), "kind", "size", "tree-head"),
        vector("minus zero", canonical(HEAD).replace(b'"size":1', b'"size":-0'), "number", kind="tree-head"),
        vector("size below zero", canonical({**HEAD, "size": -1}), "value", "size", "tree-head"),
        vector("size of 2^53", canonical({**HEAD, "size": 2**53}), "value", "size", "tree-head"),
        vector("size as a truth value", canonical({**HEAD, "size": True}), "kind", "size", "tree-head"),
        vector("description too long", order(description="é" * 141), "value", "description"),
        vector("identifier too long", order(transfer_identifier="a" * 36), "value", "transfer_identifier"),
        vector("empty identifier", order(transfer_identifier=""), "value", "transfer_identifier"),
        vector("line feed after the identifier", order(transfer_identifier="abc\n"), "value", "transfer_identifier"),
        vector("fingerprint in lower case", order(bank=BANK.lower()), "value", "bank"),
        vector("digest in capitals", order(certificate="EF" * 32), "value", "certificate"),
        vector("line feed after a digest", order(certificate="ef" * 32 + "\n"), "value", "certificate"),
        vector("day that does not exist", order(created="2026-02-30T09:30:00Z"), "value", "created"),
        vector("leap second", order(created="2026-01-31T23:59:60Z"), "value", "created"),
        vector("time with an offset", order(created="2026-01-31T09:30:00+00:00"), "value", "created"),
        vector("time with a fraction", order(created="2026-01-31T09:30:00.0Z"), "value", "created"),
        vector("rule in capitals", canonical({**REFUSAL, "rule": "NOT-EXPIRED"}), "value", "rule", "refusal"),
        vector("rule with a space", canonical({**REFUSAL, "rule": "not expired"}), "value", "rule", "refusal"),
        vector("rule that is empty", canonical({**REFUSAL, "rule": ""}), "value", "rule", "refusal"),
        vector("rule too long", canonical({**REFUSAL, "rule": "r" * 65}), "value", "rule", "refusal"),
        vector("code that does not exist", canonical({**REFUSAL, "reason": "DS99"}), "value", "reason", "refusal"),
        vector("right-to-left override", order(description="rent \u202etner"), "unprintable", "description"),
        vector("zero-width space", order(description="rent\u200b"), "unprintable", "description"),
        vector("line feed in the description", order(description="rent\nand more"), "unprintable", "description"),
    ]


def in_reverse(value: dict[str, Any]) -> bytes:
    return json.dumps(dict(reversed(value.items())), separators=(",", ":")).encode()


# Key schedule and records


def hkdf(material: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869, for one block of output."""
    pseudorandom = hmac.digest(salt, material, "sha256")
    return hmac.digest(pseudorandom, info + b"\x01", "sha256")


def schedule_vectors() -> list[dict[str, Any]]:
    """Two sessions that differ in everything; ``records`` begin with the bank's proof."""
    return [_session("first"), _session("second")]


def _session(label: str) -> dict[str, Any]:
    customer, bank, session_key = (secret(f"{label} {who}") for who in ("customer share", "bank share", "session key"))
    theirs, ours = X25519PrivateKey.from_private_bytes(bank), X25519PrivateKey.from_private_bytes(customer)
    shared = ours.exchange(X25519PublicKey.from_public_bytes(theirs.public_key().public_bytes_raw()))
    name = secret(f"{label} session")
    opening = frame(
        1, canonical({"sealed": "AAAA", "stage": "session" if label == "first" else "certified", "type": "open"})
    )
    opened_body = {
        "session": base64_of(name),
        "share": base64_of(theirs.public_key().public_bytes_raw()),
        "time": TIME,
        "type": "opened",
    }
    opened = frame(2, canonical(opened_body))
    transcript = sha256(opening + opened)
    keys = {
        "customer to bank": hkdf(session_key + shared, transcript, b"countersign 1 customer to bank"),
        "bank to customer": hkdf(session_key + shared, transcript, b"countersign 1 bank to customer"),
    }
    proof = canonical({"session": base64_of(name), "type": "session-proof"})
    contents = (
        ("bank to customer", proof),
        ("customer to bank", canonical({"number": 1, "type": "ask-balance"})),
        ("customer to bank", canonical({"number": 2, "type": "close"})),
        ("bank to customer", canonical({"number": 2, "type": "closed"})),
        ("bank to customer", b""),
    )
    counters = dict.fromkeys(keys, 0)
    records = []
    for direction, content in contents:
        number = counters[direction]
        counters[direction] += 1
        nonce = bytes(4) + number.to_bytes(8, "big")
        header = frame(3, b"", length=len(content) + 16)
        sealed = AESGCM(keys[direction]).encrypt(nonce, content, header)
        records.append(
            {
                "direction": direction,
                "number": number,
                "content": content.hex(),
                "nonce": nonce.hex(),
                "associated_data": header.hex(),
                "frame": (header + sealed).hex(),
            }
        )
    return {
        "name": label,
        "note": "TEST VECTOR: these keys are public and protect nothing",
        "customer_private_share": customer.hex(),
        "customer_share": ours.public_key().public_bytes_raw().hex(),
        "bank_private_share": bank.hex(),
        "bank_share": theirs.public_key().public_bytes_raw().hex(),
        "session_key": session_key.hex(),
        "open_frame": opening.hex(),
        "opened_frame": opened.hex(),
        "x25519": shared.hex(),
        "transcript": transcript.hex(),
        "key_customer_to_bank": keys["customer to bank"].hex(),
        "key_bank_to_customer": keys["bank to customer"].hex(),
        "records": records,
    }


# Orders


def order_vectors() -> list[dict[str, Any]]:
    changes: tuple[tuple[str, dict[str, Any]], ...] = (
        ("plain", {}),
        ("certified", {"certificate": sha256(b"a certificate").hex()}),
        ("certified, version 1", {"certificate": sha256(b"a certified key").hex(), "version": 1}),
        ("leading zeros", {"creditor": "0007", "debtor": "0042"}),
        ("no description", {"description": ""}),
        ("no minor units", {"amount": "2500", "currency": "JPY"}),
        ("text beyond ASCII", {"description": "Überweisung “Miete” \\ 家賃 \U0001f3e0"}),
    )
    made = []
    for name, changed in changes:
        fields = {**ORDER, **changed}
        content = canonical(fields)
        made.append({"name": name, "fields": fields, "content": content.hex(), "digest": sha256(content).hex()})
    return made


FILES: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("frames.json", frame_vectors),
    ("canonical.json", canonical_vectors),
    ("schedule.json", schedule_vectors),
    ("orders.json", order_vectors),
    ("bulk.json", bulk_vectors),
    ("merkle.json", merkle_vectors),
    ("receipts.json", receipt_vectors),
    ("beginnings.json", beginning_vectors),
    ("letters.json", letter_vectors),
    ("passwords.json", password_vectors),
    ("amounts.json", amount_vectors),
)


def text_of(vectors: object) -> str:
    """The text of a file of vectors."""
    return json.dumps(vectors, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    for file_name, make in FILES:
        (HERE / file_name).write_text(text_of(make()))
