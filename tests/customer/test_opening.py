"""Until the bank has proven itself nothing is sent, whatever answers at its address."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import pytest

from bank.identities import OpeningRefused
from customer import conversing, sending
from customer.errors import NotSent, OutcomeUnknown, RefusedByBank
from customer.home import CustomerHome, World
from customer.sending import Wish
from customer.store import State
from protocol import messages
from protocol.codes import Reason
from protocol.frames import Frame, FrameType
from protocol.messages import Opened
from protocol.records import Share
from protocol.stages import Stage
from protocol.transport import Address, Connection, Listener, ListenerLimits
from tests.customer.scene import Stand

RENT = Wish(creditor="1002", amount="25.00", description="rent", currency="EUR")
TIME = "2026-01-31T09:30:00Z"


def refused(reason: Reason) -> Frame:
    return Frame(FrameType.REFUSED, messages.encode(messages.refuse(reason, time=TIME)))


def opened(share: bytes) -> Frame:
    return Frame(FrameType.OPENED, messages.encode(Opened(session=bytes(32), share=share, time=TIME)))


RECORD = Frame(FrameType.RECORD, bytes(64))
IMPOSTORS: dict[str, tuple[Frame, ...]] = {
    "says nothing": (),
    "knows no session key": (opened(Share().public), RECORD),
    "offers a share of small order": (opened(bytes(32)), RECORD),
    "skips the opening": (RECORD,),
    "skips the proof": (opened(Share().public),),
    "answers another stage": (Frame(FrameType.PASSWORD, b"{}"),),
    "answers malformed": (Frame(FrameType.OPENED, b"{}"),),
    "refuses malformed": (Frame(FrameType.REFUSED, b"[]"),),
}


@contextmanager
def impostor(frames: tuple[Frame, ...], *, limits: ListenerLimits | None = None) -> Iterator[Address]:
    """Something that answers whatever comes with these frames and hangs up."""

    def handle(connection: Connection) -> None:
        connection.receive(idle_seconds=5, frame_seconds=5)
        if frames:
            connection.send(*frames, timeout_seconds=5)

    listener = Listener(Address("127.0.0.1", 0), handle, lambda: refused(Reason.BUSY), limits or ListenerLimits(8, 8))
    listener.start()
    yield listener.address
    listener.stop(2.0)


def at(home: CustomerHome, address: Address) -> CustomerHome:
    bank = msgspec.structs.replace(home.config.bank, address=str(address))
    return replace(home, config=msgspec.structs.replace(home.config, bank=bank))


@pytest.mark.parametrize("name", IMPOSTORS)
def test_nothing_is_sent_to_an_impostor(stand: Stand, name: str) -> None:
    with stand.customer() as home, impostor(IMPOSTORS[name]) as address:
        with pytest.raises(NotSent, match="Nothing was sent"):
            sending.send(at(home, address), RENT)
        (order,) = home.store.orders()
        assert order.state is State.UNSENT
        assert home.store.floor() is Stage.PASSWORD


def test_a_refusal_before_the_session_is_open_is_told_as_unproven(stand: Stand) -> None:
    with stand.customer() as home, impostor((refused(Reason.CERTIFICATE_REVOKED),)) as address:
        with pytest.raises(RefusedByBank) as error:
            sending.send(at(home, address), RENT)
        assert not error.value.proven
        assert home.store.orders()[0].state is State.UNSENT


def test_a_full_bank_is_asked_three_times(stand: Stand) -> None:
    waits: list[float] = []
    with (
        stand.customer(world=World(sleep=waits.append)) as home,
        impostor((), limits=ListenerLimits(0, 0)) as address,
    ):
        with pytest.raises(RefusedByBank) as error:
            sending.send(at(home, address), RENT)
        assert error.value.refusal.reason is Reason.BUSY
        assert waits == list(conversing.BUSY_WAITS_SECONDS)
        assert home.store.orders()[0].state is State.UNSENT


def test_a_refusal_in_clear_after_an_order_under_the_password_proves_nothing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest: Callable[..., Frame] = type(stand.server.password_stage).seal

    def seal(stage: object, asked: object, answer: messages.Answer) -> Frame:
        if isinstance(answer, messages.NumberedReceipt):
            raise OpeningRefused(Reason.BUSY)
        return honest(stage, asked, answer)

    with stand.customer() as home:
        with monkeypatch.context() as patch:
            patch.setattr(type(stand.server.password_stage), "seal", seal)
            with pytest.raises(OutcomeUnknown, match="busy"):
                sending.send(home, replace(RENT, stage=Stage.PASSWORD))
        (order,) = home.store.in_doubt()
        assert sending.send_again(home, order).posted
    assert stand.postings(order.identifier) == 1


def test_several_programs_of_one_customer_send_at_once(stand: Stand) -> None:
    stand.customer().store.close()

    def use(number: int) -> bool:
        with stand.customer() as home:
            return all(
                sending.send(home, replace(RENT, amount="0.01", identifier=f"{number}-{each}")).posted
                for each in range(3)
            )

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(use, range(3)))
    with stand.customer() as home:
        assert len(home.store.orders()) == 9
        assert sending.send(home, RENT).posted
    assert stand.balance("bob") == "25.09"


def test_only_busy_is_worth_waiting_for(stand: Stand) -> None:
    waits: list[float] = []
    with stand.customer(world=World(sleep=waits.append)) as home:
        tries: list[int] = []

        def attempt() -> None:
            tries.append(1)
            raise RefusedByBank(messages.refuse(Reason.STOPPING, time=TIME), proven=False)

        with pytest.raises(RefusedByBank):
            conversing.patiently(home, attempt)
        assert (len(tries), waits) == (1, [])
