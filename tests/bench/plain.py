"""What a plain database does: pgbench's transfers (TPC-B) on a PostgreSQL of its own, without any cryptography."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.town import BUILD

SCALE, CLIENTS, THREADS = 10, 32, 2
OLDEST = 15
USER = "postgres"
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/bin", "/opt/homebrew/opt/postgresql@*/bin")


class NoPostgreSQL(Exception):
    """There is no PostgreSQL that is new enough; the text names what to install."""


@dataclass(frozen=True)
class PlainDatabase:
    """A PostgreSQL in its default configuration, with pgbench's tables in it."""

    programs: Path
    socket: Path
    version: str

    def pgbench(self, *options: str) -> str:
        """What pgbench says."""
        command = [str(self.programs / "pgbench"), "-h", str(self.socket), "-U", USER, *options, "postgres"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoPostgreSQL(f"pgbench failed: {done.stderr[-500:]}")
        return done.stdout + done.stderr

    def per_second(self, seconds: int) -> float:
        """Transactions a second: 32 clients, 2 threads, prepared statements."""
        said = self.pgbench("-c", str(CLIENTS), "-j", str(THREADS), "-M", "prepared", "-T", str(seconds))
        return float(re.findall(r"^tps = ([0-9.]+)", said, re.MULTILINE)[-1])


def find_programs() -> tuple[Path, str]:
    """The folder of the newest PostgreSQL's programs, and its version. Raises NoPostgreSQL."""
    found = []
    for pattern in _PLACES:
        for folder in Path("/").glob(pattern.lstrip("/")):
            if (folder / "initdb").exists() and (folder / "pgbench").exists():
                said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
                version = said.stdout.split()[2]
                found.append((int(version.partition(".")[0]), version, folder))
    if not found or max(found)[0] < OLDEST:
        raise NoPostgreSQL(f"PostgreSQL {OLDEST} or newer is needed (Debian: apt-get install postgresql).")
    _, version, folder = max(found)
    return folder, version


@contextmanager
def plain_database() -> Iterator[PlainDatabase]:
    """A new cluster on the same disk as the banks, on a socket only, with its tables filled; it is removed at the end.

    PostgreSQL refuses to run as root: then it runs as its own user, whom its package makes.
    """
    programs, version = find_programs()
    BUILD.mkdir(parents=True, exist_ok=True)
    other = pwd.getpwnam(USER) if os.geteuid() == 0 else None
    # Its own user may not be let into our folders: then the cluster lies in the temporary folder of the same machine.
    place = Path(tempfile.mkdtemp(prefix="pgbench-", dir=None if other else BUILD))
    try:
        if other:
            os.chown(place, other.pw_uid, other.pw_gid)
        data, socket = place / "data", place

        def run(name: str, *options: str) -> None:
            done = subprocess.run(
                [str(programs / name), *options],
                cwd=place,
                env={"PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
                user=other.pw_uid if other else None,
                group=other.pw_gid if other else None,
                extra_groups=() if other else None,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise NoPostgreSQL(f"{name} failed: {done.stderr[-500:]}")

        run("initdb", "-D", str(data), "-U", USER, "--auth", "trust", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories='{socket}'"
        run("pg_ctl", "-D", str(data), "-w", "-o", options, "-l", str(place / "log"), "start")
        try:
            database = PlainDatabase(programs, socket, version)
            database.pgbench("-i", "-q", "-s", str(SCALE))
            yield database
        finally:
            run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)
