"""Trial 48: who cheats in the ceremony gets no certificate, and the honest twin that differs in that alone does."""

import sqlite3
import time
from contextlib import closing, suppress

import pytest

from ca import inventory
from ca.authority import DESK_FILE, Authority
from ca.ceremony import CallerCode, Mistake
from ca.decisions import Confirmation
from ca.documents import claimed_content
from ca.errors import CaError, CeremonyError, IssuingError, RequestError
from ca.requests import claimed_request
from keyring import keys, messages, readout
from keyring.errors import UnsuitableKey
from tests.ca.cast import CALL, Cast, certify, confirm, file, issue, send_notice


def nothing_issued(authority: Authority) -> bool:
    return [each.role for each in authority.decisions.certificates()] == ["bank"]


def test_trial_48_wrong_fingerprint_typed(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    assert isinstance(confirm(authority, identifier, cast.impostor.words), Mistake)
    with pytest.raises(IssuingError):
        issue(authority, identifier)
    assert nothing_issued(authority)
    assert isinstance(confirm(authority, identifier, cast.alice.words), Confirmation)
    assert issue(authority, identifier).fingerprint == cast.alice.fingerprint


def test_trial_48_caller_without_the_letters_code(authority: Authority, cast: Cast) -> None:
    """The impostor reads out the right words, of the key in the request: only the code tells."""
    send_notice(authority, cast.bank.notice(cast.alice))
    identifier = file(authority, cast.impostor.request())
    for guess in (b"guess1", b"guess2", b"guess3"):
        said = CallerCode(" ".join(readout.encode(guess)))
        assert isinstance(confirm(authority, identifier, cast.impostor.words, said), Mistake)
    with pytest.raises(CeremonyError, match="locked"):
        confirm(authority, identifier, cast.impostor.words, CALL)
    with pytest.raises(IssuingError):
        issue(authority, identifier)
    assert nothing_issued(authority)
    honest = file(authority, cast.alice.request())
    assert isinstance(confirm(authority, honest, cast.alice.words, CALL), Confirmation)
    assert issue(authority, honest).fingerprint == cast.alice.fingerprint


def in_keyring(authority: Authority, fingerprint: str) -> bool:
    """Whether the authority's own GnuPG home has taken this key in."""
    with suppress(UnsuitableKey):
        return keys.public_key(authority.home(), fingerprint).fingerprint == fingerprint
    return False


def alter(authority: Authority, digest: str, change: str, value: object) -> None:
    """What somebody who has the desk does to a request."""
    with closing(sqlite3.connect(authority.path / DESK_FILE)) as desk, desk:
        assert desk.execute(f"UPDATE requests SET {change} WHERE digest = ?", (value, digest)).rowcount == 1


@pytest.mark.parametrize("alteration", ["another's", "another's with its digest", "one bit", "signed again"])
def test_trial_48_request_altered_after_confirmation(authority: Authority, cast: Cast, alteration: str) -> None:
    identifier = file(authority, cast.alice.request())
    confirm(authority, identifier, cast.alice.words)
    honest, other = authority.request(identifier), cast.impostor.request()
    bit = bytearray(honest.message)
    bit[200] ^= 1
    # The impostor signs Alice's content, key and all.
    again = messages.sign(cast.impostor.home, cast.impostor.fingerprint, claimed_content(honest.message, CaError))
    change, message = {
        "another's": ("message = ?", other),
        "another's with its digest": (f"digest = '{claimed_request(other).digest}', message = ?", other),
        "one bit": ("message = ?", bytes(bit)),
        "signed again": ("message = ?", again),
    }[alteration]
    alter(authority, honest.digest, change, message)
    if alteration == "another's":
        assert [row.state for row in inventory.open_requests(authority, 0)] == ["altered at the desk"]
        with pytest.raises(CaError, match="altered at the desk"):
            issue(authority, identifier)
    for name in (identifier, claimed_request(other).identifier):
        with pytest.raises(CaError):
            issue(authority, name)
    assert nothing_issued(authority)
    assert not in_keyring(authority, cast.alice.fingerprint)
    assert not in_keyring(authority, cast.impostor.fingerprint)
    if alteration != "another's with its digest":
        alter(authority, honest.digest, "message = ?", honest.message)
        assert issue(authority, identifier).fingerprint == cast.alice.fingerprint


@pytest.mark.parametrize("column", ["fingerprint", "number", "name", "role", "state"])
def test_trial_48_desks_columns_mean_nothing(authority: Authority, cast: Cast, column: str) -> None:
    identifier = file(authority, cast.alice.request())
    value = {"fingerprint": cast.impostor.fingerprint, "number": "1002", "state": "confirmed"}.get(column, "bank")
    alter(authority, authority.request(identifier).digest, f"{column} = ?", value)
    with pytest.raises(IssuingError, match="not confirmed"):
        issue(authority, identifier)
    confirm(authority, identifier, cast.alice.words)
    alter(authority, authority.request(identifier).digest, f"{column} = ?", value)
    made = issue(authority, identifier)
    assert (made.fingerprint, made.number, made.name, made.role) == (
        cast.alice.fingerprint,
        "1001",
        "Alice",
        "customer",
    )


def test_trial_48_anothers_request_with_the_same_number(authority: Authority, cast: Cast) -> None:
    certify(authority, cast.alice)
    identifier = file(authority, cast.impostor.request())
    confirm(authority, identifier, cast.impostor.words)  # even if an operator were talked into it
    with pytest.raises(IssuingError, match=r"another key until .* revoked"):
        issue(authority, identifier)
    assert authority.desk.certificate(cast.impostor.fingerprint) is None
    assert certify(authority, cast.bob).number == "1002"


def test_trial_48_request_replayed(authority: Authority, cast: Cast) -> None:
    """The recorded request again, after its certificate has expired: the same certificate is all there is."""
    message = cast.alice.request()
    identifier = file(authority, message)
    confirm(authority, identifier, cast.alice.words)
    first = issue(authority, identifier)
    for database in ("ca.sqlite", DESK_FILE):
        with closing(sqlite3.connect(authority.path / database)) as connection, connection:
            connection.execute("UPDATE certificates SET expires = 1 WHERE fingerprint = ?", (first.fingerprint,))
    with pytest.raises(RequestError, match="has expired"):
        file(authority, message)
    with pytest.raises(CeremonyError, match=r"ended on .*`customer request`"):
        confirm(authority, identifier, cast.alice.words)
    assert issue(authority, identifier).expires == 1
    assert len(authority.decisions.certificates()) == 2
    fresh = file(authority, cast.alice.request(lambda: time.time() + 5))
    assert isinstance(confirm(authority, fresh, cast.alice.words), Confirmation)
    assert issue(authority, fresh).expires > time.time()
