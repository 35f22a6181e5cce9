"""Every GnuPG process of the project is started here: clean environment, own pipe for the status, bounds on all of it.

What gpg says for people (standard error) and what it says for programs (the status) never share a pipe, so that no user
ID or file name in the log can be taken for a status line.
"""

import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from keyring.errors import EngineError, OutputTooLong, PassphraseError
from protocol.secret import Secret

if TYPE_CHECKING:
    from keyring.home import Home

OUTPUT_LIMIT_BYTES: Final = 16 * 1024 * 1024
STATUS_LIMIT_BYTES: Final = 1024 * 1024
LOG_LIMIT_BYTES: Final = 256 * 1024
PASSPHRASE_LIMIT_BYTES: Final = 255  # GnuPG's own limit
INTERACTIVE_TIMEOUT_SECONDS: Final = 300.0  # a person types into pinentry
_PIECE_BYTES: Final = 64 * 1024
_LOG: Final = logging.getLogger(__name__)
"""Silent, unless somebody counts."""

# What a pinentry needs to find its user; everything else of our environment stays with us.
_PASSED_ON: Final = (
    "PATH",
    "HOME",
    "GPG_TTY",
    "TERM",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
)


@dataclass(frozen=True)
class Outcome:
    """What one finished process said; an exit code of 0 proves nothing about a signature."""

    status: bytes
    output: bytes
    log: str
    exit_code: int


@dataclass(frozen=True)
class RunningGpg:
    """A gpg that goes on running: file names go in by ``names``, status lines come out of the descriptor ``status``."""

    process: subprocess.Popen[bytes]
    names: IO[bytes]
    status: int

    def wrote_too_much(self) -> bool:
        """Whether a process that has closed its status ended at the limit on its files."""
        try:
            return self.process.wait(1.0) == -signal.SIGXFSZ
        except subprocess.TimeoutExpired:
            return False

    def stop(self) -> None:
        """Kill the process and its group, reap it, close its pipes; harmless if it is dead already."""
        _kill(self.process)
        with suppress(OSError):
            self.names.close()
        os.close(self.status)


def run(
    home: "Home",
    *arguments: str,
    stdin: bytes = b"",
    passphrase: Secret | None = None,
    timeout_seconds: float = 30.0,
    faked_time: int | None = None,
    interactive: bool = False,
    output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
) -> Outcome:
    """Run gpg once in ``home`` and wait for its end, whatever its exit code.

    ``passphrase`` goes over a pipe of its own; with ``interactive`` the agent's pinentry asks instead; with neither, a
    key whose passphrase the agent does not remember fails. ``faked_time`` (Unix seconds) freezes gpg's clock.
    Raises EngineError if gpg is missing, takes longer than ``timeout_seconds`` or says more than the limits.
    """
    if passphrase is not None and interactive:
        raise ValueError("Either the passphrase is given or pinentry asks for it.")
    home.ensure_sockets()
    command = ["gpg", "--homedir", str(home.path), "--batch", "--no-tty", "--yes"]
    if faked_time is not None:
        command += ["--faked-system-time", f"{faked_time}!"]
    status_out, status_in = os.pipe()
    inherited = [status_in]
    try:
        command += ["--status-fd", str(status_in)]
        if passphrase is not None:
            inherited.append(_filled_pipe(passphrase))
            command += ["--pinentry-mode", "loopback", "--passphrase-fd", str(inherited[-1])]
        elif not interactive:
            command += ["--pinentry-mode", "error"]
        process = _start([*command, *arguments], inherited, stderr=subprocess.PIPE, interactive=interactive)
    except BaseException:
        os.close(status_out)
        raise
    finally:
        for descriptor in inherited:
            os.close(descriptor)
    return _converse(process, status_out, stdin, timeout_seconds, output_limit_bytes)


def start(home: "Home", *arguments: str, folder: Path | None = None, file_limit_bytes: int | None = None) -> RunningGpg:
    """Start a gpg that stays: not ``--batch``, nobody is asked anything, standard output and log are thrown away.

    ``folder`` is where it works. ``file_limit_bytes`` is the largest file that it may write, where the system can set
    that for another process.
    Raises EngineError if gpg is missing.
    """
    home.ensure_sockets()
    status_out, status_in = os.pipe()
    command = ["gpg", "--homedir", str(home.path), "--no-tty", "--yes", "--pinentry-mode", "error"]
    command += ["--status-fd", str(status_in), *arguments]
    try:
        process = _start(command, [status_in], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, folder=folder)
    except BaseException:
        os.close(status_out)
        raise
    finally:
        os.close(status_in)
    if file_limit_bytes is not None and sys.platform == "linux":
        # Not preexec_fn, which is unsafe among threads; gpg has been told no file name yet, so this is in time.
        import resource

        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_limit_bytes, file_limit_bytes))
    return RunningGpg(process, _pipe(process.stdin), status_out)


def run_tool(home: "Home", tool: str, *arguments: str, timeout_seconds: float = 30.0) -> Outcome:
    """Run gpgconf, or another of GnuPG's programs, once for ``home``; its answer is in ``output``, there is no status.

    Raises EngineError as :func:`run` does.
    """
    home.ensure_sockets()
    process = _start([tool, "--homedir", str(home.path), *arguments], [], stderr=subprocess.PIPE)
    return _converse(process, None, b"", timeout_seconds, OUTPUT_LIMIT_BYTES)


def agent_socket(home: "Home") -> Path:
    """Where gpg-agent listens for ``home``: the socket, or the Assuan redirect file that stands for it."""
    answer = run_tool(home, "gpgconf", "--list-dirs", "agent-socket")
    named = answer.output.removesuffix(b"\n")
    if answer.exit_code != 0 or not named.startswith(b"/"):
        raise EngineError(f"gpgconf does not say where gpg-agent of {home.path} listens; run: gpgconf --list-dirs")
    return Path(os.fsdecode(named))


def version_text() -> str:
    """The first line of ``gpg --version``. Raises EngineError if gpg is missing or hangs."""
    process = _start(["gpg", "--version"], [], stderr=subprocess.PIPE)
    return _converse(process, None, b"", 30.0, OUTPUT_LIMIT_BYTES).output.decode("utf-8", "replace").partition("\n")[0]


def _start(
    command: Sequence[str],
    inherited: Sequence[int],
    *,
    stdout: int = subprocess.PIPE,
    stderr: int,
    interactive: bool = False,
    folder: Path | None = None,
) -> "subprocess.Popen[bytes]":
    if any("\0" in part or "\n" in part for part in command):
        # gpg would read a second option or a second parameter into it.
        raise EngineError("An argument for GnuPG contains a line break; nothing was started. Give a name without one.")
    _LOG.debug("gpg-started")
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            pass_fds=inherited,
            env=_environment(interactive),
            cwd=folder,
            start_new_session=True,  # so that a time-out kills the whole group, and Ctrl-C is ours to handle
            umask=0o077,
        )
    except FileNotFoundError:
        raise EngineError(
            f"The program {command[0]} is not on the PATH; install GnuPG 2.2.40 or later (Debian: apt install gnupg)."
        ) from None
    except OSError as error:
        raise EngineError(f"The program {command[0]} could not be started: {error.strerror}.") from None


def _environment(interactive: bool) -> Mapping[str, str]:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["LC_ALL"] = "C.UTF-8"
    if interactive and "GPG_TTY" not in environment:
        for stream in (0, 1, 2):
            if os.isatty(stream):
                environment["GPG_TTY"] = os.ttyname(stream)
                break
    return environment


def _filled_pipe(passphrase: Secret) -> int:
    """The reading end of a pipe that holds one line; a pipe's buffer takes it without a reader."""
    line = passphrase.reveal()
    if len(line) > PASSPHRASE_LIMIT_BYTES or b"\n" in line or b"\0" in line:
        raise PassphraseError(
            f"A passphrase has at most {PASSPHRASE_LIMIT_BYTES} bytes and is a single line; choose another one."
        )
    reader, writer = os.pipe()
    try:
        os.write(writer, line + b"\n")
    finally:
        os.close(writer)
    return reader


def _converse(
    process: "subprocess.Popen[bytes]",
    status: int | None,
    stdin: bytes,
    timeout_seconds: float,
    output_limit_bytes: int,
) -> Outcome:
    """Write and read all pipes at once, so that neither side waits for the other, until all are at their end."""
    to_stdin, from_stdout, from_stderr = _pipe(process.stdin), _pipe(process.stdout), _pipe(process.stderr)
    output, log, lines = bytearray(), bytearray(), bytearray()
    deadline = time.monotonic() + timeout_seconds
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(from_stdout, selectors.EVENT_READ, (output, output_limit_bytes))
            selector.register(from_stderr, selectors.EVENT_READ, (log, LOG_LIMIT_BYTES))
            if status is not None:
                selector.register(status, selectors.EVENT_READ, (lines, STATUS_LIMIT_BYTES))
            waiting = memoryview(stdin)
            if waiting:
                os.set_blocking(to_stdin.fileno(), False)
                selector.register(to_stdin, selectors.EVENT_WRITE)
            else:
                to_stdin.close()
            while selector.get_map():
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events and time.monotonic() >= deadline:
                    raise EngineError(_late(process, timeout_seconds))
                for key, _ in events:
                    if key.data is None:
                        waiting = _write_some(key.fd, waiting)
                        if not waiting:
                            selector.unregister(to_stdin)
                            to_stdin.close()
                        continue
                    read, limit_bytes = key.data
                    piece = os.read(key.fd, _PIECE_BYTES)
                    if not piece:
                        selector.unregister(key.fileobj)
                    elif len(read) + len(piece) > limit_bytes:
                        raise (OutputTooLong if read is output else EngineError)(
                            f"GnuPG said more than {limit_bytes} bytes; it was stopped and nothing was used."
                        )
                    else:
                        read += piece
        try:
            exit_code = process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise EngineError(_late(process, timeout_seconds)) from None
    finally:
        _kill(process)
        if status is not None:
            os.close(status)
        for stream in (to_stdin, from_stdout, from_stderr):
            with suppress(OSError):
                stream.close()
    return Outcome(bytes(lines), bytes(output), log.decode("utf-8", "replace"), exit_code)


def _write_some(descriptor: int, waiting: memoryview) -> memoryview:
    try:
        return waiting[os.write(descriptor, waiting[:_PIECE_BYTES]) :]
    except BlockingIOError:
        return waiting
    except BrokenPipeError:  # gpg had read enough; its verdict says whether that was right
        return waiting[:0]


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise TypeError("The process was started without this pipe.")
    return stream


def _late(process: "subprocess.Popen[bytes]", timeout_seconds: float) -> str:
    name = str(process.args[0]) if isinstance(process.args, list) else "gpg"
    return (
        f"{name} gave no answer within {timeout_seconds:g} seconds and was stopped; try again on a less busy machine."
    )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of the process's group; only before it is reaped is the group's number surely ours."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
