"""One long-lived gpg opens many messages, and none of its plaintext is looked at before its verdict accepts.

``gpg --multifile --decrypt`` reads file names, one a line, and puts the plaintext beside the file, without ``.gpg``,
before anyone knows whether the signature is good. It runs without ``--batch``, which would end it at the first bad
signature. Every doubt about the process itself (time-out, end of file, an answer out of step) rejects and replaces it.
"""

import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from keyring import packets, process
from keyring.asked import Asked, Lost, TooLong, timely
from keyring.errors import EngineError, OutputTooLong, PacketError
from keyring.home import Home
from keyring.opened import Opened
from keyring.verdict import Accepted, Expectation, Rejected, Sealed, SignedByBank, SignedByCustomer, judge
from protocol.secret import Secret

MESSAGE_LIMIT_BYTES: Final = 1024 * 1024  # of a message and of its content; ours are never compressed
ONCE_TIMEOUT_SECONDS: Final = 10.0

GROUP: Final = 16
"""Messages handed to gpg at once; their status lines fit into the pipe, so that gpg never waits for a reader."""

_TMPFS: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder in it
_WATCHED: Final = ("pubring.kbx", "trustdb.gpg")


class Worker:
    """One gpg for one home; any thread may call it, and the messages of one call at a time are in flight."""

    def __init__(
        self,
        home: Home,
        *,
        timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        scratch: Path | None = None,
    ) -> None:
        """``scratch`` is a private folder for messages that the caller clears; without it one is made in memory."""
        self._home = home
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._gpg: process.RunningGpg | None = None
        self._seen: tuple[object, ...] = ()
        self._made = 0
        self._closed = False
        self._folder = _private_folder(scratch)
        # Also when nobody closes the worker: the folder goes with it, and gpg ends when its standard input does.
        self._removal = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def home(self) -> Home:
        return self._home

    @property
    def alive(self) -> bool:
        """Whether the process runs; it is started by the first message and again by the first after its end."""
        gpg = self._gpg
        return gpg is not None and gpg.process.poll() is None

    def open(self, message: bytes, expected: Expectation) -> Opened | Rejected:
        """Open one binary OpenPGP message of at most 1 MiB as ``expected``, within the time limit or not at all.

        A signature dated more than 5 minutes ahead of ``clock`` (Unix seconds) is rejected.

        A worker that was closed meanwhile (evicted by another thread) answers by a process of its own for the message.
        """
        unfit = _unfit(message, expected)
        if unfit is not None:
            return unfit
        found = self._opened(message, expected)
        if isinstance(found, Rejected) and found.rule == "opened-by-key":
            # gpg says the same where its agent was ended. It keeps its connection to that one for ever, and a new gpg
            # starts another.
            with self._lock:
                self._stop()
            found = self._opened(message, expected)
        return found

    def open_all(self, messages: Sequence[bytes], expected: Expectation) -> list[Opened | Rejected]:
        """Open several messages, each as :meth:`open` does, and answer in their order.

        They are handed to gpg in groups, which saves gpg and caller the waiting for each other. A group that gpg does
        not answer as it should is asked again one by one, so that no message decides over another.
        """
        answers: list[Opened | Rejected | None] = [_unfit(message, expected) for message in messages]
        fit = [place for place, unfit in enumerate(answers) if unfit is None]
        for start in range(0, len(fit), GROUP):
            places = fit[start : start + GROUP]
            for place, answer in zip(places, self._group([messages[place] for place in places], expected), strict=True):
                answers[place] = answer
        return [answer for answer in answers if answer is not None]

    def _group(self, messages: Sequence[bytes], expected: Expectation) -> list[Opened | Rejected]:
        if len(messages) > 1:
            with self._lock, suppress(Lost, EngineError, OSError):
                if not self._closed:
                    return self._ask(messages, expected)
        return [self._opened(message, expected) for message in messages]

    def _opened(self, message: bytes, expected: Expectation) -> Opened | Rejected:
        with self._lock:
            if not self._closed:
                try:
                    return self._ask([message], expected)[0]
                except TooLong:
                    return _TOO_LONG
                except (Lost, EngineError, OSError) as error:
                    return Rejected("engine", f"GnuPG did not answer as it should ({error}); try again.")
        return open_once(self._home, message, expected, clock=self._clock)

    def close(self) -> None:
        """Wait for the message in flight (at most its time limit), end the process, remove the folder."""
        with self._lock:
            self._closed = True
            self._stop()
            self._removal()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, messages: Sequence[bytes], expected: Expectation) -> Asked | None:
        """Hand gpg a group of messages and do not wait for it; it is for who asked to end what was asked.

        None, at once, where waiting is needed first (for another thread's messages, for a process to start) or where
        a message is unfit: then :meth:`open_all` is the way to an answer.
        """
        if not 0 < len(messages) <= GROUP or any(_unfit(message, expected) for message in messages):
            return None
        if not self._lock.acquire(blocking=False):
            return None
        asked = None
        try:
            if not self._closed and self._gpg is not None and self._is_ready():
                asked = self._asked(self._gpg, len(messages), expected)
        except OSError:  # its home is being removed
            pass
        finally:
            if asked is None:
                self._lock.release()
        if asked is not None:
            asked.begin(messages)
        return asked

    def _ask(self, messages: Sequence[bytes], expected: Expectation) -> list[Opened | Rejected]:
        asked = self._asked(self._running(), len(messages), expected)
        try:
            asked.give(messages)
            asked.wait()
            return asked.judged()
        except BaseException:
            # First the process, then its files, which it could still write. Also for an interrupt: the next message
            # must not read the answer to this one.
            self._stop()
            raise
        finally:
            asked.remove()

    def _asked(self, gpg: process.RunningGpg, count: int, expected: Expectation) -> Asked:
        names = [str(self._made + place) for place in range(1, count + 1)]
        self._made += count
        return Asked(
            gpg,
            self._folder,
            names,
            expected,
            clock=self._clock,
            timeout_seconds=self._timeout_seconds,
            ended=self._ended,
        )

    def _ended(self, asked: Asked, reliable: bool) -> None:
        """What :meth:`ask` handed out has ended."""
        try:
            if not reliable:
                self._stop()
        finally:
            # First the process, which could still write, then its files, then the next messages.
            asked.remove()
            self._lock.release()

    def _running(self) -> process.RunningGpg:
        """The process, replaced if it died or if its home is not what it was: gpg keeps old keys in its caches."""
        if self._gpg is None or not self._is_ready():
            self._stop()
            self._seen = _stamps(self._home)
            self._gpg = process.start(
                self._home,
                "--multifile",
                "--decrypt",
                folder=self._folder,
                file_limit_bytes=MESSAGE_LIMIT_BYTES,
            )
        return self._gpg

    def _is_ready(self) -> bool:
        """Whether the process runs, and for the home as it is now."""
        return self.alive and _stamps(self._home) == self._seen

    def _stop(self) -> None:
        if self._gpg is not None:
            self._gpg.stop()
            self._gpg = None


def open_once(
    home: Home,
    message: bytes,
    expected: Expectation,
    *,
    passphrase: Secret | None = None,
    timeout_seconds: float = ONCE_TIMEOUT_SECONDS,
    faked_time: int | None = None,
    clock: Callable[[], float] = time.time,
) -> Opened | Rejected:
    """Open one message as :meth:`Worker.open` does, by a process for it alone: for clients and rare work.

    ``passphrase`` opens a message under a password; ``faked_time`` (Unix seconds) judges as of then.
    """
    unfit = _unfit(message, expected)
    if unfit is not None:
        return unfit
    try:
        outcome = process.run(
            home,
            "--decrypt",
            stdin=message,
            passphrase=passphrase,
            timeout_seconds=timeout_seconds,
            faked_time=faked_time,
            output_limit_bytes=MESSAGE_LIMIT_BYTES,
        )
    except OutputTooLong:
        return _TOO_LONG
    except EngineError as error:
        return Rejected("engine", str(error))
    verdict = timely(judge(outcome.status, expected), clock() if faked_time is None else faked_time)
    return Opened(outcome.output, verdict) if isinstance(verdict, Accepted) else verdict


_TOO_LONG: Final = Rejected("content-size", f"The content has more than {MESSAGE_LIMIT_BYTES} bytes.")


def _unfit(message: bytes, expected: Expectation) -> Rejected | None:
    """What can be refused without gpg: a message that is too long or not built as its kind must be."""
    if len(message) > MESSAGE_LIMIT_BYTES:
        return Rejected("size", f"The message has more than {MESSAGE_LIMIT_BYTES} bytes.")
    try:
        if isinstance(expected, SignedByCustomer | SignedByBank):
            packets.require_signed_message(message)
        elif isinstance(expected, Sealed):
            packets.require_sealed_message(message)
        else:
            packets.require_password_message(message)
    except PacketError as error:
        return Rejected(error.rule, str(error))
    return None


def _private_folder(scratch: Path | None) -> Path:
    """A folder of mode 0700, in memory where there is such a place: decrypted content should not reach a disk."""
    root = scratch or (_TMPFS if _TMPFS.is_dir() and os.access(_TMPFS, os.W_OK | os.X_OK) else None)
    return Path(tempfile.mkdtemp(prefix="countersign-", dir=root))


def _stamps(home: Home) -> tuple[object, ...]:
    """What changes when the home is replaced or anything is imported into it."""
    stamps: list[object] = [_inode(home.path.stat())]
    for name in _WATCHED:
        try:
            found = os.stat(f"{home.path}/{name}")  # noqa: PTH116 - likewise
        except FileNotFoundError:
            stamps.append(None)
        else:
            stamps.append((_inode(found), found.st_mtime_ns, found.st_size))
    return tuple(stamps)


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
