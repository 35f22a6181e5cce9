"""Trial 48: nobody else vouches for a key, nor a key that does not count, nor twice; the honest twin is certified."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ca import inventory, revoking, vouching
from ca.authority import Authority
from ca.errors import DeskError, IssuingError, RequestError, VouchingError
from ca.messages import RequestState, State
from ca.requests import CertificateRequest, VouchedRequest, claimed_request, open_request
from ca.store import Filed
from keyring import messages
from protocol import canonical
from protocol.orders import format_time
from tests.ca.cast import (
    PASSPHRASE,
    Applicant,
    Cast,
    certify,
    confirm,
    file,
    issued_to,
    opened,
    prove,
    serving,
)
from tests.ca.heirs import Heirs, issue, keys_certified
from tests.changes import with_last_byte_changed

DAY = 86_400


def signed(by: Applicant, request: bytes, created: str | None = None) -> bytes:
    """What this key would sign around a request."""
    content = VouchedRequest(created=created or format_time(time.time()), request=request)
    return messages.sign(by.home, by.fingerprint, canonical.encode(content))


def inner(message: bytes) -> bytes:
    found = claimed_request(message).vouching
    assert found is not None
    return found.request


def with_fields(by: Applicant, message: bytes, **changes: object) -> bytes:
    """The request with other content, signed anew by its own key."""
    content = claimed_request(message).content
    values = {field: getattr(content, field) for field in content.__struct_fields__}
    return messages.sign(by.home, by.fingerprint, canonical.encode(CertificateRequest(**{**values, **changes})))


@pytest.fixture(scope="module")
def with_bob(with_alice: Path, cast: Cast, make_short_tmp: Callable[[], Path]) -> Iterator[Authority]:
    """An authority that has certified Alice and Bob; what is refused leaves nothing behind."""
    with opened(with_alice, make_short_tmp() / "ca") as authority:
        certify(authority, cast.bob)
        yield authority


Attack = Callable[[Cast, Heirs], bytes]
ATTACKS: dict[str, Attack] = {
    "by somebody else's key, who is certified": lambda cast, heirs: signed(cast.bob, inner(heirs.request())),
    "by somebody else's key, which it names": lambda cast, heirs: signed(
        cast.bob, with_fields(heirs.second, heirs.request(), succeeds=cast.bob.fingerprint)
    ),
    "by a key in her name that nobody certified": lambda cast, heirs: signed(
        cast.impostor, with_fields(heirs.second, heirs.request(), succeeds=cast.impostor.fingerprint)
    ),
    "by the new key itself": lambda cast, heirs: signed(heirs.second, inner(heirs.request())),
    "for another number": lambda cast, heirs: signed(
        heirs.first, with_fields(cast.bob, cast.bob.request(), succeeds=heirs.first.fingerprint)
    ),
    "for another role": lambda cast, heirs: signed(
        heirs.first, with_fields(cast.bank, cast.bank.request(), succeeds=heirs.first.fingerprint)
    ),
    "by the bank's key": lambda cast, heirs: signed(
        cast.bank, with_fields(heirs.second, heirs.request(), succeeds=cast.bank.fingerprint)
    ),
    "for a request that names no key before": lambda cast, heirs: signed(heirs.first, heirs.second.request()),
    "without what the key before signs": lambda cast, heirs: inner(heirs.request()),
    "content changed by another signer": lambda cast, heirs: signed(
        heirs.first, with_fields(cast.impostor, heirs.request(), created="2026-01-01T00:00:00Z")
    ),
    "one byte of the outer signature": lambda cast, heirs: with_last_byte_changed(heirs.request()),
    "one byte of the inner signature": lambda cast, heirs: signed(
        heirs.first, with_last_byte_changed(inner(heirs.request()))
    ),
    "a vouching around a vouching": lambda cast, heirs: signed(heirs.first, heirs.request()),
    "signed long ago": lambda cast, heirs: signed(heirs.first, inner(heirs.request()), "2020-01-01T00:00:00Z"),
    "signed in the future": lambda cast, heirs: heirs.request(ahead=DAY),
    "for itself": lambda cast, heirs: signed(
        heirs.first, with_fields(heirs.first, cast.alice.request(), succeeds=heirs.first.fingerprint)
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_trial_48_nobody_else_vouches(with_bob: Authority, cast: Cast, heirs: Heirs, attack: str) -> None:
    refused_everywhere(with_bob, ATTACKS[attack](cast, heirs))
    honest = open_request(heirs.request())
    assert vouching.require_vouched(with_bob, honest, int(time.time())).fingerprint == heirs.first.fingerprint


def refused_everywhere(authority: Authority, message: bytes) -> None:
    """By the desk or, where somebody has taken that over, by the authority."""
    before = keys_certified(authority)
    identifiers = set()
    try:
        identifiers.add(file(authority, message))
    except RequestError:
        forced = forced_in(authority, message)
        if forced is not None:
            identifiers.add(forced)
    for identifier in identifiers:
        with pytest.raises((IssuingError, RequestError)):
            issue(authority, identifier)
    assert keys_certified(authority) == before
    authority.desk.write("DELETE FROM requests")


def forced_in(authority: Authority, message: bytes) -> str | None:
    """Laid at the desk by whoever has it, as a request that is vouched for; None if it does not read as a request."""
    try:
        claimed = claimed_request(message)
    except RequestError:
        return None
    content = claimed.content
    authority.desk.file_request(
        Filed(
            *(claimed.digest, content.fingerprint, content.number, content.role, content.name, message),
            *(int(time.time()), State.VOUCHED),
        ),
        "host",
    )
    return claimed.identifier


def test_trial_26_a_revoked_key_vouches_no_more(settled: Authority, heirs: Heirs) -> None:
    identifier = file(settled, heirs.request())
    revoking.revoke(
        settled,
        issued_to(settled, heirs.first),
        reason="key-compromise",
        operator="operator",
        passphrase=PASSPHRASE,
        clock=time.time,
    )
    with pytest.raises(VouchingError, match="was revoked"):
        issue(settled, identifier)
    (waiting,) = inventory.open_requests(settled, int(time.time()))
    assert waiting.state == "waiting for the call"
    settled.desk.write("DELETE FROM requests")
    with pytest.raises(RequestError, match="no certificate that counts"):
        file(settled, heirs.request())
    assert keys_certified(settled) == {heirs.first.fingerprint}


def test_trial_26_a_key_whose_certificate_ended_vouches_no_more(settled: Authority, heirs: Heirs) -> None:
    before = issued_to(settled, heirs.first)
    identifier = file(settled, heirs.request(ahead=before.expires - time.time()))
    with pytest.raises(VouchingError, match="ended on"):
        issue(settled, identifier, ahead=before.expires - time.time() + 1)
    assert keys_certified(settled) == {heirs.first.fingerprint}
    settled.desk.write("DELETE FROM requests")
    assert issue(settled, file(settled, heirs.request())).succeeds


def test_trial_48_a_key_vouches_once_and_for_a_fresh_key(settled: Authority, cast: Cast, heirs: Heirs) -> None:
    late, first = heirs.request(of=heirs.third), heirs.request()
    made = issue(settled, file(settled, first))
    # Replayed, it brings the same certificate back and nothing else.
    assert issue(settled, made.digest) == made
    refused_everywhere(settled, late)
    with pytest.raises(VouchingError, match="vouched already"):  # before anything else would stop it
        vouching.require_vouched(settled, claimed_request(late), int(time.time()))
    # The second cannot vouch for a third while three would count, nor for the first.
    with pytest.raises(IssuingError, match="another key until"):
        issue(settled, file(settled, heirs.request(by=heirs.second, of=heirs.third)))
    settled.desk.write("DELETE FROM requests")
    refused_everywhere(settled, heirs.request(by=heirs.second, of=heirs.first))
    # Revoked by number, both are: whoever stole a home has both keys.
    issued = revoking.revoke(
        settled,
        made,
        reason="key-compromise",
        operator="operator",
        passphrase=PASSPHRASE,
        clock=time.time,
        every_key=True,
    )
    revoked = {each.fingerprint for each in settled.decisions.certificates() if each.is_revoked(issued.at)}
    assert revoked == {heirs.first.fingerprint, heirs.second.fingerprint}
    assert forced_in(settled, first)
    with pytest.raises(IssuingError, match="revoked"):
        issue(settled, made.digest)


def test_a_vouching_that_came_too_late_is_confirmed_on_the_telephone(settled: Authority, heirs: Heirs) -> None:
    identifier = file(settled, heirs.request())
    revoking.revoke(
        settled,
        issued_to(settled, heirs.first),
        reason="superseded",
        operator="operator",
        passphrase=PASSPHRASE,
        clock=time.time,
    )
    confirm(settled, identifier, heirs.second.words)
    made = issue(settled, identifier)
    assert made.succeeds == ""
    assert prove(settled, heirs.second, made.certified).certification.reached_by == "called back"


def test_the_desk_says_at_once_that_nobody_vouched(settled: Authority, cast: Cast, heirs: Heirs) -> None:
    with serving(settled.desk) as desk:
        with pytest.raises(DeskError, match="signature does not count"):
            desk.submit_request(signed(cast.bob, inner(heirs.request())))
        assert isinstance(desk.submit_request(heirs.request()), RequestState)
    assert open_request(heirs.request()).content.succeeds == heirs.first.fingerprint
