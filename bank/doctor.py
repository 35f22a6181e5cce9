"""What is not well with a set-up is said with the command that mends it; nothing is changed by looking.

Each examination is a function of its own and gives findings; the tuple at the end names them all.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from bank import backups, schema
from bank.ceremony import NEW_LIST, standing
from bank.errors import BankError, ConfigurationError, Outgrown
from bank.heads import newest_head, require_continuation
from bank.home import BankHome
from bank.log import Log, size_of_log
from bank.machine import Machine
from bank.revocations import RevocationLists
from bank.serving import DESCRIPTORS_BESIDE, DESCRIPTORS_PER_CUSTOMER, left_folders
from bank.storage import Ledger
from ca.applicant import Desk
from ca.bridge import CertificateRefused, open_root
from ca.errors import CaError
from keyring.advisories import open_advisories
from keyring.errors import KeyringError, UnsuitableKey
from keyring.home import OLDEST_GNUPG, Home, require_private
from protocol.errors import ProtocolError
from protocol.limits import CLOCK_TOLERANCE_SECONDS
from protocol.orders import parse_time
from protocol.transport import Address

DESK_SECONDS: Final = 5.0
ROOM_BYTES: Final = 1024**3
SYNC_SECONDS: Final = 0.1
BACKUP_DAYS: Final = 7
CONNECTION_BYTES: Final = 32 * 1024
WORKER_BYTES: Final = 3 * 1024**2
PROCESS_BYTES: Final = 128 * 1024**2
"""What a connection that waits, a customer's gpg, and a process of the server take, measured and rounded up."""

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_OVER_A_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"})
_UNSAFE: Final = frozenset({"nobarrier", "barrier=0"})
_DAY: Final = 86_400


@dataclass(frozen=True)
class Finding:
    """What is not well, a sentence, and what mends it; ``must``: the bank cannot be relied on until it is mended."""

    check: str
    sentence: str
    mend: str
    must: bool = True


@dataclass(frozen=True)
class Visit:
    """A bank that is looked at: its folder, the machine under it, the moment; the ledger if it can be opened."""

    home: BankHome
    machine: Machine
    now: float
    ledger: Ledger | None = None


Examination = Callable[[Visit], Iterator[Finding]]


def configuration(visit: Visit) -> Iterator[Finding]:
    """Limits that contradict each other."""
    limits, path = visit.home.config.limits, visit.home.path / "bank.toml"
    for lesser, greater, why in (
        ("connections_per_address", "connections", "one network could take all of them"),
        ("queue_per_customer", "queue", "one customer could keep all others out"),
        ("batch", "queue", "a transaction can never hold so many"),
        ("requests_in_flight", "queue_per_customer", "a session that sends as many as it may is told busy"),
        ("handshake_seconds", "idle_seconds", "who has opened a session is given less time than a stranger"),
        ("send_seconds", "stop_grace_seconds", "a stop cuts off answers that are still being sent"),
    ):
        small, large = getattr(limits, lesser), getattr(limits, greater)
        if small > large:
            sentence = f"{lesser} ({small:g}) is above {greater} ({large:g}): {why}."
            yield Finding("limits", sentence, f"set {lesser} to at most {large:g} under [limits] in {path}")


def gnupg(visit: Visit) -> Iterator[Finding]:
    """Is GnuPG new enough, and which holes does its version have?"""
    version = visit.machine.gnupg()
    told = ".".join(map(str, version))
    if version < OLDEST_GNUPG:
        yield Finding("gnupg", f"GnuPG {told} is too old.", "apt-get install gnupg, or newer from your system")
    for each in open_advisories(version):
        sentence = f"GnuPG {told} has {each.name}, unless your system's package mends it: {each.what}."
        yield Finding("gnupg", sentence, "apt-get update && apt-get install --only-upgrade gnupg", must=False)


def folders(visit: Visit) -> Iterator[Finding]:
    """May anybody else enter the folder with the accounts, or that with the keys?"""
    path = visit.home.path.resolve()
    for folder, holds in ((path, "accounts"), (path / "gnupg", "keys")):
        try:
            require_private(folder, holds=holds)
        except KeyringError as error:
            yield Finding("folders", str(error), _mend_folder(folder))


def agent(visit: Visit) -> Iterator[Finding]:
    """Does gpg-agent answer, and has it the key that signs heads?"""
    try:
        Home.open(visit.home.path / "gnupg")
    except KeyringError:
        return  # `folders` says why
    try:
        visit.home.signer().close()
    except UnsuitableKey as error:
        yield Finding("agent", f"The bank's key cannot sign: {error}", _KEYS_BACK)
    except KeyringError as error:
        mend = f"gpgconf --homedir '{visit.home.path / 'gnupg'}' --kill all, then bank doctor again"
        yield Finding("agent", f"The bank's key cannot sign: {error}", mend)


def disk(visit: Visit) -> Iterator[Finding]:
    """Is there room, and is what is written there when the power fails?"""
    folder, machine = visit.home.path, visit.machine
    free = machine.free_bytes(folder)
    if free < ROOM_BYTES:
        sentence = f"There are {free // 1024**2} MiB free for {folder}; once there is no room, orders are refused."
        yield Finding("disk", sentence, f"make room: df -h '{folder}'")
    seconds = machine.sync_seconds(folder)
    if seconds > SYNC_SECONDS:
        sentence = f"Making something durable in {folder} took {seconds:.2f} seconds, and so long waits every order."
        yield Finding(
            "disk", sentence, "move the bank to a quicker disk, or look what else writes to this one", must=False
        )
    kind, options = machine.file_system(folder) or ("", frozenset())
    if kind in _IN_MEMORY:
        yield Finding("disk", f"{folder} lies in memory ({kind}): a restart loses all of it.", "move it to a disk")
    if kind in _OVER_A_NETWORK:
        sentence = f"{folder} lies on another machine ({kind}), where locks and durability cannot be relied on."
        yield Finding("disk", sentence, "move it to a disk of this machine")
    if options & _UNSAFE:
        sentence = (
            f"The file system of {folder} is mounted with {', '.join(sorted(options & _UNSAFE))}, so a power cut "
        )
        yield Finding("disk", f"{sentence}can undo what was acknowledged.", "mount it without that option")


def files(visit: Visit) -> Iterator[Finding]:
    """What interrupted programs have left."""
    home = visit.home
    left = [path for path in home.path.glob("newest-head.pgp.*-*") if _age(path, visit.now) > 60]
    left += [path for path in home.path.glob("gnupg/**/*.lock") if _is_stale(path)]
    if not home.is_serving():
        left += left_folders(home.path)
    for path in left:
        yield Finding("left-over", f"{path} was left by a program that was killed.", f"rm -r '{path}'", must=False)


def resources(visit: Visit) -> Iterator[Finding]:
    """Can the system give what the limits promise?"""
    limits, machine = visit.home.config.limits, visit.machine
    needed, allowed = (
        limits.connections + DESCRIPTORS_PER_CUSTOMER * limits.active_customers + DESCRIPTORS_BESIDE,
        machine.open_files(),
    )
    if allowed is not None and allowed < needed:
        sentence = f"A process may open {allowed} files here, and the limits in bank.toml need {needed}."
        yield Finding("open-files", sentence, f"LimitNOFILE={needed} in the unit, or fewer connections in bank.toml")
    memory, has = (
        PROCESS_BYTES + limits.connections * CONNECTION_BYTES + limits.active_customers * WORKER_BYTES,
        machine.memory_bytes(),
    )
    if has is not None and has < memory:
        sentence = (
            f"There are {has // 1024**2} MiB of memory, and the limits in bank.toml need {memory // 1024**2} MiB."
        )
        yield Finding("memory", sentence, "more memory, or fewer active_customers and connections in bank.toml")


def clock(visit: Visit) -> Iterator[Finding]:
    """Does anybody keep the clock right, and is it behind what has happened already?"""
    if visit.machine.clock_is_kept() is False:
        sentence = (
            "No program keeps this machine's clock right; customers whose clocks differ by five minutes are refused."
        )
        yield Finding("clock", sentence, "apt-get install systemd-timesyncd, then timedatectl set-ntp true", must=False)
    if visit.ledger is None:
        return
    with visit.ledger.reading() as connection:
        booked = connection.execute(select(func.max(schema.entry.c.booked_at))).scalar()
    latest, what = booked or 0, "the newest entry of the log"
    authority = visit.home.authority()
    if authority is not None:
        try:
            newest = RevocationLists(visit.ledger, open_root(authority.root, authority.fingerprint)).newest()
        except CertificateRefused:
            newest = None
        if newest is not None and newest.this_update > latest:
            latest, what = newest.this_update, "the newest revocation list"
    if latest > visit.now + CLOCK_TOLERANCE_SECONDS:
        behind = (latest - visit.now) / 60
        yield Finding("clock", f"The clock is {behind:.0f} minutes behind {what}.", "set it: timedatectl set-ntp true")


def ledger(visit: Visit) -> Iterator[Finding]:
    """Is the ledger whole, set up to be durable, and does it hold all that was signed?"""
    if visit.ledger is None:
        return
    for each in visit.ledger.warnings():
        yield Finding("ledger", each, "psql --command 'ALTER SYSTEM SET …', then systemctl reload postgresql")
    with visit.ledger.reading() as connection:
        damage = visit.ledger.damage(connection)
        stored = newest_head(connection)
    for each in damage:
        yield Finding("ledger", f"The ledger's engine finds it damaged: {each}.", "bank audit, then bank restore")
    if not damage:
        require_continuation(visit.ledger, Log(visit.ledger), stored, visit.home.verify)


def certificate(visit: Visit) -> Iterator[Finding]:
    """How long do certificate and revocation list last, and does the authority's desk answer?"""
    if visit.ledger is None:
        return
    config = visit.home.config
    found = standing(visit.home, visit.ledger, visit.now)
    for warning in found.warnings:
        yield Finding("certificate", warning, found.next_step)
    if visit.home.certified() is None:
        if config.minimum_stage.is_certified:
            sentence = "The bank has no certificate, and serves nobody until it has."
            yield Finding("certificate", sentence, found.next_step)
        return
    if not found.warnings and found.certificate.startswith("not"):
        yield Finding("certificate", f"The bank's certificate is {found.certificate}.", found.next_step)
    try:
        Desk(Address.parse(config.authority_address), timeout_seconds=DESK_SECONDS).revocations()
    except (CaError, ProtocolError) as error:
        sentence = f"The authority's desk at {config.authority_address} gives no revocation list: {error}"
        yield Finding("desk", sentence, f"the authority runs `ca serve`; until then by mail: {NEW_LIST}")


def backup(visit: Visit) -> Iterator[Finding]:
    """Is there a backup, and how much has come since?"""
    if visit.ledger is None:
        return
    with visit.ledger.reading() as connection:
        size = size_of_log(connection)
    made, command = backups.newest(visit.home.path), f"bank backup --out /mnt/backups/{time.strftime('%Y-%m-%d')}"
    if made is None:
        # Of a server that was added, others have the same ledger and may back it up.
        must = size > 0 and visit.home.has_primary()
        yield Finding("backup", "No backup was ever made from this folder.", command, must=must)
        return
    days = (visit.now - parse_time(made.created, "created").timestamp()) / _DAY
    if days > BACKUP_DAYS and made.entries < size:
        sentence = (
            f"The newest backup, {made.folder}, is {days:.0f} days old; {size - made.entries} entries came since."
        )
        yield Finding("backup", sentence, command)


EXAMINATIONS: Final[tuple[Examination, ...]] = (
    *(configuration, gnupg, folders, agent, disk, files, resources),
    *(ledger, clock, certificate, backup),
)

_KEYS_BACK: Final = (
    "put gnupg back from your copy, or restore a backup that has the keys: docs/operations.md, section 7"
)

_REMEDIES: Final = {
    "gnupg": "apt-get install gnupg",
    "disk": "look at the disk (dmesg), its mode and its owner",
    "ledger": "bank audit, then bank restore FOLDER",
}
"""For an examination that could not be made."""


def examine(
    home: BankHome,
    machine: Machine,
    clock: Callable[[], float] = time.time,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Finding, ...]:
    """Everything that is not well; empty if all is. ``progress`` gets examinations done and in all."""
    found: list[Finding] = []
    opened: Ledger | None = None
    try:
        opened = home.open_ledger(upgrade=False)
    except Outgrown as error:
        mend = "back up with the program that served until now (docs/operations.md, Upgrading), then bank serve"
        found.append(Finding("ledger", str(error), mend, must=False))
    except BankError as error:
        found.append(Finding("ledger", str(error), _mend_ledger(home, error)))
    try:
        visit = Visit(home, machine, clock(), opened)
        for done, examination in enumerate(EXAMINATIONS):
            progress(done, len(EXAMINATIONS))
            try:
                found += examination(visit)
            except (BankError, KeyringError, CaError, ProtocolError) as error:
                if isinstance(error, KeyringError) and any(each.check in ("folders", "agent") for each in found):
                    continue  # the keys have been told of, and nothing that needs them can be looked at
                found.append(
                    Finding(examination.__name__, str(error), _REMEDIES.get(examination.__name__, "bank status"))
                )
        progress(len(EXAMINATIONS), len(EXAMINATIONS))
    finally:
        if opened is not None:
            opened.close()
    return tuple(found)


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_stale(lock: Path) -> bool:
    """Whether the process that took one of GnuPG's locks is gone: its number is the first line."""
    try:
        os.kill(int(lock.read_bytes().split()[0]), 0)
    except (ProcessLookupError, ValueError, IndexError, OverflowError):
        return True
    except OSError:
        return False
    return False


def _mend_folder(folder: Path) -> str:
    try:
        owner = folder.owner()
    except (OSError, KeyError):
        return _KEYS_BACK if folder.name == "gnupg" else f"ls -ld '{folder}'"
    if folder.stat().st_uid != os.getuid():
        return f"run the bank's commands as its owner, {owner} (runuser -u {owner} -- …)"
    return f"chmod 700 '{folder}'"


def _mend_ledger(home: BankHome, error: BankError) -> str:
    if isinstance(error, ConfigurationError):
        return f"correct {home.path / 'bank.toml'}"
    if home.config.ledger:
        return "look at the database, and at `ledger` in bank.toml or BANK_LEDGER"
    return "bank restore FOLDER, if a backup is what helps"
