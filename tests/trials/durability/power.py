"""When the power fails, what was synchronised is there; of everything later any part may be there, and any part not."""

import os
import pickle
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all."""

Kept = Literal["nothing", "everything", "some", "torn"]
KEPT: Final[tuple[Kept, ...]] = ("nothing", "everything", "some", "torn")
"""Of what was not synchronised: which writes reached the disk. ``torn``: some sectors of each."""


class Record(NamedTuple):
    """One change: ``kind`` is write, truncate, delete, replace, sync or told; the others as the kind has them.

    ``at``: offset or size; of a sync, the number of records when it began. ``data``: bytes written; of a sync, the
    whole content where single writes are not known. ``other``: the file that takes another's place.
    """

    kind: str
    path: str
    at: int = 0
    data: bytes | None = None
    other: str = ""


class Recorder:
    """Notes every change in the order in which it was asked for, in a file that a kill leaves whole."""

    def __init__(self, trace: Path) -> None:
        self._file = trace.open("wb", buffering=0)
        self._lock = threading.Lock()
        self._count = 0

    def write(self, path: str, offset: int, data: bytes) -> None:
        if data:
            self._note(Record("write", path, offset, data))

    def truncate(self, path: str, size: int) -> None:
        self._note(Record("truncate", path, size))

    def delete(self, path: str) -> None:
        self._note(Record("delete", path))

    def replace(self, source: str, target: str) -> None:
        self._note(Record("replace", target, other=source))

    def sync(self, path: str, content: bytes | None) -> Callable[[], None]:
        with self._lock:
            begun = self._count
        return lambda: self._note(Record("sync", path, begun, content))

    def told(self, name: str, leaf: int, entry: bytes) -> None:
        """A receipt is about to be sent."""
        self._note(Record("told", name, leaf, entry))

    def _note(self, record: Record) -> None:
        with self._lock:
            self._count += 1
            self._file.write(pickle.dumps(tuple(record)))


def read_trace(trace: Path) -> list[Record]:
    """What was noted."""
    records = []
    with trace.open("rb") as file:
        while file.peek(1):
            records.append(Record(*pickle.load(file)))  # noqa: S301 - we wrote it
    return records


@dataclass
class Disk:
    """A disk's files as they surely are, and the changes that it may have made or not; paths as recorded."""

    folder: str
    files: dict[str, bytes] = field(default_factory=dict)
    pending: list[tuple[int, Record]] = field(default_factory=list)

    def apply(self, number: int, record: Record) -> None:
        """The next change, which is the ``number``-th."""
        if record.kind == "told":
            return
        if record.kind == "replace":
            # The name may be used again at once, so the bytes go along; they may never have been synchronised.
            self.pending.append((number, record._replace(data=self.files.pop(record.other, b""))))
        elif record.kind != "sync":
            self.pending.append((number, record))
        elif record.data is not None:
            self.files[record.path] = record.data
        else:
            done = [each for each in self.pending if each[0] < record.at and self._covers(record.path, each[1])]
            self.pending = [each for each in self.pending if each not in done]
            for _, each in done:
                _make(self.files, each)

    def _covers(self, synced: str, record: Record) -> bool:
        """A folder's synchronisation covers names, a file's its bytes. (SQLite sees to the name of a new journal.)"""
        if record.kind in ("delete", "replace"):
            return synced == self.folder
        return synced == record.path

    def after_failure(self, kept: Kept, draw: random.Random) -> dict[str, bytes]:
        """What is found when the power is back."""
        files = dict(self.files)
        names = [record for _, record in self.pending if record.kind in ("delete", "replace")]
        # A file system changes names one after another; bytes reach the disk in any order.
        several = {"nothing": 0, "everything": len(names)}.get(kept, draw.randint(0, len(names)))
        for _, record in self.pending:
            if record.kind in ("write", "truncate"):
                for part in _reached(record, kept, draw):
                    _make(files, part)
        for record in names[:several]:
            _make(files, record)
        return files


def _reached(record: Record, kept: Kept, draw: random.Random) -> Iterator[Record]:
    if kept == "nothing":
        return
    if kept == "torn" and record.data is not None:
        start = 0
        while start < len(record.data):
            end = start + SECTOR_BYTES - (record.at + start) % SECTOR_BYTES
            if draw.random() < 0.5:
                yield record._replace(at=record.at + start, data=record.data[start:end])
            start = end
    elif kept == "everything" or draw.random() < 0.5:
        yield record


def _make(files: dict[str, bytes], record: Record) -> None:
    found = files.get(record.path, b"")
    match record.kind:
        case "write":
            data = record.data or b""
            filled = found.ljust(record.at, b"\0")
            files[record.path] = filled[: record.at] + data + filled[record.at + len(data) :]
        case "truncate":
            files[record.path] = found[: record.at].ljust(record.at, b"\0")
        case "delete":
            files.pop(record.path, None)
        case "replace":
            files[record.path] = record.data or b""


@dataclass(frozen=True)
class Failure:
    """The power failed after so many changes; ``told`` are the receipts that had been on their way by then."""

    number: int
    kept: Kept
    files: dict[str, bytes]
    told: dict[str, tuple[int, bytes]]


def failures(
    before: dict[str, bytes], folder: Path, trace: list[Record], moments: Iterable[int], draw: random.Random
) -> Iterator[Failure]:
    """Failures of one recorded life, each after so many changes; what of the rest reached the disk is drawn.

    ``before``: the files of ``folder`` when the recording began, by their paths.
    """
    disk = Disk(str(folder), dict(before))
    told: dict[str, tuple[int, bytes]] = {}
    done = 0
    for moment in sorted(moments):
        for number, record in enumerate(trace[done:moment], done):
            disk.apply(number, record)
            if record.kind == "told":
                told[record.path] = (record.at, record.data or b"")
        done = moment
        kept = draw.choice(KEPT)
        yield Failure(moment, kept, disk.after_failure(kept, draw), dict(told))


def drawn_moments(trace: list[Record], count: int, draw: random.Random) -> list[int]:
    """So many moments of a life, half of them just after a receipt was sent."""
    receipts = [number for number, record in enumerate(trace, 1) if record.kind == "told"]
    return [draw.choice(receipts) if draw.random() < 0.5 else draw.randint(0, len(trace)) for _ in range(count)]


KINDS: Final = ("ledger.sqlite", "newest-head.pgp")
"""How the names of the files begin that a serving bank changes."""


def durable_files(home: Path) -> dict[str, bytes]:
    """The files of a bank that is not serving, by their paths."""
    return {str(path): path.read_bytes() for path in home.iterdir() if path.name in KINDS}


def lay_out(files: dict[str, bytes], source: Path, home: Path) -> None:
    """Put what is left of the folder ``source`` into ``home``, in place of all that is there of the same kind."""
    for path in home.iterdir():
        if path.name.startswith(KINDS):
            path.unlink()
    for name, data in files.items():
        path = home / os.path.relpath(name, source)
        path.touch(mode=0o600)
        path.write_bytes(data)
