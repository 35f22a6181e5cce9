"""A bank that was set back whole, with its own head, cannot know it; its customers' receipts can."""

import pytest

from tests.system.town import Stand
from tests.trials.durability import power

pytestmark = pytest.mark.timeout(600)
UNKNOWN = 3


def test_trial_21_what_a_bank_forgot_together_with_its_head_is_found_by_a_customers_receipt(stand: Stand) -> None:
    alice = stand.person("alice")
    alice.send_here("--id", "before")
    stand.stop()
    earlier = power.durable_files(stand.home)
    stand.start()
    alice.send_here("--id", "forgotten")
    stand.stop()
    power.lay_out(earlier, stand.home, stand.home)
    stand.start()
    assert "does not continue the one that it signed before" in alice.send_here("--id", "after", code=UNKNOWN).said
    assert "its receipt is kept here and proven" in alice.send_here("--id", "forgotten", code=None).said
    assert stand.postings("1001", "forgotten") == 0, "the customer holds the proof and sends nothing again"


def test_trial_21_a_bank_that_forgot_nothing_is_believed_after_the_same_restarts(stand: Stand) -> None:
    alice = stand.person("alice")
    alice.send_here("--id", "before")
    stand.stop()
    there = power.durable_files(stand.home)
    power.lay_out(there, stand.home, stand.home)
    stand.start()
    for name in ("before", "after"):
        alice.send_here("--id", name)
        assert stand.postings("1001", name) == 1
