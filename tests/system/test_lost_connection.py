"""A connection that is lost leaves no transfer half made: the exit code says what is known, and `resume` the rest."""

from pathlib import Path

import pytest

from protocol.stages import Stage
from tests.system.courses import ORDER, RECEIPT
from tests.system.proxy import TO_BANK, TO_CUSTOMER, cut_before
from tests.system.town import Stand, Town, standing

STAGES = list(Stage)


@pytest.mark.parametrize("stage", STAGES)
def test_with_the_server_gone_before_nothing_is_sent(stand: Stand, stage: Stage) -> None:
    alice = stand.ready("alice", stage)
    stand.kill()
    done = alice.send("--id", "rent", stage=stage, code=2)
    assert "Nothing was sent" in done.err
    assert alice.outbox() == {"rent": "unsent"}
    assert alice.resume() == []
    stand.start()
    assert stand.postings("1001", "rent") == 0
    assert alice.send_here("--id", "rent", "--json", stage=stage).json()["duplicate"] is False
    assert stand.postings("1001", "rent") == 1


@pytest.mark.parametrize("moment", ["before the order arrives", "before the receipt arrives"])
@pytest.mark.parametrize("stage", STAGES)
def test_lost_on_the_way_the_outcome_is_unknown_until_resumed(stand: Stand, stage: Stage, moment: str) -> None:
    alice = stand.ready("alice", stage)
    alice.send_here(stage=stage)  # so that the frames have the numbers of a customer who knows the bank
    posted = moment == "before the receipt arrives"
    with stand.between(alice) as proxy:
        proxy.rule = cut_before(TO_CUSTOMER, RECEIPT[stage]) if posted else cut_before(TO_BANK, ORDER)
        done = alice.send("--id", "rent", stage=stage, code=3)
        assert "customer resume" in done.err
        assert alice.outbox()["rent"] == "unknown"
        assert stand.postings("1001", "rent") == int(posted)
        proxy.rule = cut_before(TO_BANK, 0)
        (found,) = alice.resume(code=3)
        assert (found["transfer_identifier"], found["status"]) == ("rent", "unknown")
    stand.kill()
    assert alice.resume(code=3)[0]["status"] == "unknown"
    stand.start()
    (found,) = alice.resume()
    assert (found["status"], found["duplicate"]) == ("posted", posted)
    assert stand.postings("1001", "rent") == 1
    assert alice.resume() == []
    stand.require_order()


def test_a_line_that_dies_after_the_receipt_changes_nothing(stand: Stand) -> None:
    alice = stand.person("alice")
    with stand.between(alice) as proxy:
        proxy.rule = cut_before(TO_BANK, 2)  # the good-bye
        alice.send("--id", "rent")
    assert alice.outbox() == {"rent": "posted"}
    assert stand.postings("1001", "rent") == 1


@pytest.mark.parametrize("piece_bytes", [1, 7])
def test_trial_41_bytes_that_trickle_make_the_same_transfer(town: Town, short_tmp: Path, piece_bytes: int) -> None:
    # Thousands of pieces take their time on a busy machine; whoever trickles for longer is hung up on.
    with standing(town, short_tmp, handshake_seconds=60, frame_seconds=60) as stand:
        alice = stand.person("alice")
        with stand.between(alice) as proxy:
            proxy.piece_bytes = piece_bytes
            alice.send("--id", "rent")
        assert stand.postings("1001", "rent") == 1


def test_a_server_killed_between_order_and_receipt_has_the_transfer_when_it_is_back(stand: Stand) -> None:
    alice = stand.person("alice")
    with stand.between(alice) as proxy:

        def rule(direction: str, number: int, frame: bytes) -> bytes:
            if (direction, number) == (TO_CUSTOMER, RECEIPT[Stage.CERTIFIED]):
                stand.kill()
                proxy.hang_up()
            return frame

        proxy.rule = rule
        alice.send("--id", "rent", code=3)
    stand.start()
    (found,) = alice.resume()
    assert (found["status"], found["duplicate"]) == ("posted", True)
    assert stand.postings("1001", "rent") == 1
    stand.require_order()
