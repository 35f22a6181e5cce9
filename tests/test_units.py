"""The units of systemd are sound and closed as they say, and the container file names what there is."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from bank.config import Limits
from bank.processes import STOP_MARGIN_SECONDS
from bank.serving import DESCRIPTORS_BESIDE, DESCRIPTORS_PER_CUSTOMER
from tests.system.programs import command_line

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / "tools"
UNITS = sorted((TOOLS / "systemd").glob("countersign*.*"))
SERVICES = [path for path in UNITS if path.suffix == ".service"]

THRESHOLD = 20
"""Tenths of the exposure level that `systemd-analyze security` may find at most; version 252 finds 14."""

OPENED = (("CapabilityBoundingSet=\n", ""), ("PrivateUsers=yes", ""), ("NoNewPrivileges=yes", ""))
"""Lines of the units without which they are less closed than that."""

PROGRAM = "/opt/countersign/.venv/bin/"
FOUND = {"systemd-analyze": "systemd", "systemd-sysusers": "systemd"}


def analyzed(program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What one of systemd's programs says, all of it in standard output."""
    if shutil.which(program) is None:
        pytest.fail(f"{program} is missing; run: apt-get install {FOUND[program]} (`sh tools/setup.sh tests` does it).")
    words = [program, *arguments]
    return subprocess.run(words, cwd=folder, stdout=-1, stderr=subprocess.STDOUT, text=True, check=False, timeout=60)


def installed(folder: Path, *changes: tuple[str, str]) -> Path:
    """Copies of the units whose programs are those of this virtual environment."""
    for unit in UNITS:
        text = unit.read_text().replace(PROGRAM, f"{ROOT}/.venv/bin/")
        for before, after in changes:
            text = text.replace(before, after)
        (folder / unit.name).write_text(text)
    return folder


def verified(folder: Path) -> str:
    names = [unit.name for unit in UNITS if unit.suffix in (".service", ".timer")]
    done = analyzed("systemd-analyze", "verify", "--recursive-errors=no", *names, folder=folder)
    return done.stdout + ("" if done.returncode == 0 else f"ended with {done.returncode}")


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    assert verified(installed(tmp_path)) == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ProtectSystem=", "ProtectSytem="),
        ("OnCalendar=*-*-* 03:20:00", "OnCalendar=now and then"),
        ("bin/bank", "bin/bonk"),
    ],
)
def test_systemd_notices_a_mistake_in_a_unit(tmp_path: Path, before: str, after: str) -> None:
    assert verified(installed(tmp_path, (before, after))) != ""


def exposure(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    return analyzed(
        "systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", f"./{name}", folder=folder
    )


@pytest.mark.parametrize("service", [path.name for path in SERVICES])
def test_a_service_is_closed_as_far_as_its_work_allows(tmp_path: Path, service: str) -> None:
    done = exposure(installed(tmp_path), service)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("service", [path.name for path in SERVICES])
def test_a_service_that_is_less_closed_is_noticed(tmp_path: Path, service: str) -> None:
    done = exposure(installed(tmp_path, *OPENED), service)
    assert done.returncode != 0, done.stdout


def test_the_users_of_the_units_are_made() -> None:
    users = TOOLS / "systemd" / "countersign.sysusers"
    done = analyzed("systemd-sysusers", "--dry-run", str(users), folder=ROOT)
    assert done.returncode == 0, done.stdout
    made = {line.split()[1] for line in users.read_text().splitlines() if line.startswith("u ")}
    assert {re.findall("^User=(.*)$", path.read_text(), re.MULTILINE)[0] for path in SERVICES} == made


@pytest.mark.parametrize("service", [path.name for path in SERVICES])
def test_the_commands_of_the_units_are_ours(service: str) -> None:
    text = (TOOLS / "systemd" / service).read_text()
    commands = re.findall(rf"{PROGRAM}(\w+) ([\w-]+)([^\n]*)", text)
    assert commands
    for program, name, options in commands:
        command = command_line(program).get_command(click.Context(command_line(program)), name)
        assert command is not None, name
        known = {option for each in command.params for option in each.opts}
        assert set(re.findall(r"(?<!\S)--[\w-]+", options)) <= known


def test_the_bank_is_given_the_files_and_the_time_that_its_limits_need() -> None:
    text, limits = (TOOLS / "systemd" / "countersign-bank.service").read_text(), Limits()
    needed = limits.connections + DESCRIPTORS_PER_CUSTOMER * limits.active_customers + DESCRIPTORS_BESIDE
    assert int(re.findall("^LimitNOFILE=(.*)$", text, re.MULTILINE)[0]) >= needed
    stop = limits.stop_grace_seconds + STOP_MARGIN_SECONDS
    assert float(re.findall("^TimeoutStopSec=(.*)$", text, re.MULTILINE)[0]) > stop


def test_the_container_file_copies_what_there_is_and_its_commands_are_sound() -> None:
    text = re.sub(r"\\\n", " ", (TOOLS / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    allowed = {"FROM", "RUN", "COPY", "WORKDIR", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "CMD"}
    assert {line.split()[0] for line in lines} <= allowed
    assert lines[0].startswith("FROM ")
    stages = {line.split()[-1] for line in lines if line.startswith("FROM ") and " AS " in line}
    for line in lines:
        instruction, _, rest = line.partition(" ")
        if instruction == "RUN":
            assert subprocess.run(["sh", "-n", "-c", rest], check=False).returncode == 0, rest
        if instruction == "COPY":
            words = rest.split()
            options = [word for word in words if word.startswith("--")]
            assert all(option.removeprefix("--from=") in stages for option in options)
            assert options or all((ROOT / source).exists() for source in words[:-1]), line
        if instruction == "CMD":
            program, name, *_ = json.loads(rest)
            assert command_line(program).get_command(click.Context(command_line(program)), name)
    assert "USER countersign" in lines, "nothing of ours runs as root"
