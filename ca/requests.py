"""A certificate request is one document, in both forms, signed by the very key that it asks to have certified."""

import tempfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ca import bridge
from ca.bridge import SigningRequest
from ca.documents import BANK, BANK_NUMBER, CUSTOMER, claimed_content, decoded, verified_content
from ca.errors import RequestError
from keyring import certification, keys, messages
from keyring.errors import EngineError, KeyringError
from keyring.home import Home
from protocol import canonical
from protocol.errors import MalformedContent
from protocol.letter import Domain
from protocol.orders import Fingerprint, Time, format_time, parse_time
from protocol.secret import Secret

Role = Literal["bank", "customer"]
AccountNumber = Annotated[str, Meta(pattern=r"^[0-9]{1,16}\Z")]
IDENTIFIER_DIGITS = 16


class CertificateRequest(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="certificate-request"):
    """What the applicant signs: ``key`` is the binary minimal export of the public key with one user ID.

    ``pkcs10`` is the same request for the X.509 form, DER (RFC 2986), signed by the same key. ``domain`` is that of the
    mail address in the user ID, "" where it has none. ``succeeds`` is the fingerprint of the key that vouches for this
    one, None where the applicant is called.
    """

    created: Time
    domain: Domain
    fingerprint: Fingerprint
    key: bytes
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    number: AccountNumber
    pkcs10: bytes
    role: Role
    succeeds: Fingerprint | None
    version: Literal[1] = 1


class VouchedRequest(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="vouched-request"):
    """What the key before signs: ``request`` is the whole message that the new key signed."""

    created: Time
    request: bytes
    version: Literal[1] = 1


_DOCUMENT: msgspec.json.Decoder[CertificateRequest | VouchedRequest] = msgspec.json.Decoder(
    CertificateRequest | VouchedRequest
)


@dataclass(frozen=True)
class Request:
    """A request with the message that carried it; ``digest`` is the SHA-256 of its content, 64 hex digits.

    ``vouching`` is the content around it, if a key before claims to vouch for it; whether it does is judged apart.
    """

    message: bytes
    content: CertificateRequest
    digest: str
    vouching: VouchedRequest | None = None

    @property
    def identifier(self) -> str:
        """The first 16 hex digits of the digest: what the operator and the applicant call the request."""
        return self.digest[:IDENTIFIER_DIGITS]

    @property
    def user_id(self) -> str:
        """The one user ID to be certified."""
        return keys.user_id(self.content.name, self.content.number, self.content.domain)

    def signing_request(self) -> SigningRequest:
        """The X.509 form, verified, for this very key, role, number and name. Raises RequestError."""
        content = self.content
        return bridge.open_request(
            content.pkcs10,
            fingerprint=content.fingerprint,
            role=content.role,
            number=content.number,
            name=content.name,
        )


def make_request(
    home: Home,
    fingerprint: str,
    *,
    role: Role,
    number: str,
    name: str,
    domain: str = "",
    passphrase: Secret | None,
    clock: Callable[[], float],
    succeeds: str | None = None,
) -> bytes:
    """The request for the key ``fingerprint`` in ``home`` as an OpenPGP message signed by that key.

    ``clock`` gives Unix seconds; ``succeeds`` is the fingerprint of a key in the same home that vouches for this one
    and signs, too. Without a passphrase gpg-agent asks for it where the key has one. Raises RequestError if the key's
    user ID is not "Name (number)", with <number@domain> behind it where there is a domain, and KeyringError or CaError
    if the key cannot sign.
    """
    name = unicodedata.normalize("NFC", name)
    with bridge.agent_key(home, fingerprint, passphrase, ask=passphrase is None) as key:
        pkcs10 = bridge.make_request(key, role=role, number=number, name=name)
    content = CertificateRequest(
        created=format_time(clock()),
        domain=domain,
        fingerprint=fingerprint,
        key=keys.export_minimal(home, fingerprint),
        name=name,
        number=number,
        pkcs10=pkcs10,
        role=role,
        succeeds=succeeds,
    )
    # Decoded again, so that we refuse to sign what the desk would refuse to take.
    made = decoded(CertificateRequest, canonical.encode(content), RequestError)
    vouched = VouchedRequest(created=content.created, request=b"") if succeeds is not None else None
    _require_sense(made, vouched)
    _require_user_id(home, content)
    signed = messages.sign(home, fingerprint, canonical.encode(content), passphrase)
    if succeeds is None:
        return signed
    around = VouchedRequest(created=content.created, request=signed)
    return messages.sign(home, succeeds, canonical.encode(around), passphrase)


def claimed_request(message: bytes) -> Request:
    """The request as it describes itself, unverified: cheap, for lists and limits, never for a decision to certify."""
    content = claimed_content(message, RequestError)
    vouching = _vouching(content)
    if vouching is not None:
        content = claimed_content(vouching.request, RequestError)
    request = decoded(CertificateRequest, content, RequestError)
    _require_sense(request, vouching)
    return Request(message, request, canonical.digest(content), vouching)


def open_request(message: bytes) -> Request:
    """The request, verified in a scratch home that has only the key it is about. Raises RequestError.

    What a key before says of it is not looked at: see `ca.vouching`.
    """
    request = claimed_request(message)
    claimed = request.content
    try:
        with tempfile.TemporaryDirectory(prefix="cs-") as folder:
            home = certification.registered_home(
                Path(folder) / "request", key=claimed.key, expected_fingerprint=claimed.fingerprint
            )
            own = request.vouching.request if request.vouching else message
            content = verified_content(home, own, claimed.fingerprint, certified=False, error=RequestError)
            _require_user_id(home, claimed)
    except EngineError:
        raise  # trouble of ours, not the applicant's
    except KeyringError as error:
        raise RequestError(f"The key in the request cannot be certified: {error}") from None
    if decoded(CertificateRequest, content, RequestError) != claimed:
        raise RequestError("What is signed is not what the request claims; make a new request.")
    request.signing_request()  # for its refusal
    return request


def require_signed_by(request: Request, key: bytes) -> None:
    """What is around the request bears the signature of this OpenPGP key, the one that it succeeds. RequestError."""
    before = request.content.succeeds or ""
    try:
        with tempfile.TemporaryDirectory(prefix="cs-") as folder:
            home = certification.registered_home(Path(folder) / "before", key=key, expected_fingerprint=before)
            verified_content(home, request.message, before, certified=False, error=RequestError)
    except EngineError:
        raise  # trouble of ours, not the applicant's
    except KeyringError as error:
        raise RequestError(f"The key {before} cannot vouch for another: {error}") from None


def _vouching(content: bytes) -> VouchedRequest | None:
    """The content, if it is what a key before signed, else None."""
    try:
        found = canonical.decode_union(_DOCUMENT, content)
    except MalformedContent:
        return None  # whoever decodes it as a request says what is wrong
    return decoded(VouchedRequest, content, RequestError) if isinstance(found, VouchedRequest) else None


def _require_sense(request: CertificateRequest, vouching: VouchedRequest | None = None) -> None:
    """What the types alone do not say. Raises RequestError."""
    if (request.succeeds is None) != (vouching is None):
        raise RequestError(
            "The request names a key that vouches for it, and that key's signature is missing; make a new request."
            if vouching is None
            else "A key vouches for a request that does not name it (succeeds); make a new request."
        )
    if request.succeeds is not None and (request.role != CUSTOMER or request.succeeds == request.fingerprint):
        raise RequestError(
            "A key can only vouch for another one of the same customer; a bank's fingerprint stands in its letters, and"
            " a new one needs new letters. Make a new request."
        )
    try:
        if vouching is not None:
            parse_time(vouching.created, "created")
        parse_time(request.created, "created")
        canonical.require_printable(request.name, "name")
        keys.user_id(request.name, request.number, request.domain)
    except (MalformedContent, KeyringError) as error:
        raise RequestError(str(error)) from None
    if (request.role == BANK) != (request.number == BANK_NUMBER):
        raise RequestError(
            f"The number {BANK_NUMBER} belongs to the bank and to nobody else; the role {request.role} cannot go with"
            f" the number {request.number}."
        )


def _require_user_id(home: Home, request: CertificateRequest) -> None:
    """The key bears exactly the one name that will be certified, so that no other can ride along."""
    expected = keys.user_id(request.name, request.number, request.domain)
    if [each.text for each in keys.public_key(home, request.fingerprint).user_ids] != [expected]:
        raise RequestError(
            f"The key must have exactly the one user ID “{expected}”, and this one differs; make a key for this number."
        )
