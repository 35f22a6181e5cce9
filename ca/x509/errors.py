"""Whoever refuses a certificate says which rule it breaks, and with which code the bank answers."""

from collections.abc import Mapping

from ca.errors import CaError
from protocol.codes import Reason

RULES: Mapping[str, Reason] = {
    "certificate-present": Reason.CERTIFICATE_MISSING,
    "certificate-readable": Reason.CERTIFICATE_INVALID,
    "root-readable": Reason.CA_UNKNOWN,
    "root-profile": Reason.CA_UNKNOWN,
    "root-pinned": Reason.CA_UNKNOWN,
    "root-signed": Reason.CA_UNKNOWN,
    "root-valid": Reason.CA_UNKNOWN,
    "not-self-signed": Reason.CA_UNKNOWN,
    "issued-by-the-authority": Reason.CA_UNKNOWN,
    "strong-digest": Reason.CERTIFICATE_INVALID,
    "already-valid": Reason.CERTIFICATE_INVALID,
    "not-expired": Reason.CERTIFICATE_INVALID,
    "end-entity": Reason.CERTIFICATE_INVALID,
    "purpose": Reason.CERTIFICATE_INVALID,
    "path": Reason.CERTIFICATE_INVALID,
    "profile": Reason.CERTIFICATE_INVALID,
    "fingerprint": Reason.CERTIFICATE_INVALID,
    "same-key": Reason.CERTIFICATE_INVALID,
    "one-meaning": Reason.CERTIFICATE_INVALID,
    "role": Reason.CERTIFICATE_INVALID,
    "number": Reason.CERTIFICATE_INVALID,
    "not-revoked": Reason.CERTIFICATE_REVOKED,
    "crl-present": Reason.CERTIFICATE_INVALID,
    "crl-readable": Reason.CERTIFICATE_INVALID,
    "crl-by-the-authority": Reason.CA_UNKNOWN,
    "crl-profile": Reason.CERTIFICATE_INVALID,
    "crl-newest": Reason.CERTIFICATE_INVALID,
    "crl-already-valid": Reason.CERTIFICATE_INVALID,
    "crl-current": Reason.CERTIFICATE_INVALID,
}
"""Every rule that a certificate, root or revocation list can break, and the code of each."""


class KeyUseError(CaError):
    """The key in GnuPG is not used like this; nothing was signed."""


class ProfileError(CaError):
    """The name, address or time cannot stand in a certificate of ours, or was not written as we write it."""


class CertificateRefused(CaError):
    """The certificate is not accepted; ``rule`` is a key of RULES, ``reason`` its code, the text is for a person."""

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(sentence)
        self.rule = rule
        self.reason = RULES[rule]
