"""The real command lines are run as a person runs them, and whatever they say, no traceback is ever among it."""

import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import click
import psutil
from click.testing import CliRunner

MEMORY = Path("/dev/shm")
PROGRAMS = Path(sys.executable).parent
COMMAND_SECONDS = 60.0
START_SECONDS = 30.0
STOP_SECONDS = 30.0
PORTS = (20_000, 30_000)
"""Below the ports that connections take for themselves, so that a server finds its port free when it comes back."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    command: str
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err

    def json(self) -> Any:
        return json.loads(self.out)

    def expect(self, code: int | None) -> Self:
        """Itself, if it ended with this exit code (None: any), and without a traceback."""
        assert "Traceback" not in self.said, f"{self.command}\n{self.said}"
        assert code in (None, self.code), f"{self.command}\nended with {self.code}, not {code}:\n{self.said}"
        return self


def program(name: str) -> str:
    return str(PROGRAMS / name)


def run(
    name: str,
    *arguments: object,
    code: int | None = 0,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Done:
    """Run a command line as a process of its own."""
    words = [program(name), *map(str, arguments)]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "COLUMNS": "120", **(environment or {})},
        input=stdin,
        capture_output=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return Done(" ".join(words), done.returncode, done.stdout.decode(), done.stderr.decode()).expect(code)


def run_here(name: str, *arguments: object, code: int | None = 0) -> Done:
    """Run a command line inside this process: the same code from its first option on, without Python's start.

    For what is asked hundreds of times. An error that would have been a traceback is raised here.
    """
    words = [*map(str, arguments)]
    result = CliRunner().invoke(command_line(name), words, prog_name=name)
    unusual = result.exception is not None and not isinstance(result.exception, SystemExit)
    if unusual and result.exception is not None:
        raise result.exception
    return Done(f"{name} {' '.join(words)}", result.exit_code, result.stdout, result.stderr).expect(code)


def command_line(name: str) -> click.Group:
    """The commands of a program."""
    group = import_module(f"{name}.cli").__dict__["cli" if name == "ca" else "commands"]
    assert isinstance(group, click.Group)
    if name == "bank":
        for part in (
            "setup",
            "certificate",
            "accounts",
            "serve",
            "records",
            "safekeeping",
            "moving",
            "servers",
            "doctor",
        ):
            import_module(f"bank.cli.{part}").add_to(group)
    return group


def free_port() -> int:
    """A port that nobody listens at now and that no connection takes for itself."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Serving:
    """A server as a process of its own; it is there when it has said that it is."""

    def __init__(
        self,
        name: str,
        *arguments: object,
        log: Path,
        environment: Mapping[str, str] | None = None,
        played_by: tuple[str, ...] = (),
    ) -> None:
        """``played_by``: what is started in place of the command itself, to run it in its own way."""
        self.log = log
        self.process = subprocess.Popen(
            [*(played_by or (program(name),)), "serve", *map(str, arguments), "--log-file", str(log)],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self.first_line = self._line()
        except BaseException:
            self.kill()
            raise

    def _line(self) -> str:
        assert self.process.stdout is not None
        said, deadline = b"", time.monotonic() + START_SECONDS
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert piece, (
                f"The server did not start: {said.decode()} {self.log.read_text() if self.log.exists() else ''}"
            )
            said += piece
        return said.decode()

    def _folders(self) -> set[Path]:
        """The folders in memory that its gpg workers are in, which a killed server leaves behind."""
        try:
            found = {Path(child.cwd()) for child in psutil.Process(self.process.pid).children()}
        except psutil.Error:  # it has ended
            return set()
        return {folder for folder in found if folder.parent == MEMORY and folder.name.startswith("countersign-")}

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, without a chance to say or save anything; harmless when it has ended."""
        left = self._folders()
        self.process.kill()
        self.process.wait()
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        if self.process.stdout is not None:
            self.process.stdout.close()
