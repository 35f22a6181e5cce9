"""A disk that fails costs answers and never money: what is receipted is kept, reading goes on, and it heals."""

import sys
from pathlib import Path

import pytest

from tests.system.town import Stand
from tests.trials.durability.crashes import ROOT

pytestmark = pytest.mark.timeout(600)

DRIVER = Path(__file__).with_name("watched_bank.py")
REFUSED, UNKNOWN = 1, 3


class Ward:
    """A bank whose disk can be made to fail, and a customer of it who has sent before."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.orders = stand.folder / "orders-to-the-disk"
        stand.stop()
        stand.environment["PYTHONPATH"] = str(ROOT)
        stand.played_by = (sys.executable, str(DRIVER), "fail", str(self.orders), "-")
        stand.start()
        self.alice = stand.person("alice")
        self.alice.send_here()

    def fail(self, how: str) -> None:
        new = self.orders.with_suffix(".new")
        new.write_text(how)
        new.replace(self.orders)

    def heal(self) -> None:
        self.orders.unlink()

    def send(self, name: str) -> int:
        return self.alice.send_here("--id", name, code=None).code

    def posted(self, name: str) -> int:
        return self.stand.postings("1001", name)


@pytest.fixture
def ward(stand: Stand) -> Ward:
    return Ward(stand)


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("any ENOSPC 1 -", REFUSED, "The bank cannot record anything at present; nothing was recorded."),
        ("any EROFS 1 -", REFUSED, "The bank cannot record anything at present; nothing was recorded."),
        ("write EIO 1 -", UNKNOWN, "Find out with `customer resume`"),
        ("sync EIO 1 -", UNKNOWN, "Find out with `customer resume`"),
    ],
    ids=["full", "read-only", "writes fail", "synchronisation fails"],
)
def test_trial_20_a_failing_disk_stops_writing_not_reading_and_heals_without_a_restart(
    ward: Ward, how: str, code: int, said: str
) -> None:
    ward.fail(how)
    done = ward.alice.send_here("--id", "during", code=code)
    assert said in done.said
    assert ward.alice.here("balance").out.startswith("975.00 EUR")
    assert "25.00" in ward.alice.here("statement").out
    ward.heal()
    if code == UNKNOWN:
        assert [found["status"] for found in ward.alice.resume()] == ["posted"]
    else:
        assert ward.posted("during") == 0
        assert ward.send("during") == 0, "the same bytes may come again"
    assert ward.send("after") == 0
    assert (ward.posted("during"), ward.posted("after")) == (1, 1)
    ward.stand.require_order()


def test_trial_20_any_single_call_that_fails_leaves_one_posting(ward: Ward) -> None:
    codes = []
    for kind, calls in (("write", 12), ("sync", 4)):
        for number in range(1, calls + 1):
            name = f"{kind}-{number}"
            ward.fail(f"{kind} EIO {number} 1")
            codes.append(ward.send(name))
            ward.heal()
            if codes[-1] == UNKNOWN:
                ward.alice.resume()
            assert ward.posted(name) == 1, name
    assert set(codes) == {0, UNKNOWN}, "some of them failed, and some came after the receipt"
    ward.stand.require_order()


def test_trial_20_killed_after_a_failed_synchronisation_it_is_posted_once(ward: Ward) -> None:
    ward.fail("sync EIO 1 -")
    assert ward.send("during") == UNKNOWN
    ward.stand.kill()
    ward.stand.played_by = ()
    ward.stand.start()
    assert [found["status"] for found in ward.alice.resume()] == ["posted"]
    assert ward.posted("during") == 1
    ward.stand.require_order()


def test_trial_20_the_operator_is_told_what_is_known(ward: Ward) -> None:
    for how, said in (
        ("any ENOSPC 1 -", "the disk is full. Nothing was recorded; make room"),
        ("any EROFS 1 -", "it is read-only. Nothing was recorded"),
        ("sync EIO 1 -", "meets an error of its disk. What was being written may be recorded or not"),
    ):
        ward.fail(how)
        ward.send("during")
        ward.heal()
        assert said in ward.stand.log.read_text()
