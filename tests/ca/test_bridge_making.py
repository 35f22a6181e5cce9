"""What the authority and an applicant make goes together, or is not made; what a request claims is recomputed."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ca.bridge import (
    Holder,
    ProfileError,
    Revocation,
    fingerprint_of,
    make_crl,
    make_leaf,
    make_request,
    make_root,
    open_crl,
    open_request,
    open_root,
)
from ca.errors import CaError, IssuingError, RequestError
from ca.x509.profile import CREATION_TIME, created_in, creation_time, key_names, suitable_key
from keyring.certification import Certification
from tests.ca.bridge_cast import CREATED, CRL_URL, DAY, ENDS, NOW, SHA1, Offer, Party, resigned, world
from tests.changes import with_last_byte_changed

ALICE = Holder("customer", "1001", "Alice")


def opened(der: bytes, **other: str) -> Holder:
    expected = {"fingerprint": world().alice.fingerprint, "role": "customer", "number": "1001", "name": "Alice"}
    return open_request(der, **(expected | other)).holder


def made(
    signer: Party | None = None,
    subject: x509.Name = ALICE.subject,
    *extra: x509.ExtensionType,
    names: x509.SubjectAlternativeName | None = None,
    created: int = CREATED,
    attribute: bool = False,
    scheme: padding.PSS | None = None,
) -> bytes:
    """A request as somebody with another program might make it."""
    party = signer or world().alice
    builder = x509.CertificateSigningRequestBuilder(subject)
    for extension in (names or key_names(party.fingerprint), creation_time(created), *extra):
        builder = builder.add_extension(extension, critical=False)
    if attribute:
        builder = builder.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"a password")
    return builder.sign(party.private, hashes.SHA256(), rsa_padding=scheme).public_bytes(Encoding.DER)


def test_honest_request_opens() -> None:
    w = world()
    assert opened(w.alice.request) == ALICE
    assert opened(made()) == ALICE
    request = w.alice.opened_request
    assert (request.fingerprint, request.created) == (w.alice.fingerprint, CREATED)
    assert request.public_key == w.alice.key.public_key()


@pytest.mark.parametrize(
    ("mistaken", "sentence"),
    [
        (lambda: opened(b"0"), "not a signing request"),
        (lambda: opened(world().alice.request + b"\0"), "not a signing request"),
        (lambda: opened(world().alice.request[:-1]), "not a signing request"),
        (lambda: opened(b"0" * 9000), "at most 8192 bytes"),
        (lambda: opened(with_last_byte_changed(world().alice.request)), "signature is not good"),
        (lambda: opened(resigned(world().alice.request, world().bank, hashes.SHA512())), "SHA-256"),
        (lambda: opened(resigned(world().alice.request, world().alice, SHA1)), "SHA-256"),
        (lambda: opened(made(scheme=padding.PSS(padding.MGF1(hashes.SHA256()), 32))), "PKCS #1"),
        (lambda: opened(world().alice.request, number="1002"), "the number “1001”, not “1002”"),
        (lambda: opened(world().alice.request, role="bank"), "the role “customer”, not “bank”"),
        (lambda: opened(world().alice.request, name="Bob"), "the name “Alice”, not “Bob”"),
        (lambda: opened(world().alice.request, fingerprint=world().bank.fingerprint), "not those of"),
        (lambda: opened(made(world().bank)), "not those of"),
        (lambda: opened(made(world().bank, names=key_names(world().alice.fingerprint))), "not those of"),
        (lambda: opened(made(names=key_names(world().bank.fingerprint))), "does not name exactly"),
        (lambda: opened(made(created=CREATED + 1)), "not those of"),
        (lambda: opened(made(None, ALICE.subject, x509.BasicConstraints(True, None))), "other extensions"),
        (lambda: opened(made(attribute=True)), "other attributes"),
        (lambda: opened(made(None, x509.Name([*ALICE.subject, *ALICE.subject]))), "one of each"),
        (lambda: opened(made(None, x509.Name(reversed(list(ALICE.subject))))), "not a role, a name and a number"),
    ],
)
def test_mistaken_request_is_refused(mistaken: Callable[[], Holder], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        mistaken()


@pytest.mark.parametrize(
    ("role", "number", "name"),
    [
        ("teller", "1001", "Alice"),
        ("customer", "10 01", "Alice"),
        ("customer", "1001", "Al\nice"),
        ("customer", "1001", "Ali\u0308ce"),
        ("bank", "", "B"),
    ],
)
def test_request_for_what_cannot_stand_in_a_certificate_is_not_made(role: str, number: str, name: str) -> None:
    with pytest.raises(ProfileError):
        make_request(world().alice.key, role=role, number=number, name=name)


@pytest.mark.parametrize(("number", "name"), [("0001001", "Alice"), ("1001", "Alïce"), ("1001", "Алиса")])
def test_leading_zeros_and_letters_of_any_script_survive(number: str, name: str) -> None:
    request = make_request(world().alice.key, role="customer", number=number, name=name)
    assert opened(request, number=number, name=name) == Holder("customer", number, name)


@pytest.mark.parametrize(
    ("public_key", "suitable"),
    [
        pytest.param(rsa.RSAPublicNumbers(65537, 2**3071 + 1).public_key(), True, id="RSA-3072"),
        pytest.param(rsa.RSAPublicNumbers(65537, 2**4095 + 1).public_key(), True, id="RSA-4096"),
        pytest.param(rsa.RSAPublicNumbers(65537, 2**2047 + 1).public_key(), False, id="RSA-2048"),
        pytest.param(rsa.RSAPublicNumbers(65537, 2**8191 + 1).public_key(), False, id="RSA-8192"),
        pytest.param(rsa.RSAPublicNumbers(3, 2**3071 + 1).public_key(), False, id="exponent 3"),
        pytest.param(ec.generate_private_key(ec.SECP256R1()).public_key(), False, id="P-256"),
    ],
)
def test_key_is_suitable(public_key: object, suitable: bool) -> None:
    if suitable:
        assert suitable_key(public_key) is public_key
    else:
        with pytest.raises(ProfileError):
            suitable_key(public_key)


def leaf_with(crl_url: str | None = CRL_URL, key: Party | None = None, **changes: object) -> bytes:
    w = world()
    certification: Certification = replace(w.certification(w.alice), **changes)  # type: ignore[arg-type]
    return make_leaf((key or w.authority).key, w.root, w.alice.opened_request, certification, crl_url=crl_url)


@pytest.mark.parametrize(
    "mistaken",
    [
        lambda: leaf_with(number="1002"),
        lambda: leaf_with(role="bank"),
        lambda: leaf_with(user_id="Bob (1001)"),
        lambda: leaf_with(certifier=world().other.fingerprint),
        lambda: leaf_with(key=world().other),
        lambda: leaf_with(expires=NOW + 3651 * DAY),
        lambda: leaf_with(created=CREATED - 1),
        lambda: leaf_with(expires=NOW),
        lambda: leaf_with("file:///etc/passwd"),
        lambda: leaf_with("http://authority.example/a list"),
        lambda: crl_with(number=0),
        lambda: crl_with(next_update=NOW),
        lambda: crl_with(key=world().other),
        lambda: crl_with(Revocation(5, NOW), Revocation(5, NOW)),
        lambda: crl_with(Revocation(5, NOW + 1)),
        lambda: crl_with(Revocation(5, NOW, x509.ReasonFlags.certificate_hold)),
        lambda: make_root(world().authority.key, name="Authority", not_before=NOW, not_after=NOW),
    ],
)
def test_what_does_not_go_together_is_not_signed(mistaken: Callable[[], bytes]) -> None:
    with pytest.raises(IssuingError):
        mistaken()


def crl_with(*revoked: Revocation, key: Party | None = None, number: int = 1, next_update: int = NOW + DAY) -> bytes:
    w = world()
    return make_crl((key or w.authority).key, w.root, number=number, at=NOW, next_update=next_update, revoked=revoked)


def test_authority_gets_no_leaf_for_its_own_key() -> None:
    w = world()
    with pytest.raises(IssuingError, match="own key"):
        make_leaf(w.authority.key, w.root, w.authority.opened_request, w.certification(w.authority), crl_url=None)


@pytest.mark.parametrize("url", [None, CRL_URL, "https://[2001:db8::1]:8443/~ca/list.crl"])
def test_honest_leaf_is_judged_good_wherever_the_list_is_published(url: str | None) -> None:
    w = world()
    replace(w.offer(w.alice), certificate=leaf_with(url)).judge()


def test_leaf_ends_with_the_last_second_of_the_certification() -> None:
    leaf = x509.load_der_x509_certificate(leaf_with())
    assert leaf.not_valid_before_utc.timestamp() == NOW
    assert leaf.not_valid_after_utc.timestamp() == ENDS - 1


def test_serial_numbers_are_random_and_long() -> None:
    serials = {x509.load_der_x509_certificate(leaf_with()).serial_number for _ in range(8)}
    assert len(serials) == 8
    assert max(serials).bit_length() > 140
    assert all(0 < serial < 2**159 for serial in serials)


def test_new_root_for_the_same_key_takes_over() -> None:
    """The root is renewed without the customers noticing: the key, and so the fingerprint, stays."""
    w = world()
    root = make_root(w.authority.key, name="Authority", not_before=NOW, not_after=NOW + 7300 * DAY)
    assert open_root(root, w.authority.fingerprint).not_after == NOW + 7300 * DAY
    replace(w.offer(w.alice), root=root).judge()


def test_list_says_what_was_put_into_it() -> None:
    w = world()
    revoked = (
        Revocation(3, NOW - DAY, x509.ReasonFlags.superseded),
        Revocation(2**158, NOW, x509.ReasonFlags.unspecified),
    )
    opened_list = open_crl(crl_with(*revoked, number=2**63 - 1), w.root)
    assert (opened_list.number, opened_list.this_update, opened_list.next_update) == (2**63 - 1, NOW, NOW + DAY)
    assert tuple(opened_list.revoked.values()) == revoked


@given(created=st.integers(0, 2**32 - 1))
def test_creation_time_survives_its_extension(created: int) -> None:
    extension = x509.Extension(CREATION_TIME, False, creation_time(created))
    assert created_in(x509.Extensions([extension])) == created


@pytest.mark.parametrize("created", [0, 2_524_607_999, 2_524_608_000, 2**32 - 1], ids=["1970", "2049", "2050", "2106"])
def test_creation_time_at_the_edges_survives_its_extension(created: int) -> None:
    extension = x509.Extension(CREATION_TIME, False, creation_time(created))
    assert created_in(x509.Extensions([extension])) == created


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes.fromhex("300f170d") + b"260102030405Z\0", id="a byte after it"),
        pytest.param(bytes.fromhex("3012020100170d") + b"260102030405Z", id="version 1 spelt out"),
        pytest.param(bytes.fromhex("3012020101170d") + b"260102030405Z", id="version 2"),
        pytest.param(bytes.fromhex("3011180f") + b"20260102030405Z", id="four digits before 2050"),
        pytest.param(bytes.fromhex("3011170f") + b"20260102030405Z", id="no such time"),
        pytest.param(bytes.fromhex("300f170d") + b"691231235959Z", id="before 1970"),
    ],
)
def test_creation_time_written_otherwise_is_refused(value: bytes) -> None:
    extension = x509.Extension(CREATION_TIME, False, x509.UnrecognizedExtension(CREATION_TIME, value))
    with pytest.raises(ProfileError):
        created_in(x509.Extensions([extension]))


@pytest.mark.parametrize("created", [-1, 2**32])
def test_no_fingerprint_for_a_time_that_openpgp_cannot_write(created: int) -> None:
    with pytest.raises(ProfileError):
        fingerprint_of(world().alice.key.public_key(), created)


@cache
def offered() -> Offer:
    return world().offer(world().alice)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # of serials below 1
@given(data=st.binary(max_size=64), place=st.integers(0, 1400))
def test_altered_bytes_are_refused_and_never_crash(data: bytes, place: int) -> None:
    """Every reader of strangers' bytes raises an error of ours, or reads what was there before."""
    w, offer = world(), offered()
    readers: tuple[tuple[bytes, Callable[[bytes], object]], ...] = (
        (offer.certificate, lambda der: replace(offer, certificate=der).judge()),
        (w.root_der, lambda der: open_root(der, w.authority.fingerprint)),
        (offer.crl or b"", lambda der: open_crl(der, w.root)),
        (w.alice.request, opened),
    )
    for der, reader in readers:
        start = place % len(der)
        changed = der[:start] + data + der[start + len(data) :]
        try:
            reader(changed)
        except CaError:
            assert changed != der
        else:
            assert changed == der
