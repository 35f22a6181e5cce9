"""One root for everything that the certificate authority, its desk and those who apply there can get wrong."""

from protocol.codes import Reason


class CaError(Exception):
    """The certificate authority cannot do what was asked; the text says why, and what to do next."""


class ConfigurationError(CaError):
    """ca.toml or the authority's folder is not as it must be; the text names the file and the remedy."""


class StoreError(CaError):
    """A database of the authority cannot be read or written."""


class RequestError(CaError):
    """The certificate request is malformed, altered, or not signed by the key that it is about."""


class NoticeError(CaError):
    """The account notice is malformed, or the certified bank did not sign it."""


class CeremonyError(CaError):
    """The request cannot be confirmed as things stand; no try was used up."""


class IssuingError(CaError):
    """No certificate was issued."""


class VouchingError(IssuingError):
    """No key that counts vouches for the request, so that it takes a call."""


class RevocationError(CaError):
    """Nothing was revoked, and no list was made."""


class DeskError(CaError):
    """The desk did not answer, or refused; nothing that it said was used.

    ``again`` tells whether it refused what it would take later.
    """

    def __init__(self, sentence: str, *, again: bool = False) -> None:
        super().__init__(sentence)
        self.again = again


class UnprovenKey(CaError):
    """The authority does not vouch for what was handed out as it must; nothing of it was used.

    ``rule`` is the kebab-case name of the rule that is broken, in the OpenPGP or the X.509 form; ``reason`` its code.
    """

    def __init__(self, sentence: str, rule: str = "proven", reason: Reason = Reason.CERTIFICATE_INVALID) -> None:
        super().__init__(sentence)
        self.rule = rule
        self.reason = reason
