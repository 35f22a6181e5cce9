"""However badly the network carries it, an order that is sent again and again is posted once, with one receipt."""

import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from customer import sending, wishes
from customer.errors import NotSent, OutcomeUnknown, RefusedByBank
from customer.sending import Wish
from protocol.receipts import Receipt
from tests.bank.counter import eventually
from tests.system.proxy import TO_BANK, TO_CUSTOMER, Proxy
from tests.system.town import Stand
from tests.trials.faults import ON_THE_WAY, Fault, Struck

SENDERS = 3
WISH = Wish("2002", "1.00", "", "EUR", identifier="rent")


@pytest.fixture
def seed() -> int:
    drawn = random.SystemRandom().randrange(2**32)
    print(f"seed {drawn}")  # noqa: T201 - a random test says its seed
    return drawn


@pytest.mark.parametrize("fault", ON_THE_WAY, ids=lambda fault: fault.__name__)
def test_trial_41_trial_09_the_same_order_many_times_through_a_bad_network(
    stand: Stand, seed: int, fault: Fault
) -> None:
    alice = stand.person("2001")
    receipts: list[Receipt] = []
    done = threading.Event()

    def send_again_and_again(_: int) -> None:
        with alice.opened() as home:
            while not done.is_set():
                try:
                    outcome = sending.send(home, WISH)
                except (OutcomeUnknown, NotSent, RefusedByBank):
                    continue
                assert outcome.receipt, outcome.refusal
                receipts.append(outcome.receipt)

    with alice.opened() as home:
        home.store.put(wishes.made(home, WISH, home.config.customer.stage))  # one order, whoever sends it first
    with stand.between(alice) as proxy, ThreadPoolExecutor(SENDERS) as pool:
        sent = [pool.submit(send_again_and_again, number) for number in range(SENDERS)]
        fault(Struck(stand, proxy, random.Random(seed)))
        eventually(lambda: bool(receipts) or any(each.done() for each in sent), 90)
        done.set()
        for each in sent:
            each.result(90)
    assert len({(receipt.entry, receipt.index) for receipt in receipts}) == 1, f"seed {seed}"
    assert stand.postings("2001", "rent") == 1
    assert stand.balance("2001") == 12_50 - 1_00
    stand.require_order()


# The proxy itself: what it is said to do to a line, it does.


class Echo:
    """A server that says everything back, and remembers how its connections ended."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = self._listening.getsockname()
        self.ends: list[str] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
                self.ends.append("end")
                connection.sendall(FRAME)  # the way back may be open still
            except ConnectionError:
                self.ends.append("reset")

    def close(self) -> None:
        self._listening.close()
        self._thread.join(10)


FRAME = b"\x00\x00\x00\x02\x01\x05ab"


def connected(proxy: Proxy) -> socket.socket:
    host, port = proxy.address.split(":")
    customer = socket.create_connection((host, int(port)), timeout=10)
    customer.sendall(FRAME)
    assert customer.recv(100) == FRAME
    return customer


def test_the_proxy_resets_both_ends() -> None:
    echo = Echo()
    with Proxy(echo.address) as proxy, connected(proxy) as customer:
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            customer.recv(100)
        echo.close()
    assert echo.ends == ["reset"]


def test_the_proxy_closes_one_half() -> None:
    echo = Echo()
    with Proxy(echo.address) as proxy, connected(proxy) as customer:
        proxy.half_close()
        assert customer.recv(100) == FRAME
        assert customer.recv(100) == b""
        echo.close()
    assert echo.ends == ["end"]


@pytest.mark.parametrize("direction", [TO_BANK, TO_CUSTOMER])
def test_the_proxy_holds_back_until_it_is_healed(direction: str) -> None:
    echo = Echo()
    with Proxy(echo.address) as proxy, connected(proxy) as customer:
        proxy.part(direction)
        customer.sendall(FRAME)
        customer.settimeout(0.3)
        with pytest.raises(TimeoutError):
            customer.recv(100)
        proxy.heal()
        customer.settimeout(10)
        assert customer.recv(100) == FRAME
        customer.shutdown(socket.SHUT_WR)
        echo.close()


def test_the_proxy_delays_each_frame() -> None:
    echo = Echo()
    with Proxy(echo.address) as proxy, connected(proxy) as customer:
        proxy.delay_seconds = 0.2
        begun = time.monotonic()
        customer.sendall(FRAME)
        assert customer.recv(100) == FRAME
        assert time.monotonic() - begun >= 0.4
        customer.shutdown(socket.SHUT_WR)
        echo.close()
