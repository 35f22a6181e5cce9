"""A message counts only if every rule here agrees with what gpg wrote to its status pipe; whatever is unclear rejects.

The keywords are those of GnuPG, doc/DETAILS, "Format of the --status-fd output". gpg's exit code proves nothing and is
not asked.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from keyring.transcript import VALIDSIG_SHAPE, Transcript, read

GOOD_DIGESTS: Final = frozenset({8, 9, 10})  # SHA-256, SHA-384, SHA-512 (RFC 4880, section 9.4)
GOOD_CIPHERS: Final = frozenset({b"7", b"8", b"9"})  # AES with 128, 192 and 256 bits (section 9.2)


@dataclass(frozen=True)
class SignedByCustomer:
    """Signed by the primary key with this fingerprint (40 hex) itself; ``certified``: the authority vouches for it."""

    fingerprint: str
    certified: bool


@dataclass(frozen=True)
class SignedByBank:
    """Signed by one of these signing subkeys (40 hex each) of the primary key; ``certified`` as for a customer."""

    fingerprint: str
    signing_subkeys: frozenset[str]
    certified: bool


@dataclass(frozen=True)
class Sealed:
    """Encrypted to a key of the home, with integrity protection, and not signed."""


@dataclass(frozen=True)
class UnderPassword:
    """Encrypted under a password and nothing else, with integrity protection, and not signed."""


Expectation = SignedByCustomer | SignedByBank | Sealed | UnderPassword


@dataclass(frozen=True)
class Accepted:
    """Who signed (40 hex each, "" if nobody was to) and when by their own clock (Unix seconds, 0 if nobody was to)."""

    primary: str
    signing: str
    created: int


@dataclass(frozen=True)
class Rejected:
    """The first rule broken (kebab-case) and a sentence for a person; nothing of the message may be used."""

    rule: str
    sentence: str


# A rule gives the sentence with which it rejects, or None; its name is the function's.
Rule = Callable[[Transcript, Expectation], str | None]

_TRUST: Final = re.compile(rb"0 pgp(?: .*)?")
_SHAPES: Final[Mapping[str, re.Pattern[bytes]]] = {
    "NEWSIG": re.compile(rb".*"),  # the signer's own word for its user ID
    "GOODSIG": re.compile(rb"[0-9A-F]{16} .*"),
    "VALIDSIG": VALIDSIG_SHAPE,
    "PLAINTEXT": re.compile(rb"[0-9a-f]{2} \d{1,12} .*"),
    "ENC_TO": re.compile(rb"[0-9A-F]{16} \d{1,3} \d{1,6}"),
    "DECRYPTION_KEY": re.compile(rb"[0-9A-F]{40} [0-9A-F]{40} [-a-z]"),
    "NEED_PASSPHRASE_SYM": re.compile(rb"\d{1,3} \d{1,3} \d{1,3}"),
    "BEGIN_DECRYPTION": re.compile(rb""),
    "DECRYPTION_INFO": re.compile(rb"\d{1,3} \d{1,3}(?: \d{1,3})?"),
    "DECRYPTION_OKAY": re.compile(rb""),
    "GOODMDC": re.compile(rb""),
    "END_DECRYPTION": re.compile(rb""),
    **{f"TRUST_{level}": _TRUST for level in ("UNKNOWN", "UNDEFINED", "NEVER", "MARGINAL", "FULLY", "ULTIMATE")},
}

_SIGNATURE: Final = frozenset({"NEWSIG", "GOODSIG", "VALIDSIG", "SIG_ID"})
_FAILED_SIGNATURE: Final = frozenset(
    {"BADSIG", "ERRSIG", "NO_PUBKEY", "EXPSIG", "SIGEXPIRED", "EXPKEYSIG", "REVKEYSIG"}
)
_DEAD_KEY: Final = frozenset({"KEYEXPIRED", "KEYREVOKED"})
_DECRYPTION: Final = frozenset(
    {"ENC_TO", "DECRYPTION_KEY", "NEED_PASSPHRASE_SYM", "BEGIN_DECRYPTION", "DECRYPTION_INFO", "DECRYPTION_OKAY"}
    | {"DECRYPTION_FAILED", "GOODMDC", "END_DECRYPTION"}
)
_FAILURES: Final = frozenset(
    {"NODATA", "UNEXPECTED", "ERROR", "FAILURE", "BADMDC", "BADARMOR", "TRUNCATED", "RSA_OR_IDEA"}
    | {"BAD_PASSPHRASE", "MISSING_PASSPHRASE", "CANCELED_BY_USER"}
)
# Said about good messages too, and of no weight. NO_SECKEY: a second recipient's key is not ours.
_HARMLESS: Final = frozenset(
    {"KEY_CONSIDERED", "PLAINTEXT_LENGTH", "NOTATION_NAME", "NOTATION_FLAGS", "NOTATION_DATA", "POLICY_URL", "PROGRESS"}
    | {"WARNING", "NO_SECKEY", "VERIFICATION_COMPLIANCE_MODE", "DECRYPTION_COMPLIANCE_MODE"}
)
_KNOWN: Final = frozenset(_SHAPES) | _SIGNATURE | _FAILED_SIGNATURE | _DEAD_KEY | _DECRYPTION | _FAILURES | _HARMLESS


def judge(status: bytes, expected: Expectation) -> Accepted | Rejected:
    """Judge the status lines of one message by all rules of its expectation; never raises for any bytes."""
    transcript = read(status)
    for rule in RULES[type(expected)]:
        sentence = rule(transcript, expected)
        if sentence is not None:
            return Rejected(rule.__name__.replace("_", "-"), sentence)
    if isinstance(expected, Sealed | UnderPassword):
        return Accepted("", "", 0)
    signatures = transcript.signatures
    if not signatures:  # valid_signature has said so already, unless somebody took that rule out
        return Rejected("valid-signature", "The message carries no valid signature.")
    return Accepted(signatures[0].primary, signatures[0].signing, signatures[0].created)


# Rules for every kind of message.


def status_lines_only(said: Transcript, expected: Expectation) -> str | None:
    return "GnuPG's answer holds something that is not a status line." if said.strangers else None


def known_keywords(said: Transcript, expected: Expectation) -> str | None:
    unknown = next((keyword for keyword in said.counts if keyword not in _KNOWN), None)
    return f"GnuPG's answer holds {unknown[:40]}, which has no meaning here." if unknown else None


def well_formed(said: Transcript, expected: Expectation) -> str | None:
    for line in said.lines:
        shape = _SHAPES.get(line.keyword)
        if shape is not None and not shape.fullmatch(line.arguments):
            return f"GnuPG's answer holds {line.keyword} in a form that is not known here."
    return None


def no_failure(said: Transcript, expected: Expectation) -> str | None:
    failed = next((keyword for keyword in said.counts if keyword in _FAILURES), None)
    return f"GnuPG could not process the whole message ({failed})." if failed else None


def one_plaintext(said: Transcript, expected: Expectation) -> str | None:
    return None if said.count("PLAINTEXT") == 1 else "The message does not hold exactly one content."


def saved_plaintext(said: Transcript, expected: Expectation) -> str | None:
    """gpg does not save a literal packet of this name, so that an older output could be taken for it."""
    named = [arguments.split(b" ", 2)[-1] for arguments in said.arguments("PLAINTEXT")]
    return "The content is named _CONSOLE and so cannot be saved." if b"_CONSOLE" in named else None


# Rules for signed messages.


def undamaged(said: Transcript, expected: Expectation) -> str | None:
    return "The signature does not fit the content." if said.count("BADSIG") else None


def checkable(said: Transcript, expected: Expectation) -> str | None:
    unchecked = said.count("ERRSIG", "NO_PUBKEY")
    return "The signature cannot be checked: its key is not here, or its form is not accepted." if unchecked else None


def signature_not_expired(said: Transcript, expected: Expectation) -> str | None:
    return "The signature has expired." if said.count("EXPSIG", "SIGEXPIRED") else None


def key_not_expired(said: Transcript, expected: Expectation) -> str | None:
    return "The key that signed has expired." if said.count("EXPKEYSIG", "KEYEXPIRED") else None


def key_not_revoked(said: Transcript, expected: Expectation) -> str | None:
    return "The key that signed has been revoked." if said.count("REVKEYSIG", "KEYREVOKED") else None


def not_encrypted(said: Transcript, expected: Expectation) -> str | None:
    return "The message is encrypted, where only a signature was expected." if said.count(*_DECRYPTION) else None


def one_signature(said: Transcript, expected: Expectation) -> str | None:
    return None if said.count("NEWSIG") == 1 else "The message does not carry exactly one signature."


def good_signature(said: Transcript, expected: Expectation) -> str | None:
    return None if said.count("GOODSIG") == 1 else "The message does not carry exactly one good signature."


def valid_signature(said: Transcript, expected: Expectation) -> str | None:
    return None if said.count("VALIDSIG") == 1 else "The message does not carry exactly one valid signature."


def same_key(said: Transcript, expected: Expectation) -> str | None:
    """The name in GOODSIG proves nothing, but its key ID must be that of the fingerprint in VALIDSIG."""
    ids = {arguments[:16] for arguments in said.arguments("GOODSIG")}
    ids |= {signature.signing[-16:].encode() for signature in said.signatures}
    return "GnuPG speaks of two different keys." if len(ids) > 1 else None


def document_signature(said: Transcript, expected: Expectation) -> str | None:
    fits = all(signature.kind == "00" for signature in said.signatures)
    return None if fits else "The signature is not one over a binary document."


def strong_digest(said: Transcript, expected: Expectation) -> str | None:
    fits = all(signature.digest in GOOD_DIGESTS for signature in said.signatures)
    return None if fits else "The signature's digest is weaker than SHA-256."


def signer(said: Transcript, expected: Expectation) -> str | None:
    if not isinstance(expected, SignedByCustomer | SignedByBank):
        return "A signer was not expected."
    fits = all(signature.primary == expected.fingerprint for signature in said.signatures)
    return None if fits else "The message is signed with another key than the one expected."


def signing_key(said: Transcript, expected: Expectation) -> str | None:
    """A subkey added after the certification signs with full trust; so the signing key itself is named, too."""
    if isinstance(expected, SignedByCustomer):
        allowed = frozenset({expected.fingerprint})
    elif isinstance(expected, SignedByBank):
        allowed = expected.signing_subkeys
    else:
        return "A signer was not expected."
    fits = all(signature.signing in allowed for signature in said.signatures)
    return None if fits else "The message is signed with a subkey that may not sign here."


def trust(said: Transcript, expected: Expectation) -> str | None:
    found = said.trust()
    if not isinstance(expected, SignedByCustomer | SignedByBank) or len(found) != 1:
        return "GnuPG does not say exactly once how far the key is trusted."
    if expected.certified and found != ("TRUST_FULLY",):
        return "The certificate authority does not vouch for the key that signed."
    return "The key that signed is marked as never to be trusted." if found == ("TRUST_NEVER",) else None


# Rules for encrypted messages.


def not_signed(said: Transcript, expected: Expectation) -> str | None:
    signed = said.count(*_SIGNATURE, *_FAILED_SIGNATURE, *_DEAD_KEY) or said.trust()
    return "The message carries a signature where none belongs." if signed else None


def opened_by_key(said: Transcript, expected: Expectation) -> str | None:
    opened = said.count("ENC_TO") >= 1 and said.count("DECRYPTION_KEY") == 1
    return None if opened else "The message was not opened with exactly one of our keys."


def no_password(said: Transcript, expected: Expectation) -> str | None:
    return "The message can also be opened with a password." if said.count("NEED_PASSPHRASE_SYM") else None


def opened_by_password(said: Transcript, expected: Expectation) -> str | None:
    """Without this rule a bare literal, or what is made with a public key, would pass for knowledge of the password."""
    return (
        None if said.count("NEED_PASSPHRASE_SYM") == 1 else "The message is not encrypted under exactly one password."
    )


def no_recipient(said: Transcript, expected: Expectation) -> str | None:
    found = said.count("ENC_TO", "DECRYPTION_KEY", "NO_SECKEY")
    return "The message is encrypted to a key, where only the password was agreed." if found else None


def decrypted(said: Transcript, expected: Expectation) -> str | None:
    failed = said.count("DECRYPTION_FAILED")
    return "The message does not open: another password or key, or it was changed on the way." if failed else None


def one_decryption(said: Transcript, expected: Expectation) -> str | None:
    return None if said.count("DECRYPTION_OKAY") == 1 else "The message was not decrypted exactly once."


def integrity(said: Transcript, expected: Expectation) -> str | None:
    return None if said.count("GOODMDC") == 1 else "The integrity of the message is not proved."


def integrity_method(said: Transcript, expected: Expectation) -> str | None:
    """2: a modification detection code (DETAILS, DECRYPTION_INFO), the one method of our messages."""
    methods = [arguments.split(b" ")[0] for arguments in said.arguments("DECRYPTION_INFO")]
    return None if methods == [b"2"] else "The message is not protected by a modification detection code."


def strong_cipher(said: Transcript, expected: Expectation) -> str | None:
    """gpg opens what is under a cipher with blocks of 8 bytes, too, whoever chose that."""
    ciphers = {arguments.split(b" ")[1] for arguments in said.arguments("DECRYPTION_INFO") if b" " in arguments}
    return None if ciphers <= GOOD_CIPHERS else "The message is encrypted with another cipher than AES."


def content_inside(said: Transcript, expected: Expectation) -> str | None:
    """Exactly one decryption begins, ends, and has the content between the two."""
    marks = ("BEGIN_DECRYPTION", "PLAINTEXT", "END_DECRYPTION")
    found = [line.keyword for line in said.lines if line.keyword in marks]
    first, last = found[:1], found[-1:]
    fits = first == [marks[0]] and last == [marks[2]] and found.count(marks[0]) == found.count(marks[2]) == 1
    return None if fits else "The content does not lie inside the one encrypted part of the message."


_EVERY: Final[tuple[Rule, ...]] = (status_lines_only, known_keywords, well_formed)
SIGNATURE_RULES: Final[tuple[Rule, ...]] = (
    *_EVERY,
    undamaged,
    checkable,
    signature_not_expired,
    key_not_expired,
    key_not_revoked,
    no_failure,
    not_encrypted,
    one_plaintext,
    saved_plaintext,
    one_signature,
    good_signature,
    valid_signature,
    same_key,
    document_signature,
    strong_digest,
    signer,
    signing_key,
    trust,
)
_ENCRYPTED: Final[tuple[Rule, ...]] = (
    decrypted,
    no_failure,
    one_plaintext,
    saved_plaintext,
    one_decryption,
    integrity,
    integrity_method,
    strong_cipher,
    content_inside,
)
SEALED_RULES: Final[tuple[Rule, ...]] = (*_EVERY, not_signed, no_password, opened_by_key, *_ENCRYPTED)
PASSWORD_RULES: Final[tuple[Rule, ...]] = (*_EVERY, not_signed, no_recipient, opened_by_password, *_ENCRYPTED)
RULES: Mapping[type[Expectation], tuple[Rule, ...]] = {
    SignedByCustomer: SIGNATURE_RULES,
    SignedByBank: SIGNATURE_RULES,
    Sealed: SEALED_RULES,
    UnderPassword: PASSWORD_RULES,
}
