"""A client in four small files, written from docs/protocol.md alone: the standard library, `cryptography` and gpg."""

import os
import re
import secrets
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tests.second_implementation import certificates, wire
from tests.second_implementation.openpgp import Home, Refused
from tests.second_implementation.wire import Connection, Direction, Message, canonical, decode, digest, encode

RANKS = {"password": 1, "session": 2, "signed": 3, "certified": 4}
LABELS = {
    "customer": "Customer number",
    "name": "Name",
    "currency": "Currency",
    "bank_address": "Bank's address",
    "bank_fingerprint": "Bank's fingerprint",
    "authority_address": "Authority's address",
    "authority_fingerprint": "Authority's fingerprint",
    "password": "Agreed password",
    "caller_code": "Caller's code",
}


class RefusedByBank(Exception):
    """The bank refused; ``proven`` tells whether the refusal came under keys that only the bank has."""

    def __init__(self, refusal: Message, *, proven: bool) -> None:
        rule = refusal.get("rule")
        super().__init__(f"{refusal['reason']}{f' ({rule})' if rule else ''}: {refusal['sentence']}")
        self.refusal = refusal
        self.proven = proven


def read_letter(text: str) -> dict[str, str]:
    said = {}
    for name, label in LABELS.items():
        (said[name],) = re.findall(rf"(?m)^ {{0,4}}{label}: +(\S.*?) *\r?$", text)
    for name in ("bank_fingerprint", "authority_fingerprint"):
        said[name] = said[name].replace(" ", "").upper()
    said["password"] = " ".join(re.findall("[a-z]+", said["password"].lower()))
    return said


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Conversation(Protocol):
    """Asks the bank, in whatever stage."""

    stage: str

    def ask(self, request: Message) -> Message:
        """The bank's answer; RefusedByBank if it is a refusal."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Outcome:
    """A proven decision."""

    identifier: str
    entry: Message
    duplicate: bool


@dataclass
class Client:
    """A customer's program; ``folder`` holds the homes and the outbox."""

    folder: Path
    letter: dict[str, str]
    floor: str = "password"
    head: Message | None = None
    fingerprint: str = ""
    certified_key: bytes = b""
    certificate: bytes = b""
    list_number: int = 0
    homes: dict[str, Home] = field(default_factory=dict)

    @classmethod
    def begin(cls, folder: Path, letter: str) -> "Client":
        """A new key pair, and the fingerprints pinned from the letter."""
        client = cls(folder, read_letter(letter))
        folder.mkdir(mode=0o700)
        (folder / "outbox").mkdir()
        for name in ("own", "keyless", "registered", "certified"):
            client.homes[name] = Home.make(folder / name)
        client.fingerprint = client.homes["own"].new_key(f"{client.letter['name']} ({client.number})")
        return client

    def end(self) -> None:
        for home in self.homes.values():
            home.stop()

    @property
    def number(self) -> str:
        return self.letter["customer"]

    @property
    def bank(self) -> str:
        return self.letter["bank_fingerprint"]

    # Keys

    def register(self) -> None:
        """Make the key known under the agreed password, and take the bank's."""
        talk = PasswordTalk(self)
        try:
            key = self.homes["own"].minimal(self.fingerprint)
            answer = expect(talk.ask({"type": "register-key", "key": encode(key)}), "registered")
        finally:
            talk.close()
        if answer["fingerprint"] != self.fingerprint:
            raise Refused("another key is registered")
        self.homes["registered"].take(decode(answer["bank_key"]), self.bank)
        self.raise_floor("session")

    def request_certificate(self) -> Message:
        """Hand a request in at the desk; then its operator must be telephoned."""
        document = {
            "created": now(),
            "domain": "",
            "fingerprint": self.fingerprint,
            "key": encode(self.homes["own"].minimal(self.fingerprint)),
            "name": self.letter["name"],
            "number": self.number,
            "pkcs10": encode(self._pkcs10()),
            "role": "customer",
            "succeeds": None,
            "type": "certificate-request",
            "version": 1,
        }
        message = self.homes["own"].sign(self.fingerprint, canonical(document))
        return expect(self._ask_desk({"type": "submit-request", "request": encode(message)}), "request-state")

    def _pkcs10(self) -> bytes:
        exported = self.homes["own"].gpg("--export-secret-keys", f"{self.fingerprint}!", passphrase="")[0]
        return certificates.make_request(exported, self.fingerprint, self.letter["name"], self.number)

    def fetch_certificate(self) -> None:
        """Take the certificates of both parties, in both forms; the pinned fingerprints say whether they count."""
        answer = self._ask_desk({"type": "ask-certificate", "fingerprint": self.fingerprint})
        own = expect(answer, "certified")
        bank = expect(self._ask_desk({"type": "ask-bank"}), "certified")
        authority = expect(self._ask_desk({"type": "ask-authority"}), "authority-key")
        crl = decode(expect(self._ask_desk({"type": "ask-revocations"}), "revocations")["crl"])
        pinned = self.letter["authority_fingerprint"]
        root = certificates.open_root(decode(authority["root"]), pinned)
        self.list_number, revoked = certificates.revoked_serials(crl, root, self.list_number)
        home = self.homes["certified"]
        home.take(decode(authority["key"]), pinned)
        home.trust(pinned)
        home.take(decode(own["key"]), self.fingerprint)
        home.take(decode(bank["key"]), self.bank)
        home.gpg("--check-trustdb")
        for found, key, role, number in (
            (own, self.fingerprint, "customer", self.number),
            (bank, self.bank, "bank", "0000"),
        ):
            if home.certified_for(key, pinned) != (number, role):
                raise Refused(f"the certification of the {role} is for somebody else")
            certificates.judge(decode(found["certificate"]), root, key, role, number, revoked)
        self.certified_key, self.certificate = decode(own["key"]), decode(own["certificate"])

    def _ask_desk(self, question: Message) -> Message:
        connection = Connection(self.letter["authority_address"])
        try:
            connection.send(wire.DESK_REQUEST, canonical(question))
            kind, body, _ = connection.receive()
        finally:
            connection.close()
        if kind != wire.DESK_ANSWER:
            raise Refused("not a desk")
        return wire.message_of(body)

    # Talking

    def talk(self, stage: str) -> Conversation:
        """Open a conversation, never below the floor."""
        if RANKS[stage] < RANKS[self.floor]:
            raise Refused(f"the stage {stage} is below the floor {self.floor}")
        if stage == "password":
            return PasswordTalk(self)
        session = Session(self, stage)
        self.raise_floor(stage)
        return session

    def raise_floor(self, stage: str) -> None:
        self.floor = max(self.floor, stage, key=RANKS.__getitem__)

    def view(self, stage: str) -> Home:
        """The home with the bank's key for a stage."""
        return self.homes["certified" if stage == "certified" else "registered"]

    # Orders

    def make_order(self, stage: str, creditor: str, amount: str, description: str) -> tuple[str, bytes]:
        """Write an order down; its identifier and the bytes that will be sent."""
        identifier = secrets.token_hex(16)
        content = canonical(
            {
                "amount": amount,
                "bank": self.bank,
                "certificate": digest(self.certificate) if stage == "certified" else None,
                "created": now(),
                "creditor": creditor,
                "currency": self.letter["currency"],
                "debtor": self.number,
                "description": description,
                "transfer_identifier": identifier,
                "type": "transfer-order",
                "version": 2,
            }
        )
        signs = stage in ("signed", "certified")
        message = self.homes["own"].sign(self.fingerprint, content) if signs else content
        (self.folder / "outbox" / f"{identifier}.content").write_bytes(content)
        (self.folder / "outbox" / identifier).write_bytes(message)
        return identifier, message

    def submit(self, talk: Conversation, identifier: str) -> Outcome:
        """Send an order of the outbox, and prove what came back."""
        message = (self.folder / "outbox" / identifier).read_bytes()
        outcome = self._proven(talk, identifier, {"type": "submit-order", "order": encode(message)})
        if outcome is None:
            raise Refused("no answer to an order")
        return outcome

    def look_up(self, talk: Conversation, identifier: str) -> Outcome | None:
        """What the bank decided about an order of the outbox, None if nothing."""
        content = (self.folder / "outbox" / f"{identifier}.content").read_bytes()
        return self._proven(
            talk, identifier, {"type": "look-up-order", "order": digest(content), "transfer_identifier": identifier}
        )

    def _proven(self, talk: Conversation, identifier: str, request: Message) -> Outcome | None:
        answer = talk.ask({**request, "since": self.head["size"] if self.head else None})
        if answer["type"] == "unknown":
            return None
        receipt = expect(answer, "numbered-receipt")["receipt"]
        content = (self.folder / "outbox" / f"{identifier}.content").read_bytes()
        entry = self.verify(receipt, content, talk.stage)
        return Outcome(identifier, entry, receipt["duplicate"])

    def verify(self, receipt: Message, content: bytes, stage: str) -> Message:
        """The entry of a receipt, after the checks of the specification in their order."""
        signed = self.view(stage).open_signed_by_bank(
            self.bank, decode(receipt["head"]), certified=stage == "certified"
        )
        head = wire.signed_message_of(signed, "tree-head")
        if head["bank"] != self.bank or head["version"] != 1:
            raise Refused("the head is another bank's")
        if self.head is not None and not wire.is_continued(self.head, head, receipt["consistency"]):
            raise Refused("the log does not continue the one that was known")
        leaf = decode(receipt["entry"])
        if not wire.is_included(leaf, receipt["index"], head["size"], receipt["proof"], head["root"]):
            raise Refused("the entry is not in the log")
        entry, order = wire.signed_message_of(leaf, "log-entry"), wire.message_of(content, "transfer-order")
        if entry["order"] != digest(content):
            raise Refused("the entry is about another order")
        for name in ("debtor", "transfer_identifier", "creditor", "currency"):
            if entry[name] != order[name]:
                raise Refused(f"the entry is about another {name}")
        settled = entry["status"] == "ACSC"
        if entry["amount"] != order["amount"] and not (
            settled and Decimal(entry["amount"]) == Decimal(order["amount"])
        ):
            raise Refused("the entry is about another amount")
        self.head = head
        return entry


def expect(answer: Message, kind: str) -> Message:
    if answer["type"] != kind:
        raise Refused(f"a {answer['type']} in place of a {kind}")
    return answer


class Session:
    """A session in one of the stages that have one."""

    def __init__(self, client: Client, stage: str) -> None:
        self.stage = stage
        self._asked = 0
        session_key, private = os.urandom(32), X25519PrivateKey.generate()
        certified = stage == "certified"
        key, certificate = (client.certified_key, client.certificate) if certified else (None, None)
        opening = {
            "bank": client.bank,
            "certificate": digest(certificate) if certificate else None,
            "customer": client.number,
            "offered": digest(key) if key else None,
            "session_key": encode(session_key),
            "share": encode(private.public_key().public_bytes_raw()),
            "stage": stage,
            "time": now(),
            "type": "session-opening",
            "version": 1,
        }
        inner = {
            "certificate": encode(certificate) if certificate else None,
            "customer": client.number,
            "key": encode(key) if key else None,
            "signed": encode(client.homes["own"].sign(client.fingerprint, canonical(opening))),
            "type": "sealed-opening",
        }
        sealed = client.view(stage).seal(client.bank, canonical(inner))
        self._connection = Connection(client.letter["bank_address"])
        sent = self._connection.send(wire.OPEN, canonical({"sealed": encode(sealed), "stage": stage, "type": "open"}))
        kind, body, received = self._connection.receive()
        if kind == wire.REFUSED:
            self._connection.close()
            raise RefusedByBank(wire.message_of(body, "refusal"), proven=False)
        opened = wire.message_of(body, "opened")
        shared = private.exchange(X25519PublicKey.from_public_bytes(decode(opened["share"])))
        self._out, self._in = map(Direction, wire.session_keys(session_key, shared, sent, received))
        if expect(self._record(), "session-proof")["session"] != opened["session"]:
            raise Refused("the proof is about another session")

    def ask(self, request: Message) -> Message:
        self._asked += 1
        self._connection.send(wire.RECORD, self._out.seal(canonical({**request, "number": self._asked})))
        answer = self._record()
        if answer["type"] == "refusal":
            raise RefusedByBank(answer, proven=True)
        if answer["number"] != self._asked:
            raise Refused("the answer to another request")
        return answer

    def close(self) -> None:
        expect(self.ask({"type": "close"}), "closed")
        self._connection.close()

    def _record(self) -> Message:
        kind, body, _ = self._connection.receive()
        if kind != wire.RECORD:
            raise Refused("not a record")
        return wire.message_of(self._in.open(body))


class PasswordTalk:
    """Messages under the agreed password."""

    stage = "password"

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked = 0
        self._connection = Connection(client.letter["bank_address"])

    def ask(self, request: Message) -> Message:
        client, nonce, password = self._client, encode(os.urandom(32)), self._client.letter["password"]
        self._asked += 1
        inner: dict[str, Any] = {
            "bank": client.bank,
            "customer": client.number,
            "nonce": nonce,
            "request": encode(canonical({**request, "number": self._asked})),
            "time": now(),
            "type": "password-request",
            "version": 1,
        }
        sealed = client.homes["keyless"].seal_with_password(password, canonical(inner))
        envelope = {"customer": client.number, "sealed": encode(sealed), "type": "password-frame"}
        self._connection.send(wire.PASSWORD, canonical(envelope))
        kind, body, _ = self._connection.receive()
        if kind == wire.REFUSED:
            raise RefusedByBank(wire.message_of(body, "refusal"), proven=False)
        if kind != wire.PASSWORD:
            raise Refused("a frame that has no place here")
        opened = client.homes["keyless"].open_with_password(
            password, decode(wire.message_of(body, "password-frame")["sealed"])
        )
        said = wire.signed_message_of(opened, "password-answer")
        if (said["bank"], said["customer"], said["nonce"]) != (client.bank, client.number, nonce):
            raise Refused("the answer to something else")
        answer = wire.message_of(decode(said["answer"]))
        if answer["type"] == "refusal":
            raise RefusedByBank(answer, proven=True)
        if answer["number"] != self._asked:
            raise Refused("the answer to another request")
        return answer

    def close(self) -> None:
        self._connection.close()
