"""Readers of files get a folder in memory that one process has for itself and that goes when it ends."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from keyring.home import Home

MEMORY: Final = Path("/dev/shm")
T = TypeVar("T")


class _Folder:
    """The folder itself; it is removed when the process ends."""

    def __init__(self) -> None:
        # The runner gives one that it removes itself: libFuzzer ends its process without any farewell.
        root = None if "TMPDIR" in os.environ or not MEMORY.is_dir() else MEMORY
        self.path = Path(tempfile.mkdtemp(prefix="cs-fuzz-", dir=root))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@cache
def _folder() -> _Folder:
    return _Folder()


def scratch() -> Path:
    """The folder."""
    return _folder().path


@cache
def empty_home() -> Home:
    """A home without keys, for readers that are given one."""
    return Home.create(scratch() / "home", own_keys=False)


def with_file(name: str, data: bytes, read: Callable[[Path], T]) -> T:
    """What ``read`` gives for a file with these bytes."""
    path = scratch() / name
    path.write_bytes(data)
    path.chmod(0o600)
    return read(path)
