"""Hashes and proofs of the append-only log are those of RFC 9162, section 2.1, with SHA-256; all functions are pure."""

import hashlib
from collections.abc import Callable

NodeReader = Callable[[int, int], bytes]
"""Gives the hash of the full subtree at (level, position): of the leaves from position·2^level on, 2^level many."""

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(size: int, node: NodeReader) -> bytes:
    """Root of the tree of the first ``size`` leaves."""
    return EMPTY_ROOT if size == 0 else _range_hash(0, size, node)


def inclusion_path(index: int, size: int, node: NodeReader) -> tuple[bytes, ...]:
    """Path that proves leaf ``index`` in the tree of ``size`` leaves (section 2.1.3.1), from the leaf upwards."""
    if not 0 <= index < size:
        raise IndexError(f"leaf {index} is not in a tree of {size}")
    path = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range_hash(middle, high, node))
            high = middle
        else:
            path.append(_range_hash(low, middle, node))
            low = middle
    return tuple(reversed(path))


def consistency_path(older: int, newer: int, node: NodeReader) -> tuple[bytes, ...]:
    """Path that proves the tree of ``older`` leaves a prefix of that of ``newer`` (section 2.1.4.1)."""
    if not 0 <= older <= newer:
        raise IndexError(f"a tree of {older} is not older than one of {newer}")
    if older in (0, newer):
        return ()
    path = []
    low, high, complete = 0, newer, True
    while older != high:
        middle = low + _split(high - low)
        if older <= middle:
            path.append(_range_hash(middle, high, node))
            high = middle
        else:
            path.append(_range_hash(low, middle, node))
            low, complete = middle, False
    if not complete:
        path.append(_range_hash(low, high, node))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, path: tuple[bytes, ...], root: bytes) -> bool:
    """Whether the path leads from the leaf to the root (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    position, last, current = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and current == root


def verify_consistency(older: int, newer: int, older_root: bytes, newer_root: bytes, path: tuple[bytes, ...]) -> bool:
    """Whether the path proves the older tree a prefix of the newer one (section 2.1.4.2)."""
    if older == newer:
        return not path and older_root == newer_root
    if older == 0:
        return not path and older_root == EMPTY_ROOT
    if not 0 < older < newer:
        return False
    # An older tree that is full is itself the first node of the path, which is then left out.
    nodes = (older_root, *path) if older & (older - 1) == 0 else path
    if not nodes:
        return False
    position, last = older - 1, newer - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old == older_root and new == newer_root


def _split(count: int) -> int:
    """The largest power of two smaller than ``count`` (count > 1)."""
    return 1 << (count - 1).bit_length() - 1


def _range_hash(low: int, high: int, node: NodeReader) -> bytes:
    """Hash of leaves low..high, where low is aligned as the recursion of section 2.1.1 makes it."""
    count = high - low
    level = count.bit_length() - 1
    if count == 1 << level:
        return node(level, low >> level)
    middle = low + _split(count)
    return node_hash(_range_hash(low, middle, node), _range_hash(middle, high, node))
