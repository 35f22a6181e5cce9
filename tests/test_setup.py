"""The set-up does what is missing and no more, and where it cannot, names the one command to run."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLAIN_TOOLS = ("sh", "dirname", "sed", "awk", "cksum", "cat", "rm", "mkdir", "cp", "env", "chmod")

PYTHON = """\
case "$*" in
    *version_info*) exit {old} ;;
    *"import venv"*) test -e "{venv_module}" ;;
    --version) echo "Python 3.11.7" ;;
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip "*) echo "$*" >>"{log}" ;;
    *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


@dataclass(frozen=True)
class Machine:
    """A copy of the set-up in a folder of its own, on a made-up machine that has only the programs put on it."""

    programs: Path
    project: Path
    log: Path

    def put(self, name: str, script: str) -> None:
        """Put a program on the machine, in place of the one of that name."""
        program = self.programs / name
        program.unlink(missing_ok=True)  # never write through a link to the real one
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def put_gnupg(self, version: str) -> None:
        self.put("gpg", f'echo "gpg (GnuPG) {version}"')
        for name in ("gpg-agent", "gpgconf", "gpg-connect-agent"):
            self.put(name, "exit 9")

    def put_python(self, name: str = "python3", *, old: bool = False, venv_module: bool = True) -> None:
        mark = self.programs / "venv-module"
        if venv_module:
            mark.touch()
        self.put(name, PYTHON.format(old=int(old), venv_module=mark, log=self.log))

    def set_up(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(self.project / "tools" / "setup.sh")],
            env={"PATH": str(self.programs), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """All is well on it, nobody is root, and it has no package manager."""
    made = Machine(tmp_path / "programs", tmp_path / "a project", tmp_path / "log")
    made.programs.mkdir()
    (made.project / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "setup.sh", made.project / "tools")
    for name in ("requirements.txt", "pyproject.toml"):
        (made.project / name).write_text("as it was\n")
    for name in PLAIN_TOOLS:
        real = shutil.which(name)
        assert real
        (made.programs / name).symlink_to(real)
    made.put("id", "echo 1000")
    made.put_gnupg("2.2.40")
    made.put_python()
    return made


def test_a_first_set_up_makes_the_environment_with_checked_packages(machine: Machine) -> None:
    outcome = machine.set_up()
    assert outcome.returncode == 0, outcome.stderr
    assert len(outcome.stdout.splitlines()) == 3
    assert outcome.stderr == ""
    packages, project = machine.calls.splitlines()
    assert "--require-hashes --no-deps -r requirements.txt" in packages
    assert "--no-deps --no-build-isolation" in project


def test_a_second_set_up_does_and_says_nothing(machine: Machine) -> None:
    machine.set_up()
    calls = machine.calls
    outcome = machine.set_up()
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    assert machine.calls == calls


def test_changed_pins_make_the_environment_anew(machine: Machine) -> None:
    machine.set_up()
    (machine.project / "requirements.txt").write_text("changed\n")
    outcome = machine.set_up()
    assert "Making the virtual environment" in outcome.stdout
    assert machine.set_up().stdout == ""


def test_a_changed_project_is_installed_again_and_nothing_else(machine: Machine) -> None:
    machine.set_up()
    (machine.project / "pyproject.toml").write_text("changed\n")
    outcome = machine.set_up()
    assert outcome.stdout == "Installing countersign into .venv …\n"
    assert machine.set_up().stdout == ""


def test_an_environment_whose_python_is_gone_is_made_anew(machine: Machine) -> None:
    machine.set_up()
    python = machine.project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert "Making the virtual environment" in machine.set_up().stdout
    assert machine.set_up().stdout == ""


def test_an_environment_that_was_moved_is_made_anew(machine: Machine, tmp_path: Path) -> None:
    machine.set_up()
    moved = Machine(machine.programs, machine.project.rename(tmp_path / "elsewhere"), machine.log)
    assert "Making the virtual environment" in moved.set_up().stdout


def test_failed_packages_are_tried_again_the_next_time(machine: Machine) -> None:
    machine.put("python3", PYTHON.format(old=0, venv_module=machine.programs, log="/nowhere/log"))
    assert machine.set_up().returncode == 1
    machine.put_python()
    assert "Installing the pinned packages" in machine.set_up().stdout


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "sudo apt-get install -y gnupg python3 python3-venv"),
        ("dnf", "sudo dnf install -y gnupg2 python3"),
        ("apk", "sudo apk add gnupg python3"),
        ("pacman", "sudo pacman -S --needed gnupg python"),
        ("brew", "brew install gnupg python"),
    ],
)
def test_old_gnupg_is_refused_with_the_command_of_this_system(machine: Machine, manager: str, command: str) -> None:
    machine.put_gnupg("2.2.39")
    machine.put(manager, f'echo "{manager} $*" >>"{machine.log}"')
    outcome = machine.set_up()
    assert outcome.returncode == 1
    assert outcome.stderr == (
        f"setup: GnuPG 2.2.40 or newer is needed, and gpg here is 2.2.39. Please run: {command}\n"
    )
    assert machine.calls == "", "without root and without sudo it installs nothing"


@pytest.mark.parametrize("version", ["2.2.40", "2.2.41", "2.3.0", "2.4.5", "2.10.1", "3.0.0", "2.2.40-unknown"])
def test_gnupg_new_enough_is_taken(machine: Machine, version: str) -> None:
    machine.put_gnupg(version)
    assert machine.set_up().returncode == 0


@pytest.mark.parametrize("version", ["1.4.23", "2.0.99", "2.1.99", "2.2.4", "2.2.9", "strange"])
def test_gnupg_too_old_is_not_taken(machine: Machine, version: str) -> None:
    machine.put_gnupg(version)
    outcome = machine.set_up()
    assert outcome.returncode == 1
    assert "Please install it with this system's packages" in outcome.stderr


@pytest.mark.parametrize("program", ["gpg", "gpg-agent", "gpgconf", "gpg-connect-agent"])
def test_a_missing_part_of_gnupg_is_named(machine: Machine, program: str) -> None:
    (machine.programs / program).unlink()
    outcome = machine.set_up()
    assert outcome.returncode == 1
    assert f"and {program} is missing." in outcome.stderr


def test_missing_venv_module_is_refused_with_the_command(machine: Machine) -> None:
    (machine.programs / "venv-module").unlink()
    machine.put("apt-get", "exit 9")
    outcome = machine.set_up()
    assert outcome.returncode == 1
    assert outcome.stderr.endswith("Please run: sudo apt-get install -y gnupg python3 python3-venv\n")
    assert not (machine.project / ".venv").exists()


def test_old_python_is_passed_over_for_a_newer_one(machine: Machine) -> None:
    machine.put_python(old=True)
    machine.put_python("python3.12")
    assert machine.set_up().returncode == 0


def test_only_an_old_python_is_refused_with_the_command(machine: Machine) -> None:
    machine.put_python(old=True)
    machine.put("dnf", "exit 9")
    outcome = machine.set_up()
    assert outcome.returncode == 1
    assert outcome.stderr == ("setup: Python 3.11 or newer is needed. Please run: sudo dnf install -y gnupg2 python3\n")


@pytest.mark.parametrize("way", ["root", "sudo"])
def test_what_is_missing_is_installed_with_apt_where_that_may_be(machine: Machine, way: str) -> None:
    if way == "root":
        machine.put("id", "echo 0")
    else:
        machine.put("sudo", 'test "$1" = -n && shift && exec "$@"')
        machine.put("true", "exit 0")
    (machine.programs / "venv-module").unlink()
    machine.put_gnupg("2.2.4")
    new_gpg = machine.programs / "new-gpg"
    new_gpg.write_text('#!/bin/sh\necho "gpg (GnuPG) 2.2.40"\n')
    new_gpg.chmod(0o755)
    machine.put(
        "apt-get",
        f'echo "apt-get $*" >>"{machine.log}"\n'
        f'case "$*" in *gnupg) cp "{new_gpg}" "{machine.programs}/gpg" ;;\n'
        f'*python3-venv) echo >"{machine.programs}/venv-module" ;; esac',
    )
    outcome = machine.set_up()
    assert outcome.returncode == 0, outcome.stderr
    assert "Installing gnupg with apt-get …\n" in outcome.stdout
    assert "Installing python3-venv with apt-get …\n" in outcome.stdout
    assert machine.calls.count("apt-get install -qq -y") == 2


def test_apt_that_fails_is_heard_and_the_command_named(machine: Machine) -> None:
    machine.put("id", "echo 0")
    machine.put_gnupg("2.2.4")
    machine.put("apt-get", 'echo "E: no such package" >&2; exit 100')
    outcome = machine.set_up()
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("E: no such package\n")
    assert outcome.stderr.endswith("Please run: apt-get install -y gnupg python3 python3-venv\n")


def test_continuous_integration_runs_the_tests_of_make() -> None:
    runner = ROOT / ".ci" / "run"
    assert os.access(runner, os.X_OK)
    assert "make --no-print-directory test </dev/null" in runner.read_text("utf-8")
