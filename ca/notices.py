"""A caller is known by the code in the bank's letter, and the authority knows that code only by its salted hash."""

import hashlib
import hmac
import secrets
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from ca.documents import BANK, claimed_content, decoded, verified_content
from ca.errors import NoticeError
from ca.requests import AccountNumber
from keyring import certification, messages, readout
from keyring.errors import EngineError, KeyringError
from keyring.home import Home
from protocol import canonical
from protocol.errors import MalformedContent
from protocol.letter import CALLER_CODE_BYTES
from protocol.orders import Fingerprint, Time, format_time, parse_time
from protocol.secret import Secret

# 32 MiB and about 0.1 s a guess; the code itself has 48 random bits.
SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_LANES = 2**15, 8, 1
SCRYPT_MEMORY_BYTES = 64 * 1024 * 1024
SALT_BYTES = 16


class AccountNotice(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="account-notice"):
    """What the bank tells the authority of a new account: the name, and the hash of the code in the letter."""

    bank: Fingerprint
    code_hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    code_salt: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    created: Time
    customer: AccountNumber
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    version: Literal[1] = 1

    def fits(self, code: str) -> bool:
        """Whether these words are the code in the letter. Raises ReadoutError if they cannot be any code at all."""
        return hmac.compare_digest(hash_code(code, bytes.fromhex(self.code_salt)), self.code_hash)


def hash_code(code: str, salt: bytes) -> str:
    """scrypt (n=2^15, r=8, p=1) of the code's words in lower case with single spaces: 64 hex digits (RFC 7914).

    The words may be spaced, hyphenated, capitalised or shortened as `keyring.readout` allows. Raises ReadoutError.
    """
    words = " ".join(readout.encode(readout.decode(code, CALLER_CODE_BYTES))).lower()
    return hashlib.scrypt(
        words.encode(),
        salt=salt,
        n=SCRYPT_COST,
        r=SCRYPT_BLOCK,
        p=SCRYPT_LANES,
        maxmem=SCRYPT_MEMORY_BYTES,
        dklen=32,
    ).hex()


def make_notice(
    home: Home,
    bank_fingerprint: str,
    *,
    customer: str,
    name: str,
    caller_code: str,
    passphrase: Secret | None = None,
    clock: Callable[[], float],
) -> bytes:
    """The notice of an account as an OpenPGP message signed by the bank's primary key; ``clock`` gives Unix seconds."""
    salt = secrets.token_bytes(SALT_BYTES)
    notice = AccountNotice(
        bank=bank_fingerprint,
        code_hash=hash_code(caller_code, salt),
        code_salt=salt.hex(),
        created=format_time(clock()),
        customer=customer,
        name=unicodedata.normalize("NFC", name),
    )
    content = canonical.encode(notice)
    _require_sense(decoded(AccountNotice, content, NoticeError))
    return messages.sign(home, bank_fingerprint, content, passphrase)


def claimed_notice(message: bytes) -> AccountNotice:
    """The notice as it describes itself, unverified: only to file it under its customer number."""
    notice = decoded(AccountNotice, claimed_content(message, NoticeError), NoticeError)
    _require_sense(notice)
    return notice


def open_notice(message: bytes, *, ca_key: bytes, ca_fingerprint: str, bank_key: bytes) -> AccountNotice:
    """The notice, signed by the bank key that this authority has certified for the role bank. Raises NoticeError."""
    try:
        with tempfile.TemporaryDirectory(prefix="cs-") as folder:
            home, certified, bank = certification.judged_home(
                Path(folder) / "bank",
                ca_key=ca_key,
                ca_fingerprint=ca_fingerprint,
                offered=bank_key,
                expected_fingerprint=None,
            )
            if certified.role != BANK:
                raise NoticeError("The key that should be the bank's is certified for another role.")
            content = verified_content(home, message, bank, certified=True, error=NoticeError)
    except EngineError:
        raise  # trouble of ours, not the bank's
    except KeyringError as error:
        raise NoticeError(f"The bank's key does not count: {error}") from None
    notice = decoded(AccountNotice, content, NoticeError)
    _require_sense(notice)
    if notice.bank != bank:
        raise NoticeError("The notice names another bank than the one that signed it.")
    return notice


def _require_sense(notice: AccountNotice) -> None:
    try:
        parse_time(notice.created, "created")
        canonical.require_printable(notice.name, "name")
    except MalformedContent as error:
        raise NoticeError(str(error)) from None
