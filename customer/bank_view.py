"""The bank as this customer sees it: a small home with its key, and no head believed that this key did not sign.

A view is made anew and put in place whole, never imported into. ``registered`` rests on the fingerprint in the letter;
``certified`` on that and on the authority's certification of it for the role ``bank``.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct

from customer.errors import AnotherLogShown, CustomerError, NotProven, NotReady
from customer.store import KeptHead
from keyring.home import Home
from protocol import canonical
from protocol.errors import ProtocolError
from protocol.orders import LAST_SECOND, Fingerprint
from protocol.receipts import (
    AnotherLog,
    BulkEntry,
    Entry,
    LogEntry,
    Receipt,
    TreeHead,
    check_consistency,
    check_inclusion,
    check_order,
    check_results,
)

if TYPE_CHECKING:
    from ca.messages import AuthorityKey, Certified

FOLDER: Final = "views"
REGISTERED: Final = "registered"
CERTIFIED: Final = "certified"
_ABOUT: Final = "view.json"


class _About(Struct, frozen=True, forbid_unknown_fields=True):
    """What view.json says of the bank's key, as it was judged; the serial number is in hex."""

    bank: Fingerprint
    expires: Annotated[int, Meta(ge=0, le=LAST_SECOND)] | None
    serial: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,40}\Z")]
    signing_subkeys: frozenset[Fingerprint]


@dataclass(frozen=True)
class BankView:
    """A home that holds the bank's key; ``expires`` is when its certificate ends (Unix seconds), None without one.

    ``serial`` is that of its X.509 certificate, 0 without one. All was judged when the view was made: asking gpg again
    would cost each transfer a process.
    """

    home: Home
    fingerprint: str
    signing_subkeys: frozenset[str]
    expires: int | None
    serial: int = 0

    @property
    def certified(self) -> bool:
        """Whether the authority vouches for the bank."""
        return self.expires is not None

    def open_signed(self, message: bytes) -> bytes:
        """The content of a message that the bank signed with one of its signing subkeys, else NotProven."""
        from keyring.opened import Opened
        from keyring.verdict import SignedByBank
        from keyring.worker import open_once

        opened = open_once(
            self.home, message, SignedByBank(self.fingerprint, self.signing_subkeys, certified=self.certified)
        )
        if not isinstance(opened, Opened):
            raise NotProven(f"The bank's signature does not hold: {opened.sentence}")
        return opened.content

    def open_head(self, message: bytes) -> KeptHead:
        """A head that the bank signed, about the bank itself, else NotProven."""
        try:
            head = canonical.decode_signed(TreeHead, self.open_signed(message))
        except ProtocolError as error:
            raise NotProven(f"What the bank signed is not the head of a log: {error}") from None
        if head.bank != self.fingerprint:
            raise NotProven("The head is another bank's.")
        return KeptHead(head, message)

    def continued(self, message: bytes, path: tuple[str, ...] | None, since: KeptHead | None) -> KeptHead:
        """A head that the bank signed and that continues the one kept before, else NotProven.

        AnotherLogShown if it is of another log, which the bank may be able to explain.
        """
        kept = self.open_head(message)
        if since is not None:
            try:
                check_consistency(since.head, kept.head, path)
            except AnotherLog as error:
                raise AnotherLogShown(str(error)) from None
            except ProtocolError as error:
                raise NotProven(str(error)) from None
        return kept

    def proven(self, receipt: Receipt, since: KeptHead | None) -> tuple[Entry, KeptHead]:
        """The entry of a receipt and its head, both proven; whose order it decides is checked apart."""
        kept = self.continued(receipt.head, receipt.consistency, since)
        try:
            return check_inclusion(receipt, kept.head), kept
        except ProtocolError as error:
            raise NotProven(str(error)) from None


def require_about(entry: Entry, content: bytes) -> None:
    """The entry decides exactly the order with this content, and repeats what it says, else NotProven."""
    from protocol.orders import BulkOrder, decode_order

    order = decode_order(content)
    try:
        check_order(entry, content, order.debtor, order.transfer_identifier)
        if isinstance(entry, BulkEntry) and isinstance(order, BulkOrder):
            check_results(entry, order)
            return
    except ProtocolError as error:
        raise NotProven(str(error)) from None
    if not isinstance(entry, LogEntry) or isinstance(order, BulkOrder):
        raise NotProven("The receipt is about an order of another type than was sent; keep it and ask the bank.")
    for field in ("creditor", "amount", "currency"):
        if getattr(entry, field) != getattr(order, field):
            raise NotProven(f"The receipt's {field} differs from the order that was sent; keep it and ask the bank.")


def open_view(folder: Path, kind: str, fingerprint: str, now: float) -> BankView:
    """The view of this kind in a customer's home. Raises NotReady, naming the command that makes it."""
    command = "`customer fetch`" if kind == CERTIFIED else "`customer register --letter FILE`"
    place = folder / FOLDER / kind
    try:
        about = canonical.decode(_About, (place / _ABOUT).read_bytes())
        view = BankView(
            Home.open(place / "gnupg"), about.bank, about.signing_subkeys, about.expires, int(about.serial, 16)
        )
    except FileNotFoundError:
        raise NotReady(f"The bank's key is not here yet; get it with {command}.") from None
    except (OSError, ProtocolError):
        raise NotReady(f"{place} cannot be read; get the bank's key again with {command}.") from None
    if view.fingerprint != fingerprint:
        raise NotReady(
            f"{place} is for another bank than customer.toml names; get the bank's key again with {command}."
        )
    # gpg goes on trusting a certification past its end until its trust is computed anew, so the end is decided here.
    if view.expires is not None and now >= view.expires:
        raise NotReady(
            "The bank's certificate has ended, and nothing is sent to it. Get the new one with `customer fetch`; if "
            "there is none, the bank must have it renewed."
        )
    return view


def make_registered(folder: Path, key: bytes, fingerprint: str) -> BankView:
    """A view that rests on the pinned fingerprint alone. Raises KeyringError if the key is another."""
    from keyring.certification import registered_home

    new = _fresh(folder, REGISTERED)
    home = registered_home(new / "gnupg", key=key, expected_fingerprint=fingerprint)
    return _put_in_place(folder, REGISTERED, home, fingerprint, None)


def make_certified(
    folder: Path,
    bank: "Certified",
    fingerprint: str,
    authority: "AuthorityKey",
    authority_fingerprint: str,
    *,
    crl: bytes,
    at: int,
    highest_crl_number: int,
) -> BankView:
    """A view that rests on the authority's word for the pinned bank, in both forms. Raises CaError if it gives none."""
    from ca.applicant import judged_party
    from ca.documents import BANK, BANK_NUMBER

    home, proven = judged_party(
        _fresh(folder, CERTIFIED) / "gnupg",
        bank,
        authority=authority,
        crl=crl,
        ca_fingerprint=authority_fingerprint,
        fingerprint=fingerprint,
        number=BANK_NUMBER,
        role=BANK,
        at=at,
        highest_crl_number=highest_crl_number,
    )
    return _put_in_place(folder, CERTIFIED, home, fingerprint, proven.certification.expires, proven.certificate.serial)


def _fresh(folder: Path, kind: str) -> Path:
    new = folder / FOLDER / f"{kind}.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    return new


def _put_in_place(
    folder: Path, kind: str, home: Home, fingerprint: str, expires: int | None, serial: int = 0
) -> BankView:
    from keyring import keys

    signing = sorted(
        part.fingerprint
        for part in keys.public_key(home, fingerprint).subkeys
        if "s" in part.capabilities and part.validity not in ("r", "e", "i", "d")
    )
    new, place, old = (folder / FOLDER / name for name in (f"{kind}.new", kind, f"{kind}.old"))
    about = _About(bank=fingerprint, expires=expires, serial=f"{serial:x}", signing_subkeys=frozenset(signing))
    (new / _ABOUT).write_bytes(msgspec.json.format(canonical.encode(about), indent=2) + b"\n")
    if not signing:
        raise CustomerError("The bank's key has no subkey that signs heads of its log; ask the bank for its key.")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return BankView(Home.open(place / "gnupg"), fingerprint, frozenset(signing), expires, serial)
