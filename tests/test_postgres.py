"""The clusters of the tests do what the tests of ledgers rely on: they start anywhere, stop whole and leave nothing."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from tests import postgres
from tests.postgres import QUICK, Databases, NoPostgreSQL, Programs, cluster


def test_databases_are_fresh_copied_and_dropped(databases: Databases) -> None:
    first = databases.new()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE kept (what text)")
    copy, empty = databases.new(first), databases.new()
    for url, tables in ((copy, 1), (empty, 0)):
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'kept'").fetchone()
        assert found == (tables,)
    for url in (first, copy, empty):
        databases.drop(url)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(url)


def test_a_cluster_outlives_the_loss_of_its_machine_and_leaves_nothing() -> None:
    with cluster({**QUICK, "fsync": "on"}, tcp=True) as made:
        assert made.psql("SHOW fsync", "SHOW synchronous_commit").split() == ["on", "on"]
        made.psql("CREATE TABLE kept (what text)")
        first = int((made.data / "postmaster.pid").read_text().split()[0])
        made.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(made.url())
        made.start()
        assert made.psql("SELECT count(*) FROM kept") == "0"
        folder = made.folder
    assert not folder.exists()
    for process in psutil.process_iter():
        assert process.pid != first or process.status() == psutil.STATUS_ZOMBIE


def test_a_cluster_ends_with_the_tests_also_if_they_are_killed() -> None:
    program = "from tests.postgres import cluster\nwith cluster() as made: print(made.folder, flush=True); input()"
    tests = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with tests:
        assert tests.stdout is not None
        folder = Path(tests.stdout.readline().strip())
        first = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
        tests.kill()
    psutil.wait_procs([first], timeout=30)
    deadline = time.monotonic() + 30
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    assert not first.is_running()


def test_missing_programs_are_named_with_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "_PLACES", (f"{tmp_path}/*",))
    with pytest.raises(NoPostgreSQL, match="apt-get install postgresql"):
        Programs.find()
