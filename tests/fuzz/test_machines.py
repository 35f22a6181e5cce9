"""Sessions, the customer's outbox and the authority's requests do what a plain model does, in whatever order."""

from collections import deque
from dataclasses import replace
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ca import ceremony
from ca.authority import Authority
from ca.ceremony import CalledBack, Known, Mistake
from ca.config import Configuration
from ca.decisions import TRIES, AuthorityStore, Certificate
from ca.errors import CeremonyError, StoreError
from ca.messages import State as Progress
from ca.requests import CertificateRequest, Request, claimed_request
from ca.store import DeskStore, Filed
from customer.errors import NotProven
from customer.errors import StoreError as OutboxError
from customer.store import KeptHead, KeptRevocations, State, Store, StoredOrder
from keyring import readout
from keyring.errors import ReadoutError
from protocol import canonical
from protocol.errors import RemoteProtocolError
from protocol.frames import Frame, FrameType
from protocol.messages import Refusal
from protocol.receipts import Receipt, TreeHead
from protocol.records import Channel
from protocol.secret import Secret
from protocol.stages import Stage
from tests.fuzz.examples import example
from tests.fuzz.openpgp import signed

SETTINGS = settings(max_examples=15, stateful_step_count=25, deadline=None)
contents = st.binary(max_size=20)
names = st.frozensets(st.sampled_from("abc"))


class Session(RuleBasedStateMachine):
    """Two ends of a session; the model is a queue a direction, and whether that direction has ended."""

    def __init__(self) -> None:
        super().__init__()
        keys = (Secret(b"k" * 32), Secret(b"x" * 32), bytes(32))
        self.ends = (Channel.of_customer(*keys), Channel.of_bank(*keys))
        self.under_way: tuple[deque[tuple[Frame, bytes]], ...] = (deque(), deque())
        self.seen: list[Frame] = []
        self.over = [False, False]

    @rule(sender=st.integers(0, 1), content=contents)
    def send(self, sender: int, content: bytes) -> None:
        frame = self.ends[sender].seal(content)
        self.under_way[sender].append((frame, content))
        self.seen.append(frame)

    @rule(sender=st.integers(0, 1))
    def arrive(self, sender: int) -> None:
        if not self.under_way[sender]:
            return
        frame, content = self.under_way[sender].popleft()
        if self.over[sender]:
            self._refused(sender, frame)
        else:
            assert self.ends[1 - sender].open(frame) == content

    @rule(sender=st.integers(0, 1))
    def lose(self, sender: int) -> None:
        """The record is dropped, so that the one after it is not the next."""
        if len(self.under_way[sender]) > 1:
            self.under_way[sender].popleft()
            self._refused(sender, self.under_way[sender].popleft()[0])

    @precondition(lambda self: self.seen)
    @rule(sender=st.integers(0, 1), data=st.data())
    def disturb(self, sender: int, data: st.DataObject) -> None:
        """Any record of before, of either direction, whole but out of its place, cut, changed or of another type."""
        frame = data.draw(st.sampled_from(self.seen))
        expected = self.under_way[sender][0][0] if self.under_way[sender] else None
        body = bytearray(frame.body)
        match data.draw(st.sampled_from(("same", "cut", "bit", "type"))):
            case "cut":
                del body[-1:]
            case "bit":
                body[data.draw(st.integers(0, len(body) - 1))] ^= 1
            case "type":
                frame = replace(frame, type=FrameType.PASSWORD)
        given = replace(frame, body=bytes(body))
        if given != expected:
            self._refused(sender, given)

    def _refused(self, sender: int, frame: Frame) -> None:
        with pytest.raises(RemoteProtocolError):
            self.ends[1 - sender].open(frame)
        self.over[sender] = True


def head(log: int, size: int, root: int) -> KeptHead:
    told = TreeHead(bank="A" * 40, log=f"{log:032x}", root=f"{root:064x}", size=size, time="2026-01-31T09:30:00Z")
    return KeptHead(told, canonical.encode(told))


class Outbox(RuleBasedStateMachine):
    """The customer's database, which is closed and opened again at any time; the model is a dictionary."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        (self.folder / "customer.sqlite").unlink(missing_ok=True)
        self.store = Store.open(self.folder)
        self.orders: dict[str, StoredOrder] = {}
        self.heads: dict[tuple[str, int], str] = {}
        self.log = ""
        self.lost: frozenset[str] = frozenset()
        self.floor = Stage.PASSWORD
        self.highest = 0

    def teardown(self) -> None:
        self.store.close()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.folder)

    @rule(name=st.sampled_from("abc"), stage=st.sampled_from(Stage), content=contents)
    def put(self, name: str, stage: Stage, content: bytes) -> None:
        order = StoredOrder(name, stage, State.SENDING, content, content)
        if name in self.orders:
            with pytest.raises(OutboxError, match=f"identifier {name}"):
                self.store.put(order)
        else:
            self.store.put(order)
            self.orders[name] = order

    @rule(name=st.sampled_from("abc"), state=st.sampled_from((State.SENDING, State.UNKNOWN, State.UNSENT)))
    def mark(self, name: str, state: State) -> None:
        self.store.mark(name, state)
        self._unless_settled(name, state=state)

    @rule(name=st.sampled_from("abc"))
    def refuse(self, name: str) -> None:
        refusal = example(Refusal)
        assert isinstance(refusal, Refusal)
        self.store.refuse(name, refusal)
        self._unless_settled(name, state=State.REFUSED, refusal=refusal)

    def _unless_settled(self, name: str, **changes: object) -> None:
        order = self.orders.get(name)
        if order is not None and order.receipt is None:
            self.orders[name] = replace(order, **changes)  # type: ignore[arg-type]

    @rule(name=st.sampled_from("abc"), log=st.integers(0, 1), size=st.integers(0, 3), root=st.integers(0, 1))
    def settle(self, name: str, log: int, size: int, root: int) -> None:
        """A receipt and its head are kept together or, where the head contradicts another, neither is."""
        receipt, kept = example(Receipt), head(log, size, root)
        assert isinstance(receipt, Receipt)
        if self._contradicts(kept):
            with pytest.raises(NotProven, match="two different logs"):
                self.store.settle(name, State.POSTED, receipt, kept)
            return
        self.store.settle(name, State.POSTED, receipt, kept)
        self._keep(kept)
        self.lost -= {name}
        if name in self.orders:
            self.orders[name] = replace(self.orders[name], state=State.POSTED, receipt=receipt, refusal=None)

    @rule(log=st.integers(0, 1), size=st.integers(0, 3), root=st.integers(0, 1), follow=st.booleans(), lost=names)
    def keep_head(self, log: int, size: int, root: int, follow: bool, lost: frozenset[str]) -> None:
        kept = head(log, size, root)

        def keep() -> None:
            if follow:
                self.store.follow_log(kept, b"{}", lost)
            else:
                self.store.keep_head(kept)

        if self._contradicts(kept):
            with pytest.raises(NotProven):
                keep()
            return
        keep()
        self._keep(kept)
        if follow:
            self.log, self.lost = kept.head.log, self.lost | lost

    def _contradicts(self, kept: KeptHead) -> bool:
        return self.heads.get((kept.head.log, kept.head.size), kept.head.root) != kept.head.root

    def _keep(self, kept: KeptHead) -> None:
        self.heads[kept.head.log, kept.head.size] = kept.head.root
        self.log = self.log or kept.head.log

    @rule(stage=st.sampled_from(Stage))
    def use(self, stage: Stage) -> None:
        self.store.raise_floor(stage)
        self.floor = max(self.floor, stage, key=lambda each: each.rank)

    @rule(number=st.integers(1, 5), revoked=st.frozensets(st.integers(0, 2**159), max_size=3))
    def take_list(self, number: int, revoked: frozenset[int]) -> None:
        self.store.keep_revocations(KeptRevocations(number, 1, 2, revoked, b"crl"))
        if number >= self.highest:
            self.highest, self.revoked = number, revoked

    @invariant()
    def agrees(self) -> None:
        assert {order.identifier: order for order in self.store.orders()} == self.orders
        assert {order.identifier for order in self.store.in_doubt()} == {
            name for name, order in self.orders.items() if order.state.in_doubt
        }
        assert {(each.head.log, each.head.size): each.head.root for each in self.store.heads()} == self.heads
        newest = self.store.newest_head()
        assert (newest.head.size if newest else None) == max(
            (size for log, size in self.heads if log == self.log), default=None
        )
        assert self.store.floor() is self.floor
        assert self.store.lost() == self.lost
        listed = self.store.revocations()
        assert (listed.number, listed.revoked) == (self.highest, self.revoked) if listed else self.highest == 0


RIGHT = "ABCD" * 10


def request(place: int) -> Request:
    """A request whose signature nobody looks at here."""
    told = msgspec.structs.replace(
        example(CertificateRequest),
        role="customer",
        number=f"{place}",
        fingerprint=RIGHT,
        name="Alice",
        domain="",
        succeeds=None,
    )
    return claimed_request(signed(canonical.encode(told)))


REQUESTS = tuple(request(place) for place in (1, 2))
numbers = st.integers(0, len(REQUESTS) - 1)


class Requests(RuleBasedStateMachine):
    """The authority's records of two requests; the model is a state and a count of mistakes for each."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        for name in ("desk", "decisions"):
            for each in self.folder.glob(f"{name}.sqlite*"):
                each.unlink()
        configuration = Configuration("Authority", "B" * 40)
        self.authority = Authority(
            self.folder,
            configuration,
            DeskStore.create(self.folder / "desk.sqlite"),
            AuthorityStore.create(self.folder / "decisions.sqlite"),
        )
        self.states = [Progress.WAITING for _ in REQUESTS]
        self.mistakes = [0 for _ in REQUESTS]
        self.now = 1_800_000_000

    @initialize()
    def file(self) -> None:
        for each in REQUESTS:
            content = each.content
            filed = Filed(
                digest=each.digest,
                fingerprint=content.fingerprint,
                number=content.number,
                role=content.role,
                name=content.name,
                message=each.message,
                received=self.now,
                state=Progress.WAITING,
            )
            self.authority.desk.file_request(filed, "::1")

    def teardown(self) -> None:
        self.authority.close()

    @rule()
    def reopen_databases(self) -> None:
        self.authority.close()
        self.authority = Authority(
            self.folder,
            self.authority.configuration,
            DeskStore.open(self.folder / "desk.sqlite"),
            AuthorityStore.open(self.folder / "decisions.sqlite"),
        )

    @rule(place=numbers, right=st.booleans(), form=st.sampled_from((readout.words, readout.hex_groups, readout.digits)))
    def call(self, place: int, right: bool, form: object) -> None:
        assert callable(form)
        said = form(RIGHT if right else "ABCD" * 9 + "ABCE")
        heard = said if isinstance(said, str) else " ".join(said)
        if self.states[place] is not Progress.WAITING:
            with pytest.raises(CeremonyError):
                self._confirm(place, heard)
            return
        result = self._confirm(place, heard)
        if right:
            assert not isinstance(result, Mistake)
            self.states[place] = Progress.CONFIRMED
        else:
            self.mistakes[place] += 1
            assert isinstance(result, Mistake)
            assert result.tries_left == TRIES - self.mistakes[place]
            self.states[place] = Progress.LOCKED if self.mistakes[place] == TRIES else Progress.WAITING

    @rule(place=numbers, heard=st.text(max_size=30))
    def mumble(self, place: int, heard: str) -> None:
        """What cannot be a fingerprint uses up no try."""
        with pytest.raises(ReadoutError):
            self._confirm(place, heard)

    def _confirm(self, place: int, heard: str) -> object:
        caller = CalledBack("+49 30 1")
        known = ceremony.identify(self.authority, REQUESTS[place], caller, clock=lambda: self.now)
        assert isinstance(known, Known)
        return ceremony.confirm(self.authority, known, heard=heard, operator="Alice", clock=lambda: self.now)

    @rule(place=numbers)
    def reopen(self, place: int) -> None:
        with mock.patch.object(Authority, "request", return_value=REQUESTS[place]):
            if self.states[place] is Progress.LOCKED:
                ceremony.reopen(self.authority, "x", reason="ours", operator="Alice", clock=lambda: self.now)
                self.states[place], self.mistakes[place] = Progress.WAITING, 0
            else:
                with pytest.raises(CeremonyError, match="not locked"):
                    ceremony.reopen(self.authority, "x", reason="ours", operator="Alice", clock=lambda: self.now)

    @rule(place=numbers)
    def issue(self, place: int) -> None:
        """As `ca issue` records it; a request gets one certificate for ever."""
        made = Certificate(
            serial=f"{place:040x}",
            digest=REQUESTS[place].digest,
            number=f"{place}",
            role="customer",
            name="Alice",
            fingerprint=RIGHT,
            issued=self.now,
            expires=self.now + 1,
            key=b"key",
            der=b"der",
            request=REQUESTS[place].message,
        )
        if self.states[place] is Progress.CONFIRMED:
            self.authority.decisions.add_certificate(made)
            self.authority.desk.mark(made.digest, Progress.ISSUED)
            self.states[place] = Progress.ISSUED
        elif self.states[place] is Progress.ISSUED:
            with pytest.raises(StoreError):
                self.authority.decisions.add_certificate(made)

    @invariant()
    def agrees(self) -> None:
        for place, each in enumerate(REQUESTS):
            assert self.authority.state(each) is self.states[place]
            filed = [found.state for found in self.authority.desk.requests_like(each.digest)]
            assert filed in ([self.states[place]], [])  # the latter before they are filed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for machine in (Outbox, Requests):
        machine.folder = tmp_path
    return tmp_path


def test_trial_35_sessions_are_a_queue_in_each_direction() -> None:
    run_state_machine_as_test(Session, settings=settings(SETTINGS, max_examples=40))


def test_trial_35_the_outbox_is_a_dictionary_that_survives(folder: Path) -> None:
    run_state_machine_as_test(Outbox, settings=SETTINGS)


def test_trial_35_a_request_is_confirmed_within_three_tries_or_not_at_all(folder: Path) -> None:
    run_state_machine_as_test(Requests, settings=SETTINGS)
