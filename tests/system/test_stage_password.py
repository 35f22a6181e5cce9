"""In the stage password every message is under the password of the letter, and nothing else passes for it."""

from collections.abc import Callable

import pytest

from bank.home import BankHome
from keyring import messages as openpgp
from protocol.frames import FrameType
from protocol.messages import Refusal, decode_answer
from protocol.stages import Stage
from tests.system import crafted
from tests.system.courses import BelowCertified
from tests.system.proxy import HEADER_BYTES, say
from tests.system.town import Person, Stand


class TestPassword(BelowCertified):
    stage = Stage.PASSWORD
    higher = Stage.SESSION


def test_a_wrong_letter_is_refused_before_the_order_leaves(stand: Stand) -> None:
    alice, wrong = stand.person("alice"), stand.folder / "wrong.letter"
    text = alice.letter.read_text()
    theirs, ours = (stand.town.letter(name).password for name in ("bob", "alice"))
    wrong.write_text(text.replace(ours, theirs))
    options = ("--to", "1002", "--amount", "1.00", "--stage", "password", "--id", "rent", "--json")
    done = alice.run("send", *options, "--letter", wrong, code=2)
    assert "code password" in done.err
    assert alice.outbox() == {"rent": "unsent"}
    assert stand.postings("1001", "rent") == 0
    alice.run("send", *options, "--letter", alice.letter)
    assert stand.postings("1001", "rent") == 1


def test_another_customers_letter_is_noticed_here(stand: Stand) -> None:
    alice, bob = stand.person("alice"), stand.person("bob")
    options = ("--to", "1002", "--amount", "1.00", "--stage", "password")
    done = alice.run("send", *options, "--letter", bob.letter, code=2)
    assert "is for customer 1002" in done.err


def to_the_banks_key(stand: Stand, alice: Person, content: bytes) -> bytes:
    bank = BankHome.open(stand.home)
    return openpgp.seal(bank.gnupg, bank.config.fingerprint, content)


def bare(stand: Stand, alice: Person, content: bytes) -> bytes:
    return crafted.bare_literal(content)


def signed(stand: Stand, alice: Person, content: bytes) -> bytes:
    with alice.opened() as home:
        return openpgp.sign(home.keys, home.key, content)


def twice(stand: Stand, alice: Person, content: bytes) -> bytes:
    return crafted.sealed_under_password(alice, content) * 2


def empty(stand: Stand, alice: Person, content: bytes) -> bytes:
    return b""


Disguise = Callable[[Stand, Person, bytes], bytes]


@pytest.mark.parametrize("disguise", [to_the_banks_key, bare, signed, twice, empty])
def test_trial_27_a_password_message_that_is_not_one_is_refused(stand: Stand, disguise: Disguise) -> None:
    alice = stand.person("alice")
    content = crafted.password_request(stand, "posed")
    (answer,) = say(stand.address, crafted.password_frame(disguise(stand, alice, content)))
    assert answer[5] == FrameType.REFUSED
    refusal = decode_answer(answer[HEADER_BYTES:])
    assert isinstance(refusal, Refusal)
    assert refusal.reason.value == "password"
    assert stand.postings("1001", "posed") == 0
    # The honest twin: the very same request under the password.
    (answer,) = say(stand.address, crafted.password_frame(crafted.sealed_under_password(alice, content)))
    assert answer[5] == FrameType.PASSWORD
    assert stand.postings("1001", "posed") == 1
