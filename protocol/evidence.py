"""Evidence is a flat folder that proves one decision to whoever has stock gpg and knows a fingerprint from elsewhere.

VERIFY.md says nothing about the transfer itself: every folder of a kind holds the same text, so nobody can steer the
check by what he writes into an order, and who receives a folder can tell that its commands are ours.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol import verification
from protocol.errors import ProtocolError
from protocol.stages import Stage

ORDER: Final = "order.pgp"
ORDER_CONTENT: Final = "order.json"
RECEIPT: Final = "receipt.pgp"
HEAD: Final = "head.pgp"
CUSTOMER_KEY: Final = "customer.pgp"
BANK_KEY: Final = "bank.pgp"
AUTHORITY_KEY: Final = "authority.pgp"
CUSTOMER_CERTIFICATE: Final = "customer.crt"
BANK_CERTIFICATE: Final = "bank.crt"
AUTHORITY_CERTIFICATE: Final = "authority.crt"
REVOCATIONS: Final = "revocations.crl"
INSTRUCTIONS: Final = "VERIFY.md"

_COMMANDS: Final = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class EvidenceError(ProtocolError):
    """The files are not an evidence folder of ours."""


@dataclass(frozen=True)
class Kind:
    """What decides which files a folder has and what its VERIFY.md says.

    ``bank_certified``: the authority vouches for the bank's key; in the stage certified it must. ``with_head``: the
    signed head of the log is there, to which the receipt's proof leads. ``x509``: the authority vouches in X.509, too;
    so it does unless the order is of version 1, from before that.
    """

    stage: Stage
    bank_certified: bool
    with_head: bool
    x509: bool

    def __post_init__(self) -> None:
        if self.stage.is_certified and not self.bank_certified:
            raise EvidenceError(
                "In the stage certified the authority vouches for the bank, too; give the bank's certified key and the "
                "authority's."
            )
        if self.x509 and not self.bank_certified:
            raise EvidenceError("Where the authority vouches in X.509, it does in OpenPGP; give its key as well.")

    @property
    def names(self) -> frozenset[str]:
        """The files of such a folder."""
        names = {RECEIPT, BANK_KEY, INSTRUCTIONS}
        names |= {ORDER, CUSTOMER_KEY} if self.stage.orders_are_signed else {ORDER_CONTENT}
        names |= {AUTHORITY_KEY} if self.bank_certified else set()
        names |= {AUTHORITY_CERTIFICATE, BANK_CERTIFICATE} if self.x509 else set()
        names |= {CUSTOMER_CERTIFICATE, REVOCATIONS} if self.x509 and self.stage.is_certified else set()
        return frozenset(names | ({HEAD} if self.with_head else set()))

    def instructions(self) -> str:
        """The text of VERIFY.md (Markdown)."""
        return verification.render(self.stage, self.names)

    def passed_lines(self) -> tuple[str, ...]:
        """What the commands of VERIFY.md must print, besides what they show; a line for each step."""
        return verification.passed_lines(self.stage, self.names)


@dataclass(frozen=True)
class Certificates:
    """X.509, DER: the authority's root, and the bank's certificate; in the stage certified also the debtor's, and the
    authority's revocation list by which the bank judged it, else None."""

    authority: bytes
    bank: bytes
    customer: bytes | None
    revocations: bytes | None


@dataclass(frozen=True)
class Parts:
    """What goes into a folder; OpenPGP messages and keys are binary.

    ``order``: exactly as sent, a message in the stages signed and certified, else the content. ``receipt``: message of
    a TransferReceipt. ``bank_key``, ``customer_key`` (None where orders are not signed): public keys, as certified.
    ``authority_key``: None if no authority vouches for the bank. ``head``: message of a TreeHead, or None.
    ``certificates``: None if no authority vouches in X.509.
    """

    stage: Stage
    order: bytes
    receipt: bytes
    bank_key: bytes
    customer_key: bytes | None
    authority_key: bytes | None
    head: bytes | None
    certificates: Certificates | None


def assemble(parts: Parts) -> dict[str, bytes]:
    """The files of the folder by name. Raises EvidenceError if a key or certificate is missing, or too many."""
    own = parts.certificates
    kind = Kind(parts.stage, parts.authority_key is not None, parts.head is not None, own is not None)
    found = {
        ORDER if parts.stage.orders_are_signed else ORDER_CONTENT: parts.order,
        RECEIPT: parts.receipt,
        BANK_KEY: parts.bank_key,
        CUSTOMER_KEY: parts.customer_key,
        AUTHORITY_KEY: parts.authority_key,
        AUTHORITY_CERTIFICATE: own.authority if own else None,
        BANK_CERTIFICATE: own.bank if own else None,
        CUSTOMER_CERTIFICATE: own.customer if own else None,
        REVOCATIONS: own.revocations if own else None,
        HEAD: parts.head,
        INSTRUCTIONS: kind.instructions().encode(),
    }
    files = {name: data for name, data in found.items() if data is not None}
    if files.keys() != kind.names:
        raise EvidenceError(
            f"In the stage {parts.stage.value} the customer's key belongs to the evidence exactly if orders are signed,"
            " and the customer's certificate and the revocation list exactly if they are certified."
        )
    return files


def kinds() -> tuple[Kind, ...]:
    """Every kind of folder."""
    return tuple(
        Kind(stage, bank_certified, with_head, x509)
        for stage in Stage
        for bank_certified, x509 in ((True, True), (True, False), (False, False))
        for with_head in (True, False)
        if bank_certified or not stage.is_certified
    )


def require_folder(files: Mapping[str, bytes]) -> Kind:
    """The kind of a folder that somebody else made; its files may then be written to a disk and VERIFY.md be followed.

    Raises EvidenceError if a name or VERIFY.md is not what we would have written. Proves nothing of the rest.
    """
    for kind in kinds():
        if files.keys() == kind.names and files[INSTRUCTIONS] == kind.instructions().encode():
            return kind
    raise EvidenceError(
        "These are not the files of an evidence folder as this version writes it; nothing was written. Ask the bank "
        "which version made it."
    )


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a folder that :func:`require_folder` knows. EvidenceError if the folder is not empty."""
    require_folder(files)  # so no name leads out of the folder
    require_empty(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with (folder / name).open("xb") as file:
                file.write(data)
    except OSError as error:
        raise EvidenceError(f"The folder {folder} cannot be written: {error.strerror}; try another one.") from None


def require_empty(folder: Path) -> None:
    """Nothing is overwritten: EvidenceError if the folder holds anything."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EvidenceError(f"{folder} is there already and not empty; name a new folder with --out.")


def commands(instructions: str) -> tuple[str, ...]:
    """The shell commands of each step of a VERIFY.md, in order."""
    return tuple(_COMMANDS.findall(instructions))
