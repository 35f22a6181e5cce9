"""A certificate request is one document, in both forms, signed by the very key that it asks to have certified."""

import tempfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from ca import bridge
from ca.bridge import SigningRequest
from ca.documents import BANK, BANK_NUMBER, claimed_content, decoded, verified_content
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
    mail address in the user ID, "" where it has none.
    """

    created: Time
    domain: Domain
    fingerprint: Fingerprint
    key: bytes
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    number: AccountNumber
    pkcs10: bytes
    role: Role
    version: Literal[1] = 1


@dataclass(frozen=True)
class Request:
    """A request with the message that carried it; ``digest`` is the SHA-256 of its content, 64 hex digits."""

    message: bytes
    content: CertificateRequest
    digest: str

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
) -> bytes:
    """The request for the key ``fingerprint`` in ``home`` as an OpenPGP message signed by that key.

    ``clock`` gives Unix seconds. Without a passphrase gpg-agent asks for it where the key has one. Raises RequestError
    if the key's user ID is not "Name (number)", with <number@domain> behind it where there is a domain, and
    KeyringError or CaError if the key cannot sign.
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
    )
    # Decoded again, so that we refuse to sign what the desk would refuse to take.
    _require_sense(decoded(CertificateRequest, canonical.encode(content), RequestError))
    _require_user_id(home, content)
    return messages.sign(home, fingerprint, canonical.encode(content), passphrase)


def claimed_request(message: bytes) -> Request:
    """The request as it describes itself, unverified: cheap, for lists and limits, never for a decision to certify."""
    content = claimed_content(message, RequestError)
    request = decoded(CertificateRequest, content, RequestError)
    _require_sense(request)
    return Request(message, request, canonical.digest(content))


def open_request(message: bytes) -> Request:
    """The request, verified in a scratch home that has only the key it is about. Raises RequestError."""
    claimed = claimed_request(message).content
    try:
        with tempfile.TemporaryDirectory(prefix="cs-") as folder:
            home = certification.registered_home(
                Path(folder) / "request", key=claimed.key, expected_fingerprint=claimed.fingerprint
            )
            content = verified_content(home, message, claimed.fingerprint, certified=False, error=RequestError)
            _require_user_id(home, claimed)
    except EngineError:
        raise  # trouble of ours, not the applicant's
    except KeyringError as error:
        raise RequestError(f"The key in the request cannot be certified: {error}") from None
    if decoded(CertificateRequest, content, RequestError) != claimed:
        raise RequestError("What is signed is not what the request claims; make a new request.")
    opened = Request(message, claimed, canonical.digest(content))
    opened.signing_request()  # for its refusal
    return opened


def _require_sense(request: CertificateRequest) -> None:
    """What the types alone do not say. Raises RequestError."""
    try:
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
