"""Every vector is run against the code; streams of frames are fed whole, byte by byte, and with a tail."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol import canonical, letter, merkle, records
from protocol.beginnings import PlacedBeginning, check_new_log
from protocol.errors import MalformedContent, RemoteProtocolError
from protocol.frames import Frame, FrameReader
from protocol.messages import Refusal
from protocol.money import AmountError, format_amount, parse_amount
from protocol.orders import TransferOrder, decode_order, encode_order
from protocol.receipts import LogEntry, Receipt, ReceiptError, TreeHead, check_consistency, check_inclusion, check_order
from protocol.secret import Secret
from tests.vectors import make

FOLDER = Path(__file__).parent.parent / "vectors"


def vectors(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def named(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors(name), ids=lambda vector: vector["name"])


@pytest.mark.parametrize(("name", "maker"), make.FILES, ids=lambda part: part if isinstance(part, str) else "")
def test_files_are_what_the_script_makes(name: str, maker: Any) -> None:
    assert (FOLDER / name).read_text() == make.text_of(maker()), "run: python -m tests.vectors.make"


# Frames

TAIL = bytes(3)  # the beginning of a further header, which says nothing yet
FAULTS = {"version": "protocol version", "type": "unknown type", "length": "the limit is"}


def read(pieces: list[bytes], limit: int) -> tuple[list[dict[str, Any]], int | None, str | None]:
    """The frames that come out, what is left over, and the part of a header that is at fault."""
    reader = FrameReader(limit)
    found = []
    for piece in pieces:
        reader.receive_data(piece)
        try:
            while (frame := reader.next_frame()) is not None:
                found.append({"type": int(frame.type), "body": frame.body.hex()})
        except RemoteProtocolError as error:
            return found, None, next(fault for fault, words in FAULTS.items() if words in str(error))
    return found, reader.pending_bytes, None


@named("frames.json")
@pytest.mark.parametrize("feeding", ["whole", "byte by byte", "with a tail"])
def test_frames(vector: dict[str, Any], feeding: str) -> None:
    stream = bytes.fromhex(vector["stream"])
    if feeding == "with a tail":
        if vector["rest"]:
            return  # a tail would complete what is incomplete
        stream += TAIL
    pieces = [bytes((byte,)) for byte in stream] if feeding == "byte by byte" else [stream]
    found, rest, wrong = read(pieces, vector["limit"])
    assert found == vector["frames"]
    assert wrong == vector["wrong"]
    if wrong is None:
        assert rest == vector["rest"] + (len(TAIL) if feeding == "with a tail" else 0)


def test_each_fault_of_a_header_has_a_vector() -> None:
    assert {vector["wrong"] for vector in vectors("frames.json")} == {*FAULTS, None}


# Canonical content

KINDS: dict[str, type[msgspec.Struct]] = {
    "transfer-order": TransferOrder,
    "log-entry": LogEntry,
    "tree-head": TreeHead,
    "refusal": Refusal,
}


def decode(kind: str, content: bytes) -> msgspec.Struct:
    return decode_order(content) if kind == "transfer-order" else canonical.decode_signed(KINDS[kind], content)


@named("canonical.json")
def test_canonical_content(vector: dict[str, Any]) -> None:
    content = bytes.fromhex(vector["content"])
    if vector["wrong"] is None:
        assert canonical.encode(decode(vector["type"], content)) == content
        return
    with pytest.raises(MalformedContent) as caught:
        decode(vector["type"], content)
    if vector["field"]:
        assert caught.value.field == vector["field"]


@named("orders.json")
def test_orders(vector: dict[str, Any]) -> None:
    fields = {name: value for name, value in vector["fields"].items() if name != "type"}
    order = TransferOrder(**fields)
    content = bytes.fromhex(vector["content"])
    assert encode_order(order) == content
    assert decode_order(content) == order
    assert canonical.digest(content) == vector["digest"] == hashlib.sha256(content).hexdigest()


# Key schedule and records


@named("schedule.json")
def test_schedule_and_records(vector: dict[str, Any]) -> None:
    given = {name: bytes.fromhex(value) for name, value in vector.items() if name not in ("name", "note", "records")}
    ours, theirs = _share(given["customer_private_share"]), _share(given["bank_private_share"])
    assert (ours.public, theirs.public) == (given["customer_share"], given["bank_share"])
    assert ours.agree(theirs.public).reveal() == theirs.agree(ours.public).reveal() == given["x25519"]
    opening, opened = (_frame(given[name]) for name in ("open_frame", "opened_frame"))
    transcript = records.transcript(opening, opened)
    assert transcript == given["transcript"]
    session_key, shared = Secret(given["session_key"]), ours.agree(theirs.public)
    for direction, name in (
        (records.CUSTOMER_TO_BANK, "key_customer_to_bank"),
        (records.BANK_TO_CUSTOMER, "key_bank_to_customer"),
    ):
        assert records.derive(session_key, shared, transcript, direction).reveal() == given[name]
    customer = records.Channel.of_customer(session_key, shared, transcript)
    bank = records.Channel.of_bank(session_key, shared, transcript)
    for record in vector["records"]:
        sender, receiver = (customer, bank) if record["direction"] == "customer to bank" else (bank, customer)
        content = bytes.fromhex(record["content"])
        sealed = sender.seal(content)
        assert sealed.encode().hex() == record["frame"]
        assert sealed.header.hex() == record["associated_data"]
        assert receiver.open(sealed) == content


def _share(private: bytes) -> records.Share:
    return records.Share(lambda _: private)


def _frame(data: bytes) -> Frame:
    reader = FrameReader(len(data))
    reader.receive_data(data)
    frame = reader.next_frame()
    assert frame is not None
    return frame


# The log


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    found: dict[str, Any] = vectors("merkle.json")
    return found


def nodes(tree: dict[str, Any]) -> merkle.NodeReader:
    leaves = [bytes.fromhex(leaf) for leaf in tree["leaves"]]

    def node(level: int, position: int) -> bytes:
        if level == 0:
            return leaves[position]
        return merkle.node_hash(node(level - 1, 2 * position), node(level - 1, 2 * position + 1))

    return node


def test_leaves_and_roots(tree: dict[str, Any]) -> None:
    for entry, leaf in zip(tree["entries"], tree["leaves"], strict=True):
        assert merkle.leaf_hash(bytes.fromhex(entry)).hex() == leaf
    for size, root in enumerate(tree["roots"]):
        assert merkle.root_hash(size, nodes(tree)).hex() == root


def test_inclusion_paths(tree: dict[str, Any]) -> None:
    roots = [bytes.fromhex(root) for root in tree["roots"]]
    for vector in tree["inclusion"]:
        index, size = vector["index"], vector["size"]
        path = tuple(bytes.fromhex(item) for item in vector["path"])
        leaf = bytes.fromhex(tree["leaves"][index])
        assert merkle.inclusion_path(index, size, nodes(tree)) == path
        assert merkle.verify_inclusion(leaf, index, size, path, roots[size])
        # The honest path leads nowhere else: not from another place, nor to another root.
        for other in range(size):
            assert merkle.verify_inclusion(leaf, other, size, path, roots[size]) == (other == index)
        assert not any(merkle.verify_inclusion(leaf, index, size, path, root) for root in roots if root != roots[size])


def test_consistency_paths(tree: dict[str, Any]) -> None:
    roots = [bytes.fromhex(root) for root in tree["roots"]]
    for vector in tree["consistency"]:
        older, newer = vector["older"], vector["newer"]
        path = tuple(bytes.fromhex(item) for item in vector["path"])
        assert merkle.consistency_path(older, newer, nodes(tree)) == path
        assert merkle.verify_consistency(older, newer, roots[older], roots[newer], path)
        assert not merkle.verify_consistency(older, newer, bytes(32), roots[newer], path)
        assert not merkle.verify_consistency(older, newer, roots[older], bytes(32), path) or older == 0
        assert not merkle.verify_consistency(older, newer, roots[older], roots[newer], (*path, bytes(32)))


@named("receipts.json")
def test_receipts(vector: dict[str, Any]) -> None:
    assert failing_check(vector) == vector["wrong"]


@named("beginnings.json")
def test_new_logs(vector: dict[str, Any]) -> None:
    older, head = (
        canonical.decode_signed(TreeHead, msgspec.json.encode(vector[name], order="sorted"))
        for name in ("older", "head")
    )
    path = None if vector["consistency"] is None else tuple(vector["consistency"])
    begun = tuple(
        PlacedBeginning(bytes.fromhex(each["entry"]), each["index"], tuple(each["proof"]))
        for each in vector["beginnings"]
    )
    try:
        outcome = "followed" if check_new_log(older, head, path, begun).whole else "lost"
    except (ReceiptError, MalformedContent):
        outcome = "refused"
    assert outcome == vector["outcome"]


def failing_check(vector: dict[str, Any]) -> str | None:
    """The first check of a receipt that fails, in the order of the specification."""
    head, older = (
        canonical.decode_signed(TreeHead, msgspec.json.encode(vector[name], order="sorted")) if vector[name] else None
        for name in ("head", "older")
    )
    assert head is not None
    path = None if vector["consistency"] is None else tuple(vector["consistency"])
    receipt = Receipt(path, False, bytes.fromhex(vector["entry"]), b"", vector["index"], tuple(vector["proof"]))
    content, identifier = bytes.fromhex(vector["order"]), vector["transfer_identifier"]
    try:
        if older is not None:
            check_consistency(older, head, path)
    except ReceiptError:
        return "consistency"
    try:
        entry = check_inclusion(receipt, head)
    except (ReceiptError, MalformedContent):
        return "inclusion"
    try:
        check_order(entry, content, vector["debtor"], identifier)
    except ReceiptError:
        return "order"
    return None


# What people read and type


@named("letters.json")
def test_letters(vector: dict[str, Any]) -> None:
    if vector["field"] is None:
        read_back = letter.parse(vector["text"])
        assert {name: getattr(read_back, name) for name in vector["fields"]} == vector["fields"]
        return
    with pytest.raises(MalformedContent) as caught:
        letter.parse(vector["text"])
    assert caught.value.field == vector["field"]


@pytest.mark.parametrize("vector", vectors("passwords.json"), ids=lambda vector: ascii(vector["typed"]))
def test_agreed_passwords(vector: dict[str, Any]) -> None:
    if vector["bytes"] is not None:
        assert letter.agreed_password(vector["typed"]).reveal() == vector["bytes"].encode()
        return
    with pytest.raises(MalformedContent):
        letter.agreed_password(vector["typed"])


@pytest.mark.parametrize(
    "vector", vectors("amounts.json"), ids=lambda vector: ascii(f"{vector['text']} {vector['currency']}")
)
def test_amounts(vector: dict[str, Any]) -> None:
    if vector["minor"] is not None:
        assert parse_amount(vector["text"], vector["currency"]) == vector["minor"]
        # Its usual spelling is the same amount.
        usual = format_amount(vector["minor"], vector["currency"])
        assert parse_amount(usual, vector["currency"]) == vector["minor"]
        return
    with pytest.raises(AmountError) as caught:
        parse_amount(vector["text"], vector["currency"])
    assert caught.value.reason.value == vector["reason"]
