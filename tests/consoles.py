"""Runs the terminal sessions of a document: what stands there must be what a person would see.

In a block of ``console``, a line that begins with ``$ `` is typed; what follows is what must be printed, where ``…``
stands for any text in a line, and alone on a line for any number of lines. ``[exit code N]`` ends a command that fails.
A command that ends with ``&`` is a server: its first line is waited for.
"""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ANY = "…"
COMMAND_SECONDS = 60
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DONE = "--done--"


@dataclass(frozen=True)
class Step:
    """One command and the lines that must follow it."""

    command: str
    expected: tuple[str, ...]


def steps(document: str) -> list[Step]:
    """All commands of a document's console blocks, in order."""
    found: list[Step] = []
    for block in _BLOCK.findall(document):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:], ()))
            else:
                found[-1] = Step(found[-1].command, (*found[-1].expected, line))
    return found


def matches(expected: tuple[str, ...], printed: list[str]) -> bool:
    """Whether the printed lines are the expected ones; identifiers and times are never the same twice."""
    expected, printed = tuple(map(_blurred, expected)), list(map(_blurred, printed))
    parts = [".*(?:\n.*)*" if line == ANY else ".*".join(map(re.escape, line.split(ANY))) for line in expected]
    # A line of its own for any number of lines may also stand for none.
    pattern = "\n".join(parts).replace("\n.*(?:\n.*)*", "(?:\n.*)*").replace(".*(?:\n.*)*\n", "(?:.*\n)*")
    return re.fullmatch(pattern, "\n".join(printed)) is not None


def _blurred(line: str) -> str:
    line = re.sub(r"\b[0-9a-f]{32}\b", "IDENTIFIER", line)
    return re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", line)


class Terminal:
    """A shell that lives through the whole document, in a folder of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._servers = 0

    def run(self, command: str) -> list[str]:
        """The lines that a command prints, with its exit code as a last one if it is not 0."""
        if command.endswith("&"):
            return self._start(command)
        self._type(f"{command} </dev/null\nprintf '\\n{_DONE}%d\\n' $?\n")
        lines: list[str] = []
        deadline = time.monotonic() + COMMAND_SECONDS
        assert self._shell.stdout is not None
        while time.monotonic() < deadline:
            line = self._shell.stdout.readline()
            if not line:
                raise AssertionError(f"The shell ended during: {command}\n" + "".join(lines))
            if line.startswith(_DONE):
                code = int(line.removeprefix(_DONE))
                printed = "".join(lines).removesuffix("\n").rstrip("\n").split("\n")
                return [*([] if printed == [""] else printed), *([f"[exit code {code}]"] if code else [])]
            lines.append(line)
        raise AssertionError(f"Too slow: {command}")

    def close(self) -> None:
        """End the shell and its servers."""
        if self._shell.poll() is None:
            self._type("kill $(jobs -p) 2>/dev/null; wait; exit\n")
            self._shell.wait(30)
        for stream in (self._shell.stdin, self._shell.stdout):
            if stream:
                stream.close()

    def _start(self, command: str) -> list[str]:
        self._servers += 1
        output = self._folder / f".server-{self._servers}"
        self._type(f"{command.removesuffix('&')} >{output} 2>&1 </dev/null &\n")
        deadline = time.monotonic() + COMMAND_SECONDS
        while not (output.exists() and output.read_text().endswith("\n")):
            if time.monotonic() > deadline:
                raise AssertionError(f"It did not start: {command}")
            time.sleep(0.02)
        return output.read_text().splitlines()

    def _type(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text)
        self._shell.stdin.flush()
