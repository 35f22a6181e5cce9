"""What must hold in every stage is written once; the test files of the stages add what only theirs can show."""

import random
import re
from pathlib import Path
from typing import ClassVar

import pytest

from protocol.stages import Stage
from tests.system.programs import Done
from tests.system.proxy import HEADER_BYTES, TO_BANK, TO_CUSTOMER, Proxy, Rule, altered, replaced, say
from tests.system.town import Stand

AMOUNT = 25_00
FRAMES = {
    # After an earlier transfer: look-up, submission; opening, submission, close. And what is answered to each.
    Stage.PASSWORD: {TO_BANK: 2, TO_CUSTOMER: 2},
    Stage.SESSION: {TO_BANK: 3, TO_CUSTOMER: 4},
    Stage.SIGNED: {TO_BANK: 3, TO_CUSTOMER: 4},
    Stage.CERTIFIED: {TO_BANK: 3, TO_CUSTOMER: 4},
}
RECEIPT = {Stage.PASSWORD: 1, Stage.SESSION: 2, Stage.SIGNED: 2, Stage.CERTIFIED: 2}
"""The number of the frame that brings the receipt; the order went in frame 1."""
ORDER = 1
LENGTH, VERSION, KIND = (3, 0x01), (4, 0x02), (5, 0x40)
"""Places in a frame's header, and the bits that are turned there."""


class EveryStage:
    """The course of transfers that goes alike in every stage."""

    stage: ClassVar[Stage]

    def test_an_honest_transfer_moves_the_money_and_is_proven(self, stand: Stand) -> None:
        alice, before = stand.ready("alice", self.stage), (stand.balance("1001"), stand.balance("1002"))
        found = alice.send("--json", stage=self.stage).json()
        assert (found["status"], found["code"], found["stage"]) == ("posted", "ACSC", self.stage.value)
        assert (stand.balance("1001"), stand.balance("1002")) == (before[0] - AMOUNT, before[1] + AMOUNT)
        identifier = found["transfer_identifier"]
        assert stand.postings("1001", identifier) == 1
        assert alice.outbox() == {identifier: "posted"}
        (receipt,) = alice.here("verify", identifier, "--json").json()
        assert (receipt["entry"], receipt["status"]) == (found["entry"], "ACSC")
        stand.require_order()

    @pytest.mark.parametrize(
        ("to", "amount", "reason", "field"),
        [("1002", "1000.01", "AM04", "amount"), ("9999", "1.00", "AC03", "creditor")],
    )
    def test_what_cannot_be_posted_is_refused_with_a_receipt(
        self, stand: Stand, to: str, amount: str, reason: str, field: str
    ) -> None:
        alice, before = stand.ready("alice", self.stage), stand.balance("1001")
        done = alice.send("--json", to=to, amount=amount, stage=self.stage, code=1)
        found = done.json()
        assert (found["status"], found["reason"], found["field"]) == ("refused", reason, field)
        (receipt,) = alice.here("verify", found["transfer_identifier"], "--json").json()
        assert (receipt["status"], receipt["reason"]) == ("RJCT", reason)
        assert stand.balance("1001") == before
        # The honest twin: the same with an amount that is there, to somebody who is there.
        alice.send_here(to="1002", amount="1.00", stage=self.stage)
        assert stand.balance("1001") == before - 1_00

    def test_a_file_of_payments_is_one_order_with_a_result_for_each(self, stand: Stand, short_tmp: Path) -> None:
        alice, before = stand.ready("alice", self.stage), (stand.balance("1001"), stand.balance("1002"))
        file, count = short_tmp / "payments.csv", 700  # more than the first frame of the stage password may have
        lines = [f"1002,0.01,payment {place} {'.' * 40}" for place in range(count)]
        file.write_text("\n".join(["to,amount,description", *lines, "9999,1.00,nobody"]))
        letter = ("--letter", str(alice.letter))
        sending = ("send", "--file", str(file), "--stage", self.stage.value, *letter, "--json", "--id", "bulk-1")
        refused = alice.here(*sending, code=1).json()
        assert (refused["status"], refused["reason"]) == ("refused", "payments")
        assert [each["payment"] for each in refused["results"] if each["reason"]] == [count + 1]
        assert (stand.balance("1001"), stand.balance("1002")) == before
        # Its twin makes what can be made, and is posted once however often it is sent.
        again = (*sending[:-1], "bulk-2", "--best-effort")
        for earlier in (False, True):
            found = alice.here(*again, code=1).json()
            assert (found["status"], found["code"], found["duplicate"]) == ("partly", "PART", earlier)
            assert (stand.balance("1001"), stand.balance("1002")) == (before[0] - count, before[1] + count)
        assert alice.outbox() == {"bulk-1": "refused", "bulk-2": "partly"}
        assert [row["status"] for row in alice.here("verify", "--json").json()] == ["RJCT", "PART"]
        stand.require_order()

    @pytest.mark.parametrize("direction", [TO_BANK, TO_CUSTOMER])
    def test_bytes_altered_on_the_way_never_post_twice_and_never_say_posted_falsely(
        self, stand: Stand, direction: str
    ) -> None:
        seed = random.randrange(10**6)
        draw = random.Random(seed)
        alice = stand.ready("alice", self.stage)
        alice.send_here(stage=self.stage)
        places = [(frame, *place) for frame in range(FRAMES[self.stage][direction]) for place in _places(draw)]
        noticed = 0
        with stand.between(alice) as proxy:
            for frame, place, mask in places:
                said = f"altered {direction}, frame {frame}, byte {place}, bits {mask:#x}, seed {seed}"
                noticed += self._survives(stand, proxy, altered(direction, frame, place, mask), said)
            proxy.rule = altered(direction, 99, 0, 1)  # which never comes: the honest twin
            alice.send_here(stage=self.stage)
        # All but what says good-bye is needed for the receipt.
        assert noticed >= len(places) - (0 if self.stage is Stage.PASSWORD else len(_places(draw)))
        stand.require_order()

    def _survives(self, stand: Stand, proxy: Proxy, rule: Rule, said: str) -> bool:
        """One transfer under a rule, then `resume`; True if the transfer did not simply succeed."""
        alice, identifier = stand.person("alice"), f"t-{random.randrange(10**12)}"
        proxy.rule = rule
        done = alice.send_here("--id", identifier, "--json", amount="0.01", stage=self.stage, code=None)
        assert done.code in (0, 2, 3), f"{said}: {done.said}"
        proxy.rule = altered(TO_BANK, 99, 0, 1)
        posted, state = stand.postings("1001", identifier), alice.outbox()[identifier]
        if done.code == 0:
            assert (posted, state) == (1, "posted"), said
            return False
        assert done.err.startswith("Error: "), said
        assert done.err.strip().endswith((".", ")")), said
        if done.code == 2:
            assert (posted, state) == (0, "unsent"), said
            assert alice.resume() == [], said
            assert stand.postings("1001", identifier) == 0, said
        else:
            assert (posted <= 1, state) == (True, "unknown"), said
            assert "customer resume" in done.err, said
            (found,) = alice.resume()
            assert (found["transfer_identifier"], found["status"]) == (identifier, "posted"), said
            assert stand.postings("1001", identifier) == 1, said
        return True

    def test_trial_16_a_recorded_connection_said_again_posts_nothing(self, stand: Stand) -> None:
        alice = stand.ready("alice", self.stage)
        with stand.between(alice) as proxy:
            alice.send_here(stage=self.stage)
        said = proxy.tapes[-1].frames[TO_BANK]
        entries, balance = stand.entries(), stand.balance("1001")
        assert len(entries) == 3  # both deposits, and this transfer: what is on the tape was good once
        for replay in (b"".join(said), said[0] + said[ORDER], said[ORDER]):
            heard = say(stand.address, replay)
            # At most an opening is answered, since anybody may open; no record and no request after it.
            assert len(heard) <= (1 if self.stage is Stage.PASSWORD else 2)
            assert stand.entries() == entries
        assert stand.balance("1001") == balance
        # The honest twin: who has the keys opens a new session.
        alice.send_here(stage=self.stage)
        assert stand.balance("1001") == balance - AMOUNT

    @pytest.mark.parametrize("how", ["repeated", "moved here", "reflected"])
    def test_trial_16_a_frame_out_of_its_place_ends_the_conversation(self, stand: Stand, how: str) -> None:
        alice = stand.ready("alice", self.stage)
        alice.send_here(stage=self.stage)
        with stand.between(alice) as proxy:
            alice.send_here("--id", "earlier", stage=self.stage)
            tape = proxy.tapes[-1]
            moved, reflected = tape.frames[TO_BANK][ORDER], tape.frames[TO_CUSTOMER][RECEIPT[self.stage]]
            others = {
                "repeated": lambda frame: frame + frame,
                "moved here": lambda frame: moved,
                "reflected": lambda frame: reflected,
            }
            before = stand.balance("1001")
            proxy.rule = replaced(TO_BANK, ORDER, others[how])
            done = alice.send_here("--id", "later", stage=self.stage, code=None)
            proxy.rule = replaced(TO_BANK, 99, bytes)
            # A repeated password message is answered once, with its receipt, before the bank refuses it.
            assert done.code == (0 if self.stage is Stage.PASSWORD and how == "repeated" else 3), done.said
            assert stand.balance("1001") in (before, before - AMOUNT)
            alice.resume()
        assert stand.balance("1001") == before - AMOUNT
        assert (stand.postings("1001", "earlier"), stand.postings("1001", "later")) == (1, 1)
        stand.require_order()


class BelowCertified(EveryStage):
    """A stage that has a higher one above it can be found too low."""

    higher: ClassVar[Stage]

    def _too_low(self, done: Done) -> None:
        """Refused for its stage: under the password by the bank for sure, otherwise by whoever answers the opening."""
        assert done.code == (1 if self.stage is Stage.PASSWORD else 2), done.said
        assert re.search(r"code +stage\b", done.said), done.said

    def test_trial_36_a_stage_below_the_banks_minimum_is_refused(self, stand: Stand) -> None:
        alice = stand.ready("alice", self.stage)
        alice.send_here("--id", "before", stage=self.stage)
        stand.ready("alice", Stage.SESSION)
        stand.restart(minimum=self.higher)
        alice.forget_floor()
        self._too_low(alice.send("--id", "after", stage=self.stage, code=None))
        assert stand.postings("1001", "after") == 0
        alice.send_here("--id", "higher", stage=self.higher)
        assert stand.postings("1001", "higher") == 1

    def test_trial_36_a_stage_below_the_customers_floor_is_refused_by_both(self, stand: Stand) -> None:
        alice = stand.ready("alice", self.stage)
        alice.send_here(stage=self.stage)
        stand.ready("alice", Stage.SESSION)
        alice.send_here(stage=self.higher)
        entries = stand.entries()
        done = alice.send(stage=self.stage, code=2)
        assert "weaker stage" in done.err
        alice.forget_floor()
        # The customer's program forgot its floor; the bank must not.
        self._too_low(alice.send("--id", "low", stage=self.stage, code=None))
        assert stand.entries() == entries
        # Only the operator lowers it.
        stand.bank("accounts", "1001", "--floor", self.stage.value)
        alice.forget_floor()
        alice.send_here(stage=self.stage)
        assert len(stand.entries()) == len(entries) + 1


def _places(draw: random.Random) -> tuple[tuple[int, int], ...]:
    """Bytes to alter in a frame, with the bits to turn: three in the header, the first and others of the body."""
    anywhere = tuple((draw.randrange(HEADER_BYTES, 10_000), 1 << draw.randrange(8)) for _ in range(3))
    return (LENGTH, VERSION, KIND, (HEADER_BYTES, 0x01), *anywhere, (-1, 0x80))
