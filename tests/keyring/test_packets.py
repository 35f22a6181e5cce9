"""A message passes only with exactly its packets, and whatever else comes is refused with the rule that it breaks."""

import inspect
import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyring import packets, signature_form
from keyring.explain import explain
from keyring.packets import PacketError

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "packets.json").read_text())
REQUIRE: dict[str, Callable[[bytes], None]] = {
    "signed": packets.require_signed_message,
    "sealed": packets.require_sealed_message,
    "password": packets.require_password_message,
}
GOOD = tuple((vector["kind"], bytes.fromhex(vector["message"])) for vector in VECTORS if vector["rule"] is None)
SMALL = tuple((kind, message) for kind, message in GOOD if len(message) < 500)
LITERAL = "signed", GOOD[0][1]


def refused_by(kind: str, message: bytes) -> str | None:
    try:
        REQUIRE[kind](message)
    except PacketError as error:
        return error.rule
    return None


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"].replace(" ", "-"))
def test_each_vector_passes_or_breaks_the_rule_that_it_names(vector: dict[str, str]) -> None:
    assert refused_by(vector["kind"], bytes.fromhex(vector["message"])) == vector["rule"]


def test_every_rule_has_a_vector() -> None:
    broken = {vector["rule"] for vector in VECTORS}
    source = "".join(inspect.getsource(module) for module in (packets, signature_form))
    named = {piece.split('"')[1] for piece in source.split("PacketError(")[1:] if piece.lstrip().startswith('"')}
    assert named - broken == {"complete"}  # every truncation below breaks that one


@pytest.mark.parametrize(("kind", "message"), GOOD)
def test_a_good_message_passes_for_its_own_kind_only(kind: str, message: bytes) -> None:
    assert [other for other in REQUIRE if refused_by(other, message) is None] == [kind]


@pytest.mark.parametrize(("kind", "message"), SMALL)
def test_every_truncation_is_refused(kind: str, message: bytes) -> None:
    for length in range(len(message)):
        assert refused_by(kind, message[:length]) is not None, length


@pytest.mark.parametrize(("kind", "message"), GOOD)
def test_every_byte_more_is_refused(kind: str, message: bytes) -> None:
    for octet in range(256):
        assert refused_by(kind, message + bytes([octet])) is not None, octet
        assert refused_by(kind, bytes([octet]) + message) is not None, octet


@given(st.sampled_from(SMALL), st.data())
def test_a_message_with_bytes_changed_is_read_or_refused_but_never_more(
    good: tuple[str, bytes], data: st.DataObject
) -> None:
    kind, message = good
    changed = bytearray(message)
    for place in data.draw(st.lists(st.integers(0, len(message) - 1), min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    refused_by(kind, bytes(changed))  # PacketError is the only exception that it lets pass
    with suppress(PacketError):
        explain(bytes(changed))


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: b"\xc2" + rest))
def test_bytes_of_any_kind_are_read_or_refused_but_never_more(message: bytes) -> None:
    for kind in REQUIRE:
        refused_by(kind, message)
    with suppress(PacketError):
        explain(message)


def test_what_is_split_is_all_of_the_message() -> None:
    for _, message in GOOD:
        found = packets.split(message)
        assert [packet.offset for packet in found] == [
            sum(packet.header_length + len(packet.body) for packet in found[:place]) for place in range(len(found))
        ]
        assert found[-1].offset + found[-1].header_length + len(found[-1].body) == len(message)


@pytest.mark.parametrize("size", [0, 1, 191, 192, 8383, 8384, 8385, 16384, 70_000])
def test_messages_that_gpg_makes_from_standard_input_pass_at_every_size(size: int, short_tmp: Path) -> None:
    """From a pipe gpg does not know the length and sends the literal, or the encrypted packet, in pieces."""
    gpg = ["gpg", "--homedir", str(short_tmp), "--batch", "-q", "-z", "0", "--passphrase", "x", "--s2k-count", "65536"]
    made = subprocess.run(
        [*gpg, "--pinentry-mode", "loopback", "--symmetric"], input=bytes(size), capture_output=True, check=True
    ).stdout
    packets.require_password_message(made)
    assert packets.split(made)[1].partial == (size > 8000)


def test_a_literal_in_pieces_is_joined() -> None:
    kind, message = LITERAL
    one_pass, literal, signature = packets.split(message)
    head, tail = message[: literal.offset], message[signature.offset :]
    body = literal.body + bytes(512 - len(literal.body))
    pieces = b"\xcb\xe9" + body + b"\xe0!" + b"\x03end"  # 512 bytes, then 1, then the last 3
    assert refused_by(kind, head + pieces + tail) is None
    joined = packets.split(head + pieces + tail)[1]
    assert joined.partial
    assert joined.body == body + b"!end"
    assert one_pass.tag == 4


def test_more_than_a_mebibyte_to_hash_is_too_much_and_one_is_not() -> None:
    message = next(message for kind, message in GOOD if kind == "password")
    assert packets.s2k_count(message[14]) == 65536
    largest = max(octet for octet in range(256) if packets.s2k_count(octet) <= packets.MAX_S2K_COUNT)
    assert packets.s2k_count(largest) == packets.MAX_S2K_COUNT
    assert refused_by("password", message[:14] + bytes([largest]) + message[15:]) is None
    assert refused_by("password", message[:14] + bytes([largest + 1]) + message[15:]) == "s2k-count"
