"""The load generator counts what is posted and proven and nothing else; what was not measured is not called met."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from keyring.opened import Opened
from keyring.verdict import SignedByCustomer
from keyring.worker import open_once
from protocol.errors import ProtocolError
from protocol.messages import NumberedReceipt, SubmitOrder
from protocol.receipts import Receipt
from protocol.transport import Address
from tests.bench.cast import Cast, read_cast, write_cast
from tests.bench.checking import Checker
from tests.bench.counts import called
from tests.bench.line import Line, prepare
from tests.bench.load import Load, Plan
from tests.bench.orders import read_orders, sign_orders
from tests.bench.report import TARGETS, judged, table
from tests.changes import with_last_byte_changed
from tests.system.town import Stand

ORDERS, HALF = 300, 200


@dataclasses.dataclass(frozen=True)
class Scene:
    """A bank that serves, and Alice and Bob as the load generator plays them."""

    stand: Stand
    file: Path
    cast: Cast

    @property
    def orders(self) -> Path:
        return self.stand.folder / "orders"

    def plan(self, **given: float) -> Plan:
        settings: dict[str, object] = {
            "address": f"127.0.0.1:{self.stand.port}",
            "cast": str(self.file),
            "orders": str(self.orders),
            "connections": 2,
            "seconds": 1.0,
            "warm_seconds": 0.1,
            "orders_each": ORDERS,
            "server": self.stand.server.process.pid if self.stand.server else 0,
            "home": str(self.stand.home / "gnupg"),
            **given,
        }
        return msgspec.convert(settings, Plan)


@pytest.fixture
def scene(stand: Stand) -> Scene:
    """Each has signed orders to the other."""
    homes = [stand.person(name).home for name in ("alice", "bob")]
    file = write_cast(stand.folder, homes)
    cast = read_cast(file)
    parties = [(each.number, each.certificate_digest, each.signing) for each in cast.parties]
    sign_orders(stand.folder / "orders", cast.bank, parties, ORDERS, 1)
    return Scene(stand, file, cast)


def test_transfers_are_counted_when_they_are_posted_and_proven(scene: Scene) -> None:
    before = len(scene.stand.entries())
    closed = Load(scene.plan(outstanding=2, orders_each=HALF)).run()
    assert closed.transfers > 0
    assert closed.heads_verified_by_gpg > 0
    assert (closed.refusals, closed.unanswered) == ({}, 0)
    assert closed.processor_ms["server"] > 0
    posted = len(scene.stand.entries()) - before
    assert closed.transfers <= posted == closed.sent
    # The same orders again are repeats, which prove nothing new and must not count.
    with pytest.raises(ProtocolError, match="says something else"):
        Load(scene.plan(outstanding=1)).run()
    opened = Load(scene.plan(rate=20.0, skip=HALF)).run()
    assert opened.latency_ms["p50"] > 0
    assert opened.sent > 0


def test_gpg_accepts_the_orders_that_were_signed_beforehand(scene: Scene) -> None:
    alice, home = scene.cast.parties[0], scene.stand.person("alice")
    with home.opened() as opened:
        order = read_orders(scene.orders, alice.number, 1)[0]
        expected = SignedByCustomer(alice.fingerprint, certified=False)
        found = open_once(opened.keys, order.message, expected)
        assert isinstance(found, Opened)
        refused = open_once(opened.keys, with_last_byte_changed(order.message), expected)
        assert not isinstance(refused, Opened)


Lie = Callable[[Receipt], Receipt]

LIES: dict[str, Lie] = {
    "another head": lambda true: msgspec.structs.replace(true, head=with_last_byte_changed(true.head)),
    "another entry": lambda true: msgspec.structs.replace(true, entry=true.entry.replace(b'"0.01"', b'"0.02"')),
    "another place": lambda true: msgspec.structs.replace(true, index=true.index - 1),
    "another path": lambda true: msgspec.structs.replace(true, proof=(true.proof[0][::-1], *true.proof[1:])),
    "an earlier decision": lambda true: msgspec.structs.replace(true, duplicate=True),
}


def test_a_receipt_that_lies_does_not_count(scene: Scene) -> None:
    bob = scene.cast.parties[1]
    order, other = read_orders(scene.orders, bob.number, 2)
    line = Line.open(Address("127.0.0.1", scene.stand.port), prepare(scene.cast, bob))
    try:
        answer = line.ask(lambda number: SubmitOrder(number=number, order=order.message, since=None))
    finally:
        line.close()
    assert isinstance(answer, NumberedReceipt)
    for lie in LIES.values():
        with pytest.raises(ProtocolError):
            Checker(scene.cast).check(lie(answer.receipt), order, bob.number)
    with pytest.raises(ProtocolError):
        Checker(scene.cast).check(answer.receipt, other, bob.number)
    checker = Checker(scene.cast)
    checker.check(answer.receipt, order, bob.number)
    assert checker.require_gpg_agrees() == 1


def test_what_was_not_measured_is_not_met() -> None:
    rows = judged({"rates": {"1": {"to_plain": 1.2}, "8": {"to_plain": 1.4}}, "idle": {"skipped": "why"}})
    assert len(rows) == len(TARGETS)
    assert [row["met"] for row in rows[:2]] == [True, False]
    assert not any(row["met"] for row in rows[2:])
    assert all(row["value"] is None for row in rows[2:])
    shown = table(rows).splitlines()
    assert sum("not measured" in line for line in shown) == len(TARGETS) - 2
    assert sum("NOT MET" in line for line in shown) == 1


def test_calls_are_counted_once_and_in_their_time() -> None:
    log = (
        "7 10.5 fdatasync(5 <unfinished ...>\n"
        '8 10.6 execve("/usr/bin/gpg", ["gpg"], 0x1) = 0\n'
        "7 10.7 <... fdatasync resumed>) = 0\n"
        "7 12.0 fsync(5) = 0\n"
    )
    assert called(log, 10.0, 11.0) == {"execve": 1, "execveat": 0, "fsync": 0, "fdatasync": 1}
