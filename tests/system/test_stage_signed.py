"""In the stage signed every order bears the signature of the registered key, whoever's session it comes in."""

from customer import conversing
from keyring import messages as openpgp
from protocol.messages import NumberedReceipt, Refusal
from protocol.stages import Stage
from tests.system import crafted
from tests.system.courses import BelowCertified
from tests.system.town import Stand, submit


class TestSigned(BelowCertified):
    stage = Stage.SIGNED
    higher = Stage.CERTIFIED


def test_another_key_than_the_registered_one_opens_no_session(stand: Stand) -> None:
    alice = stand.ready("alice", Stage.SIGNED)
    thief = crafted.with_view_of(crafted.with_keys_of(stand, "alice", "bob"), alice)
    entries = stand.entries()
    done = thief.send("--id", "theft", stage=Stage.SIGNED, code=2)
    assert "code DS17" in done.err
    assert stand.entries() == entries
    alice.send_here(stage=Stage.SIGNED)
    assert len(stand.entries()) == len(entries) + 1


def test_an_order_in_ones_own_session_signed_by_another_or_by_nobody_is_refused(stand: Stand) -> None:
    alice, bob = stand.ready("alice", Stage.SIGNED), stand.ready("bob", Stage.SIGNED)
    content = crafted.order(stand, "order-1")
    with bob.opened() as theirs, alice.opened() as ours:
        foreign = openpgp.sign(theirs.keys, theirs.key, content)
        own = openpgp.sign(ours.keys, ours.key, content)
        # The amount is a field of fixed length: what is signed stays a well-formed message, about more money.
        more = own.replace(b'"amount":"1.00"', b'"amount":"9.00"')
        assert more != own
        with conversing.conversation(ours, Stage.SIGNED) as talk:
            for message in (foreign, content, more):
                (answer,) = talk.ask(submit(message))
                assert isinstance(answer, Refusal)
                assert (answer.reason.value, answer.field) == ("DS17", "order")
            assert stand.postings("1001", "order-1") == 0
            # The honest twin, which finds its identifier unused.
            (answer,) = talk.ask(submit(own))
            assert isinstance(answer, NumberedReceipt)
    assert stand.postings("1001", "order-1") == 1
