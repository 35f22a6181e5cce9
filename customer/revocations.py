"""Nobody is spoken to whom the newest revocation list names, nor anybody once that list has run out.

The highest number ever seen is kept, and an older list is never taken. Before every opening in the stage certified the
kept list is asked; the authority's desk is asked for a newer one at most once a day, or when the kept one has run out.
"""

from contextlib import suppress
from typing import Final

from customer.errors import CustomerError, NotReady
from customer.home import CustomerHome
from customer.store import Fact, KeptRevocations
from protocol.errors import ProtocolError
from protocol.limits import CLOCK_TOLERANCE_SECONDS
from protocol.orders import format_time
from protocol.transport import Address

ASK_SECONDS: Final = 24 * 3600
"""How long a list is used before the desk is asked for a newer one."""

ASK_AGAIN_SECONDS: Final = 3600
"""How long the desk is left alone after it gave no answer."""

WARNING_SECONDS: Final = 7 * 24 * 3600
"""How long before its next update a list is warned about."""


BANK_REVOKED: Final = (
    "Telephone the bank: a revoked key is never certified again, and a bank with a new key sends you a new letter, "
    "with which you begin in another folder."
)


class Revoked(CustomerError):
    """The authority has revoked a certificate that this customer was about to rely on."""


def take(home: CustomerHome, crl: bytes, root: bytes) -> KeptRevocations:
    """Verify a list (DER) by the pinned authority and keep it; returns the newest that is kept. Raises CaError."""
    from ca.bridge import open_crl, open_root

    seen = home.store.revocations()
    opened = open_crl(
        crl,
        open_root(root, home.config.authority.fingerprint),
        highest_seen=seen.number if seen else 0,
    )
    opened.require_begun(int(home.world.clock()))
    kept = KeptRevocations(opened.number, opened.this_update, opened.next_update, frozenset(opened.revoked), crl)
    home.store.keep_revocations(kept)
    _ask_again_in(home, ASK_SECONDS)
    return newest(home)


def names_own(home: CustomerHome) -> bool:
    """Whether the newest list that is kept names the own certificate; no list, or no certificate, names nothing."""
    kept = home.store.revocations()
    return kept is not None and own_serial(home) in kept.revoked


def newest(home: CustomerHome) -> KeptRevocations:
    """The newest list that is kept. Raises NotReady before `customer fetch`."""
    kept = home.store.revocations()
    if kept is None:
        raise NotReady("The authority's revocation list is not here yet; get it with `customer fetch`.")
    return kept


def require_unrevoked(home: CustomerHome, bank_serial: int) -> None:
    """The bank's certificate and the own one stand, by a list that counts now; else NotReady or Revoked."""
    now = home.world.clock()
    kept = newest(home)
    due = home.store.number(Fact.ASK_REVOCATIONS_AT) or 0
    if now >= due or now > kept.next_update:
        kept = refresh(home) or kept
    if now > kept.next_update:
        raise NotReady(run_out(kept))
    if now < kept.this_update - CLOCK_TOLERANCE_SECONDS:
        raise NotReady(
            f"The authority's revocation list {kept.number} is dated {format_time(kept.this_update)}, in the future; "
            "set this machine's clock."
        )
    if bank_serial in kept.revoked:
        raise Revoked(f"The authority has revoked the bank's certificate, so nothing is sent to it. {BANK_REVOKED}")
    if own_serial(home) in kept.revoked:
        raise Revoked(
            "The authority has revoked your certificate, so the bank takes no orders under it. Telephone the authority;"
            " a new key begins with `customer init` in another --home."
        )


def own_serial(home: CustomerHome) -> int:
    """The serial number of the own certificate, 0 while there is none."""
    return home.store.number(Fact.CERTIFICATE_SERIAL, 16) or 0


def run_out(kept: KeptRevocations) -> str:
    """Who must do what once the list is past its next update."""
    return (
        f"The authority's revocation list {kept.number} ran out on {format_time(kept.next_update)}, so no certificate "
        "can be relied on. The authority's operator must issue a new one with `ca crl`; then take it with "
        "`customer fetch`."
    )


def refresh(home: CustomerHome) -> KeptRevocations | None:
    """Ask the desk for its list and keep it if it is good; returns the newest kept, which may still do otherwise."""
    from ca.applicant import Desk
    from ca.errors import CaError

    _ask_again_in(home, ASK_AGAIN_SECONDS)
    root = home.store.fact(Fact.AUTHORITY_ROOT)
    if root is not None:
        desk = Desk(Address.parse(home.config.authority.address), timeout_seconds=home.config.limits.connect_seconds)
        with suppress(CaError, ProtocolError):
            take(home, desk.revocations(), root)
    return home.store.revocations()


def _ask_again_in(home: CustomerHome, seconds: int) -> None:
    home.store.set_facts({Fact.ASK_REVOCATIONS_AT: str(int(home.world.clock()) + seconds).encode()})
