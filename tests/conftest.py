"""Every test has throw-away folders, never sees the user's own keys, and leaves no GnuPG process behind."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import psutil
import pytest

from tests.python_start import sitecustomize

if TYPE_CHECKING:
    from tests.bank.town import Town
    from tests.postgres import Databases
    from tests.system.town import Town as SystemTown

_STOP_TIMEOUT_SECONDS = 10.0
_HOMES_IN_THE_ENVIRONMENT = ("BANK_HOME", "BANK_LEDGER", "CUSTOMER_HOME", "CA_HOME")

# A failing example is printed with the blob that reproduces it; every run draws anew.
hypothesis.settings.register_profile("quick", max_examples=25, deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.register_profile("ci", parent=hypothesis.settings.get_profile("quick"), max_examples=100)
hypothesis.settings.register_profile("long", parent=hypothesis.settings.get_profile("quick"), max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "quick"))


def gnupg_processes_below(*roots: Path) -> tuple[psutil.Process, ...]:
    """The living processes started with a --homedir below one of `roots`: agents, workers and others."""
    return tuple(
        process
        for process in psutil.process_iter()
        if (home := _homedir_of(process)) is not None and any(home.is_relative_to(root) for root in roots)
    )


def _homedir_of(process: psutil.Process) -> Path | None:
    try:
        arguments = process.cmdline()
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.Error:  # it ended meanwhile, or is somebody else's
        return None
    if "--homedir" not in arguments[:-1]:
        return None
    return Path(arguments[arguments.index("--homedir") + 1])


def stop_agents_below(folder: Path) -> None:
    """Stop the agent of every GnuPG home in `folder`, however deep."""
    marks = ("pubring.kbx", "private-keys-v1.d")
    homes = {path.parent for mark in marks for path in folder.rglob(mark)}
    for home in sorted(homes):
        subprocess.run(
            ["gpgconf", "--homedir", str(home), "--kill", "all"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_STOP_TIMEOUT_SECONDS,
            check=False,  # harmless where none ran
        )


def _survivors(*roots: Path) -> tuple[psutil.Process, ...]:
    """What still runs below `roots` once those who were told to end have had the time to."""
    deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
    while (left := gnupg_processes_below(*roots)) and time.monotonic() < deadline:
        psutil.wait_procs(left, timeout=0.05)
    return left


@pytest.fixture(scope="session", autouse=True)
def short_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of this run (or xdist worker), its path short enough for sockets, such as /tmp/cs-x1y2z3.

    The run fails if a GnuPG process with a home below it, or below pytest's own folder, outlives the tests.
    """
    root = Path(tempfile.mkdtemp(prefix="cs-", dir=Path("/tmp").resolve()))
    with pytest.MonkeyPatch.context() as environment:
        for name in _HOMES_IN_THE_ENVIRONMENT:
            environment.delenv(name, raising=False)
        environment.setenv("PYTHONPATH", str(Path(sitecustomize.__file__).parent))
        # A test that forgets its home meets an error here and not the keys of the person who runs it.
        environment.setenv("GNUPGHOME", str(root / "no-home-was-given"))
        yield root
    left = _survivors(root, tmp_path_factory.getbasetemp())
    told = [f"{process.pid}: {' '.join(process.cmdline())}" for process in left if process.is_running()]
    for process in left:
        process.kill()
    shutil.rmtree(root, ignore_errors=True)
    if told:
        pytest.fail(
            "These GnuPG processes outlived the tests that started them (stopped now); call Home.stop() or "
            "Worker.close() in the teardown:\n" + "\n".join(told)
        )


@pytest.fixture(scope="session")
def make_short_tmp(short_root: Path) -> Iterator[Callable[[], Path]]:
    """Makes folders such as /tmp/cs-x1y2z3/s1 that live until the session ends, for homes with costly keys."""
    made: list[Path] = []

    def make() -> Path:
        folder = short_root / f"s{len(made) + 1}"
        folder.mkdir(mode=0o700)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        stop_agents_below(folder)


@pytest.fixture(scope="session")
def bank_town(make_short_tmp: Callable[[], Path]) -> Iterator["Town"]:
    """Keys and a bank's folder for servers in the tests' own process; made once a worker, and no test changes them."""
    from tests.bank.town import make_town

    town = make_town(make_short_tmp())
    yield town
    for home in (town.authority, town.alice.home, town.bob.home, town.impostor.home):
        home.stop()


@pytest.fixture(scope="session")
def system_town(make_short_tmp: Callable[[], Path]) -> Iterator["SystemTown"]:
    """An authority at its desk, a bank and its customers, for servers that are processes; no test changes them."""
    from tests.system.town import make_town

    town = make_town(make_short_tmp())
    yield town
    town.close()


@pytest.fixture(scope="session")
def databases() -> Iterator["Databases"]:
    """A PostgreSQL for the tests of one worker, with as many databases as they ask for."""
    from tests.postgres import databases

    with databases() as made:
        yield made


@pytest.fixture
def database_url(databases: "Databases") -> Iterator[str]:
    """The URL of an empty database of PostgreSQL for one test."""
    url = databases.new()
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def short_tmp(short_root: Path, _numbers: Iterator[int]) -> Iterator[Path]:
    """A folder such as /tmp/cs-x1y2z3/1 for one test; the agents of homes in it are stopped, then it goes."""
    folder = short_root / str(next(_numbers))
    folder.mkdir(mode=0o700)
    yield folder
    stop_agents_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
