"""What the machine says of itself is asked here, and an answer that it does not give is None, never a guess."""

import ctypes
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bank.errors import BankError
from keyring.home import gnupg_version

_TIMEX_BYTES: Final = 1024
"""More than any system's struct timex, whose first field of zeros asks and sets nothing (adjtimex(2))."""
_TIME_ERROR: Final = 5
_MOUNTS: Final = Path("/proc/self/mountinfo")
_MEMORY_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
_SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")


@dataclass(frozen=True)
class Machine:
    """The one that we run on; tests hand in others."""

    mounts: Path = _MOUNTS
    memory_limit: Path = _MEMORY_LIMIT
    synchronised: Path = _SYNCHRONISED
    adjust: Callable[[], int] | None = None

    def gnupg(self) -> tuple[int, int, int]:
        """GnuPG's version. Raises HomeError if it is missing."""
        return gnupg_version()

    def clock_is_kept(self) -> bool | None:
        """Whether some program keeps the clock right, as the kernel knows it from that program.

        Where the kernel may not be asked, as in a unit with ProtectClock=yes, systemd-timesyncd's mark says yes or
        nothing.
        """
        try:
            state = (self.adjust or _adjtimex)()
        except (OSError, AttributeError, ValueError):  # no such call here
            state = -1
        if state < 0:
            return True if self.synchronised.exists() else None
        return state != _TIME_ERROR

    def free_bytes(self, folder: Path) -> int:
        """Room on the disk of a folder that we may use."""
        return shutil.disk_usage(folder).free

    def file_system(self, folder: Path) -> tuple[str, frozenset[str]] | None:
        """Kind and options of the file system that a folder lies in."""
        try:
            lines = self.mounts.read_text(errors="surrogateescape").splitlines()
        except OSError:
            return None
        path, found = str(folder.resolve()), None
        length = -1
        for line in lines:
            before, _, after = line.partition(" - ")
            place = before.split()[4].encode().decode("unicode_escape")  # a space is written \040
            if len(place) >= length and Path(path).is_relative_to(place):
                kind, _, options = after.split()[:3]
                found, length = (kind, frozenset(f"{before.split()[5]},{options}".split(","))), len(place)
        return found

    def sync_seconds(self, folder: Path) -> float:
        """How long it takes to make a few bytes durable in a folder. Raises BankError where that fails."""
        path = folder / f".doctor-{os.getpid()}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, b"x")
                begun = time.monotonic()
                os.fsync(descriptor)
                return time.monotonic() - begun
            finally:
                os.close(descriptor)
                path.unlink()
        except OSError as error:
            raise BankError(f"Nothing can be made durable in {folder}: {error.strerror}.") from None

    def open_files(self) -> int | None:
        """The hard limit on open files of a process, None if there is none."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return None if hard == resource.RLIM_INFINITY else hard

    def memory_bytes(self) -> int | None:
        """Memory of the machine, or as much of it as this process's group may use."""
        with suppress(ValueError, OSError):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            with suppress(ValueError, OSError):  # "max", or no such file
                return min(total, int(self.memory_limit.read_text()))
            return total
        return None


def _adjtimex() -> int:
    """The kernel's state of the clock; -1 where it does not say."""
    if sys.platform != "linux":
        return -1
    return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
