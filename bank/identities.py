"""Who speaks in a session is decided by GnuPG in a small home made for that one customer, and by nothing else."""

import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bank.customers import Customer
from bank.errors import ConfigurationError
from keyring.asked import Asked
from keyring.certification import CaTemplate, Certification, judged_home, registered_home
from keyring.errors import EngineError, KeyringError, NotCertified
from keyring.home import Home
from keyring.opened import Opened
from keyring.verdict import Rejected, SignedByCustomer
from keyring.worker import Worker, open_once
from keyring.worker_set import WorkerSet
from protocol import canonical
from protocol.codes import Reason
from protocol.stages import Stage

ROLE = "customer"

TRIES = 3
"""How often a message is asked about when no verdict on it can be relied on."""

Read = Callable[[bytes], Opened | Rejected]
"""Has GnuPG judge a message as one that the customer signed."""


def relied_on(ask: Callable[[], Opened | Rejected]) -> Opened | Rejected:
    """A verdict that GnuPG gave: where its process hung or died it is asked again, by then another one.

    After so many tries the rejection has the rule ``engine``, which says nothing about the message.
    """
    for _ in range(TRIES - 1):
        found = ask()
        if isinstance(found, Opened) or found.rule != "engine":
            return found
    return ask()


class OpeningRefused(Exception):
    """The speaker is not accepted; carried to the client as a Refusal.

    ``rule`` is the kebab-case name of what exactly was broken, where the reason is the same for several things.
    """

    def __init__(
        self, reason: Reason, sentence: str | None = None, field: str | None = None, rule: str | None = None
    ) -> None:
        super().__init__(sentence or reason.value)
        self.reason = reason
        self.sentence = sentence
        self.field = field
        self.rule = rule


def signature_refused(what: str, rejected: Rejected, field: str) -> OpeningRefused:
    """The refusal of an opening or order whose signature GnuPG or a rule rejected; "busy" where GnuPG failed."""
    if rejected.rule == "engine":
        return OpeningRefused(Reason.BUSY, field=field)
    sentence = f"The {what}'s signature is not accepted: {rejected.sentence}"
    return OpeningRefused(Reason.SIGNATURE, sentence, field, rejected.rule)


@dataclass(frozen=True)
class Authority:
    """The certificate authority's fingerprint, as pinned by the operator, its public key, and its root (DER)."""

    fingerprint: str
    key: bytes
    root: bytes


@dataclass(frozen=True)
class Identity:
    """A customer's key as GnuPG judged it; ``key_digest`` is the SHA-256 of ``key``."""

    customer: str
    fingerprint: str
    key: bytes
    key_digest: str
    certification: Certification | None
    home: Home

    @property
    def expected(self) -> SignedByCustomer:
        """What a signature of this customer must be."""
        return SignedByCustomer(self.fingerprint, certified=self.certification is not None)

    @property
    def slot(self) -> str:
        """Its place among the homes: one for each way in which a customer can be known, and for each key.

        While one key takes over from another, sessions under both must not push each other's home out.
        """
        return _slot(self.customer, self.fingerprint, certified=self.certification is not None)

    def require_current(self, now: float) -> None:
        """Dates are decided here for every order, by what the CA certified; OpeningRefused (DS0D) past the end."""
        if self.certification and not self.certification.created <= now < self.certification.expires:
            raise OpeningRefused(
                Reason.CERTIFICATE_INVALID,
                "The customer's certificate is not valid at this time.",
                "certificate",
                "already-valid" if now < self.certification.created else "not-expired",
            )


class Identities:
    """Small homes and their workers, at most ``limit``; a cache beside the database, begun empty at every start."""

    def __init__(self, folder: Path, authority: Authority | None, limit: int) -> None:
        """``folder`` is emptied; without an authority the stage certified is refused."""
        self._folder = folder
        self._authority = authority
        self._limit = limit
        self._workers = WorkerSet(limit, lambda home: Worker(home, scratch=folder))
        self._known: OrderedDict[str, Identity] = OrderedDict()
        self._lock = threading.Lock()
        self._made = 0
        self._turns = tuple(threading.Lock() for _ in range(64))
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise ConfigurationError(
                f"The folder {folder} for customers' keys cannot be made: {error.strerror}."
            ) from None
        self._template: CaTemplate | None = None
        try:
            if authority:
                self.believe(authority)
        except BaseException:
            self.close()
            raise

    def believe(self, authority: Authority) -> None:
        """Judge certified keys by this authority from now on; for a bank that has begun to serve without one."""
        self._template = CaTemplate.create(self._folder / "authority", authority.key, authority.fingerprint)
        self._authority = authority

    def present(
        self, stage: Stage, customer: Customer, offered: bytes | None, accept: Callable[[Identity, Read], None]
    ) -> Identity:
        """The identity that a customer opens a session with.

        A key that is not the one in use is judged in a scratch home; that becomes the customer's small home only
        after ``accept`` has verified the opening with it and returned. Raises OpeningRefused. Whoever opens is not
        proven before, so nothing here makes the customer's own orders wait.
        """
        key = self._key_of(stage, customer, offered)
        known = self._find(stage, customer, key)
        if known:
            accept(known, partial(self.open, known))
            return known
        identity = self._judge(stage, customer, key)
        try:
            accept(identity, lambda message: open_once(identity.home, message, identity.expected))
        except BaseException:
            shutil.rmtree(identity.home.path, ignore_errors=True)
            raise
        with self._turn(identity.slot):
            self._adopt(identity)
        return identity

    def _find(self, stage: Stage, customer: Customer, key: bytes) -> Identity | None:
        """The identity whose home was made from this very key."""
        mark = _slot(customer.number, "", certified=stage.is_certified)
        with self._lock:
            return next((each for slot, each in self._known.items() if slot.startswith(mark) and each.key == key), None)

    def open(self, identity: Identity, message: bytes) -> Opened | Rejected:
        """What a message says, if its customer signed it; see :meth:`open_all`."""
        return self.open_all(identity, [message])[0]

    def open_all(self, identity: Identity, messages: Sequence[bytes]) -> list[Opened | Rejected]:
        """What each message says, if its customer signed it; a verdict that cannot be relied on is asked for anew.

        That is one that gpg did not give, or a rejection from a home that another thread was removing: there gpg
        finds no key and blames the signature.
        """
        answers: list[Opened | Rejected] = [_NO_VERDICT] * len(messages)
        open_still: Sequence[int] = range(len(messages))
        for _ in range(TRIES):
            with self._turn(identity.slot):
                worker = self._worker(identity)
            for place, opened in zip(
                open_still, worker.open_all([messages[place] for place in open_still], identity.expected), strict=True
            ):
                answers[place] = opened
            kept = self._is_kept(identity.slot, worker.home)
            open_still = [place for place in open_still if not _is_settled(answers[place], kept)]
            if not open_still:
                return answers
        for place in open_still:
            answers[place] = _NO_VERDICT
        return answers

    def ask(self, identity: Identity, messages: Sequence[bytes]) -> tuple[Asked, Home] | None:
        """Hand the customer's gpg, in its home, a group of messages without waiting.

        None where :meth:`open_all` is the way.
        """
        with self._lock:
            known = self._known.get(identity.slot)
            if known is None or known.key != identity.key:
                return None
            self._known.move_to_end(identity.slot)
        worker = self._workers.at_hand(identity.slot, known.home)
        asked = worker.ask(messages, identity.expected) if worker else None
        return (asked, known.home) if asked else None

    def heard(self, identity: Identity, asked: Asked, home: Home) -> list[Opened | Rejected] | None:
        """What gpg said to :meth:`ask`; None if a verdict cannot be relied on, and all are to be asked for anew."""
        answers = asked.answers()
        kept = self._is_kept(identity.slot, home)
        return answers if answers and all(_is_settled(each, kept) for each in answers) else None

    def _is_kept(self, slot: str, home: Home) -> bool:
        """Whether a home is in use still; it is out of use before anything of it is removed."""
        with self._lock:
            known = self._known.get(slot)
            return known is not None and known.home == home

    def _worker(self, identity: Identity) -> Worker:
        """The identity's worker; one that was evicted meanwhile, with its home, is made anew from the same key."""
        with self._lock:
            known = self._known.get(identity.slot)
            if known:
                self._known.move_to_end(identity.slot)
        if known is None or known.key != identity.key:
            known = self._home_for(identity)
            self._adopt(known)
        return self._workers.get(identity.slot, known.home)

    def _turn(self, slot: str) -> threading.Lock:
        """One thread at a time makes or replaces a customer's home."""
        return self._turns[hash(slot) % len(self._turns)]

    @property
    def workers(self) -> int:
        """Customers for whom a gpg is kept now."""
        return len(self._workers)

    def close(self) -> None:
        """End all workers and remove the homes."""
        self._workers.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _key_of(self, stage: Stage, customer: Customer, offered: bytes | None) -> bytes:
        if stage.is_certified:
            if offered is None:
                raise OpeningRefused(Reason.CERTIFICATE_MISSING, field="key")
            return offered
        if offered is not None:
            raise OpeningRefused(Reason.MALFORMED, "A key is offered in the stage certified only.", "key")
        if customer.registered_key is None:
            raise OpeningRefused(Reason.KEY_NOT_ACTIVATED, field="customer")
        return customer.registered_key

    def _judge(self, stage: Stage, customer: Customer, key: bytes) -> Identity:
        path = self._new_path()
        try:
            if not stage.is_certified:
                fingerprint = customer.registered_fingerprint or ""
                home = registered_home(path, key=key, expected_fingerprint=fingerprint)
                return Identity(customer.number, fingerprint, key, canonical.digest(key), None, home)
            home, certification, fingerprint = self._certified_home(path, key, None)
        except NotCertified as error:
            raise OpeningRefused(Reason.CA_UNKNOWN, str(error), "key", error.rule) from None
        except EngineError:
            raise
        except KeyringError as error:
            reason = Reason.CERTIFICATE_INVALID if stage.is_certified else Reason.SIGNATURE
            raise OpeningRefused(reason, str(error), "key", "suitable-key") from None
        identity = Identity(customer.number, fingerprint, key, canonical.digest(key), certification, home)
        if certification.number != customer.number or certification.role != ROLE:
            shutil.rmtree(path, ignore_errors=True)
            raise OpeningRefused(
                Reason.CERTIFICATE_INVALID,
                f"The certificate is for {certification.role} {certification.number}, "
                f"not for customer {customer.number}.",
                "customer",
                "role" if certification.role != ROLE else "number",
            )
        return identity

    def _home_for(self, identity: Identity) -> Identity:
        """The same identity in a home made anew; every check was passed with this very key, and dates are kept."""
        path = self._new_path()
        if identity.certification is None:
            home = registered_home(path, key=identity.key, expected_fingerprint=identity.fingerprint)
        else:
            home, _, _ = self._certified_home(path, identity.key, identity.fingerprint)
        return Identity(
            identity.customer, identity.fingerprint, identity.key, identity.key_digest, identity.certification, home
        )

    def _certified_home(self, path: Path, key: bytes, fingerprint: str | None) -> tuple[Home, Certification, str]:
        if self._authority is None:
            raise OpeningRefused(
                Reason.CA_UNKNOWN,
                "This bank has no certificate itself yet; ask its operator.",
                "stage",
                "bank-certified",
            )
        return judged_home(
            path,
            ca_key=self._authority.key,
            ca_fingerprint=self._authority.fingerprint,
            offered=key,
            expected_fingerprint=fingerprint,
            template=self._template,
        )

    def _adopt(self, identity: Identity) -> None:
        leaving = []
        with self._lock:
            replaced = self._known.pop(identity.slot, None)
            if replaced:
                leaving.append(replaced)
            self._known[identity.slot] = identity
            while len(self._known) > self._limit:
                leaving.append(self._known.popitem(last=False)[1])
        for left in leaving:
            # Waits for the message in flight; a thread that comes with the old worker later asks again, see open().
            # A gpg that such a thread has started meanwhile may write into the folder while it is removed.
            for _ in range(TRIES):
                self._workers.evict(left.slot)
                shutil.rmtree(left.home.path, ignore_errors=True)
                if not left.home.path.exists():
                    break

    def _new_path(self) -> Path:
        with self._lock:
            self._made += 1
            return self._folder / str(self._made)


_NO_VERDICT: Final = Rejected("engine", "GnuPG gave no verdict that can be relied on; try again.")


def _is_settled(answer: Opened | Rejected, home_is_kept: bool) -> bool:
    return isinstance(answer, Opened) or (answer.rule != "engine" and home_is_kept)


def _slot(customer: str, fingerprint: str, *, certified: bool) -> str:
    return f"{customer}-{'certified' if certified else 'registered'}-{fingerprint}"
