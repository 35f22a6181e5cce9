"""The bank's folder says when the last backup was made and where; that it is still there, nobody knows from this."""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bank.ceremony import replace_file
from protocol.orders import Time

FILE_NAME: Final = "newest-backup.json"


class NewestBackup(Struct, frozen=True):
    """When a backup was made, in which folder, and how many entries of the log it holds."""

    created: Time
    entries: int
    folder: str


def remember(home: Path, made: NewestBackup) -> None:
    """This backup is the newest."""
    replace_file(home / FILE_NAME, msgspec.json.encode(made) + b"\n")


def newest(home: Path) -> NewestBackup | None:
    """The newest backup that was made from this folder, None if none is known."""
    try:
        return msgspec.json.decode((home / FILE_NAME).read_bytes(), type=NewestBackup)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # nothing rests on it; the next backup writes it anew
