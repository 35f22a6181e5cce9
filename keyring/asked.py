"""A group of messages that a long-lived gpg works on, until each has its verdict or the group is given up."""

import os
import select
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from keyring import process
from keyring.opened import Opened
from keyring.verdict import Accepted, Expectation, Rejected, judge

STATUS_LIMIT_BYTES: Final = 256 * 1024
CLOCKS_APART_SECONDS: Final = 300  # how far a signer's clock may be ahead of ours

_PIECE_BYTES: Final = 8 * 1024
_DONE: Final = b"\n[GNUPG:] FILE_DONE\n"
_NO_OUTPUT: Final = Rejected("output", "GnuPG accepted the message but saved no content.")


class Lost(Exception):
    """The process can no longer be relied on; the text completes "GnuPG did not answer as it should (...)"."""


class Ended(Lost):
    """The process has closed its status."""


class TooLong(Lost):
    """The process was ended by the limit on its output."""


class Asked:
    """Messages handed to a gpg, which does nothing else until :meth:`end`.

    Who waits in a loop of its own calls :meth:`begin`, :meth:`hear` whenever ``descriptor`` can be read, until it
    :attr:`is_over`, then :meth:`answers`, and :meth:`end` whatever happens; of these, only the last may have to wait.
    A thread that waits itself calls :meth:`give`, :meth:`wait`, :meth:`judged` and :meth:`remove`.
    """

    def __init__(
        self,
        gpg: process.RunningGpg,
        folder: Path,
        names: Sequence[str],
        expected: Expectation,
        *,
        clock: Callable[[], float],
        timeout_seconds: float,
        ended: "Callable[[Asked, bool], None]",
    ) -> None:
        """``ended`` is told by :meth:`end`, once, whether the gpg can be relied on still."""
        self.descriptor: Final = gpg.status
        self.timeout_seconds: Final = timeout_seconds
        self._gpg = gpg
        self._folder = folder
        self._names = names
        self._expected = expected
        self._clock = clock
        self._ended: Callable[[Asked, bool], None] | None = ended
        self._read = bytearray()
        self._lost = False

    def begin(self, messages: Sequence[bytes]) -> None:
        """Hand gpg the messages; where that fails it :attr:`is_over` at once, without an answer."""
        try:
            self.give(messages)
        except Exception:  # noqa: BLE001 - whatever it was: who asked must still come to end()
            self._lost = True

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self._lost or self._is_whole()

    def hear(self) -> None:
        """Take in what gpg says now."""
        try:
            self._hear()
        except (Lost, OSError):
            self._lost = True

    def answers(self) -> list[Opened | Rejected] | None:
        """What gpg said of each message, None if that cannot be relied on (or was not waited for): ask anew."""
        if self.is_reliable:
            try:
                return self.judged()
            except (Lost, OSError):
                pass
        self._lost = True
        return None

    @property
    def is_reliable(self) -> bool:
        """Whether gpg has answered, and as it should."""
        return not self._lost and self._is_whole()

    def end(self) -> None:
        """Leave gpg to others; unless it :attr:`is_reliable`, it is killed and waited for. Harmless if repeated."""
        ended, self._ended = self._ended, None
        if ended:
            ended(self, self.is_reliable)

    def give(self, messages: Sequence[bytes]) -> None:
        """Hand gpg the messages. Raises Lost or OSError; gpg may have been told of some of them then."""
        for name, message in zip(self._names, messages, strict=True):
            if os.path.lexists(f"{self._folder}/{name}"):
                raise Lost("its output is in the way")
            _write_new(f"{self._folder}/{name}.gpg", message)
        self._gpg.names.write("".join(f"{name}.gpg\n" for name in self._names).encode())
        self._gpg.names.flush()

    def wait(self) -> None:
        """Until gpg has said all. Raises what tells that it cannot be relied on."""
        deadline = time.monotonic() + self.timeout_seconds
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        while True:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise Lost(f"no verdict within {self.timeout_seconds:g} seconds")
            try:
                if self._hear():
                    return
            except Ended:
                if self._gpg.wrote_too_much():  # waits for the end itself
                    raise TooLong from None
                raise

    def judged(self) -> list[Opened | Rejected]:
        """What gpg said, once it has said all; raises likewise."""
        now = self._clock()
        return [self._judged(name, status, now) for name, status in zip(self._names, self._statuses(), strict=True)]

    def remove(self) -> None:
        """Nothing of the messages is left behind; gpg must be done with them, or ended."""
        for name in self._names:
            for path in (f"{self._folder}/{name}.gpg", f"{self._folder}/{name}"):
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 - for every message, where Path costs several times as much

    def _judged(self, name: str, status: bytes, now: float) -> Opened | Rejected:
        verdict = timely(judge(status, self._expected), now)
        if isinstance(verdict, Rejected):
            return verdict
        content = _read_result(f"{self._folder}/{name}")
        return Opened(content, verdict) if content is not None else _NO_OUTPUT

    def _hear(self) -> bool:
        piece = os.read(self.descriptor, _PIECE_BYTES)
        if not piece:
            raise Ended("it ended before the verdict")
        self._read += piece
        if len(self._read) > STATUS_LIMIT_BYTES:
            raise Lost(f"a verdict of more than {STATUS_LIMIT_BYTES} bytes")
        return self._is_whole()

    def _is_whole(self) -> bool:
        """gpg is silent after the last message, and works on them in their order."""
        return self._read.endswith(_DONE) and self._read.count(_DONE) >= len(self._names)

    def _statuses(self) -> list[bytes]:
        """For each message the status lines between FILE_START, which must name it, and FILE_DONE."""
        *statuses, _ = bytes(self._read).split(_DONE)
        if len(statuses) != len(self._names):
            raise Lost("more verdicts than messages")
        answers = []
        for name, status in zip(self._names, statuses, strict=True):
            start = f"[GNUPG:] FILE_START 3 {name}.gpg\n".encode()
            if not status.startswith(start):
                raise Lost("a verdict on another message")
            answers.append(status[len(start) :] + b"\n")
        return answers


def timely(verdict: Accepted | Rejected, now: float) -> Accepted | Rejected:
    """gpg calls a signature from the future good (tried with 2.2.40), so that a clock set ahead could outlive a key."""
    if isinstance(verdict, Accepted) and verdict.created > now + CLOCKS_APART_SECONDS:
        return Rejected("signature-not-early", "The signature is dated in the future; set the signer's clock right.")
    return verdict


def _write_new(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        file.write(content)


def _read_result(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.readall()
