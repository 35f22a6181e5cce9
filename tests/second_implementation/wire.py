"""Frames, records, canonical JSON and the tree's proofs, written from docs/protocol.md alone."""

import base64
import hashlib
import hmac
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.second_implementation.openpgp import Refused

OPEN, OPENED, RECORD, PASSWORD, REFUSED, DESK_REQUEST, DESK_ANSWER = 1, 2, 3, 4, 5, 16, 17
LARGEST = 1048576
SECONDS = 60.0

Message = dict[str, Any]


def canonical(message: Message) -> bytes:
    return json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def message_of(data: bytes, kind: str = "") -> Message:
    found = json.loads(data)
    if not isinstance(found, dict) or (kind and found.get("type") != kind):
        raise Refused(f"not a message of the type {kind}")
    return found


def signed_message_of(data: bytes, kind: str) -> Message:
    found = message_of(data, kind)
    if canonical(found) != data:
        raise Refused("not canonical")
    return found


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Connection:
    """Frames over TCP."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS)

    def send(self, kind: int, body: bytes) -> bytes:
        """Send one frame; returns it whole."""
        frame = struct.pack(">IBB", len(body), 1, kind) + body
        self._socket.sendall(frame)
        return frame

    def receive(self) -> tuple[int, bytes, bytes]:
        """Type, body and the whole of the next frame."""
        header = self._exactly(6)
        length, version, kind = struct.unpack(">IBB", header)
        if version != 1 or kind not in (OPEN, OPENED, RECORD, PASSWORD, REFUSED, DESK_REQUEST, DESK_ANSWER):
            raise Refused("not a frame of version 1")
        if length > LARGEST:
            raise Refused("a frame that is too long")
        body = self._exactly(length)
        return kind, body, header + body

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise EOFError("the connection has ended")
            data += piece
        return data


def session_keys(session_key: bytes, shared: bytes, opening: bytes, opened: bytes) -> tuple[bytes, bytes]:
    """The keys to the bank and from the bank."""
    salt = hashlib.sha256(opening + opened).digest()
    extracted = hmac.digest(salt, session_key + shared, "sha256")
    to_bank, from_bank = (
        hmac.digest(extracted, b"countersign 1 " + info + b"\x01", "sha256")
        for info in (b"customer to bank", b"bank to customer")
    )
    return to_bank, from_bank


@dataclass
class Direction:
    """Records of one direction, numbered from 0."""

    key: bytes
    number: int = 0
    _cipher: AESGCM = field(init=False)

    def __post_init__(self) -> None:
        self._cipher = AESGCM(self.key)

    def seal(self, content: bytes) -> bytes:
        return self._cipher.encrypt(self._nonce(), content, _header(len(content) + 16))

    def open(self, body: bytes) -> bytes:
        return self._cipher.decrypt(self._nonce(), body, _header(len(body)))

    def _nonce(self) -> bytes:
        self.number += 1
        return (self.number - 1).to_bytes(12, "big")


def _header(length: int) -> bytes:
    return struct.pack(">IBB", length, 1, RECORD)


# The log (RFC 9162, sections 2.1.3.2 and 2.1.4.2)


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def is_included(entry: bytes, index: int, size: int, path: list[str], root: str) -> bool:
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf_hash(entry)
    for p in map(bytes.fromhex, path):
        if sn == 0:
            return False
        if fn % 2 == 1 or fn == sn:
            r = node_hash(p, r)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r.hex() == root


def is_continued(older: Message, newer: Message, path: list[str] | None) -> bool:
    """Whether the newer head's log is the older one with entries added."""
    return (older["bank"], older["log"]) == (newer["bank"], newer["log"]) and is_beginning(older, newer, path)


def takes_over(older: Message, newer: Message, answer: Message) -> bool:
    """Whether a new log has all that is known; Refused if the answer to ask-beginnings does not explain it."""
    begun = []
    for placed in answer["beginnings"]:
        entry = base64.b64decode(placed["entry"])
        if not is_included(entry, placed["index"], newer["size"], placed["proof"], newer["root"]):
            raise Refused("a beginning is not in the log")
        said = signed_message_of(entry, "log-beginning")
        names = {"booked", "continued_log", "continued_size", "log", "old_head", "salt", "type", "version"}
        if set(said) != names or said["continued_size"] != placed["index"] or said["old_head"]["bank"] != newer["bank"]:
            raise Refused("a beginning contradicts its place")
        begun.append(said)
    places = [said["continued_size"] for said in begun]
    if older["bank"] != newer["bank"] or not begun or begun[-1]["log"] != newer["log"] or places != sorted(set(places)):
        raise Refused("the bank does not say why its log is another")
    return older["size"] <= places[-1] and is_beginning(older, newer, answer["consistency"])


def is_beginning(older: Message, newer: Message, path: list[str] | None) -> bool:
    """Whether the newer tree is the older one with leaves added."""
    first, second = older["size"], newer["size"]
    if path is None or second < first:
        return False
    if first == second:
        return not path and older["root"] == newer["root"]
    if first == 0:
        return not path
    nodes = [bytes.fromhex(item) for item in path]
    if first & (first - 1) == 0:
        nodes.insert(0, bytes.fromhex(older["root"]))
    if not nodes:
        return False
    fn, sn = first - 1, second - 1
    while fn % 2 == 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = nodes[0]
    for c in nodes[1:]:
        if sn == 0:
            return False
        if fn % 2 == 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and (fr.hex(), sr.hex()) == (older["root"], newer["root"])
