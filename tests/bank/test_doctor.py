"""What `bank doctor` finds: nothing at a bank that is well, and each thing that is not well by itself."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest

from bank import backups
from bank.backups import NewestBackup
from bank.config import Limits
from bank.doctor import EXAMINATIONS, Finding, examine
from bank.errors import BankError
from bank.home import BankHome
from bank.machine import Machine
from bank.serving import runtime_folder
from bank.storage import Ledger
from ca.messages import AuthorityKey
from keyring import keys
from protocol.orders import format_time
from protocol.stages import Stage
from tests.bank.desks import Desk, opened
from tests.bank.town import DAY, Town, copied_bank
from tests.system.programs import run

GOOD: dict[str, object] = {
    "gnupg": (2, 5, 16),
    "clock_is_kept": True,
    "free_bytes": 1024**4,
    "file_system": ("ext4", frozenset({"rw", "relatime"})),
    "sync_seconds": 0.001,
    "open_files": None,
    "memory_bytes": 1024**4,
}


@dataclass(frozen=True)
class Told(Machine):
    """A machine of which everything is well, save what a test says; an error is raised."""

    answers: dict[str, object] = field(default_factory=dict)

    def __getattribute__(self, name: str) -> object:
        if name not in GOOD:
            return super().__getattribute__(name)
        answer = {**GOOD, **super().__getattribute__("answers")}[name]

        def told(*_: object) -> object:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return told


@dataclass
class Patient:
    """A bank that is well; whatever is done to it, it is looked at afterwards."""

    town: Town
    home: BankHome
    desk: Desk
    machine: Told = field(default_factory=Told)
    ahead: float = 0.0

    def on(self, **answers: object) -> None:
        self.machine = replace(self.machine, answers=answers)

    def set(self, **changes: object) -> None:
        self.home = BankHome(self.home.path, msgspec.structs.replace(self.home.config, **changes))

    def findings(self) -> tuple[Finding, ...]:
        # A GnuPG home that was looked at before its mode changed is not asked again.
        home = BankHome(self.home.path, self.home.config)
        return examine(home, self.machine, lambda: time.time() + self.ahead)


@pytest.fixture
def patient(town: Town, short_tmp: Path) -> Iterator[Patient]:
    own = BankHome.open(town.folder / "bank").certified()
    assert own is not None
    authority = AuthorityKey(key=keys.export(town.authority, town.authority_fingerprint), root=town.root)
    desk = Desk(authority, own, town.crl(1))
    with opened(desk) as address:
        home = copied_bank(town, short_tmp, authority_address=str(address))
        backups.remember(home.path, NewestBackup(created=format_time(time.time()), entries=1, folder="elsewhere"))
        yield Patient(town, home, desk)
        home.path.chmod(0o700)
        if (home.path / "away").exists():
            (home.path / "away").rename(home.path / "gnupg")
        (home.path / "gnupg").chmod(0o700)
        home.gnupg.stop()


def test_a_bank_that_is_well_has_no_findings_and_stays_as_it_is(patient: Patient) -> None:
    before = {path: path.read_bytes() for path in patient.home.path.glob("*.*") if path.is_file()}
    assert patient.findings() == ()
    assert {path: path.read_bytes() for path in before} == before


def _open_folder(patient: Patient) -> None:
    patient.home.path.chmod(0o750)


def _open_keys(patient: Patient) -> None:
    (patient.home.path / "gnupg").chmod(0o755)


def _no_keys(patient: Patient) -> None:
    for path in (patient.home.path / "gnupg" / "private-keys-v1.d").iterdir():
        path.unlink()


def _no_gnupg(patient: Patient) -> None:
    patient.home.gnupg.stop()
    (patient.home.path / "gnupg").rename(patient.home.path / "away")


def _other_currency(patient: Patient) -> None:
    patient.set(currency="USD")


def _no_database(patient: Patient) -> None:
    patient.set(ledger="postgresql://bank@127.0.0.1:1/bank")


def _damage(patient: Patient) -> None:
    path = patient.home.path / "ledger.sqlite"
    for each in path.parent.glob("ledger.sqlite*"):
        each.write_bytes(b"no database" * 999)


def _older(patient: Patient) -> None:
    with closing(sqlite3.connect(patient.home.path / "ledger.sqlite")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
        connection.commit()


def _lose_head(patient: Patient) -> None:
    (patient.home.path / "newest-head.pgp").unlink()


def _old_head_left(patient: Patient) -> None:
    left = patient.home.path / "newest-head.pgp.1-1"
    left.write_bytes(b"")
    os.utime(left, (0, 0))


def _dead_lock(patient: Patient) -> None:
    (patient.home.path / "gnupg" / "pubring.kbx.lock").write_text("999999999\nhere\n")


def _runtime_left(patient: Patient) -> None:
    runtime_folder(patient.home.path).mkdir()


def _uncertified(patient: Patient) -> None:
    for path in (patient.home.certificate_path, patient.home.certified_key_path):
        path.unlink()
    patient.set(minimum_stage=Stage.CERTIFIED)


def _no_list(patient: Patient) -> None:
    patient.desk.crl = None


def _days_ahead(days: float) -> Callable[[Patient], None]:
    def later(patient: Patient) -> None:
        patient.ahead = days * DAY
        made = format_time(time.time() + patient.ahead)
        backups.remember(patient.home.path, NewestBackup(created=made, entries=1, folder="elsewhere"))

    return later


def _behind(patient: Patient) -> None:
    patient.ahead = -3600


def _no_backup(patient: Patient) -> None:
    (patient.home.path / backups.FILE_NAME).unlink()


def _old_backup(patient: Patient) -> None:
    made = NewestBackup(created=format_time(time.time() - 30 * DAY), entries=0, folder="/mnt/old")
    backups.remember(patient.home.path, made)


def _limits(**changes: int | float) -> Callable[[Patient], None]:
    return lambda patient: patient.set(limits=Limits(**changes))  # type: ignore[arg-type]


def _machine(**answers: object) -> Callable[[Patient], None]:
    return lambda patient: patient.on(**answers)


# What is done to the bank; which check finds it, a word of the sentence, a word of the remedy, and whether it must be.
ILLS: tuple[tuple[str, Callable[[Patient], None], str, str, str, bool], ...] = (
    ("an old GnuPG", _machine(gnupg=(2, 2, 39)), "gnupg", "2.2.39 is too old", "apt-get", True),
    ("a hole in GnuPG", _machine(gnupg=(2, 5, 15)), "gnupg", "CVE-2025-68973", "--only-upgrade", False),
    ("no room", _machine(free_bytes=1024**2), "disk", "1 MiB free", "df -h", True),
    ("a slow disk", _machine(sync_seconds=0.5), "disk", "0.50 seconds", "quicker", False),
    ("no durability", _machine(sync_seconds=BankError("Nothing can.")), "disk", "Nothing can", "dmesg", True),
    ("in memory", _machine(file_system=("tmpfs", frozenset())), "disk", "in memory", "disk", True),
    ("on a network", _machine(file_system=("nfs4", frozenset())), "disk", "another machine", "this machine", True),
    ("no barriers", _machine(file_system=("ext4", frozenset({"nobarrier"}))), "disk", "nobarrier", "without", True),
    ("few files", _machine(open_files=1024), "open-files", "1024 files", "LimitNOFILE=", True),
    ("little memory", _machine(memory_bytes=256 * 1024**2), "memory", "256 MiB", "active_customers", True),
    ("a lonely clock", _machine(clock_is_kept=False), "clock", "No program keeps", "timesyncd", False),
    ("a late clock", _behind, "clock", "minutes behind", "timedatectl", True),
    ("an open folder", _open_folder, "folders", "Others may enter", "chmod 700", True),
    ("open keys", _open_keys, "folders", "holds keys", "chmod 700", True),
    ("no keys", _no_keys, "agent", "cannot sign", "section 7", True),
    ("no home of keys", _no_gnupg, "folders", "There is no folder", "section 7", True),
    ("another currency", _other_currency, "ledger", "currency is USD", "correct", True),
    ("no database", _no_database, "ledger", "cannot be reached", "look at the database", True),
    ("a damaged ledger", _damage, "ledger", "not a database", "restore", True),
    ("an older ledger", _older, "ledger", "of schema 0004", "back up", False),
    ("a lost head", _lose_head, "ledger", "newest-head.pgp", "restore", True),
    ("a head left over", _old_head_left, "left-over", "newest-head.pgp.1-1", "rm -r", False),
    ("a dead lock", _dead_lock, "left-over", "pubring.kbx.lock", "rm -r", False),
    ("homes left over", _runtime_left, "left-over", "countersign-bank-", "rm -r", False),
    ("no certificate", _uncertified, "certificate", "has no certificate", "bank request", True),
    ("a certificate that ends", _days_ahead(20), "certificate", "certificate ends in", "ca renew", True),
    ("a list that ended", _days_ahead(31), "certificate", "ran out", "ca crl", True),
    ("a desk without a list", _no_list, "desk", "gives no revocation list", "ca serve", True),
    ("no desk", lambda patient: patient.set(authority_address="127.0.0.1:1"), "desk", "Nobody answers", "mail", True),
    ("no backup", _no_backup, "backup", "No backup", "bank backup --out", True),
    ("an old backup", _old_backup, "backup", "30 days old; 1 entries", "bank backup --out", True),
    ("limits 1", _limits(connections=10, connections_per_address=20), "limits", "connections_per_address", "10", True),
    ("limits 2", _limits(queue=300, queue_per_customer=301), "limits", "queue_per_customer", "300", True),
    ("limits 3", _limits(queue=256, batch=257), "limits", "batch (257)", "256", True),
    ("limits 4", _limits(requests_in_flight=500), "limits", "requests_in_flight", "256", True),
    ("limits 5", _limits(handshake_seconds=20.0, idle_seconds=10.0), "limits", "stranger", "10", True),
    ("limits 6", _limits(stop_grace_seconds=5.0), "limits", "cuts off answers", "5", True),
)


@pytest.mark.parametrize(
    ("ill", "check", "sentence", "mend", "must"), [each[1:] for each in ILLS], ids=[each[0] for each in ILLS]
)
def test_what_is_not_well_is_found_with_what_mends_it(
    patient: Patient, ill: Callable[[Patient], None], check: str, sentence: str, mend: str, must: bool
) -> None:
    ill(patient)
    try:
        found = [each for each in patient.findings() if each.check == check and sentence in each.sentence]
    finally:
        for left in runtime_folder(patient.home.path).parent.glob(f"{runtime_folder(patient.home.path).name}*"):
            left.rmdir()
    assert found, patient.findings()
    assert mend in found[0].mend
    assert found[0].must is must
    assert found[0].sentence.endswith((".", "'")), "a sentence, or one that ends with a command"


def test_what_follows_from_another_ill_is_not_told_as_one_of_its_own(patient: Patient) -> None:
    _open_keys(patient)
    assert [(each.check, each.mend) for each in patient.findings()] == [
        ("folders", f"chmod 700 '{(patient.home.path / 'gnupg').resolve()}'")
    ]


@pytest.mark.skipif(os.getuid() != 0, reason="a folder is given away by root alone")
def test_a_folder_of_another_user_is_left_to_that_user(patient: Patient) -> None:
    os.chown(patient.home.path, 65534, -1)
    found = [each for each in patient.findings() if each.check == "folders"]
    os.chown(patient.home.path, os.getuid(), -1)
    assert "runuser -u nobody" in found[0].mend


def test_an_older_ledger_stays_as_it_is(patient: Patient) -> None:
    _older(patient)
    patient.findings()
    with closing(sqlite3.connect(patient.home.path / "ledger.sqlite")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0004",)]


def test_what_the_ledgers_engine_warns_of_is_found(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "warnings", lambda _: ("The database has fsync = off.",))
    (found,) = patient.findings()
    assert (found.check, found.must) == ("ledger", True)
    assert "fsync = off" in found.sentence


def test_every_examination_has_an_ill_to_find() -> None:
    checks = {each[2] for each in ILLS}
    assert len(EXAMINATIONS) == 11
    assert checks >= {"limits", "gnupg", "folders", "agent", "disk", "left-over", "open-files", "memory", "ledger"}
    assert checks >= {"clock", "certificate", "desk", "backup"}


def test_the_command_says_what_to_mend_and_ends_with_one(patient: Patient, short_tmp: Path) -> None:
    home = patient.home.path
    (home / "gnupg").chmod(0o755)
    report = run("bank", "doctor", "--json", "--home", home, code=1).json()
    (home / "gnupg").chmod(0o700)
    assert report["healthy"] is False
    assert "folders" in {each["check"] for each in report["findings"]}
    assert len(report["examined"]) == len(EXAMINATIONS)
    run("bank", "backup", "--home", home, "--out", short_tmp / "backup")
    kept = backups.newest(home)
    assert kept is not None
    assert (kept.folder, kept.entries) == (str((short_tmp / "backup").resolve()), 1)
    told = run("bank", "doctor", "--home", home, code=None)
    assert told.code == ("The bank is well." not in told.out)
    assert "chmod" not in told.out


# The machine itself


def test_this_machine_says_what_it_is(tmp_path: Path) -> None:
    machine = Machine()
    assert machine.gnupg() >= (2, 2, 40)
    assert machine.free_bytes(tmp_path) > 0
    assert 0 <= machine.sync_seconds(tmp_path) < 60
    assert not list(tmp_path.iterdir())
    assert machine.clock_is_kept() in (True, False, None)
    assert (machine.memory_bytes() or 1024**2) >= 1024**2
    files = machine.open_files()
    assert files is None or files > 0
    found = machine.file_system(tmp_path)
    assert found is None or found[0]


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts, folder = tmp_path / "mounts", tmp_path.resolve()
    (folder / "a b").mkdir()
    inner = str(folder / "a b").replace(" ", "\\040")
    mounts.write_text(
        "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,nobarrier\n"
        f"23 22 0:21 / {inner} rw shared:1 - nfs4 server:/x rw,vers=4\n"
        f"24 22 0:22 / {folder}/a rw - tmpfs tmpfs rw\n"
    )
    machine = Machine(mounts=mounts)
    assert machine.file_system(folder) == ("ext4", frozenset({"rw", "relatime", "nobarrier"}))
    assert machine.file_system(folder / "a b") == ("nfs4", frozenset({"rw", "vers=4"}))
    assert Machine(mounts=tmp_path / "none").file_system(folder) is None


@pytest.mark.parametrize(("state", "kept"), [(0, True), (1, True), (5, False), (-1, None)])
def test_the_clock_is_kept_as_the_kernel_says(tmp_path: Path, state: int, kept: bool | None) -> None:
    assert Machine(synchronised=tmp_path / "none", adjust=lambda: state).clock_is_kept() is kept


def test_where_the_kernel_may_not_be_asked_the_mark_of_timesyncd_counts(tmp_path: Path) -> None:
    assert Machine(synchronised=tmp_path, adjust=lambda: -1).clock_is_kept() is True


def test_a_folder_that_takes_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="No such file"):
        Machine().sync_seconds(tmp_path / "none")


def test_memory_is_that_of_the_group_where_it_is_less(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("1048576\n")
    assert Machine(memory_limit=limit).memory_bytes() == 1024**2
    limit.write_text("max\n")
    assert Machine(memory_limit=limit).memory_bytes() == Machine(memory_limit=tmp_path / "none").memory_bytes()


def test_what_is_no_note_of_a_backup_counts_as_none(tmp_path: Path) -> None:
    assert backups.newest(tmp_path) is None
    (tmp_path / backups.FILE_NAME).write_text(json.dumps({"created": 3}))
    assert backups.newest(tmp_path) is None
