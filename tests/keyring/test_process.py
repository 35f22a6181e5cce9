"""A gpg process gets a clean environment and its own status pipe, and never more time, input or output than allowed."""

import ast
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keyring.errors import EngineError, PassphraseError
from keyring.home import Home
from keyring.process import run, run_tool, start
from protocol.secret import Secret
from tests.keyring.parties import ALWAYS, succeeded

ROOT = Path(__file__).parents[2]

Program = Callable[[str], Home]


@pytest.fixture
def home(short_tmp: Path) -> Home:
    return Home.create(short_tmp / "home", own_keys=False)


@pytest.fixture
def fake(home: Home, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script in gpg's place on the PATH; $STATUS is the status descriptor, /dev/fd/N another."""

    def put(script: str) -> Home:
        (short_tmp / "bin").mkdir(exist_ok=True)
        find = 'for word; do [ "$before" = --status-fd ] && STATUS=$word; before=$word; done\n'
        (short_tmp / "bin" / "gpg").write_text(f"#!/bin/bash\n{find}{script}\n")
        (short_tmp / "bin" / "gpg").chmod(0o700)
        monkeypatch.setenv("PATH", f"{short_tmp / 'bin'}:{os.environ['PATH']}")
        return home

    return put


def test_the_three_voices_are_kept_apart(fake: Program) -> None:
    home = fake("echo '[GNUPG:] FALSE' >&2; echo '[GNUPG:] FALSE'; echo '[GNUPG:] TRUE' >&$STATUS; exit 3")
    outcome = run(home, "--decrypt")
    assert outcome.status == b"[GNUPG:] TRUE\n"
    assert outcome.output == outcome.log.encode() == b"[GNUPG:] FALSE\n"
    assert outcome.exit_code == 3


def test_all_pipes_are_served_at_once(fake: Program) -> None:
    """Each pipe holds 64 KiB; whoever serves one after the other waits for ever."""
    many = "head -c 200000 /dev/zero"
    home = fake(f"{many} >&2; {many} >&$STATUS; {many}; cat")
    sent = os.urandom(300_000)
    outcome = run(home, "--decrypt", stdin=sent, timeout_seconds=10)
    assert (len(outcome.log), len(outcome.status)) == (200_000, 200_000)
    assert outcome.output == bytes(200_000) + sent


def test_input_that_nobody_reads_is_no_error(fake: Program) -> None:
    assert run(fake("exit 0"), "--decrypt", stdin=bytes(1_000_000)).exit_code == 0


def test_a_process_that_hangs_is_killed_with_all_its_children(fake: Program, short_tmp: Path) -> None:
    home = fake(f"sleep 60 & echo $! > {short_tmp / 'child'}; sleep 60")
    before = time.monotonic()
    with pytest.raises(EngineError, match=r"no answer within 0\.5 seconds"):
        run(home, "--decrypt", timeout_seconds=0.5)
    assert time.monotonic() - before < 5
    assert ended(int((short_tmp / "child").read_text()))


def ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie that only its new parent can bury; waits for the signal to arrive."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("voice", ["", ">&2", ">&$STATUS"])
def test_a_process_that_says_too_much_is_stopped(voice: str, fake: Program) -> None:
    with pytest.raises(EngineError, match="more than"):
        run(fake(f"yes {voice}"), "--decrypt", timeout_seconds=20)


def test_only_what_a_pinentry_needs_is_passed_on(fake: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPG_TTY", "/dev/pts/7")
    monkeypatch.setenv("GNUPGHOME", "/elsewhere")
    monkeypatch.setenv("LD_PRELOAD_OF_OURS", "secret")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    told = dict(line.split("=", 1) for line in run(fake("env"), "--x").output.decode().splitlines() if "=" in line)
    assert told["LC_ALL"] == "C.UTF-8"
    assert told["GPG_TTY"] == "/dev/pts/7"
    assert told.keys() & {"GNUPGHOME", "LD_PRELOAD_OF_OURS", "LANG"} == set()


def test_a_passphrase_goes_by_a_pipe_and_stands_in_no_argument(fake: Program) -> None:
    script = 'echo "$@" >&2; for word; do [ "$last" = --passphrase-fd ] && cat <&$word; last=$word; done'
    outcome = run(fake(script), "--sign", passphrase=Secret(b"open sesame"))
    assert outcome.output == b"open sesame\n"
    assert "sesame" not in outcome.log
    assert "--pinentry-mode loopback" in outcome.log


@pytest.mark.parametrize("passphrase", [b"two\nlines", b"nul\0", b"x" * 256])
def test_a_passphrase_that_gpg_would_cut_is_refused(passphrase: bytes, home: Home) -> None:
    with pytest.raises(PassphraseError, match="single line") as caught:
        run(home, "--sign", passphrase=Secret(passphrase))
    assert passphrase.decode() not in str(caught.value)


def test_nobody_is_asked_unless_that_is_meant(fake: Program) -> None:
    home = fake('echo "$@"')
    assert b"--pinentry-mode error" in run(home, "--sign").output
    asked = run(home, "--sign", interactive=True).output
    assert b"--pinentry-mode" not in asked
    assert b"--batch --no-tty --yes" in asked
    with pytest.raises(ValueError, match="pinentry"):
        run(home, "--sign", interactive=True, passphrase=Secret(b"x"))


def test_an_argument_cannot_hold_a_second_one(home: Home) -> None:
    with pytest.raises(EngineError, match="line break"):
        run(home, "--quick-gen-key", "Alice\nKey-Length: 512")


def test_a_faked_time_stands_still(short_tmp: Path) -> None:
    home = Home.create(short_tmp / "own", own_keys=True)
    arguments = ("--passphrase", "", "--quick-gen-key", "Alice (1001)", "ed25519", "sign", "0")
    succeeded(run(home, *arguments, faked_time=ALWAYS))
    assert f":{ALWAYS}:".encode() in run(home, "--with-colons", "--list-keys").output
    home.stop()


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_missing_program_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    before = descriptors()
    with pytest.raises(EngineError, match="gpg is not on the PATH; install GnuPG"):
        run(home, "--list-keys")
    with pytest.raises(EngineError, match="gpg is not on the PATH"):
        start(home, "--decrypt")
    with pytest.raises(EngineError, match="gpgconf is not on the PATH"):
        run_tool(home, "gpgconf", "--list-dirs")
    assert descriptors() == before


def test_no_descriptor_is_left_behind(home: Home, fake: Program) -> None:
    run(home, "--list-keys")
    before = descriptors()
    for _ in range(3):
        run(home, "--list-keys", passphrase=Secret(b"x"))
        start(home, "--multifile", "--decrypt").stop()
    fake("sleep 60")
    with pytest.raises(EngineError):
        run(home, "--list-keys", timeout_seconds=0.1)
    assert descriptors() == before


def test_a_started_gpg_is_bounded_and_stops(home: Home, short_tmp: Path) -> None:
    running = start(home, "--multifile", "--decrypt", folder=short_tmp, file_limit_bytes=4096)
    limits = Path(f"/proc/{running.process.pid}/limits").read_text()
    assert any(line.split()[3:5] == ["4096", "4096"] for line in limits.splitlines() if "Max file size" in line)
    assert Path(f"/proc/{running.process.pid}/cwd").resolve() == short_tmp
    os.kill(running.process.pid, signal.SIGSTOP)
    running.stop()
    assert running.process.returncode == -signal.SIGKILL


def test_only_this_module_imports_subprocess() -> None:
    """The import contracts say so, too; this names the file and has a twin."""
    importing = {path.relative_to(ROOT).as_posix() for path in sources() if imports_subprocess(path.read_text())}
    assert importing == {"keyring/process.py"}
    assert imports_subprocess("from subprocess import run")
    assert not imports_subprocess("from keyring.process import run")


def sources() -> tuple[Path, ...]:
    packages = ("protocol", "keyring", "ca", "bank", "customer")
    return tuple(path for package in packages for path in (ROOT / package).rglob("*.py"))


def imports_subprocess(source: str) -> bool:
    named: set[str | None] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            named.add(node.module)
    return "subprocess" in named
