"""Databases that outlive the loss of a machine, set up as docs/high-availability.md says, on one machine."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from tests.postgres import HOST, QUICK, Cluster, NoPostgreSQL, Programs, cluster, other_user
from tests.system.programs import free_port

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "high-availability.md"
SETTLE_SECONDS: Final = 180.0
"""Longest wait for machines to agree on who is the primary; on a quiet machine it takes 25."""
PORTS: Final = (2379, 2380, 5432, 8008)
MACHINES: Final = ("db1", "db2", "db3")

_BLOCK: Final = re.compile(r"^```[a-z]+\n(?:#|--) (?P<name>[^\n]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDRESS: Final = re.compile(r"10\.0\.0\.([123]):(\d+)")


def block(name: str) -> str:
    """What the document shows under this name."""
    found = {each["name"]: each["text"] for each in _BLOCK.finditer(DOCUMENT.read_text())}
    return found[name]


def settings(name: str) -> dict[str, str]:
    """The lines of a postgresql.conf that the document shows."""
    pairs = (line.split(" = ", 1) for line in block(name).splitlines())
    return {key: value.strip("'") for key, value in pairs}


def statements(name: str) -> list[str]:
    """The SQL that the document shows."""
    return block(name).splitlines()


def ledger_url(name: str, places: dict[tuple[int, int], int]) -> str:
    """The bank's URL as the document shows it, with addresses of this machine."""
    (url,) = re.findall(r'^ledger = "(.*)"$', block(name), re.MULTILINE)
    return here(url, places)


def here(text: str, places: dict[tuple[int, int], int]) -> str:
    """What the document says, with addresses of this machine: the port for each (machine, usual port)."""
    return _ADDRESS.sub(lambda found: f"{HOST}:{places[int(found[1]), int(found[2])]}", text)


@dataclass(frozen=True)
class Pair:
    """A primary and its standby. ``url`` is the bank's, ``environment`` what its programs need beside it."""

    primary: Cluster
    standby: Cluster
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def places(self) -> dict[tuple[int, int], int]:
        """The ports here of the two in the document."""
        return {(1, 5432): self.primary.port, (2, 5432): self.standby.port}

    @property
    def url(self) -> str:
        return ledger_url("pair: bank.toml", self.places)

    def require_synchronous(self) -> None:
        """Wait until the primary commits nothing that the standby has not."""
        awaited(lambda: self.primary.psql("SELECT sync_state FROM pg_stat_replication") == "sync", "the standby")

    def cut_off(self) -> None:
        """From now on the standby hears nothing of the primary."""
        self.standby.configure({"primary_conninfo": ""})
        self.standby.reload()
        awaited(lambda: self.primary.psql("SELECT count(*) FROM pg_stat_replication") == "0", "the end of replication")

    def lose_primary(self) -> None:
        """The machine of the primary is lost; the operator promotes the standby."""
        self.primary.kill()
        self.standby.promote()


@contextmanager
def pair(*, synchronous: bool = True) -> Iterator[Pair]:
    """Two machines and an operator; ``synchronous``: as the document says, or as it warns of."""
    first, second = settings("db1: postgresql.conf"), settings("db2: postgresql.conf")
    for each in (first, second):
        each.pop("listen_addresses")
    waits_for = first.pop("synchronous_standby_names")
    with ExitStack() as stack:
        primary = stack.enter_context(cluster({**QUICK, **first}, tcp=True))
        primary.psql(*statements("role and database"))
        standby = stack.enter_context(cluster({**QUICK, **second}, tcp=True, copy_of=primary))
        made = Pair(primary, standby)
        if synchronous:
            primary.configure({"synchronous_standby_names": waits_for})
            primary.reload()
            made.require_synchronous()
        yield made


class NoPatroni(Exception):
    """Patroni or etcd is not here, or does not come to terms; the text says what to install, or what they said."""


@dataclass
class Machine:
    """One of the three: its PostgreSQL, and the Patroni and the etcd on it."""

    number: int
    folder: Path
    server: Cluster
    rest: int
    patroni: "subprocess.Popen[bytes] | None" = None
    etcd: "subprocess.Popen[bytes] | None" = None

    def lose(self, *, also_etcd: bool = False) -> None:
        """Everything on it ends at once: first Patroni, which would start PostgreSQL anew."""
        _end(self.patroni)
        self.server.kill()
        if also_etcd:
            _end(self.etcd)

    @property
    def log(self) -> str:
        """What Patroni has said last."""
        path = self.folder / "patroni.log"
        return path.read_text("utf-8", "replace")[-3000:] if path.exists() else ""


@dataclass
class Three:
    """Three machines that act by themselves; the bank's ``url`` and ``environment`` as of a :class:`Pair`."""

    machines: list[Machine]
    url: str
    environment: dict[str, str]

    def members(self) -> list[dict[str, Any]]:
        """What Patroni says of all of them, by the first that answers."""
        for machine in self.machines:
            try:
                with urllib.request.urlopen(f"http://{HOST}:{machine.rest}/cluster", timeout=2) as answer:
                    found: list[dict[str, Any]] = json.load(answer)["members"]
                    return found
            except (OSError, urllib.error.URLError, ValueError, KeyError):
                continue
        return []

    def leader(self) -> Machine | None:
        """The primary that has a synchronous standby, so that it takes transfers."""
        running = {each["name"]: each["role"] for each in self.members() if each["state"] in ("running", "streaming")}
        if "sync_standby" not in running.values():
            return None
        return next((each for each in self.machines if running.get(f"db{each.number}") == "leader"), None)

    def lose_primary(self) -> None:
        """The machine of the primary is lost, with the etcd on it; the two others agree on another."""
        lost = self.leader()
        assert lost is not None
        lost.lose(also_etcd=True)
        self.machines.remove(lost)
        awaited(lambda: self.leader() is not None, "another primary", self.told)

    def told(self) -> str:
        return "\n".join([str(self.members()), *(each.log for each in self.machines)])


@contextmanager
def three() -> Iterator[Three]:
    """Three machines with Patroni and etcd, once they have a primary with a synchronous standby and the database."""
    for program, package in (("patroni", "patroni"), ("etcd", "etcd-server")):
        if shutil.which(program) is None:
            raise NoPatroni(f"{program} is missing; install it (Debian: apt-get install {package}).")
    programs, user = Programs.find(), other_user()
    folder = Path(tempfile.mkdtemp(prefix="cs-ha-"))
    folder.chmod(0o755 if user else 0o700)
    places = {(number, port): free_port() for number in (1, 2, 3) for port in PORTS}
    machines = []
    try:
        for number in (1, 2, 3):
            place = folder / f"db{number}"
            place.mkdir(mode=0o755)
            server = Cluster(programs, place, places[number, 5432], tcp=False)
            machines.append(Machine(number, place, server, places[number, 8008]))
        for machine in machines:
            _configure(machine, places)
        if user:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user["user"], user["group"])
        for machine in machines:
            machine.etcd = _start(machine, "etcd", environment=_variables(machine.folder / "etcd.env"))
            machine.patroni = _start(machine, "patroni", str(machine.folder / "patroni.yml"))
        passwords = folder / "pgpass"
        passwords.touch(mode=0o600)
        passwords.write_text(block(".pgpass").replace("5432", "*"))
        made = Three(machines, ledger_url("three: bank.toml", places), {"PGPASSFILE": str(passwords)})
        awaited(lambda: made.leader() is not None, "a primary with a standby", made.told)
        leader = made.leader()
        assert leader is not None
        leader.server.psql(*statements("role and database"))
        yield made
    finally:
        for machine in machines:
            machine.lose(also_etcd=True)
        shutil.rmtree(folder, ignore_errors=True)


def _configure(machine: Machine, places: dict[tuple[int, int], int]) -> None:
    """The files of this machine, made from those that the document shows for the first."""
    for name, file in (("db1: /etc/default/etcd", "etcd.env"), ("db1: /etc/patroni/config.yml", "patroni.yml")):
        text = "".join(_of(machine.number, line) for line in block(name).splitlines(keepends=True))
        for there, mine in (
            ("/var/lib/etcd/countersign", f"{machine.folder}/etcd"),
            ("/var/lib/postgresql/countersign", str(machine.server.data)),
            ("/var/lib/postgresql/patroni.pgpass", f"{machine.folder}/pgpass"),
            ("/usr/lib/postgresql/15/bin", str(machine.server.programs.folder)),
            ("10.0.0.0/24", f"{HOST}/32"),
            # So that the tests' own psql gets in, and two tests at once do not share a socket.
            ("peer\n", "trust\n"),
            ("        wal_log_hints", f"        unix_socket_directories: {machine.folder}\n        wal_log_hints"),
        ):
            text = text.replace(there, mine)
        (machine.folder / file).write_text(here(text, places))


def _of(number: int, line: str) -> str:
    """A line as it stands on this machine: with its own name and address, unless it names all three."""
    if "10.0.0.2" in line:
        return line
    return line.replace("db1", f"db{number}").replace("10.0.0.1", f"10.0.0.{number}")


def _variables(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def _start(machine: Machine, *command: str, environment: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
    with (machine.folder / f"{command[0]}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=machine.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(machine.folder), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **other_user(),
        )


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    """Kill a program with all that it has started, and reap it."""
    if process is None or process.returncode is not None:
        return
    try:
        one = psutil.Process(process.pid)
        family = [one, *one.children(recursive=True)]
    except psutil.Error:
        family = []
    for each in family:
        with suppress(psutil.Error):
            each.kill()
    process.wait()


def awaited(ready: Callable[[], bool], what: str, told: Callable[[], str] = lambda: "") -> None:
    """Wait until something is so, for a bounded time."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            if ready():
                return
        except NoPostgreSQL:
            pass  # it is not there yet
        assert time.monotonic() < deadline, f"{what} did not come within {SETTLE_SECONDS:g} seconds\n{told()}"
        time.sleep(0.1)
