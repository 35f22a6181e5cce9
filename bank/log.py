"""The log is a Merkle tree (RFC 9162) over the entries; a full subtree's hash is stored once, with its last leaf.

Leaf i completes the full subtrees of level 0 up to the number of trailing ones of i, so the entry's row holds those
hashes one after another, 64 bytes on average. No row is written twice, no second table is written, and the hash of any
full subtree is one look-up by primary key. (Tiles need fewer look-ups, but the last one of each level is rewritten.)
"""

import threading
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, func, select

from bank.errors import HistoryLost
from bank.schema import entry
from bank.storage import Ledger
from protocol import merkle

HASH_BYTES: Final = 32

CACHED_NODES: Final = 32_768
"""Hashes kept in memory, the newest: a proof near the end of the log touches the database for a few old ones only."""


def size_of_log(connection: Connection) -> int:
    """How many entries there are in the ledger, as this transaction sees it."""
    return int(connection.execute(select(func.coalesce(func.max(entry.c.leaf), -1) + 1)).scalar_one())


class Log:
    """Reads the committed part of the log; usable from several threads. What is committed never changes."""

    def __init__(self, ledger: Ledger, cached_nodes: int = CACHED_NODES) -> None:
        self._ledger = ledger
        self._limit = cached_nodes
        self._cache: dict[tuple[int, int], bytes] = {}
        self._lock = threading.Lock()

    def node(self, level: int, position: int) -> bytes:
        """Hash of the full subtree of 2^level leaves at ``position``; HistoryLost if its entry is gone."""
        found = self._cache.get((level, position))
        return found if found is not None else self._load(level, position)

    def root(self, size: int) -> bytes:
        """Root of the tree of the first ``size`` entries."""
        return merkle.root_hash(size, self.node)

    def inclusion(self, leaf: int, size: int) -> tuple[str, ...]:
        """Path from a leaf to the root of the tree of ``size`` entries, in hex."""
        return tuple([item.hex() for item in merkle.inclusion_path(leaf, size, self.node)])

    def consistency(self, older: int, newer: int) -> tuple[str, ...]:
        """Path that proves the tree of ``older`` entries a prefix of that of ``newer``, in hex."""
        return tuple([item.hex() for item in merkle.consistency_path(older, newer, self.node)])

    def remember(self, nodes: Mapping[tuple[int, int], bytes]) -> None:
        """Keeps hashes that were committed; the oldest kept ones make room."""
        with self._lock:
            self._cache.update(nodes)
            while len(self._cache) > self._limit:
                del self._cache[next(iter(self._cache))]

    def _load(self, level: int, position: int) -> bytes:
        last = (position + 1 << level) - 1
        with self._ledger.reading() as connection:
            hashes = connection.execute(select(entry.c.hashes).where(entry.c.leaf == last)).scalar()
        if hashes is None or len(hashes) < (level + 1) * HASH_BYTES:
            raise HistoryLost(
                f"Entry {last} of the log is missing or incomplete; stop the server and run `bank audit`."
            )
        found = bytes(hashes[level * HASH_BYTES : (level + 1) * HASH_BYTES])
        self.remember({(level, position): found})
        return found


class Growth:
    """Leaves that are being appended in one transaction: seen here at once, by the log only after :meth:`commit`."""

    def __init__(self, log: Log, size: int) -> None:
        self.size = size
        self._log = log
        self._added: dict[tuple[int, int], bytes] = {}

    def append(self, data: bytes) -> bytes:
        """Appends an entry; returns the hashes of the full subtrees that it completes, from the leaf upwards."""
        current, level, position = merkle.leaf_hash(data), 0, self.size
        completed = [current]
        self._added[level, position] = current
        while position & 1:
            current = merkle.node_hash(self._node(level, position - 1), current)
            level, position = level + 1, position >> 1
            self._added[level, position] = current
            completed.append(current)
        self.size += 1
        return b"".join(completed)

    def commit(self) -> None:
        """The transaction was committed: the log may know the new hashes."""
        self._log.remember(self._added)

    def _node(self, level: int, position: int) -> bytes:
        return self._added.get((level, position)) or self._log.node(level, position)
