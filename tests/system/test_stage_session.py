"""In the stage session the registered key opens the session, and no other key does."""

from protocol.stages import Stage
from tests.system import crafted
from tests.system.courses import BelowCertified
from tests.system.town import Stand


class TestSession(BelowCertified):
    stage = Stage.SESSION
    higher = Stage.SIGNED


def test_another_key_than_the_registered_one_opens_no_session(stand: Stand) -> None:
    alice = stand.ready("alice", Stage.SESSION)
    thief = crafted.with_view_of(crafted.with_keys_of(stand, "alice", "bob"), alice)
    entries = stand.entries()
    done = thief.send("--id", "theft", stage=Stage.SESSION, code=2)
    assert "code DS17" in done.err
    assert stand.entries() == entries
    alice.send_here(stage=Stage.SESSION)
    assert len(stand.entries()) == len(entries) + 1


def test_a_customer_without_a_registered_key_is_told_so(stand: Stand) -> None:
    alice, bob = stand.ready("alice", Stage.SESSION), stand.person("bob")
    done = crafted.with_view_of(bob, alice).send(to="1001", stage=Stage.SESSION, code=2)
    assert "code DS27" in done.err
    assert "customer register" in done.err
    stand.ready("bob", Stage.SESSION).send_here(to="1001", stage=Stage.SESSION)
