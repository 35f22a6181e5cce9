"""Every change that this process makes to the files of a bank passes a watcher, who may note it and may let it fail.

SQLite's are met in its own layer for files: the table of calls that its default VFS gives each file it opens, in the
very library that the module sqlite3 uses, is copied and the calls that change something are replaced. (The calls that
Python makes for the head outside the database are os.fsync and os.replace.) Nothing needs a compiler, and nothing of
the bank knows about it.
"""

import _sqlite3
import ctypes
import errno
import os
import threading
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, cast
from pathlib import Path
from typing import Any, Final, Protocol

_MAIN_DB, _MAIN_JOURNAL, _WAL = 0x100, 0x800, 0x80000
_WATCHED: Final = _MAIN_DB | _MAIN_JOURNAL | _WAL


class Watcher(Protocol):
    """Is told of each change before it is made (of a synchronisation: before and after); an OSError lets it fail."""

    def write(self, path: str, offset: int, data: bytes) -> None:
        """Bytes are about to be written."""

    def truncate(self, path: str, size: int) -> None:
        """A file is about to be cut."""

    def delete(self, path: str) -> None:
        """A file is about to be deleted."""

    def replace(self, source: str, target: str) -> None:
        """A file is about to take another's place."""

    def sync(self, path: str, content: bytes | None) -> Callable[[], None]:
        """A file is about to be synchronised, or a folder; what is returned is called when it was.

        ``content``: all of it, where the single writes were not shown.
        """


_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class _Methods(Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", _Write),
        ("truncate", _Truncate),
        ("sync", _Sync),
        ("others", c_void_p * 13),
    )


class _File(Structure):
    _fields_ = (("methods", POINTER(_Methods)),)


_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(_File), c_int, POINTER(c_int))
_Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)


class _Vfs(Structure):
    """sqlite3_vfs, as far as it is needed."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("name_limit", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _Open),
        ("delete", _Delete),
    )


_FAILED: Final = {"write": 10 | 3 << 8, "sync": 10 | 4 << 8, "truncate": 10 | 6 << 8, "delete": 10 | 10 << 8}
"""The kinds of SQLITE_IOERR."""
_FULL, _READONLY = 13, 8


def watch(folder: Path, watcher: Watcher) -> None:
    """From now on, to the end of this process; ``folder`` is where Python's own calls are watched."""
    _Sqlite(watcher)
    _watch_python(folder.resolve(), watcher)


class _Sqlite:
    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._paths: dict[int, str] = {}
        self._copies: dict[int, _Methods] = {}
        self._lock = threading.Lock()
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        vfs = library.sqlite3_vfs_find(None).contents
        self._open, self._delete = _Open(_address(vfs.open)), _Delete(_address(vfs.delete))
        # Referred to as long as the process lives, for the library keeps only their addresses.
        _KEPT.extend((self, opened := _Open(self.opened), deleted := _Delete(self.deleted)))
        vfs.open, vfs.delete = opened, deleted

    def opened(self, vfs: int, name: int | None, file: Any, flags: int, given: Any) -> int:
        # The name is handed on as the address that it came as: SQLite's layer goes on reading it there.
        code = int(self._open(vfs, name, file, flags, given))
        if code == 0 and name is not None and flags & _WATCHED:
            with self._lock:
                self._paths[ctypes.addressof(file.contents)] = os.fsdecode(ctypes.string_at(name))
                original = ctypes.addressof(file.contents.methods.contents)
                if original not in self._copies:
                    self._copies[original] = self._copy(file.contents.methods.contents)
                file.contents.methods = ctypes.pointer(self._copies[original])
        return code

    def deleted(self, vfs: int, name: bytes, sync: int) -> int:
        failed = self._unless("delete", lambda: self._watcher.delete(os.fsdecode(name)))
        return failed or int(self._delete(vfs, name, sync))

    def _copy(self, original: _Methods) -> _Methods:
        copy = _Methods.from_buffer_copy(original)
        write_really = _Write(_address(original.write))
        truncate_really, sync_really = _Truncate(_address(original.truncate)), _Sync(_address(original.sync))

        def write(file: int, data: int, size: int, offset: int) -> int:
            failed = self._unless(
                "write", lambda: self._watcher.write(self._paths[file], offset, ctypes.string_at(data, size))
            )
            return failed or int(write_really(file, data, size, offset))

        def truncate(file: int, size: int) -> int:
            failed = self._unless("truncate", lambda: self._watcher.truncate(self._paths[file], size))
            return failed or int(truncate_really(file, size))

        def sync(file: int, flags: int) -> int:
            done: list[Callable[[], None]] = []
            failed = self._unless("sync", lambda: done.append(self._watcher.sync(self._paths[file], None)))
            code = failed or int(sync_really(file, flags))
            if code == 0:
                done[0]()
            return code

        calls = copy.write, copy.truncate, copy.sync = _Write(write), _Truncate(truncate), _Sync(sync)
        _KEPT.extend(calls)
        return copy

    def _unless(self, kind: str, tell: Callable[[], object]) -> int:
        try:
            tell()
        except OSError as error:
            # As SQLite's own layer says it: of writes alone it tells why.
            if kind == "write" and error.errno in (errno.ENOSPC, errno.EROFS):
                return _FULL if error.errno == errno.ENOSPC else _READONLY
            return _FAILED[kind]
        return 0


_KEPT: Final[list[object]] = []


def _address(function: Any) -> int:
    return int(cast(function, c_void_p).value or 0)


def _watch_python(folder: Path, watcher: Watcher) -> None:
    fsync, replace, opened = os.fsync, os.replace, Path.open

    def watched_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not path.is_relative_to(folder):
            return fsync(descriptor)
        done = watcher.sync(str(path), None if path.is_dir() else path.read_bytes())
        fsync(descriptor)
        return done()

    def watched_replace(source: Any, target: Any, **more: Any) -> None:
        if Path(target).resolve().is_relative_to(folder):
            watcher.replace(str(Path(source).resolve()), str(Path(target).resolve()))
        replace(source, target, **more)

    def watched_open(self: Path, mode: str = "r", *words: Any, **more: Any) -> Any:
        if "w" in mode and self.resolve().is_relative_to(folder):
            watcher.write(str(self.resolve()), 0, b"")
        return opened(self, mode, *words, **more)

    os.fsync, os.replace, Path.open = watched_fsync, watched_replace, watched_open  # type: ignore[assignment,method-assign]
