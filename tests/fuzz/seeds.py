"""The corpus begins with what is right and with each vector that is wrong in one way; the fuzzer does the rest.

Run ``python -m tests.fuzz.seeds`` to add seeds that are missing. Inputs that were found later stay: nothing is removed.
"""

import hashlib
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import ca.messages
import protocol.messages
from ca.notices import AccountNotice
from ca.requests import CertificateRequest, VouchedRequest
from protocol import canonical, evidence, merkle
from protocol.beginnings import LogBeginning, PlacedBeginning
from protocol.errors import MalformedContent
from protocol.frames import Frame, FrameType
from protocol.receipts import Receipt, TransferReceipt
from tests.fuzz import certificates, content, openpgp, wire
from tests.fuzz.cast import cast_of_fuzzing
from tests.fuzz.examples import encoded, example
from tests.fuzz.properties import SEPARATOR
from tests.fuzz.said import SAID
from tests.fuzz.targets import CORPUS

VECTORS = Path(__file__).parent.parent / "vectors"


def seeds() -> Iterator[tuple[str, bytes]]:
    """Name of the target, and an input for it."""
    yield from _of_the_wire()
    yield from _of_content()
    yield from _of_packets()
    yield from _of_x509()
    for name, inputs in SAID.items():
        for each in inputs:
            yield name, each if isinstance(each, bytes) else each.encode()


def add(folder: Path = CORPUS) -> int:
    """Write the seeds that are not there; how many."""
    added = 0
    for name, data in seeds():
        added += keep(folder / name, data)
    return added


def keep(folder: Path, data: bytes) -> bool:
    """Keep an input under the name of its digest; whether it is new."""
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    if path.exists():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return True


def _vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


def _of_the_wire() -> Iterator[tuple[str, bytes]]:
    for vector in _vectors("frames"):
        yield "frames", b"\x07" + bytes.fromhex(vector["stream"])[:400]
    yield "records", bytes((0, 5, 9, 1, 0, 0, 0, 7, 3, 0, 1, 1, 1, 2, 0, 2, 1, 4, 1, 1, 0))
    yield "records", bytes((0, 5, 9, 0, 5, 9, 2, 0, 3, 1, 1, 0, 3, 0, 2, 253, 0, 0))
    yield "shares", bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
    yield "shares", bytes(range(32))
    for name in sorted(wire.KINDS):
        data = encoded(wire.KINDS[name])
        yield "every_message", name.encode() + SEPARATOR + data
        for target, decode in (
            ("requests", protocol.messages.decode_request),
            ("answers", protocol.messages.decode_answer),
            ("desk_messages", ca.messages.decode_request),
            ("desk_messages", ca.messages.decode_answer),
        ):
            if _decodes(decode, data):
                yield target, data
    yield "kept_values", SEPARATOR.join((b"0" * 32, encoded(LogBeginning), b"a b", b"signed", b""))
    yield "refusals", encoded(protocol.messages.Refusal)
    yield "refusals", encoded(ca.messages.DeskRefusal)
    yield "refusals", encoded(ca.messages.AuthorityKey)
    kinds: tuple[type[msgspec.Struct], ...] = (protocol.messages.Balance, protocol.messages.Head)
    numbered = [msgspec.structs.replace(example(kind), number=place) for place, kind in enumerate(kinds, 1)]
    yield "conversations", b"".join(Frame(FrameType.RECORD, canonical.encode(each)).encode() for each in numbered)
    yield "requests_in_a_session", encoded(protocol.messages.RegisterKey)
    yield "evidence_files", canonical.encode(_folder())
    yield "evidence_answers", SEPARATOR.join((canonical.encode(_folder()), encoded(TransferReceipt), _first_order()))


def _decodes(decode: Any, data: bytes) -> bool:
    try:
        decode(data)
    except MalformedContent:
        return False
    return True


def _folder() -> protocol.messages.Evidence:
    kind = next(each for each in evidence.kinds() if each.stage.value == "session" and not each.with_head)
    files = dict.fromkeys(kind.names, b"x") | {evidence.INSTRUCTIONS: kind.instructions().encode()}
    return protocol.messages.Evidence(files=files, number=1, transfer_identifier="1")


def _first_order() -> bytes:
    return bytes.fromhex(_vectors("orders")[0]["content"])


def _of_content() -> Iterator[tuple[str, bytes]]:
    for vector in _vectors("canonical"):
        data = bytes.fromhex(vector["content"])
        yield "signed_content", data
        if vector["type"] == "transfer-order":
            yield "transfer_orders", data
    for vector in _vectors("orders"):
        yield "transfer_orders", bytes.fromhex(vector["content"])
    for vector in _vectors("bulk"):
        for target in ("signed_content", "transfer_orders", "bulk_orders"):
            if len(vector["order"]) < 4000:
                yield target, bytes.fromhex(vector["order"])
        if vector["entry"]:
            yield "signed_content", bytes.fromhex(vector["entry"])
    yield "single_receipts", encoded(TransferReceipt)
    yield "submitted_orders", _first_order().replace(b"0123456789ABCDEF0123456789ABCDEF01234567", b"B" * 40)
    for vector in _vectors("receipts")[::3]:
        yield "receipts_of_the_bank", _receipt(vector)
    for vector in _vectors("beginnings"):
        for each in vector["beginnings"][-1:]:
            placed = PlacedBeginning(bytes.fromhex(each["entry"]), each["index"], tuple(each["proof"]))
            heads = (_bytes(vector["older"]), _bytes(vector["head"]))
            yield "new_logs", SEPARATOR.join((*heads, canonical.encode(placed)))
    for size in (1, 2, 3, 5, 8, 21):
        for index in {0, size // 2, size - 1}:
            path = merkle.inclusion_path(index, size, content._node)
            yield "inclusion", bytes((size - 1, index)) + content._leaves()[index] + b"".join(path)
        path = merkle.consistency_path(size // 2, size, content._node)
        yield "consistency", bytes((size - 1, size // 2)) + content._root(size // 2) + b"".join(path)
    for vector in _vectors("amounts"):
        yield "amounts", vector["text"].encode() + SEPARATOR + vector["currency"].encode()
    for vector in _vectors("letters")[::4]:
        yield "letters", vector["text"].encode()
    yield "letter_files", _vectors("letters")[0]["text"].encode()
    for vector in _vectors("passwords"):
        yield "agreed_passwords", vector["typed"].encode()
    for vector in _vectors("readout")["good"][:3]:
        for form in ("words", "hex", "digits"):
            yield "fingerprints", vector[form].encode()
        yield "spoken_words", " ".join(vector["words"].split()[:6]).encode()


def _receipt(vector: Any) -> bytes:
    receipt = Receipt(
        consistency=None if vector["consistency"] is None else tuple(vector["consistency"]),
        duplicate=False,
        entry=bytes.fromhex(vector["entry"]),
        head=b"head",
        index=vector["index"],
        proof=tuple(vector["proof"]),
    )
    third = vector["older"] or vector["order"]
    return SEPARATOR.join((canonical.encode(receipt), _bytes(vector["head"]), _bytes(third)))


def _bytes(told: Any) -> bytes:
    return bytes.fromhex(told) if isinstance(told, str) else msgspec.json.encode(told, order="sorted")


def _of_packets() -> Iterator[tuple[str, bytes]]:
    for vector in _vectors("packets"):
        data = bytes.fromhex(vector["message"])
        if len(data) < 1500:
            yield "packet_framing", data
            if vector["rule"] is None:
                yield "explanations", data
                yield "watched_events", data
    yield "explanations", _bomb()
    for kind in (CertificateRequest, AccountNotice):
        yield "claimed_documents", encoded(kind)
        yield "claimed_documents", openpgp.signed(encoded(kind))
    request = msgspec.structs.replace(
        example(CertificateRequest),
        role="customer",
        pkcs10=cast_of_fuzzing().request,
        fingerprint=cast_of_fuzzing().fingerprint,
        succeeds=None,
    )
    yield "claimed_documents", canonical.encode(request)
    inner = openpgp.signed(canonical.encode(msgspec.structs.replace(request, succeeds="A" * 40)))
    vouched = msgspec.structs.replace(example(VouchedRequest), request=inner)
    yield "claimed_documents", canonical.encode(vouched)


def _bomb() -> bytes:
    """Five kilobytes that would inflate to nearly four gigabytes, in packets none of which is too large by itself."""
    literal = b"\xcb\xff" + (6 + 4_000_000).to_bytes(4) + b"b" + bytes(5 + 4_000_000)
    return _squeezed(_squeezed(literal) * 900)


def _squeezed(data: bytes) -> bytes:
    body = b"\x02" + zlib.compress(data, 9)
    return b"\xc8\xff" + len(body).to_bytes(4) + body


def _of_x509() -> Iterator[tuple[str, bytes]]:
    cast = cast_of_fuzzing()
    for target, der in (
        (certificates.leaf_certificates, cast.leaf),
        (certificates.root_certificates, cast.root),
        (certificates.revocation_lists, cast.crl),
        (certificates.signing_requests, cast.request),
    ):
        yield target.__name__, der
        yield target.__name__, _signed_part(der)


def _signed_part(der: bytes) -> bytes:
    """The first element of a signed structure, whose own length takes two bytes here."""
    long_form = der[5] & 0x7F if der[5] & 0x80 else 0
    length = int.from_bytes(der[6 : 6 + long_form]) if long_form else der[5]
    return der[4 : 6 + long_form + length]


if __name__ == "__main__":
    sys.stdout.write(f"{add()} seeds added\n")
