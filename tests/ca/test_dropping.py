"""What is dropped is gone from the desk, with a reason on record, and brings nobody a fourth try."""

import json
import shutil
import time
from pathlib import Path

import pytest

from ca import choosing, dropping, inventory
from ca.authority import Authority
from ca.ceremony import Mistake
from ca.decisions import Confirmation
from ca.errors import CeremonyError, IssuingError, RequestError
from ca.messages import RequestState, State
from tests.ca.cast import CALL, Cast, confirm, file, issue, serving
from tests.ca.test_cli import ca


def drop(authority: Authority, text: str, reason: str = "not ours") -> None:
    filed = choosing.filed(authority, text, int(time.time()))
    dropping.drop_request(authority, filed, reason=reason, operator="operator", clock=time.time)


def test_dropped_request_is_gone_and_may_come_again(authority: Authority, cast: Cast) -> None:
    message = cast.alice.request()
    with serving(authority.desk) as desk:
        identifier = desk.submit_request(message).identifier
        kept = desk.submit_request(cast.bob.request()).identifier
        drop(authority, "1001", "somebody else's")
        assert desk.fetch(cast.alice.fingerprint) == RequestState("", State.UNKNOWN)
        assert [each.request for each in inventory.open_requests(authority, int(time.time()))] == [kept]
        (record,) = authority.decisions.drops()
        assert (record.digest[:16], record.number, record.what) == (identifier, "1001", "waiting")
        assert (record.operator, record.reason) == ("operator", "somebody else's")
        assert desk.submit_request(message) == RequestState(identifier, State.WAITING)
    assert isinstance(confirm(authority, identifier, cast.alice.words), Confirmation)


def test_dropped_confirmation_is_taken_back(authority: Authority, cast: Cast) -> None:
    message = cast.alice.request()
    identifier = file(authority, message)
    confirm(authority, identifier, cast.alice.words)
    drop(authority, identifier)
    assert file(authority, message) == identifier
    with pytest.raises(IssuingError, match="not confirmed"):
        issue(authority, identifier)
    assert isinstance(confirm(authority, identifier, cast.alice.words), Confirmation)
    assert issue(authority, identifier).fingerprint == cast.alice.fingerprint


def test_trial_48_dropping_gives_a_locked_key_no_new_tries(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.impostor.request())
    for _ in range(3):
        assert isinstance(confirm(authority, identifier, cast.alice.words), Mistake)
    drop(authority, identifier)
    again = file(authority, cast.impostor.request(lambda: time.time() + 5))
    with pytest.raises(CeremonyError, match="locked"):
        confirm(authority, again, cast.impostor.words)
    with pytest.raises(IssuingError, match=r"locked.*ca reopen"):
        issue(authority, again)
    honest = file(authority, cast.alice.request())
    assert isinstance(confirm(authority, honest, cast.alice.words), Confirmation)


def test_what_is_issued_is_not_dropped(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    confirm(authority, identifier, cast.alice.words)
    issue(authority, identifier)
    for named in (identifier, "1001"):
        with pytest.raises(RequestError, match="ca revoke"):
            drop(authority, named)
    assert authority.desk.requests_like(identifier)
    assert not authority.decisions.drops()


def test_request_that_was_altered_at_the_desk_can_be_dropped(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    digest = authority.request(identifier).digest
    authority.desk.write("UPDATE requests SET message = ? WHERE digest = ?", b"junk", digest)
    with pytest.raises(RequestError):
        confirm(authority, identifier, cast.alice.words)
    drop(authority, identifier)
    assert inventory.open_requests(authority, int(time.time())) == ()


def test_dropped_notices_make_room_for_the_banks_next(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    with serving(authority.desk) as desk:
        desk.submit_notice(cast.bank.notice(cast.alice))
        desk.submit_notice(cast.bank.notice(cast.bob))
        count = dropping.drop_notices(authority, "1001", reason="a new letter", operator="operator", clock=time.time)
        assert count == 1
        with pytest.raises(CeremonyError, match="no notice"):
            confirm(authority, identifier, cast.alice.words, CALL)
        with pytest.raises(RequestError, match="no notice"):
            dropping.drop_notices(authority, "1001", reason="again", operator="operator", clock=time.time)
        desk.submit_notice(cast.bank.notice(cast.alice))
    assert isinstance(confirm(authority, identifier, cast.alice.words, CALL), Confirmation)
    assert [(each.number, each.what, each.reason) for each in authority.decisions.drops()] == [
        ("1001", "notices", "a new letter")
    ]
    assert authority.desk.notice_count() == 2


def test_command_drops_all_that_is_named_or_nothing(cast: Cast, short_tmp: Path) -> None:
    shutil.copytree(cast.with_bank, short_tmp / "ca")
    home = short_tmp / "ca"
    with Authority.open(home) as authority:
        alice, bob = (file(authority, each.request()) for each in (cast.alice, cast.bob))
        authority.desk.file_notice("digest", "1001", b"notice")
    why = ("--reason", "made by mistake")
    assert "Give what is to be dropped" in ca(home, "drop", *why, exit_code=2)
    assert "--reason" in ca(home, "drop", alice, exit_code=2)
    assert "ca requests" in ca(home, "drop", alice, "abcdef", *why, exit_code=1)
    assert "is recorded" in ca(home, "drop", alice, "--reason", " ", exit_code=1)
    assert len(json.loads(ca(home, "requests", "--json"))) == 2
    said = ca(home, "drop", alice[:6], "1002", *why)
    assert f"Dropped: request {alice} for the number 1001, which was waiting." in said
    assert f"Dropped: request {bob} for the number 1002" in said
    assert json.loads(ca(home, "requests", "--json")) == []
    assert json.loads(ca(home, "drop", "--notices", "1001", *why, "--json")) == {"requests": [], "notices": 1}
    assert "keeps no notice" in ca(home, "drop", "--notices", "1001", *why, exit_code=1)
