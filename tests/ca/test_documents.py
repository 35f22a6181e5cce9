"""Requests and notices: what the applicant's and the bank's side make is what the authority's side reads."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ca.documents import claimed_content
from ca.errors import CaError, NoticeError, RequestError
from ca.notices import AccountNotice, claimed_notice, hash_code
from ca.requests import CertificateRequest, make_request, open_request
from keyring import messages, readout
from keyring.errors import ReadoutError
from protocol import canonical
from tests.ca.cast import CODE, Cast


def test_request_is_read_as_it_was_made(cast: Cast) -> None:
    request = open_request(cast.alice.request(lambda: 1_800_000_000))
    content = request.content
    assert (content.role, content.number, content.name) == ("customer", "1001", "Alice")
    assert (content.created, content.fingerprint) == ("2027-01-15T08:00:00Z", cast.alice.fingerprint)
    assert request.user_id == "Alice (1001)"
    assert request.digest == canonical.digest(canonical.encode(content))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"number": "1002"}, "exactly the one user ID"),
        ({"name": "Alicia"}, "exactly the one user ID"),
        ({"role": "bank"}, "belongs to the bank"),
        ({"number": "0000"}, "belongs to the bank"),
        ({"number": "10 01"}, "field number"),
        ({"name": "Ali\u202ece"}, "unprintable"),
        ({"name": ""}, "field name"),
        ({"created": "2026-02-30T00:00:00Z"}, "created"),
        ({"key": b"nonsense"}, "cannot be certified"),
        ({"fingerprint": "A" * 40}, "cannot be certified"),
    ],
)
def test_request_that_contradicts_its_key_or_itself_is_refused(cast: Cast, change: dict[str, Any], why: str) -> None:
    """Signed by Alice's own key, so that only the content is at fault."""
    content = open_request(cast.alice.request()).content
    changed = canonical.encode(msgspec.structs.replace(content, **change))
    with pytest.raises(RequestError, match=why):
        open_request(messages.sign(cast.alice.home, cast.alice.fingerprint, changed))


def test_only_canonical_content_is_a_request(cast: Cast) -> None:
    content = claimed_content(cast.alice.request(), CaError)
    doubled = content.replace(b'"number":"1001"', b'"number":"1002","number":"1001"')
    for spelling in (doubled, b" " + content, content.replace(b'"version":1', b'"version":1,"more":1')):
        with pytest.raises(RequestError, match=r"canonical|unknown field"):
            open_request(messages.sign(cast.alice.home, cast.alice.fingerprint, spelling))


def test_request_is_not_signed_for_what_the_key_is_not(cast: Cast) -> None:
    for role, number, name in (("customer", "1002", "Alice"), ("bank", "1001", "Alice"), ("customer", "1001", "Bob")):
        with pytest.raises(RequestError):
            make_request(
                cast.alice.home,
                cast.alice.fingerprint,
                role=role,  # type: ignore[arg-type]
                number=number,
                name=name,
                passphrase=None,
                clock=time.time,
            )


def test_notice_is_read_as_it_was_made_and_does_not_hold_the_code(cast: Cast) -> None:
    message = cast.bank.notice(cast.alice)
    notice = claimed_notice(message)
    assert (notice.bank, notice.customer, notice.name) == (cast.bank.fingerprint, "1001", "Alice")
    assert not any(word.encode() in message for word in CODE.split())
    assert claimed_notice(cast.bank.notice(cast.alice)).code_hash != notice.code_hash, "salted anew"


@pytest.mark.parametrize("said", [str.upper, str.title, lambda code: code.replace(" ", "-"), lambda code: f" {code}\n"])
def test_code_fits_however_it_is_written(cast: Cast, said: Callable[[str], str]) -> None:
    notice = claimed_notice(cast.bank.notice(cast.alice))
    assert notice.fits(said(CODE))
    assert not notice.fits(said(" ".join(readout.encode(b"lettes"))))


def test_code_is_hashed_by_scrypt_as_documented() -> None:
    """A fixed value, so that a bank and an authority of different versions agree."""
    salt = bytes(range(16))
    assert hash_code(CODE, salt) == "c0d3bee131f51b7504f2ca756ce48759e361b2c3367a7d0698e6a366c16c3958"
    with pytest.raises(ReadoutError):
        hash_code("not words of the list at all", salt)


def test_notice_with_a_field_out_of_order_is_refused(cast: Cast) -> None:
    notice = claimed_notice(cast.bank.notice(cast.alice))
    for change in ({"code_salt": "00"}, {"name": "a\nb"}, {"customer": ""}, {"created": "now"}):
        content = canonical.encode(msgspec.structs.replace(notice, **change))
        with pytest.raises(NoticeError):
            claimed_notice(messages.sign(cast.bank.home, cast.bank.fingerprint, content))


def test_types_of_documents_are_not_taken_for_each_other(cast: Cast) -> None:
    with pytest.raises(NoticeError):
        claimed_notice(cast.alice.request())
    with pytest.raises(RequestError):
        open_request(cast.bank.notice(cast.alice))
    assert CertificateRequest.__struct_config__.tag != AccountNotice.__struct_config__.tag
