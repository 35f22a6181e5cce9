"""Openings: whose session it becomes, what is refused and how it is said, and that a replay comes to nothing."""

from pathlib import Path
from typing import Any

import pytest

from keyring import messages as openpgp
from keyring.certification import registered_home
from protocol import canonical, messages
from protocol.codes import Reason
from protocol.frames import Frame, FrameType
from protocol.messages import AskBalance, Balance, Open, SealedOpening
from protocol.stages import Stage
from tests.bank.counter import Counter, at_counter, entry_of, eventually, receive, refusal_in, send
from tests.bank.forgery import forged
from tests.bank.town import DAY, DAYS, Town

SESSIONS = (Stage.SESSION, Stage.SIGNED, Stage.CERTIFIED)


@pytest.fixture(autouse=True)
def _floor(counter: Counter) -> None:
    """Each test begins with the lowest floor and the right time."""
    counter.clock.ahead = 0.0
    if counter.floor("1001") is not Stage.PASSWORD:
        counter.server.customers.lower_floor("1001", Stage.PASSWORD)


@pytest.mark.parametrize("stage", SESSIONS)
def test_an_honest_opening_leads_to_a_session_of_its_customer(counter: Counter, stage: Stage) -> None:
    with counter.session(counter.town.alice, stage) as talk:
        answer = talk.ask(AskBalance(number=7))
    assert isinstance(answer, Balance)
    assert (answer.customer, answer.number) == ("1001", 7)
    assert counter.floor("1001") is stage


@pytest.mark.parametrize(
    ("stage", "changes", "expected"),
    [
        (Stage.SESSION, {"outer_stage": Stage.PASSWORD}, (Reason.MALFORMED, "stage")),
        (Stage.SIGNED, {"outer_stage": Stage.SESSION}, (Reason.SIGNATURE, "stage")),
        (Stage.SESSION, {"outer_stage": Stage.SIGNED}, (Reason.SIGNATURE, "stage")),
        (Stage.SESSION, {"bank": "A" * 40}, (Reason.SIGNATURE, "bank")),
        (Stage.SESSION, {"customer": "1002"}, (Reason.SIGNATURE, "customer")),
        (Stage.SESSION, {"claimed": "1002"}, (Reason.SIGNATURE, "signed")),
        (Stage.CERTIFIED, {"claimed": "1002"}, (Reason.CERTIFICATE_INVALID, "customer")),
        (Stage.CERTIFIED, {"claimed": "../1"}, (Reason.CERTIFICATE_INVALID, "customer")),
        (Stage.SESSION, {"claimed": "1003"}, (Reason.KEY_NOT_ACTIVATED, "customer")),
        (Stage.SESSION, {"claimed": "4444"}, (Reason.KEY_NOT_ACTIVATED, "customer")),
        (Stage.CERTIFIED, {"offered": "0" * 64}, (Reason.SIGNATURE, "offered")),
        (Stage.CERTIFIED, {"offered": None}, (Reason.SIGNATURE, "offered")),
        (Stage.CERTIFIED, {"key": None}, (Reason.CERTIFICATE_MISSING, "key")),
        (Stage.CERTIFIED, {"key": b"no key", "offered": None}, (Reason.CERTIFICATE_INVALID, "key")),
        (Stage.SESSION, {"offered": "0" * 64}, (Reason.SIGNATURE, "offered")),
        (Stage.SESSION, {"key": b"a key"}, (Reason.MALFORMED, "key")),
        (Stage.SESSION, {"time": "2020-01-01T00:00:00Z"}, (Reason.CLOCK, "time")),
        (Stage.SESSION, {"time": "2020-13-01T00:00:00Z"}, (Reason.MALFORMED, "time")),
        (Stage.SESSION, {"content": b"{}"}, (Reason.MALFORMED, "bank")),
        (Stage.SESSION, {"content": b"no JSON"}, (Reason.MALFORMED, None)),
        (Stage.SESSION, {"content": b"[" * 10_000}, (Reason.MALFORMED, None)),
    ],
)
def test_an_opening_that_is_not_whole_is_refused_by_name(
    counter: Counter, stage: Stage, changes: dict[str, Any], expected: tuple[Reason, str | None]
) -> None:
    assert counter.refusal(counter.opening(counter.town.alice, stage, **changes).frame) == expected


def test_only_alice_opens_as_alice(counter: Counter) -> None:
    town = counter.town
    alice, bob, impostor = town.alice, town.bob, town.impostor
    for stage in SESSIONS:
        assert counter.refusal(counter.opening(alice, stage, by=bob).frame) == (Reason.SIGNATURE, "signed")
        assert counter.refusal(counter.opening(alice, stage, by=impostor).frame) == (Reason.SIGNATURE, "signed")
    uncertified = counter.opening(impostor, Stage.CERTIFIED, key=impostor.key)
    assert counter.refusal(uncertified.frame) == (Reason.CA_UNKNOWN, "key")
    for number, role in (("1002", "customer"), ("1001", "bank")):
        elsewhere = counter.opening(alice, Stage.CERTIFIED, key=town.certified_for(alice, number, role))
        assert counter.refusal(elsewhere.frame) == (Reason.CERTIFICATE_INVALID, "customer")
    with counter.session(alice, Stage.CERTIFIED) as talk:
        assert isinstance(talk.ask(AskBalance(number=1)), Balance)


def test_strangers_do_not_learn_from_the_stage_certified_who_has_an_account(counter: Counter) -> None:
    impostor = counter.town.impostor
    for number in ("1001", "4444"):
        opening = counter.opening(impostor, Stage.CERTIFIED, claimed=number, key=impostor.key)
        assert counter.refusal(opening.frame) == (Reason.CA_UNKNOWN, "key")


def test_a_certified_key_without_an_account_is_told_so(counter: Counter) -> None:
    alice = counter.town.alice
    key = counter.town.certified_for(alice, "7777", "customer")
    certificate = forged(counter.town, alice, number="7777")
    opening = counter.opening(alice, Stage.CERTIFIED, claimed="7777", key=key, certificate_der=certificate)
    assert counter.refusal(opening.frame) == (Reason.KEY_NOT_ACTIVATED, "customer")


@pytest.mark.parametrize(("seconds", "accepted"), [(290, True), (-290, True), (310, False), (-310, False)])
def test_trial_42_clocks_may_differ_by_five_minutes_and_a_refusal_tells_the_banks_time(
    counter: Counter, seconds: float, accepted: bool
) -> None:
    frame = counter.opening(counter.town.alice, Stage.SESSION).frame
    counter.clock.ahead = seconds
    answer = counter.say(frame)
    if accepted:
        assert answer is not None
        assert answer.type is FrameType.OPENED
    else:
        refusal = refusal_in(answer)
        assert (refusal.reason, refusal.field) == (Reason.CLOCK, "time")
        assert refusal.time in refusal.sentence


def test_trial_42_a_certification_that_has_ended_opens_nothing(counter: Counter) -> None:
    alice = counter.town.alice
    counter.clock.ahead = (DAYS + 1) * DAY
    opening = counter.opening(alice, Stage.CERTIFIED)
    assert counter.refusal(opening.frame) == (Reason.CERTIFICATE_INVALID, "certificate")
    with counter.session(alice, Stage.SIGNED) as talk:  # nobody vouches there, so nothing ends
        assert isinstance(talk.ask(AskBalance(number=1)), Balance)


@pytest.mark.parametrize("lower", [Stage.SESSION, Stage.SIGNED])
def test_below_the_floor_nothing_opens(counter: Counter, lower: Stage) -> None:
    alice = counter.town.alice
    with counter.session(alice, Stage.CERTIFIED) as talk:
        talk.ask(AskBalance(number=1))
    assert counter.refusal(counter.opening(alice, lower).frame) == (Reason.STAGE_TOO_LOW, "stage")
    with counter.session(counter.town.bob, lower) as talk:  # the floor is each customer's own
        assert isinstance(talk.ask(AskBalance(number=1)), Balance)
    counter.server.customers.lower_floor("1002", Stage.PASSWORD)


def test_below_the_banks_minimum_nothing_opens_whatever_the_floor(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp, minimum_stage=Stage.CERTIFIED) as counter:
        for stage in (Stage.SESSION, Stage.SIGNED):
            assert counter.refusal(counter.opening(town.alice, stage).frame) == (Reason.STAGE_TOO_LOW, "stage")
        with counter.session(town.alice, Stage.CERTIFIED) as talk:
            assert isinstance(talk.ask(AskBalance(number=1)), Balance)
        frame = counter.password_frame(town.bob, AskBalance(number=1))
        assert counter.refusal(frame) == (Reason.STAGE_TOO_LOW, "stage")


def test_a_replayed_opening_comes_to_nothing(counter: Counter) -> None:
    alice = counter.town.alice
    opening = counter.opening(alice, Stage.SIGNED)
    keys_known = counter.count("key")
    replayed = counter.connect()
    send(replayed, opening.frame)
    answer = receive(replayed)
    assert answer is not None
    assert answer.type is FrameType.OPENED  # the bank cannot know yet, but whoever has no session key ends here
    send(replayed, Frame(FrameType.RECORD, b"x" * 40))
    assert receive(replayed) is not None  # the proof, which the replayer cannot read
    assert receive(replayed) is None
    replayed.close()
    assert counter.floor("1001") is Stage.PASSWORD
    assert counter.count("key") == keys_known
    with counter.session(alice, Stage.SIGNED) as talk:
        assert isinstance(talk.ask(AskBalance(number=1)), Balance)
    assert counter.floor("1001") is Stage.SIGNED


def test_a_record_counts_once_in_its_own_session_only(counter: Counter) -> None:
    alice = counter.town.alice
    balance = counter.balance("1001")
    with counter.session(alice, Stage.SESSION) as first, counter.session(alice, Stage.SESSION) as second:
        record = first.channel.seal(messages.encode(counter.submission(alice, "recorded", Stage.SESSION)))
        send(second.connection, record)
        assert second.answer() is None
        send(first.connection, record)
        assert entry_of(first.answer()).transfer_identifier == "recorded"
        send(first.connection, record)
        assert first.answer() is None
    assert counter.balance("1001") == balance - 100


def test_a_record_that_was_left_out_or_reflected_ends_the_session(counter: Counter) -> None:
    alice = counter.town.alice
    with counter.session(alice, Stage.SESSION) as talk:
        talk.channel.seal(b"never sent")
        talk.send(AskBalance(number=1))
        assert talk.answer() is None
    opening = counter.opening(alice, Stage.SESSION)
    connection = counter.connect()
    send(connection, opening.frame)
    assert receive(connection) is not None
    proof = receive(connection)
    assert proof is not None
    send(connection, proof)
    assert receive(connection) is None
    connection.close()


def test_a_share_of_small_order_opens_nothing(counter: Counter) -> None:
    opening = counter.opening(counter.town.alice, Stage.SESSION, share=bytes(32))
    assert counter.say(opening.frame) is None


def test_what_is_not_sealed_to_the_bank_opens_nothing(counter: Counter, short_tmp: Path) -> None:
    town = counter.town
    content = canonical.encode(SealedOpening(certificate=None, customer="1001", key=None, signed=b""))
    other = registered_home(short_tmp / "other", key=town.bob.key, expected_fingerprint=town.bob.fingerprint)
    to_bob = openpgp.seal(other, town.bob.fingerprint, content)
    signed = openpgp.sign(town.alice.home, town.alice.fingerprint, content)
    whole = counter.seal(content)
    for sealed in (b"", b"junk", to_bob, signed, whole + whole, whole[:-1], whole + b"\0", content):
        frame = counter.opening(town.alice, Stage.SESSION, outer_sealed=sealed).frame
        assert counter.refusal(frame) == (Reason.MALFORMED, "sealed")
    for inner in (b"", b"{}", content + b" ]", content.replace(b"1001", b"1" * 35)):
        frame = counter.opening(town.alice, Stage.SESSION, outer_sealed=counter.seal(inner)).frame
        assert counter.refusal(frame)[0] is Reason.MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b'{"type":"open"}',
        b'{"sealed":"AA==","stage":"signed","type":"opened"}',
        b'{"sealed":"AA==","stage":"royal","type":"open"}',
        b'{"sealed":5,"stage":"signed","type":"open"}',
        b'{"sealed":"AA==","stage":"signed","type":"open","also":1}',
        b'{"sealed":"AA==","stage":"signed","type":"open","\\u0000\\u202e":1}',
        b"[" * 60_000,
    ],
)
def test_a_malformed_opening_is_answered_in_one_clean_sentence(counter: Counter, body: bytes) -> None:
    refusal = refusal_in(counter.say(Frame(FrameType.OPEN, body)))
    assert refusal.reason is Reason.MALFORMED
    assert refusal.sentence.isprintable()


def test_an_opening_with_many_recipients_never_reaches_gpg(counter: Counter) -> None:
    inner = canonical.encode(SealedOpening(certificate=None, customer="1001", key=None, signed=b""))
    sealed = counter.seal(inner)
    recipient = sealed[: 2 + sealed[1]]
    assert recipient[0] in (0x84, 0xC1)  # one public-key encrypted session key
    judged = counter.server.opener.sealed_worker
    made = judged._made
    flood = recipient * 500 + sealed
    assert len(flood) < 64 * 1024
    frame = Frame(FrameType.OPEN, canonical.encode(Open(sealed=flood[:48_000], stage=Stage.SESSION)))
    assert counter.refusal(frame) == (Reason.MALFORMED, "sealed")
    assert judged._made == made
    honest = counter.opening(counter.town.alice, Stage.SESSION).frame
    answer = counter.say(honest)
    assert answer is not None
    assert answer.type is FrameType.OPENED
    assert judged._made == made + 1


def test_an_opening_that_fails_leaves_no_small_home(counter: Counter) -> None:
    folder = counter.server.opener.identities._folder
    before = sorted(folder.iterdir())
    town = counter.town
    assert counter.refusal(counter.opening(town.impostor, Stage.CERTIFIED, key=town.impostor.key).frame)
    key = town.certified_for(town.alice, "8888", "customer")
    assert counter.refusal(counter.opening(town.alice, Stage.CERTIFIED, key=key).frame)
    assert counter.refusal(counter.opening(town.alice, Stage.CERTIFIED, key=key, claimed="8888").frame)
    eventually(lambda: sorted(folder.iterdir()) == before)
