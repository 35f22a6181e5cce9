"""Who sits at a terminal is asked for one thing after the other, and for nothing that is not needed any more."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyring import readout
from tests.ca.cast import CODE, Cast
from tests.system.programs import run, run_here

TIMEOUT_SECONDS = 60


@contextmanager
def typing(home: Path, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A command at a terminal of its own: the terminal's other end, and the process."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "ca"), *arguments],
        env={**os.environ, "CA_HOME": str(home)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def shown(terminal: int, until: str) -> str:
    """What the terminal shows up to this text; "" stands for its end."""
    seen, deadline = "", time.monotonic() + TIMEOUT_SECONDS
    while not (until and until in seen):
        assert time.monotonic() < deadline, seen
        try:
            part = os.read(terminal, 4096) if select.select([terminal], [], [], 1)[0] else None
        except OSError:  # how Linux tells that nobody has the terminal open any more
            part = b""
        if part == b"":
            assert not until, seen
            break
        seen += (part or b"").decode().replace("\r\n", "\n")
    return seen


def test_operator_at_a_terminal_is_asked_who_calls_and_then_for_the_words_line_by_line(
    cast: Cast, short_tmp: Path
) -> None:
    home, request = short_tmp / "ca", short_tmp / "request"
    shutil.copytree(cast.with_bank, home)
    request.write_bytes(cast.alice.request())
    (short_tmp / "notice").write_bytes(cast.bank.notice(cast.alice))
    (taken,) = run_here("ca", "requests", "--take", request, "--home", home, "--json").json()
    fixed = ("confirm", "1001", "--notice", str(short_tmp / "notice"), "--operator", "operator")
    with typing(home, *fixed) as (terminal, process):
        asked = shown(terminal, "if you called back): ")
        assert f"Its SHA-256 is {taken['sha256']}." in asked
        assert "The fingerprint as heard" not in asked
        os.write(terminal, f"{' '.join(readout.encode(b'nobody'))}\n".encode())
        # Who is not known is not asked for the words.
        wrong = shown(terminal, "")
        assert "The caller's code is not the one in the letter" in wrong
        assert "2 tries are left" in wrong
        assert "The fingerprint as heard" not in wrong
        assert process.wait(TIMEOUT_SECONDS) == 1
    with typing(home, *fixed) as (terminal, process):
        shown(terminal, "if you called back): ")
        os.write(terminal, f"{CODE}\n".encode())
        assert "in words or in hexadecimal digits" in shown(terminal, "in one line or several: ")
        # All five lines at once, as they are pasted.
        os.write(terminal, ("\n".join(readout.lines(cast.alice.fingerprint)) + "\n").encode())
        assert "16 of 20 words; go on, or end with an empty line" in shown(terminal, "Confirmed. Next: ca issue")
        assert process.wait(TIMEOUT_SECONDS) == 0


@pytest.mark.parametrize("form", ["hexadecimal lines", "a word a line", "an empty line", "the end"])
def test_fingerprint_is_read_until_it_is_whole_or_a_line_is_empty(cast: Cast, short_tmp: Path, form: str) -> None:
    home, request, alice = short_tmp / "ca", short_tmp / "request", cast.alice
    shutil.copytree(cast.with_bank, home)
    request.write_bytes(alice.request())
    run_here("ca", "requests", "--take", request, "--home", home)
    groups, words = readout.hex_groups(alice.fingerprint), alice.words.split()
    typed, told = {
        "hexadecimal lines": (f"{groups[:25]}\n{groups[25:]}\nnever read\n", "Confirmed."),
        "a word a line": ("\n".join([*words, "never read"]), "Confirmed."),
        "an empty line": ("\n".join([*words[:18], "", "never read"]), "so 2 are missing"),
        "the end": (" ".join(words[:18]), "so 2 are missing"),
    }[form]
    call = ("--called-back", "1", "--operator", "operator", "--home", home)
    done = run("ca", "confirm", "1001", *call, stdin=typed.encode(), code=0 if told == "Confirmed." else 1)
    assert told in done.said
    assert "never" not in done.said
