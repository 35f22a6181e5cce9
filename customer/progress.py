"""Whoever asks where he stands is told what was done, what is next, who acts, and with which command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ca.messages import OPEN_STATES, State
from customer import asking, bank_view, revocations, rotation
from customer.asking import NEW_HOME, YOU, Next
from customer.config import FILE_NAME, Config
from customer.errors import NotReady
from customer.home import KEYS_FOLDER, CustomerHome
from customer.new_log import what_happened
from customer.store import Fact
from keyring.printable import counted
from protocol import canonical
from protocol.beginnings import LogBeginning
from protocol.orders import format_time
from protocol.stages import Stage

WARNING_SECONDS: Final = 14 * 24 * 3600
"""How long before its end a certificate is warned about."""


@dataclass(frozen=True)
class Step:
    """One step of the way, whether it is done, and what is known of it."""

    name: str
    done: bool
    detail: str


@dataclass(frozen=True)
class Progress:
    """Where a customer stands; ``warnings`` are sentences."""

    steps: tuple[Step, ...]
    next: Next
    warnings: tuple[str, ...] = ()


BEGINNING: Final = Progress(
    (Step("key", False, "no customer lives in this home yet"),),
    Next(YOU, "Make the key pair and pin the fingerprints in the bank's letter.", "customer init --letter FILE"),
)


def revocation_folder(folder: Path) -> Path:
    """Where GnuPG puts the revocation certificate that it makes with a key."""
    return folder / KEYS_FOLDER / "openpgp-revocs.d"


def begun(folder: Path) -> bool:
    """Whether `customer init` has been here."""
    return (folder / FILE_NAME).exists()


def progress(home: CustomerHome) -> Progress:
    """Where this customer stands, from what is kept here; nobody is asked."""
    facts = {name: home.store.text(name) for name in (Fact.REGISTERED, Fact.REQUEST, Fact.REQUESTED)}
    told = asking.asked(home).state
    until = _until(home)
    bank_known, bank_detail = _bank(home)
    steps = (
        Step("key", bool(home.config.customer.key), home.key if home.config.customer.key else "not made yet"),
        Step("registered", bool(facts[Fact.REGISTERED]), facts[Fact.REGISTERED] or "only needed for lower stages"),
        Step("requested", bool(facts[Fact.REQUEST]), _requested(facts, told)),
        Step("certified", until is not None, f"until {format_time(until)}" if until else "no certificate yet"),
        Step("bank known", bank_known, bank_detail),
        Step("revocation list", *_list(home)),
        *_next_key(home),
    )
    return Progress(steps, _next(home, facts, until, bank_known), _warnings(home, until))


def _next(home: CustomerHome, facts: dict[Fact, str], until: int | None, bank_known: bool) -> Next:
    config: Config = home.config
    stage = config.customer.stage
    if not config.customer.key:
        return Next(YOU, "Make the key pair.", "customer init --letter FILE")
    if home.store.in_doubt():
        return Next(YOU, "Find out what became of a transfer.", "customer resume")
    if not stage.is_certified:
        return _next_below(home, stage, facts)
    if home.store.fact(Fact.GIVEN_UP) and not revocations.names_own(home):
        return Next(
            "the authority, then you",
            f"You have given this key up. The authority's operator stops it with `ca revoke {home.number} --reason "
            "key-compromise`: telephone. A new key begins in another folder.",
            NEW_HOME,
        )
    asked = asking.asked(home)
    if revocations.names_own(home):
        return asking.REVOKED
    if until is None:
        return asking.step(asked)
    new = rotation.pending(home)
    if home.world.clock() >= until and new is not None and new.request:
        return asking.too_late(new)
    if home.world.clock() >= until:
        return asking.step(asked) if asked.state in OPEN_STATES else asking.ENDED
    if _bank_revoked(home):
        return Next(
            "the bank",
            f"The authority has revoked the bank's certificate, so nothing is sent to it. {revocations.BANK_REVOKED}",
            NEW_HOME,
        )
    if not bank_known:
        return Next("the bank and the authority", "The bank's certificate is not here yet.", "customer fetch")
    kept = home.store.revocations()
    if kept is None or home.world.clock() > kept.next_update:
        return Next("the authority, then you", _list(home)[1], "customer fetch")
    if new is not None:
        return asking.next_key(new)
    if until <= home.world.clock() + WARNING_SECONDS:
        return Next(
            "the authority, then you",
            f"The certificate ends soon: have the authority run `ca renew {home.number}`, then take the renewed one.",
            "customer renew",
        )
    return _ready(home)


def _next_key(home: CustomerHome) -> tuple[Step, ...]:
    new = rotation.pending(home)
    if new is None:
        return ()
    asked = f"request {new.request} of {new.requested}, not certified yet" if new.request else "not announced yet"
    return (Step("new key", False, f"{new.fingerprint}: {asked}"),)


def _next_below(home: CustomerHome, stage: Stage, facts: dict[Fact, str]) -> Next:
    if stage.has_session and not facts[Fact.REGISTERED]:
        return Next(YOU, f"Register the key, for the stage {stage.value}.", "customer register --letter FILE")
    return _ready(home)


def _ready(home: CustomerHome) -> Next:
    return Next(YOU, "All is ready.", asking.example_transfer(home.number))


def _requested(facts: dict[Fact, str], told: State | None) -> str:
    if not facts[Fact.REQUEST]:
        return "not yet"
    heard = f", {told.value}" if told else ""
    return f"request {facts[Fact.REQUEST]} of {facts[Fact.REQUESTED]}{heard}"


def _list(home: CustomerHome) -> tuple[bool, str]:
    """The newest revocation list that is kept: whether it counts, and how long still."""
    kept = home.store.revocations()
    if kept is None:
        return False, "not here yet; it comes with `customer fetch`"
    now = home.world.clock()
    if now > kept.next_update:
        return False, revocations.run_out(kept)
    if revocations.names_own(home):
        return False, f"number {kept.number} has REVOKED this customer's certificate"
    return True, f"number {kept.number}, good until {format_time(kept.next_update)} ({_days(kept.next_update - now)})"


def _days(seconds: float) -> str:
    days = int(seconds // 86400)
    return "less than a day" if days < 1 else "1 day" if days == 1 else f"{days} days"


def _until(home: CustomerHome) -> int | None:
    return home.store.number(Fact.CERTIFIED_UNTIL)


def _bank(home: CustomerHome) -> tuple[bool, str]:
    certified = home.config.customer.stage.is_certified
    if certified and (number := _bank_revoked(home)):
        return False, f"revocation list {number} has REVOKED the bank's certificate"
    kind = bank_view.CERTIFIED if certified else bank_view.REGISTERED
    try:
        view = bank_view.open_view(home.folder, kind, home.config.bank.fingerprint, home.world.clock())
    except NotReady as error:
        return False, str(error)
    return True, f"certified until {format_time(view.expires)}" if view.expires else "by the letter's fingerprint"


def _bank_revoked(home: CustomerHome) -> int:
    """The number of the list by which the bank's certificate is revoked, 0 if it stands or is not known."""
    told, kept = home.store.number(Fact.BANK_REVOKED), home.store.revocations()
    if told or kept is None:
        return told or 0
    try:
        view = bank_view.open_view(home.folder, bank_view.CERTIFIED, home.config.bank.fingerprint, home.world.clock())
    except NotReady:
        return 0
    return kept.number if view.serial in kept.revoked else 0


def _warnings(home: CustomerHome, until: int | None) -> tuple[str, ...]:
    found = []
    now = home.world.clock()
    if until is not None and now < until <= now + WARNING_SECONDS:
        found.append(
            f"The certificate ends in {_days(until - now)}, on {format_time(until)}; ask the authority to run "
            f"`ca renew {home.number}`, then take the renewed one with `customer renew`."
        )
    kept = home.store.revocations()
    if kept is not None and kept.next_update - revocations.WARNING_SECONDS <= now <= kept.next_update:
        found.append(
            f"The authority's revocation list {kept.number} runs out in {_days(kept.next_update - now)}, on "
            f"{format_time(kept.next_update)}; take a newer one with `customer fetch`. If the desk has none, the "
            "authority's operator must run `ca crl`."
        )
    if beginning := home.store.fact(Fact.NEW_LOG):
        found.append(what_happened(canonical.decode(LogBeginning, beginning)))
    if lost := home.store.lost():
        found.append(
            f"The bank has lost {counted(len(lost), 'transfer')} with a receipt kept here: {', '.join(sorted(lost))}. "
            "Send again those that you want still, with `customer resume --lost`."
        )
    if count := len(home.store.in_doubt()):
        found.append(f"The outcome of {counted(count, 'transfer')} is not known; find out with `customer resume`.")
    beside = revocation_folder(home.folder)
    if any(beside.glob("*.rev")):
        found.append(
            f"The revocation certificate still lies beside the key, in {beside}; move it to a place apart: it "
            "serves when the key is lost (`customer revoke`)."
        )
    return tuple(found)
