"""Who takes part where mistakes are tried: an authority, another one, Alice and a bank, with keys outside GnuPG.

GnuPG's own part is tested with real homes in test_bridge_gnupg.py; here a signature costs a millisecond.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding

from ca.bridge import (
    AgentKey,
    Holder,
    JudgedCertificate,
    Revocation,
    Root,
    SigningRequest,
    judge,
    make_crl,
    make_leaf,
    make_request,
    make_root,
    open_request,
    open_root,
)
from keyring import keys
from keyring.agent import Agent, SignatureValue
from keyring.certification import Certification

DAY = 86_400
NOW = 1_800_000_000
CREATED = NOW - 400 * DAY
ENDS = NOW + 90 * DAY
CRL_URL = "http://authority.example/authority.crl"
SHA1 = hashes.SHA1()  # noqa: S303 - to see it refused
REQUEST_DIGEST = "0123456789abcdef" * 4


class SoftAgent:
    """Signs as gpg-agent does, with a key in memory."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private

    def sign(self, keygrip: str, digest: bytes) -> SignatureValue:
        signature = self._private.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        return SignatureValue("rsa", b"", signature.lstrip(b"\0"))

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Party:
    private: rsa.RSAPrivateKey
    holder: Holder

    @property
    def key(self) -> AgentKey:
        return AgentKey(cast(Agent, SoftAgent(self.private)), "", self.private.public_key(), CREATED)

    @property
    def fingerprint(self) -> str:
        return self.key.fingerprint

    @property
    def request(self) -> bytes:
        return make_request(self.key, role=self.holder.role, number=self.holder.number, name=self.holder.name)

    @property
    def opened_request(self) -> SigningRequest:
        holder = self.holder
        return open_request(
            self.request, fingerprint=self.fingerprint, role=holder.role, number=holder.number, name=holder.name
        )


@dataclass(frozen=True)
class Offer:
    """What judge is asked."""

    certificate: bytes
    root: bytes
    crl: bytes | None
    ca_fingerprint: str
    role: str
    number: str
    fingerprint: str
    at: int = NOW
    highest_crl_number: int = 0

    def judge(self) -> JudgedCertificate:
        return judge(
            self.certificate,
            root_der=self.root,
            crl_der=self.crl,
            ca_fingerprint=self.ca_fingerprint,
            role=self.role,
            number=self.number,
            fingerprint=self.fingerprint,
            at=self.at,
            highest_crl_number=self.highest_crl_number,
        )


@dataclass(frozen=True)
class World:
    """The authority with its root, another authority that uses the same name, Alice, and a bank."""

    authority: Party
    other: Party
    alice: Party
    bank: Party
    root_der: bytes

    @property
    def root(self) -> Root:
        return open_root(self.root_der, self.authority.fingerprint)

    @property
    def other_root(self) -> bytes:
        return make_root(self.other.key, name="Authority", not_before=CREATED, not_after=NOW + 3650 * DAY)

    def certification(self, party: Party) -> Certification:
        holder = party.holder
        return Certification(
            number=holder.number,
            role=holder.role,
            request_digest=REQUEST_DIGEST,
            created=NOW,
            expires=ENDS,
            certifier=self.authority.fingerprint,
            user_id=keys.user_id(holder.name, holder.number),
        )

    def leaf(self, party: Party) -> bytes:
        return make_leaf(
            self.authority.key, self.root, party.opened_request, self.certification(party), crl_url=CRL_URL
        )

    def crl(self, *revoked: Revocation, number: int = 7) -> bytes:
        return make_crl(
            self.authority.key, self.root, number=number, at=NOW, next_update=NOW + 30 * DAY, revoked=revoked
        )

    def offer(self, party: Party) -> Offer:
        return Offer(
            self.leaf(party),
            self.root_der,
            self.crl(),
            self.authority.fingerprint,
            party.holder.role,
            party.holder.number,
            party.fingerprint,
        )


@cache
def world() -> World:
    """Made once a run; the keys are what costs."""
    private = [rsa.generate_private_key(65537, 3072) for _ in range(4)]
    authority = Party(private[0], Holder("customer", "1", "Unused"))
    return World(
        authority,
        replace(authority, private=private[1]),
        Party(private[2], Holder("customer", "1001", "Alice")),
        Party(private[3], Holder("bank", "0000", "Example Bank")),
        make_root(authority.key, name="Authority", not_before=CREATED, not_after=NOW + 3650 * DAY),
    )


Extension = tuple[x509.ExtensionType, bool]


def forged(
    der: bytes,
    signer: Party,
    *,
    issuer: x509.Name | None = None,
    subject: x509.Name | None = None,
    public_key: rsa.RSAPublicKey | None = None,
    put: Sequence[Extension] = (),
    without: Iterable[x509.ObjectIdentifier] = (),
) -> bytes:
    """A certificate with these changes, signed anew; an extension that is ``put`` takes the place of its like."""
    certificate = x509.load_der_x509_certificate(der)
    own_key = certificate.public_key()
    assert isinstance(own_key, rsa.RSAPublicKey)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer or certificate.issuer)
        .subject_name(subject or certificate.subject)
        .public_key(public_key or own_key)
        .serial_number(certificate.serial_number)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    replacing = {value.oid: (value, critical) for value, critical in put}
    for old in certificate.extensions:
        if old.oid not in without:
            value, critical = replacing.pop(old.oid, (old.value, old.critical))
            builder = builder.add_extension(value, critical)
    for value, critical in replacing.values():
        builder = builder.add_extension(value, critical)
    return builder.sign(signer.private, hashes.SHA256()).public_bytes(Encoding.DER)


def resigned(
    der: bytes, signer: Party, digest: hashes.SHA1 | hashes.SHA512, truly: hashes.HashAlgorithm | None = None
) -> bytes:
    """A certificate, request or list signed anew with another digest, which `cryptography` would not make.

    With ``truly`` that is only what it says, and this is the digest that it is signed with.
    """
    rsa_with = bytes.fromhex("2a864886f70d0101")  # RFC 8017, appendix C; the last byte tells the digest
    changed = der.replace(rsa_with + b"\x0b", rsa_with + (b"\x05" if isinstance(digest, hashes.SHA1) else b"\x0d"))
    signature = signer.private.sign(_signed_part(changed), padding.PKCS1v15(), truly or digest)
    return changed[: -len(signature)] + signature


def _signed_part(der: bytes) -> bytes:
    for load, part in (
        (x509.load_der_x509_certificate, "tbs_certificate_bytes"),
        (x509.load_der_x509_csr, "tbs_certrequest_bytes"),
        (x509.load_der_x509_crl, "tbs_certlist_bytes"),
    ):
        with suppress(ValueError):
            return bytes(getattr(load(der), part))
    raise AssertionError("neither certificate nor request nor list")
