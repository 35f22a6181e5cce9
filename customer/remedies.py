"""What to do about a database that cannot be used depends on why, and a full disk is only one of the reasons."""

import errno
import sqlite3
from pathlib import Path
from typing import Final

_NOT_OURS: Final = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


def remedy_for(error: Exception, folder: Path) -> str:
    """What to do about an error of the file or of SQLite (whose primary result code is the lowest byte)."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or code in _NOT_OURS:
        return f"you may not write to {folder}: see to its owner and mode, or name another folder with --home."
    if number in (errno.ENOSPC, errno.EDQUOT) or code == sqlite3.SQLITE_FULL:
        return "the disk is full: make room, then repeat the command."
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "the file is damaged: put a copy of it back, or begin again with a new --home."
    return "see to the disk and the file, then repeat the command."
