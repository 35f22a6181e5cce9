"""All parts of a serving bank are put together here, and taken apart in the reverse order."""

import gc
import hashlib
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bank.admission import Admission
from bank.certificates import Certificates
from bank.config import Limits
from bank.dossier import Dossier
from bank.errors import ConfigurationError
from bank.home import BankHome
from bank.identities import Identities
from bank.journal import note
from bank.known_authority import KnownAuthority
from bank.loop import Loop
from bank.machine import Machine
from bank.opening import Opener
from bank.own_certificate import revocation_in, revocation_told
from bank.password_stage import Nonces, PasswordStage
from bank.refusals import RefusalLimiter
from bank.revocations import RevocationLists
from bank.server import Server
from bank.service import Service
from bank.storage import Ledger
from bank.turns import Turns
from bank.verifier import Verifier
from bank.watcher import DESK_SECONDS, Watcher
from ca.applicant import Desk
from ca.bridge import CertificateRefused, open_root
from keyring.home import Home
from keyring.worker import Worker
from protocol.transport import Address, Share, Socket

_TMPFS = Path("/dev/shm")  # noqa: S108 - the folder made there is private


DESCRIPTORS_PER_CUSTOMER = 4
"""Pipes of a gpg worker, and what it opens for a moment."""
DESCRIPTORS_BESIDE = 256
"""For the ledger, the agent, and gpg processes that come and go."""


@contextmanager
def serving(home: BankHome, *, clock: Callable[[], float] = time.time) -> Iterator[tuple[Server, Address]]:
    """A server that listens as bank.toml says, with its address; it is stopped when the block is left.

    Stopping answers what was taken and refuses the rest. Raises ConfigurationError where the bank cannot serve yet.
    """
    with ExitStack() as stack:
        stack.enter_context(prepared(home))
        place = Address.parse(home.config.listen)
        yield stack.enter_context(parts(home, place, runtime_folder(home.path), clock=clock))


@contextmanager
def prepared(home: BankHome) -> Iterator[None]:
    """The bank's folder for one server alone, of one process or of several; its agent is ended with the block.

    Raises ConfigurationError where the bank cannot serve yet.
    """
    if home.config.minimum_stage.is_certified and (home.authority() is None or home.certified() is None):
        raise ConfigurationError(
            "This bank has no certificate yet, and its minimum_stage is certified. Make a request with `bank request`, "
            "telephone the authority, then run `bank fetch`; `bank status` says where it stands."
        )
    with ExitStack() as stack:
        # Two servers in one home would clear each other's small homes.
        stack.enter_context(home.alone())
        for left in left_folders(home.path):
            shutil.rmtree(left, ignore_errors=True)
        stack.callback(home.gnupg.stop)
        yield


@contextmanager
def parts(
    home: BankHome,
    place: Address | Socket,
    runtime: Path,
    *,
    share: Share | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[tuple[Server, Address]]:
    """What one process serves with, in a folder that is :func:`prepared`; ``runtime`` is for this process alone.

    ``share`` tells of the other processes at the same socket.
    """
    config, limits = home.config, home.config.limits
    with ExitStack() as stack:
        identities = Identities(runtime, None, limits.active_customers)
        stack.callback(identities.close)
        keyless = Home.create(runtime / "keyless", own_keys=False)
        ledger = stack.enter_context(home.open_ledger())
        _require_unrevoked(home, ledger)
        signer = home.signer()
        stack.callback(signer.close)
        refusals = RefusalLimiter(limits.refusals_per_minute)
        posting = stack.enter_context(home.open_posting(ledger, signer, clock, refusals))
        sealed_worker = stack.enter_context(Worker(home.gnupg, scratch=runtime))
        customers = home.customers(ledger)
        desk = Desk(Address.parse(config.authority_address), timeout_seconds=DESK_SECONDS)

        def watch(certificates: Certificates) -> None:
            lists, seconds = certificates.lists, limits.revocation_seconds
            stack.enter_context(Watcher(lists, desk.revocations, seconds, clock, certificates.own))

        certificates = KnownAuthority(home, ledger, identities, watch)
        certificates()
        loop = Loop("sessions")
        stack.callback(loop.stop)
        service = Service(
            bank=config.fingerprint,
            minimum_stage=config.minimum_stage,
            public_key=home.public_key,
            ledger=ledger,
            posting=posting,
            customers=customers,
            verifier=Verifier(identities, loop),
            certificates=certificates,
            dossier=Dossier(home, ledger, posting, customers, signer, clock),
            refusals=refusals,
            admission=Admission(limits.queue, limits.queue_per_customer),
            loop=loop,
            clock=clock,
        )
        opener = Opener(
            bank=config.fingerprint,
            minimum_stage=config.minimum_stage,
            customers=customers,
            identities=identities,
            certificates=certificates,
            sealed_worker=sealed_worker,
            turns=Turns(limits.openings_at_once, limits.wait_seconds),
            clock=clock,
        )
        password_stage = PasswordStage(
            bank=config.fingerprint,
            customers=customers,
            sealed_worker=sealed_worker,
            keyless=keyless,
            turns=Turns(limits.password_messages_at_once, limits.wait_seconds),
            nonces=Nonces(ledger, limits.nonces),
            clock=clock,
        )
        spare_the_collector()
        server = Server(limits, opener, password_stage, service, customers, loop, clock)
        address = server.listen(place, share)
        note("serving", address=address, minimum_stage=config.minimum_stage.value)
        try:
            yield server, address
        finally:
            # First the connections, whose answers still need everything that is ended after them.
            whole = server.stop()
            note("stopped", all_answered=int(whole))


def _require_unrevoked(home: BankHome, ledger: Ledger) -> None:
    """A bank whose own certificate is revoked, by the newest list that it knows, does not begin to serve."""
    authority, certified = home.authority(), home.certified()
    if authority is None or certified is None:
        return
    try:
        newest = RevocationLists(ledger, open_root(authority.root, authority.fingerprint)).newest()
    except CertificateRefused:
        return  # then no order of the stage certified is taken, and each refusal says why
    if newest is not None and revocation_in(newest, certified.certificate):
        raise ConfigurationError(f"{revocation_told(newest.number)} This bank does not serve any more.")


def spare_the_collector() -> None:
    """What there is now stays, so Python's collector of cycles need not look at it, and less often at the rest.

    Measured: a twentieth of the processor time of a transfer.
    """
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def take_whole_turns() -> None:
    """From here on no thread of ours, and no gpg that we start, is stopped for another that has just been woken.

    Linux calls that SCHED_BATCH. Who runs finds more to do at its next turn, and changes are fewer: measured, single
    orders of many customers at 1.04 to 1.13 times the rate. What an operator has chosen otherwise is left as it is.
    """
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with suppress(OSError):  # where a sandbox forbids it, the bank serves without
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def make_room_for_connections(limits: Limits) -> None:
    """Let this process open as many files as its limits ask for, as far as the system allows.

    Else idle connections could use up what gpg and the ledger need, and strangers would stop the bank.
    """
    needed = limits.connections + DESCRIPTORS_PER_CUSTOMER * limits.active_customers + DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        note("few-file-descriptors", level=30, needed=needed, allowed=allowed)


def look_at_clock(machine: Machine) -> None:
    """Warn where nobody keeps the clock right: customers whose clocks differ by minutes are refused."""
    if machine.clock_is_kept() is False:
        note("clock-unsynchronised", level=30, next="timedatectl set-ntp true; `bank doctor` looks again")


def runtime_folder(home: Path, place: int | None = None) -> Path:
    """Where customers' small homes lie while the bank serves: in memory where that can be, made anew each time.

    Its name is made from the home's, so that a server that was killed leaves nothing that the next does not clear.
    ``place`` tells the processes of one server apart. Who else works on this machine may take the name in memory before
    us, and must not keep the bank from serving by that.
    """
    digest = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    ending = "" if place is None else f"-{place}"
    name = f"countersign-bank-{digest}{ending}"
    usable = os.access(_TMPFS, os.W_OK | os.X_OK) and not _is_anothers(_TMPFS / name)
    return (_TMPFS if usable else home.resolve()) / name


def _is_anothers(path: Path) -> bool:
    try:
        return path.lstat().st_uid != os.getuid()
    except OSError:
        return False


def left_folders(home: Path) -> Iterator[Path]:
    """Those that a server of this home may have left, however many processes it had."""
    folder = runtime_folder(home)
    return folder.parent.glob(f"{folder.name}*")
