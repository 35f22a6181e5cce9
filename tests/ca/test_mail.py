"""What came as a file is taken in like at the desk, counts for no address, and whatever else it is, is said."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ca import inventory, issuing, mail, revoking
from ca.authority import Authority
from ca.config import Limits
from ca.errors import DeskError, RequestError
from ca.messages import DeskAnswer, NoticeTaken, RequestState, RevokedKeyTaken, State
from keyring import keys
from tests.ca.cast import PASSPHRASE, Cast, confirm, file, issue, issued_to, serving
from tests.ca.test_cli import ca
from tests.ca.test_given_up import revoked_by_owner
from tests.changes import with_last_byte_changed


def take(authority: Authority, document: bytes) -> DeskAnswer:
    return mail.take(authority, document, clock=time.time)


def test_mailed_requests_share_no_limit_of_an_address(authority: Authority, cast: Cast) -> None:
    limits = Limits(open_requests_per_address=1, open_requests=1, documents_per_minute=1, questions_per_minute=1)
    limited = replace(authority, configuration=msgspec.structs.replace(authority.configuration, limits=limits))
    for applicant in (cast.alice, cast.bob):
        answer = take(limited, applicant.request())
        assert isinstance(answer, RequestState)
        assert (answer.state, "Taken in" in mail.told(answer)) == (State.WAITING, True)
    # The desk itself keeps its measure meanwhile.
    with serving(authority.desk, limits) as desk, pytest.raises(DeskError, match="Too many requests"):
        desk.submit_request(cast.impostor.request())


def test_key_that_its_owner_has_revoked_is_taken_from_a_file(settled: Authority, cast: Cast) -> None:
    now, revoked = int(time.time()), revoked_by_owner(cast.alice)
    for other, why in (
        (keys.export_minimal(cast.alice.home, cast.alice.fingerprint), "is not revoked by its owner"),
        (revoked_by_owner(cast.bob), "No certificate was issued here"),
        (revoked[:-1], "no file that is taken in"),
    ):
        with pytest.raises(RequestError, match=f"{why}.*(Nothing was taken in|ask its sender)"):
            take(settled, other)
    assert settled.desk.given_up() == ()
    assert isinstance(take(settled, revoked), RevokedKeyTaken)
    assert mail.told(take(settled, revoked)) == "Taken in: a key that its owner has revoked."
    (row,) = inventory.open_requests(settled, now)
    assert row.state == "given up by its owner: ca revoke 1001 --reason key-compromise"
    assert len(settled.desk.given_up()) == 1


def test_notice_is_taken_from_a_file_if_it_is_the_banks(authority: Authority, cast: Cast) -> None:
    assert isinstance(take(authority, cast.bank.notice(cast.alice)), NoticeTaken)
    with pytest.raises(RequestError, match=r"another bank.*Nothing was taken in; ask its sender"):
        take(authority, cast.bob.notice(cast.alice))
    assert authority.desk.notice_count() == 1


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda _cast: b"", "no file that is taken in.*not a signed message"),
        (lambda _cast: b"Dear operator, please find attached", "no file that is taken in"),
        (lambda cast: cast.alice.request() + b"\n", "no file that is taken in"),
        (lambda cast: with_last_byte_changed(cast.alice.request()), "Nothing was taken in; ask its sender"),
    ],
)
def test_wrong_file_is_answered_with_what_to_ask_for(
    authority: Authority, cast: Cast, make: Callable[[Cast], bytes], sentence: str
) -> None:
    with pytest.raises(RequestError, match=f"(?s){sentence}") as refused:
        take(authority, make(cast))
    assert "ask its sender" in str(refused.value)
    assert isinstance(take(authority, cast.alice.request()), RequestState)


def test_request_for_a_key_with_a_certificate_says_what_became_of_it(settled: Authority, cast: Cast) -> None:
    first = issued_to(settled, cast.alice)
    again = take(settled, cast.alice.request(lambda: time.time() + 5))
    assert again == RequestState(first.digest[:16], State.ISSUED)
    assert f"ca issue {first.digest[:16]} --out FILE" in mail.told(again)
    assert issuing.for_mail(settled, issue(settled, first.digest[:16]), int(time.time()))
    settled.desk.put_certificate(replace(first, expires=1))
    with pytest.raises(RequestError, match="has expired; its owner makes a new request"):
        take(settled, first.request)
    settled.desk.put_certificate(first)
    revoking.revoke(settled, first, reason="superseded", operator="operator", passphrase=PASSPHRASE, clock=time.time)
    for message in (first.request, cast.alice.request(lambda: time.time() + 5)):
        with pytest.raises(RequestError, match="revoked, and the key is never certified again"):
            take(settled, message)


def test_commands_take_files_in(with_alice: Path, cast: Cast, short_tmp: Path) -> None:
    home, mailed = short_tmp / "ca", short_tmp / "mailed"
    shutil.copytree(with_alice, home)
    mailed.write_bytes(revoked_by_owner(cast.alice))
    said = ca(home, "requests", "--take", str(mailed))
    assert "Taken in: a key that its owner has revoked." in said
    assert "ca revoke 1001" in said
    mailed.write_bytes(cast.bob.request())
    said = ca(home, "requests", "--take", str(mailed))
    assert "Taken in: request" in said
    assert "waiting for the call" in said
    assert "customer revoke" in ca(home, "requests", "--take", str(home / "ca.toml"), exit_code=1)


def test_request_that_was_mailed_twice_is_confirmed_under_the_first_identifier(
    authority: Authority, cast: Cast
) -> None:
    first = file(authority, cast.alice.request())
    assert file(authority, cast.alice.request(lambda: time.time() + 5)) == first
    confirm(authority, first, cast.alice.words)
    assert file(authority, cast.alice.request(lambda: time.time() + 5)) == first
