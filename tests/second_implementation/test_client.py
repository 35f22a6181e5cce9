"""A client that knows nothing but docs/protocol.md banks with the real server, in every stage, over TCP."""

import ast
import base64
import inspect
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.second_implementation import wire
from tests.second_implementation.client import Client, RefusedByBank
from tests.second_implementation.openpgp import Refused

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
SECONDS = 60
PASSPHRASE = "a passphrase for tests"


@dataclass(frozen=True)
class World:
    """An authority and a bank, made and served by their own commands."""

    folder: Path

    def run(self, command: str, *arguments: str) -> str:
        done = subprocess.run(
            [PROGRAMS / command, *arguments, "--home", self.folder / command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, command: str) -> subprocess.Popen[bytes]:
        output = self.folder / f"{command}.out"
        with output.open("wb") as out:
            process = subprocess.Popen(
                [PROGRAMS / command, "serve", "--home", self.folder / command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + SECONDS
        while b" at 127.0.0.1:" not in output.read_bytes():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.02)
        return process

    def certify(self, number: str, fingerprint: str) -> None:
        """The operator's side of the telephone call."""
        self.run("ca", "confirm", number, "--called-back", "+00 0", "--operator", "op", "--hex", fingerprint)
        self.run("ca", "issue", number, "--passphrase-file", str(self.folder / "passphrase"))

    def letter(self, number: str, name: str) -> str:
        path = self.folder / f"{number}.letter"
        self.run("bank", "open-account", "--number", number, "--name", name, "--letter", str(path))
        return path.read_text()


def free_ports() -> list[int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return [one.getsockname()[1], two.getsockname()[1]]


@pytest.fixture(scope="module")
def world(make_short_tmp: Callable[[], Path]) -> Iterator[World]:
    world = World(make_short_tmp())
    secret = world.folder / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text(PASSPHRASE)
    desk, bank = (f"127.0.0.1:{port}" for port in free_ports())
    world.run("ca", "init", "--name", "Authority", "--listen", desk, "--passphrase-file", str(secret))
    authority = json.loads(world.run("ca", "fingerprint", "--json"))["fingerprint"]
    arguments = ("--name", "Example Bank", "--currency", "EUR", "--listen", bank, "--authority", desk)
    world.run("bank", "init", *arguments, "--authority-fingerprint", authority, "--minimum-stage", "password")
    servers = []
    try:
        servers.append(world.start("ca"))
        world.run("bank", "request")
        world.certify("0000", json.loads(world.run("bank", "fingerprint", "--json"))["fingerprint"])
        world.run("bank", "fetch")
        servers.append(world.start("bank"))
        yield world
    finally:
        for server in reversed(servers):
            server.send_signal(signal.SIGTERM)
            server.wait(SECONDS)


@pytest.fixture(scope="module")
def alice(world: World) -> Iterator[Client]:
    """Has banked in no stage yet."""
    letter = world.letter("1001", "Alice")
    world.letter("1002", "Bob")
    world.run("bank", "deposit", "--to", "1001", "--amount", "100.00")
    client = Client.begin(world.folder / "alice", letter)
    yield client
    client.end()


def send(client: Client, stage: str, amount: str) -> str:
    """Send an order and look it up again; its identifier, once settled."""
    talk = client.talk(stage)
    identifier, _ = client.make_order(stage, "1002", amount, f"in the stage {stage}")
    outcome = client.submit(talk, identifier)
    assert (outcome.entry["status"], outcome.entry["stage"], outcome.duplicate) == ("ACSC", stage, False)
    again = client.submit(talk, identifier)
    assert (again.entry, again.duplicate) == (outcome.entry, True)
    found = client.look_up(talk, identifier)
    assert found is not None
    assert found.entry == outcome.entry
    talk.close()
    return identifier


def the_stage_password_and_registration(alice: Client) -> None:
    talk = alice.talk("password")
    alice.homes["registered"].take(wire.decode(talk.ask({"type": "ask-bank-key"})["key"]), alice.bank)
    assert talk.ask({"type": "ask-balance"})["balance"] == "100.00"
    talk.close()
    send(alice, "password", "1.00")
    alice.register()
    assert alice.floor == "session"
    alice.register()  # repeating it with the same key is harmless


def the_stage_session(alice: Client) -> None:
    send(alice, "session", "2.00")


def the_stage_signed(alice: Client) -> None:
    send(alice, "signed", "3.00")


def the_stage_certified(world: World, alice: Client) -> None:
    assert alice.request_certificate()["state"] == "waiting"
    world.certify("1001", alice.fingerprint)
    alice.fetch_certificate()
    send(alice, "certified", "4.00")
    talk = alice.talk("certified")
    assert talk.ask({"type": "ask-balance"})["balance"] == "90.00"
    page = talk.ask({"type": "ask-statement", "after": 0, "lines": 100})
    assert [line["amount"] for line in page["lines"]] == ["100.00", "-1.00", "-2.00", "-3.00", "-4.00"]
    talk.close()


def a_refusal_has_a_receipt_as_well(alice: Client) -> None:
    talk = alice.talk("certified")
    identifier, _ = alice.make_order("certified", "1002", "5000.00", "a yacht")
    outcome = alice.submit(talk, identifier)
    assert (outcome.entry["status"], outcome.entry["reason"], outcome.entry["field"]) == ("RJCT", "AM04", "amount")
    assert outcome.entry["reference"] is None
    talk.close()


def an_identifier_is_for_one_order(alice: Client) -> None:
    talk = alice.talk("certified")
    identifier, _ = alice.make_order("certified", "1002", "1.00", "one")
    assert alice.look_up(talk, identifier) is None
    alice.submit(talk, identifier)
    content = json.loads((alice.folder / "outbox" / f"{identifier}.content").read_bytes())
    other = alice.homes["own"].sign(alice.fingerprint, wire.canonical({**content, "amount": "2.00"}))
    with pytest.raises(RefusedByBank) as caught:
        talk.ask({"type": "submit-order", "order": wire.encode(other), "since": None})
    assert caught.value.proven
    assert (caught.value.refusal["reason"], caught.value.refusal["field"]) == ("DU04", "amount")
    talk.close()


def no_weaker_stage_is_taken_afterwards(alice: Client) -> None:
    with pytest.raises(Refused, match="floor"):
        alice.talk("signed")
    alice.floor = "session"  # a client that forgot; the bank did not
    try:
        with pytest.raises(RefusedByBank) as caught:
            alice.talk("signed")
    finally:
        alice.floor = "certified"
    assert caught.value.refusal["reason"] == "stage"


def a_lie_in_a_receipt_is_found(alice: Client) -> None:
    talk = alice.talk("certified")
    identifier, message = alice.make_order("certified", "1002", "1.50", "honest")
    kept = alice.head
    assert kept is not None
    answer = talk.ask({"type": "submit-order", "order": wire.encode(message), "since": kept["size"]})
    talk.close()
    receipt, content = answer["receipt"], (alice.folder / "outbox" / f"{identifier}.content").read_bytes()
    entry = json.loads(wire.decode(receipt["entry"]))
    head = bytearray(wire.decode(receipt["head"]))
    head[head.index(b'"size":') + 7] ^= 1
    lies = (
        {"index": receipt["index"] - 1},
        {"proof": receipt["proof"][:-1]},
        {"entry": wire.encode(wire.canonical({**entry, "amount": "9.00"}))},
        {"head": wire.encode(bytes(head))},
        {"head": wire.encode(message)},
        {"consistency": None},
    )
    for lie in lies:
        with pytest.raises(Refused):
            alice.verify({**receipt, **lie}, content, "certified")
        assert alice.head == kept
    with pytest.raises(Refused, match="another order"):
        alice.verify(receipt, content.replace(b"1.50", b"1.60"), "certified")
    assert alice.verify(receipt, content, "certified") == entry


def another_password_opens_nothing(world: World, alice: Client) -> None:
    stranger = Client(alice.folder, {**alice.letter, "password": "absurd " * 16}, homes=alice.homes)
    talk = stranger.talk("password")
    with pytest.raises(RefusedByBank) as caught:
        talk.ask({"type": "ask-bank-key"})
    talk.close()
    assert (caught.value.refusal["reason"], caught.value.proven) == ("password", False)
    assert world.run("bank", "audit")


def a_revocation_stops_the_next_order_of_an_open_session(world: World, alice: Client) -> None:
    talk = alice.talk("certified")
    assert talk.ask({"type": "ask-balance"})["customer"] == "1001"
    secret = str(world.folder / "passphrase")
    world.run("ca", "revoke", "1001", "--reason", "key-compromise", "--passphrase-file", secret)
    world.run("bank", "fetch")
    identifier, _ = alice.make_order("certified", "1002", "1.00", "too late")
    with pytest.raises(RefusedByBank) as caught:
        alice.submit(talk, identifier)
    assert (caught.value.refusal["reason"], caught.value.proven) == ("DS0C", True)
    assert caught.value.refusal["rule"] == "not-revoked"
    talk.close()
    before = alice.list_number
    with pytest.raises(Refused):
        alice.fetch_certificate()
    assert alice.list_number >= before


STORY: tuple[Callable[..., None], ...] = (
    the_stage_password_and_registration,
    the_stage_session,
    the_stage_signed,
    the_stage_certified,
    a_refusal_has_a_receipt_as_well,
    an_identifier_is_for_one_order,
    no_weaker_stage_is_taken_afterwards,
    a_lie_in_a_receipt_is_found,
    another_password_opens_nothing,
    a_revocation_stops_the_next_order_of_an_open_session,
)


def test_a_client_banks_its_way_up_through_every_stage(world: World, alice: Client) -> None:
    """One story in one test, since each step needs what the one before has left; a failure names the step."""
    told = {"world": world, "alice": alice}
    for step in STORY:
        step(**{name: told[name] for name in inspect.signature(step).parameters})


NEW_LOGS = json.loads((HERE.parent / "vectors" / "beginnings.json").read_text())


@pytest.mark.parametrize("vector", NEW_LOGS, ids=lambda vector: vector["name"])
def test_trial_23_a_new_log_is_judged_alike(vector: dict[str, Any]) -> None:
    """The vectors of the log that a bank begins after a loss."""
    begun = [
        {**each, "entry": base64.b64encode(bytes.fromhex(each["entry"])).decode()} for each in vector["beginnings"]
    ]
    answer = {"beginnings": begun, "consistency": vector["consistency"]}
    try:
        outcome = "followed" if wire.takes_over(vector["older"], vector["head"], answer) else "lost"
    except Refused:
        outcome = "refused"
    assert outcome == vector["outcome"]


@pytest.mark.parametrize("name", ["certificates.py", "client.py", "openpgp.py", "wire.py"])
def test_nothing_of_the_first_implementation_is_used(name: str) -> None:
    allowed = {*sys.stdlib_module_names, "cryptography"}
    for node in ast.walk(ast.parse((HERE / name).read_text())):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [each.name for each in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            assert module.split(".")[0] in allowed or module.startswith("tests.second_implementation")
