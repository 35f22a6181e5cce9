"""A folder in which an init was interrupted is begun anew; one with anything else in it is left as it is."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from keyring.home import Home

MARK: Final = "init.unfinished"
"""A file that stands in the folder from the beginning of an init to its end."""
PATIENCE_SECONDS: Final = 5.0
"""How long a gpg without its agent may take to end."""


def is_free(folder: Path) -> bool:
    """Whether an init may begin in ``folder``: it is missing, empty, or holds one that was interrupted."""
    return not folder.is_dir() or not any(folder.iterdir()) or (folder / MARK).exists()


def begin(folder: Path, made: Sequence[str]) -> None:
    """Make the folder, closed to others, and remove what an interrupted init left: GnuPG homes and files by name.

    Files whose names only begin so go, too: SQLite's. Nothing in them was ever acknowledged. Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / MARK).touch(mode=0o600)
    for name in made:
        if (folder / name).is_dir():
            Home(folder / name).stop()  # a gpg of the interrupted init may still be at work
            _remove(folder / name)
        for each in folder.glob(name + "*"):
            each.unlink()


def _remove(home: Path) -> None:
    """Remove it, also while a gpg whose agent was just ended clears up there: what it removes first is gone as well."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while home.exists():
        try:
            shutil.rmtree(home)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def finish(folder: Path) -> None:
    """The init has done all: the folder is never begun anew from now on."""
    (folder / MARK).unlink(missing_ok=True)
