"""A customer number means the one request that is ready for what is to be done, and never a guess."""

import shutil
import time
from pathlib import Path

import pytest

from ca import ceremony, choosing, issuing
from ca.authority import Authority
from ca.ceremony import Mistake
from ca.errors import CeremonyError, IssuingError, RequestError
from ca.messages import State
from tests.ca.cast import CALL_BACK, PASSPHRASE, Cast, confirm, file, issue, issued_to
from tests.ca.heirs import Heirs
from tests.ca.test_cli import ca


def lock(authority: Authority, identifier: str, cast: Cast) -> None:
    for _ in range(3):
        assert isinstance(confirm(authority, identifier, cast.bob.words), Mistake)


def chosen(authority: Authority, *ready: State, text: str = "1001") -> str:
    return choosing.request(authority, text, int(time.time()), *ready).identifier


def test_number_with_one_open_request_means_that(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    for ready in State:
        assert chosen(authority, ready) == identifier
    assert chosen(authority, text=f" {identifier[:5].upper()}\n") == identifier


def test_number_with_several_means_the_one_that_is_ready(authority: Authority, cast: Cast) -> None:
    """After a lock the customer came back with a new key."""
    locked = file(authority, cast.impostor.request())
    lock(authority, locked, cast)
    waiting = file(authority, cast.alice.request())
    assert chosen(authority, State.WAITING) == waiting
    assert chosen(authority, State.LOCKED) == locked
    with pytest.raises(RequestError, match="2 requests are open for 1001") as refused:
        chosen(authority, State.CONFIRMED, State.VOUCHED)
    for named in (f"{locked} (locked)", f"{waiting} (waiting)"):
        assert named in str(refused.value)
    assert ceremony.waiting_request(authority, "1001", int(time.time())).identifier == waiting
    confirm(authority, "1001", cast.alice.words)
    made = issue(authority, "1001")
    assert made.fingerprint == cast.alice.fingerprint
    assert chosen(authority, State.WAITING) == locked, "alone again"


def test_number_with_two_that_are_ready_is_never_guessed(authority: Authority, cast: Cast) -> None:
    both = {file(authority, each.request()) for each in (cast.alice, cast.impostor)}
    with pytest.raises(RequestError, match="Name one of them") as refused:
        confirm(authority, "1001", cast.alice.words)
    assert all(each in str(refused.value) for each in both)
    # What the desk says of them decides nothing.
    for each in both:
        authority.desk.mark(authority.request(each).digest, State.CONFIRMED)
        with pytest.raises(RequestError, match="Name one of them"):
            issue(authority, "1001")


def test_number_after_the_issue_means_the_newest_certificate(settled: Authority, cast: Cast) -> None:
    made = issued_to(settled, cast.alice)
    assert issue(settled, "1001") == made
    issuing.require_issuable(settled, "1001", int(time.time()))
    with pytest.raises(CeremonyError, match="issued already"):
        confirm(settled, "1001", cast.alice.words)
    settled.desk.drop_request(made.digest)
    settled.desk.write("DELETE FROM certificates WHERE role = 'customer'")
    assert issue(settled, "1001") == made, "put out again, at a desk that has lost it"
    assert settled.desk.certificate(cast.alice.fingerprint) == (made.certified, made.expires)
    with pytest.raises(RequestError, match="There is no request 1003"):
        issue(settled, "1003")


def test_number_of_a_key_that_was_vouched_for_means_the_new_key(settled: Authority, heirs: Heirs) -> None:
    def issued() -> str:
        return issuing.issue(
            settled, "1001", days=90, passphrase=PASSPHRASE, clock=time.time, operator="operator"
        ).fingerprint

    assert issued() == heirs.first.fingerprint
    file(settled, heirs.request())
    assert issued() == issued() == heirs.second.fingerprint


def test_number_that_begins_another_identifier_is_not_guessed(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    number = authority.request(file(authority, cast.bob.request())).content.number
    authority.desk.write("UPDATE requests SET digest = ? || substr(digest, 5) WHERE number = '1001'", number)
    with pytest.raises(RequestError, match="beginning of another request"):
        chosen(authority, text=number)
    assert identifier


def test_commands_choose_by_number(cast: Cast, short_tmp: Path) -> None:
    shutil.copytree(cast.with_bank, short_tmp / "ca")
    home = short_tmp / "ca"
    with Authority.open(home) as authority:
        locked = file(authority, cast.impostor.request())
        lock(authority, locked, cast)
        waiting = file(authority, cast.alice.request())
    back = ("--called-back", CALL_BACK.dialled, "--words", cast.alice.words)
    assert "2 requests are open for 1001" in ca(home, "issue", "1001", exit_code=1)
    assert f"Request {waiting}:" in ca(home, "confirm", "1001", *back)
    assert f"ca confirm {locked}" in ca(home, "reopen", "1001", "--reason", "the line was bad")
    with Authority.open(home) as authority:
        assert issue(authority, "1001").fingerprint == cast.alice.fingerprint
        with pytest.raises(IssuingError, match="not confirmed"):
            issue(authority, locked)
