"""The one place that finds PostgreSQL and starts clusters of it: throw-away ones, for tests and the benchmark.

PostgreSQL refuses to run as root: then it runs as its own user, whom its package makes.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil
import psycopg

OLDEST: Final = 15
USER: Final = "postgres"
HOST: Final = "127.0.0.1"
START_SECONDS: Final = 120
ENVIRONMENT: Final = "COUNTERSIGN_TEST_POSTGRESQL"
_TRIES: Final = 5
_GUARD: Final = 'read _; "$0" -D "$1/data" -m immediate stop; rm -r -f "$1"'
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/bin", "/opt/homebrew/opt/postgresql@*/bin")

QUICK: Final[Mapping[str, str]] = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB"}
"""For tests that are not about durability; `synchronous_commit` stays on."""


class NoPostgreSQL(Exception):
    """There is no PostgreSQL that is new enough, or it fails; the text says what to install, or what it said."""


@dataclass(frozen=True)
class Programs:
    """The folder of PostgreSQL's programs, and their version."""

    folder: Path
    version: str

    @classmethod
    def find(cls) -> "Programs":
        """The newest. Raises NoPostgreSQL."""
        found = []
        for pattern in _PLACES:
            for folder in Path("/").glob(pattern.lstrip("/")):
                if all((folder / name).exists() for name in ("initdb", "pg_ctl", "pgbench", "psql")):
                    said = subprocess.run(
                        [folder / "postgres", "--version"], capture_output=True, text=True, check=True
                    )
                    version = said.stdout.split()[2]
                    found.append((int(version.partition(".")[0]), version, folder))
        if not found or max(found)[0] < OLDEST:
            raise NoPostgreSQL(f"PostgreSQL {OLDEST} or newer is needed (Debian: apt-get install postgresql).")
        _, version, folder = max(found)
        return cls(folder, version)

    def run(self, name: str, *options: str, cwd: Path, check: bool = True) -> str:
        """What a program says, run as the user who may; NoPostgreSQL if it fails and ``check`` is set."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(self.folder / name), *options],
            cwd=cwd,
            env={"PATH": f"{self.folder}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **other_user(),
        )
        if check and done.returncode:
            raise NoPostgreSQL(f"{name} failed: {done.stdout[-500:]}{done.stderr[-1500:]}")
        return done.stdout + done.stderr


def other_user() -> dict[str, Any]:
    """As whom PostgreSQL's programs are started, in the words of subprocess: nothing to say unless we are root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        raise NoPostgreSQL(
            f"PostgreSQL does not run as root, and there is no user {USER} (Debian: apt-get install postgresql)."
        ) from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}


@dataclass(frozen=True)
class Cluster:
    """A cluster in a folder of its own, reached at a unix socket in that folder and, if asked for, at 127.0.0.1."""

    programs: Programs
    folder: Path
    port: int
    tcp: bool

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the server has said, for whoever looks for the cause of a failure."""
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def url(self, database: str = "postgres") -> str:
        """Where a database is reached, as a libpq connection URI."""
        place = f"{HOST}:{self.port}/{database}" if self.tcp else f"/{database}?host={self.folder}&port={self.port}"
        return f"postgresql://{USER}@{place}"

    def run(self, name: str, *options: str, check: bool = True) -> str:
        """What one of PostgreSQL's programs says."""
        return self.programs.run(name, *options, cwd=self.folder, check=check)

    def psql(self, *statements: str, database: str = "postgres") -> str:
        """What statements give, unaligned and without headings; each is a transaction of its own."""
        commands = [part for statement in statements for part in ("-c", statement)]
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), *commands).strip()

    def start(self) -> None:
        """Start the server and wait until it takes connections. Raises NoPostgreSQL with what it said."""
        try:
            self.run(
                "pg_ctl", "-D", str(self.data), "-w", "-t", str(START_SECONDS), "-l", f"{self.folder}/log", "start"
            )
        except NoPostgreSQL as error:
            raise NoPostgreSQL(f"{error}\n{self.log[-1500:]}") from None

    def stop(self, mode: str = "fast") -> None:
        """End the server: ``fast`` closes it well, ``immediate`` leaves it to recover. Harmless if none runs."""
        self.run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop", check=False)

    def kill(self) -> None:
        """End all processes of the server at once and unasked, as when its machine is lost."""
        processes = self._processes()
        for process in processes:
            _send(process, signal.SIGSTOP)  # first all stand still, so that none notices that another is gone
        for process in processes:
            _send(process, signal.SIGKILL)
        deadline = time.monotonic() + START_SECONDS
        while any(_lives(process) for process in processes) and time.monotonic() < deadline:
            time.sleep(0.01)
        if processes:
            # As long as nobody has asked how the first of them ended, its number counts as that of a running server.
            for lock in (self.data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*.lock")):
                lock.unlink(missing_ok=True)

    def promote(self) -> None:
        """Make a standby the primary, and wait until it is."""
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", str(START_SECONDS), "promote")

    def configure(self, options: Mapping[str, str]) -> None:
        """Add settings; those that are there already are replaced. They count from the next start or reload."""
        lines = (f"{name} = '{value}'\n" for name, value in options.items())
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(lines)

    def reload(self) -> None:
        """Have the running server read its settings anew."""
        self.run("pg_ctl", "-D", str(self.data), "reload")

    def _processes(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
            return [first, *first.children(recursive=True)]
        except (OSError, IndexError, ValueError, psutil.Error):
            return []


def _send(process: psutil.Process, which: signal.Signals) -> None:
    with suppress(psutil.Error):  # it has ended by itself
        process.send_signal(which)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@dataclass
class Databases:
    """Fresh databases on one server, which goes away as a whole or is the caller's own."""

    url: str
    """Of a database from which others may be made."""
    _names: list[str] = field(default_factory=list)

    def new(self, template: str | None = None, options: str = "") -> str:
        """The URL of a new database: empty, or a copy of the one at ``template``, to which nobody may be connected.

        ``options`` are further ones of CREATE DATABASE.
        """
        name = f"countersign_{secrets.token_hex(8)}"
        source = urlsplit(template).path[1:] if template else "template0"
        self._execute(f'CREATE DATABASE {name} TEMPLATE "{source}" {options}')
        self._names.append(name)
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop(self, url: str) -> None:
        """Remove one of them, whoever is connected to it."""
        name = urlsplit(url).path[1:]
        self._names.remove(name)
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Remove all that were made."""
        for name in tuple(self._names):
            self.drop(f"postgresql:///{name}")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def databases() -> Iterator[Databases]:
    """Fresh databases for tests: on the server that the environment names in COUNTERSIGN_TEST_POSTGRESQL, else on one
    that is started for them. What is named there is the URL of a database from which others may be made."""
    if url := os.environ.get(ENVIRONMENT):
        made = Databases(url)
        try:
            yield made
        finally:
            made.close()
        return
    with cluster() as started:
        yield Databases(started.url())


@contextmanager
def cluster(
    options: Mapping[str, str] = QUICK, *, tcp: bool = False, copy_of: Cluster | None = None, below: Path | None = None
) -> Iterator[Cluster]:
    """A cluster that runs, with settings of the caller's; it is stopped and removed when the block is left.

    ``copy_of``: a running cluster of which it begins as a standby (pg_basebackup, streaming); name what else it is to
    have, such as ``cluster_name``, which is its name in the primary's ``synchronous_standby_names``. ``below``: where
    its folder is made if we are not root; else, and by default, in the temporary folder.
    """
    programs, user = Programs.find(), other_user()
    # Its own user may not be let into our folders.
    folder = Path(tempfile.mkdtemp(prefix="cs-pg-", dir=None if user else below))
    made = Cluster(programs, folder, 0, tcp)
    with _guard(made):
        try:
            folder.chmod(0o755 if user else 0o700)  # its socket is ours to use, too
            if user:
                os.chown(folder, user["user"], user["group"])
            if copy_of is None:
                made.run("initdb", "-D", str(made.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
            else:
                made.run(
                    "pg_basebackup", "-D", str(made.data), "-d", copy_of.url(), "-R", "-X", "stream", "-c", "fast", "-N"
                )
            made = _started(made, options)
            yield made
        finally:
            made.stop("immediate")
            made.kill()
            shutil.rmtree(folder, ignore_errors=True)


def _guard(made: Cluster) -> "subprocess.Popen[bytes]":
    """Sees to it that the cluster ends with us, whatever ends us: nobody holds the other end of its input then."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, str(made.programs.folder / "pg_ctl"), str(made.folder)],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **other_user(),
    )


def _started(made: Cluster, options: Mapping[str, str]) -> Cluster:
    for left in reversed(range(_TRIES)):
        made = Cluster(made.programs, made.folder, _free_port() if made.tcp else 5432, made.tcp)
        made.configure(
            {
                "listen_addresses": HOST if made.tcp else "",
                "port": str(made.port),
                "unix_socket_directories": str(made.folder),
                **options,
            }
        )
        try:
            made.start()
        except NoPostgreSQL:
            # Somebody may have taken the port since we looked for a free one.
            if not (left and made.tcp and "could not bind" in made.log):
                raise
        else:
            break
    return made


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
