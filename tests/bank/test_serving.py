"""The server as a whole: what it needs to begin, one in a folder, and nothing left of it afterwards."""

import os
import resource
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from bank import journal
from bank.config import Limits
from bank.errors import ConfigurationError
from bank.machine import Machine
from bank.serving import look_at_clock, make_room_for_connections, runtime_folder, serving
from keyring.errors import UnsuitableKey
from protocol.codes import Status
from protocol.messages import Balance
from protocol.stages import Stage
from protocol.transport import Address
from tests.bank.counter import BALANCE, Clock, Counter, at_counter, eventually
from tests.bank.town import Town, copied_bank
from tests.conftest import gnupg_processes_below


def test_trial_24_a_second_server_in_the_same_folder_is_refused(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp) as counter:
        assert counter.home.is_serving()
        with pytest.raises(ConfigurationError, match="stop that one first"), serving(counter.home):
            pass
        with counter.session(town.alice, Stage.CERTIFIED) as talk:  # and the first one has not been harmed
            assert talk.pay("still-served").status is Status.SETTLED
    assert not counter.home.is_serving()
    with serving(counter.home):
        assert counter.home.is_serving()


@pytest.mark.parametrize("missing", ["certificate.pgp", "authority.pgp"])
def test_without_a_certificate_the_stage_certified_is_not_served(town: Town, short_tmp: Path, missing: str) -> None:
    home = copied_bank(town, short_tmp, minimum_stage=Stage.CERTIFIED)
    (home.path / missing).rename(home.path / "kept")
    with pytest.raises(ConfigurationError, match=r"`bank request`.*`bank fetch`"), serving(home):
        pass
    assert not home.is_serving()
    (home.path / "kept").rename(home.path / missing)
    with serving(home):
        pass


def test_another_authority_than_the_pinned_one_is_not_served(town: Town, short_tmp: Path) -> None:
    home = copied_bank(town, short_tmp)
    home.authority_path.write_bytes(town.bob.key)
    with pytest.raises(UnsuitableKey, match="was expected"), serving(home):
        pass
    assert not runtime_folder(home.path).exists()


def test_nothing_is_left_when_serving_ends(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp) as counter:
        folder = runtime_folder(counter.home.path)
        assert folder.stat().st_mode & 0o777 == 0o700
        with counter.session(town.alice, Stage.CERTIFIED) as talk:
            assert talk.pay("before-the-end").status is Status.SETTLED
        assert gnupg_processes_below(short_tmp, folder)
    assert not folder.exists()
    eventually(lambda: not gnupg_processes_below(short_tmp, folder))


def test_small_homes_that_a_killed_server_left_are_cleared(town: Town, short_tmp: Path) -> None:
    left = runtime_folder(short_tmp / "bank")
    left.mkdir(mode=0o700)
    (left / "1").mkdir()
    try:
        with at_counter(town, short_tmp) as counter:
            # Of the workers' own folders, which lie there too, the next server thereby clears what a kill left.
            kept = {each.name for each in left.iterdir() if not each.name.startswith("countersign-")}
            assert kept == {"authority", "keyless"}
            with counter.session(town.alice, Stage.SIGNED) as talk:
                assert isinstance(talk.ask(BALANCE), Balance)
    finally:
        assert not left.exists()


def test_a_name_in_memory_that_another_user_has_taken_keeps_no_bank_from_serving(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = runtime_folder(short_tmp)
    taken.mkdir(mode=0o700)
    try:
        assert runtime_folder(short_tmp) == taken  # left by a server of ours
        ours = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: ours + 1)
        assert runtime_folder(short_tmp).parent == short_tmp.resolve()
    finally:
        taken.rmdir()


def test_a_ledger_of_another_bank_is_not_served(town: Town, short_tmp: Path) -> None:
    home = copied_bank(town, short_tmp, currency="USD")
    with pytest.raises(ConfigurationError, match="currency is USD, and that of the ledger"), serving(home):
        pass
    assert not runtime_folder(home.path).exists()


def test_room_is_made_for_as_many_connections_as_the_limits_allow(capsys: pytest.CaptureFixture[str]) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    journal.configure(sys.stderr, verbose=False)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        make_room_for_connections(Limits(connections=300, active_customers=1))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 560
        assert capsys.readouterr().err == ""
        if before[1] != resource.RLIM_INFINITY:
            make_room_for_connections(Limits(connections=1_000_000))
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
            assert '"few-file-descriptors"' in capsys.readouterr().err
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        journal.LOGGER.handlers.clear()
        journal.LOGGER.propagate = True


@pytest.mark.parametrize(("state", "told"), [(5, True), (0, False), (-1, False)])
def test_a_clock_that_nobody_keeps_is_told_when_the_server_begins(state: int, told: bool) -> None:
    stream = StringIO()
    journal.configure(stream, verbose=False)
    try:
        look_at_clock(Machine(synchronised=Path("nowhere"), adjust=lambda: state))
    finally:
        journal.close()
    assert ('"event": "clock-unsynchronised"' in stream.getvalue()) is told


def test_the_command_serves_until_sigterm_and_keeps_a_private_log(town: Town, short_tmp: Path) -> None:
    home, log = copied_bank(town, short_tmp), short_tmp / "log"
    command = [sys.executable, "-c", "from bank.cli import main; main()", "serve", "--home", str(home.path)]
    process = subprocess.Popen([*command, "--log-file", str(log)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        try:
            line = process.stdout.readline()
            assert line.startswith("Example Bank serves at 127.0.0.1:")
            assert "minimum stage password" in line
            address = Address.parse(line.split(" at ")[1].split(",")[0])
            elsewhere = Counter(town, home, None, address, Clock(), StringIO())  # type: ignore[arg-type]
            with elsewhere.session(town.alice, Stage.SIGNED) as talk:
                assert isinstance(talk.ask(BALANCE), Balance)
                second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
                assert second.returncode == 1
                assert "stop that one first" in second.stderr
                assert "Traceback" not in second.stderr
                os.kill(process.pid, signal.SIGTERM)
                assert "Stopping" in process.stdout.readline()
            assert process.stdout.readline() == "Stopped.\n"
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert log.stat().st_mode & 0o777 == 0o600
    assert [line for line in log.read_text().splitlines() if '"stopped"' in line and '"all_answered": 1' in line]
