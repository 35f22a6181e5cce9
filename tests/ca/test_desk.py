"""The desk takes what is in order, within its limits, and knows no private key."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ca import ceremony, revoking
from ca.applicant import Desk, explain
from ca.authority import Authority
from ca.config import Limits
from ca.documents import DOCUMENT_LIMIT_BYTES, claimed_content
from ca.errors import CaError, DeskError
from ca.messages import AskBank, DeskRefusal, RequestState, State, decode_answer, encode
from ca.notices import make_notice
from ca.requests import claimed_request
from keyring import keys, messages
from protocol import transport
from protocol.errors import ProtocolError
from protocol.frames import Frame, FrameType
from protocol.transport import Address
from tests.ca.cast import CODE, PASSPHRASE, Cast, confirm, issue, issued_to, opened, serving
from tests.changes import with_last_byte_changed


def later() -> float:
    return time.time() + 5


def test_applicant_follows_its_request_from_state_to_state(authority: Authority, cast: Cast) -> None:
    alice, log = cast.alice, list[str]()
    with serving(authority.desk, log=log) as desk:
        assert desk.fetch(alice.fingerprint) == RequestState("", State.UNKNOWN)
        waiting = desk.submit_request(alice.request())
        assert waiting == desk.fetch(alice.fingerprint) == RequestState(waiting.identifier, State.WAITING)
        # Repeated with the same key, as the same document or anew, it stays the one that the operator looks for.
        assert desk.submit_request(alice.request(later)) == waiting
        confirm(authority, waiting.identifier, alice.words)
        assert desk.fetch(alice.fingerprint) == RequestState(waiting.identifier, State.CONFIRMED)
        assert desk.submit_request(alice.request(later)).state is State.CONFIRMED
        made = issue(authority, waiting.identifier)
        assert desk.fetch(alice.fingerprint) == made.certified
        # By the identifier that the authority knows, not by that of a request which it never files.
        assert desk.submit_request(alice.request(later)) == RequestState(waiting.identifier, State.ISSUED)
        assert len(authority.desk.requests(*State)) == 2, "the bank's and Alice's"
        assert desk.bank_key() == authority.desk.bank()[0]  # type: ignore[index]
        assert keys.public_key_fingerprint(desk.authority_key().key) == authority.configuration.fingerprint
    assert [line.split()[0] for line in log] == ["request"]


def test_locked_request_stays_locked_when_it_is_made_anew(authority: Authority, cast: Cast) -> None:
    with serving(authority.desk) as desk:
        message = cast.alice.request()
        identifier = desk.submit_request(message).identifier
        for _ in range(3):
            confirm(authority, identifier, cast.bob.words)
        assert desk.fetch(cast.alice.fingerprint) == RequestState(identifier, State.LOCKED)
        assert desk.submit_request(message) == RequestState(identifier, State.LOCKED)
        assert desk.submit_request(cast.alice.request(later)) == RequestState(identifier, State.LOCKED)
        ceremony.reopen(authority, identifier, reason="the line was bad", operator="operator", clock=time.time)
        assert desk.fetch(cast.alice.fingerprint) == RequestState(identifier, State.WAITING)
        assert desk.submit_request(cast.alice.request(later)) == RequestState(identifier, State.WAITING)


def test_no_bank_yet_is_said(cast: Cast, short_tmp: Path) -> None:
    with (
        opened(cast.folder, short_tmp / "ca") as authority,
        serving(authority.desk) as desk,
        pytest.raises(DeskError, match="No bank is certified here yet"),
    ):
        desk.bank_key()


def _signed_by_another(cast: Cast) -> bytes:
    return messages.sign(cast.bob.home, cast.bob.fingerprint, claimed_content(cast.alice.request(), CaError))


def _with_one_bit_changed(cast: Cast) -> bytes:
    message = bytearray(cast.alice.request())
    message[-20] ^= 1
    return bytes(message)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_signed_by_another, "signature does not count"),
        (_with_one_bit_changed, "signature does not count"),
        (lambda cast: cast.bank.notice(cast.alice), "malformed"),
        (lambda cast: cast.alice.request()[:-1], "not a signed message"),
        (lambda cast: cast.alice.request() * 2, "not a signed message"),
        (lambda cast: bytes(DOCUMENT_LIMIT_BYTES + 1), "at most"),
        (lambda cast: b"", "not a signed message"),
    ],
)
def test_request_not_in_order_is_refused_in_words(
    authority: Authority, cast: Cast, make: Callable[[Cast], bytes], sentence: str
) -> None:
    with serving(authority.desk) as desk:
        with pytest.raises(DeskError, match=sentence):
            desk.submit_request(make(cast))
        assert desk.submit_request(cast.alice.request()).state is State.WAITING


def test_limits_of_open_requests_and_notices(authority: Authority, cast: Cast) -> None:
    limits = Limits(open_requests_per_address=1, notices_per_customer=2)
    with serving(authority.desk, limits) as desk:
        desk.submit_request(cast.alice.request())
        with pytest.raises(DeskError, match="Too many requests from this address"):
            desk.submit_request(cast.bob.request())
        assert desk.submit_request(cast.alice.request()).state is State.WAITING, "the same again costs nothing"
        first = cast.bank.notice(cast.alice)
        for message in (first, first, cast.bank.notice(cast.alice)):
            desk.submit_notice(message)
        with pytest.raises(DeskError, match="no more notices for this customer"):
            desk.submit_notice(cast.bank.notice(cast.alice))
        desk.submit_notice(cast.bank.notice(cast.bob))


def test_limit_of_connections_from_one_address(authority: Authority) -> None:
    with serving(authority.desk, Limits(connections_per_address=1)) as desk:
        first = transport.connect(desk.address, timeout_seconds=5)
        first.send(Frame(FrameType.DESK_REQUEST, encode(AskBank())), timeout_seconds=5)
        assert first.receive(idle_seconds=5, frame_seconds=5) is not None
        with pytest.raises(DeskError, match="busy"):
            desk.bank_key()
        first.close()


def test_request_for_a_revoked_key_is_told_so(settled: Authority, cast: Cast) -> None:
    made = issued_to(settled, cast.alice)
    told = RequestState(made.digest[:16], State.REVOKED)
    revoking.revoke(settled, made, reason="superseded", operator="operator", passphrase=PASSPHRASE, clock=time.time)
    with serving(settled.desk) as desk:
        assert desk.submit_request(made.request) == desk.submit_request(cast.alice.request(later)) == told
        assert desk.fetch(cast.alice.fingerprint) == issued_to(settled, cast.alice).certified, "with its revocation"
        assert desk.submit_request(cast.bob.request()).state is State.WAITING
        assert desk.submit_request(cast.impostor.request()).state is State.WAITING, "a new key of the same customer"
        # Past its end it is no better.
        settled.desk.put_certificate(replace(made, expires=1))
        assert desk.fetch(cast.alice.fingerprint) == desk.submit_request(cast.alice.request(later)) == told
    assert len(settled.desk.requests_of(cast.alice.fingerprint)) == 1


def test_request_for_a_key_whose_certificate_has_ended_is_a_new_one(settled: Authority, cast: Cast) -> None:
    made = issued_to(settled, cast.alice)
    settled.desk.put_certificate(replace(made, expires=1))
    with serving(settled.desk) as desk:
        ended = RequestState(made.digest[:16], State.EXPIRED)
        assert desk.submit_request(made.request) == desk.fetch(cast.alice.fingerprint) == ended
        assert desk.submit_request(cast.alice.request(later)).state is State.WAITING


def test_notices_are_kept_only_if_the_certified_bank_signed_them(settled: Authority, cast: Cast) -> None:
    """Eight of anybody's used to keep out the bank's, and with it the code in the customer's letter."""
    limits = Limits(notices_per_customer=1)
    posing = make_notice(
        cast.bob.home, cast.bob.fingerprint, customer="1001", name="Alice", caller_code=CODE, clock=time.time
    )
    content = claimed_content(cast.bank.notice(cast.alice), CaError)
    forged = messages.sign(cast.alice.home, cast.alice.fingerprint, content)  # Alice is certified, as a customer
    changed = with_last_byte_changed(cast.bank.notice(cast.alice))
    with serving(settled.desk, limits) as desk:
        for message, why in ((posing, "another bank"), (forged, "does not count"), (changed, "does not count")):
            with pytest.raises(DeskError, match=why):
                desk.submit_notice(message)
        assert settled.desk.notice_count() == 0
        desk.submit_notice(cast.bank.notice(cast.alice))
        assert settled.desk.notice_count() == 1


def test_notice_counts_no_more_once_the_bank_is_revoked(authority: Authority, cast: Cast) -> None:
    before, after = (cast.bank.notice(each) for each in (cast.alice, cast.bob))
    with serving(authority.desk) as desk:
        desk.submit_notice(before)
        bank = issued_to(authority, cast.bank)
        revoking.revoke(authority, bank, reason="cessation", operator="o", passphrase=PASSPHRASE, clock=time.time)
        with pytest.raises(DeskError, match="certificate of the bank was revoked"):
            desk.submit_notice(after)
        desk.submit_notice(before)  # it has that one


def test_no_notice_is_kept_before_there_is_a_bank(cast: Cast, short_tmp: Path) -> None:
    with opened(cast.folder, short_tmp / "ca") as authority, serving(authority.desk) as desk:
        with pytest.raises(DeskError, match="No bank is certified here yet") as refused:
            desk.submit_notice(cast.bank.notice(cast.alice))
        assert refused.value.again


def test_stale_requests_are_forgotten_but_not_confirmed_ones(authority: Authority, cast: Cast) -> None:
    with serving(authority.desk) as desk:
        kept = desk.submit_request(cast.bob.request()).identifier
        desk.submit_request(cast.impostor.request())
        confirm(authority, kept, cast.bob.words)
        authority.desk.write("UPDATE requests SET received = received - 31 * 86400")
        desk.submit_request(cast.alice.request())
        left = {each.fingerprint for each in authority.desk.requests(State.WAITING, State.CONFIRMED)}
        assert left == {cast.alice.fingerprint, cast.bob.fingerprint}


@pytest.mark.parametrize("frame", [Frame(FrameType.DESK_REQUEST, b"{}"), Frame(FrameType.RECORD, b"")])
def test_nonsense_is_answered_and_the_desk_goes_on(authority: Authority, frame: Frame) -> None:
    with serving(authority.desk) as desk:
        connection = transport.connect(desk.address, timeout_seconds=5)
        for _ in range(2):
            connection.send(frame, timeout_seconds=5)
            answer = connection.receive(idle_seconds=5, frame_seconds=5)
            assert answer is not None
            assert isinstance(decode_answer(answer.body), DeskRefusal)
        connection.close()
        assert desk.bank_key().certificate


def test_requests_digest_is_what_the_operator_calls_it_by(cast: Cast) -> None:
    message = cast.alice.request(lambda: 1_800_000_000)
    request = claimed_request(message)
    assert request.identifier == request.digest[:16]
    assert claimed_request(cast.alice.request(lambda: 1_800_000_000)).digest == request.digest, (
        "the bytes signed, alone"
    )


def test_every_state_has_a_sentence_with_the_next_command() -> None:
    for state in State:
        for program in ("customer", "bank"):
            assert f"`{program} " in explain(state, program)


@pytest.mark.parametrize("kind", ["nothing", "closes", "another type", "not JSON", "another answer", "terminal codes"])
def test_client_says_what_is_wrong_with_a_desk_that_is_none(kind: str) -> None:
    answers = {
        "another type": Frame(FrameType.OPENED, b""),
        "not JSON": Frame(FrameType.DESK_ANSWER, b"\xff"),
        "another answer": Frame(FrameType.DESK_ANSWER, encode(RequestState("", State.ISSUED))),
        "terminal codes": Frame(FrameType.DESK_ANSWER, encode(DeskRefusal(False, "\x1b[2J" + "a" * 5_000))),
    }

    def handle(connection: transport.Connection) -> None:
        try:
            connection.receive(idle_seconds=5, frame_seconds=5)
            if kind in answers:
                connection.send(answers[kind], timeout_seconds=5)
            if kind == "nothing":
                connection.receive(idle_seconds=5, frame_seconds=5)
        except ProtocolError:
            return

    listener = transport.Listener(
        transport.Address("127.0.0.1", 0), handle, lambda: answers["not JSON"], transport.ListenerLimits(4, 4)
    )
    listener.start()
    with pytest.raises(DeskError) as caught:
        Desk(listener.address, timeout_seconds=0.3).bank_key()
    listener.stop(1)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_client_says_that_nobody_answers() -> None:
    with pytest.raises(DeskError, match=r"Nobody answers at 127\.0\.0\.1:1"):
        Desk(transport.Address("127.0.0.1", 1), timeout_seconds=1).authority_key()


def test_nobody_at_the_desk_is_said_with_who_opens_it_and_the_way_without() -> None:
    desk = Desk(Address("127.0.0.1", 1), timeout_seconds=5.0)
    with pytest.raises(DeskError, match=r"gave no answer: .*`ca serve`.*--out, --in"):
        desk.authority_key()
