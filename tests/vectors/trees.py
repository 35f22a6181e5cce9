"""The vectors of the log: the tree, its proofs and receipts, computed by the recursive definitions of RFC 9162."""

from typing import Any

from tests.vectors.given import ENTRY, HEAD, LOG, ORDER, REFUSED, TIME, canonical, sha256

# Merkle tree (RFC 9162, section 2.1)


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry)


def split(count: int) -> int:
    """The largest power of two smaller than count."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def root(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1.1, over leaf hashes."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:]))


def inclusion(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*inclusion(index, leaves[:k]), root(leaves[k:])]
    return [*inclusion(index - k, leaves[k:]), root(leaves[:k])]


def consistency(older: int, leaves: list[bytes]) -> list[bytes]:
    """PROOF of section 2.1.4.1."""
    return [] if older in (0, len(leaves)) else _subproof(older, leaves, whole=True)


def _subproof(older: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    if older == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if older <= k:
        return [*_subproof(older, leaves[:k], whole=whole), root(leaves[k:])]
    return [*_subproof(older - k, leaves[k:], whole=False), root(leaves[:k])]


def merkle_vectors() -> dict[str, Any]:
    entries = [canonical({"entry": number}) for number in range(11)]
    leaves = [leaf_hash(entry) for entry in entries]
    sizes = range(len(leaves) + 1)
    return {
        "entries": [entry.hex() for entry in entries],
        "leaves": [leaf.hex() for leaf in leaves],
        "roots": [root(leaves[:size]).hex() for size in sizes],
        "inclusion": [
            {"index": index, "size": size, "path": [item.hex() for item in inclusion(index, leaves[:size])]}
            for size in sizes
            for index in range(size)
        ],
        "consistency": [
            {"older": older, "newer": newer, "path": [item.hex() for item in consistency(older, leaves[:newer])]}
            for newer in sizes
            for older in range(newer + 1)
        ],
    }


# Receipts, as they are checked once the head's signature has been


def receipt_vectors() -> list[dict[str, Any]]:
    """``wrong`` is the check that must fail: inclusion, order or consistency; null where all pass."""
    contents = [canonical({**ORDER, "transfer_identifier": f"t-{number}"}) for number in range(6)]
    entries = [
        canonical(
            {
                **ENTRY,
                "order": sha256(content).hex(),
                "salt": sha256(content)[:16].hex(),
                "transfer_identifier": f"t-{number}",
                **({"reference": str(number + 1)} if number != 3 else REFUSED),
            }
        )
        for number, content in enumerate(contents)
    ]
    leaves = [leaf_hash(entry) for entry in entries]

    def head(size: int, **changed: object) -> dict[str, Any]:
        return {**HEAD, "root": root(leaves[:size]).hex(), "size": size, **changed}

    def vector(
        name: str, wrong: str | None = None, number: int = 4, since: int | None = 3, **changed: Any
    ) -> dict[str, Any]:
        honest: dict[str, Any] = {
            "order": contents[number].hex(),
            "debtor": "1001",
            "transfer_identifier": f"t-{number}",
            "entry": entries[number].hex(),
            "index": number,
            "proof": [item.hex() for item in inclusion(number, leaves)],
            "head": head(6),
            "older": None if since is None else head(since),
            "consistency": None if since is None else [item.hex() for item in consistency(since, leaves)],
        }
        return {"name": name, "wrong": wrong, **honest, **changed}

    path = [item.hex() for item in inclusion(4, leaves)]
    other = sha256(b"another").hex()
    return [
        vector("settled"),
        vector("refused", number=3),
        vector("first entry", number=0),
        vector("no older head", since=None),
        vector("older head is empty", since=0, consistency=[]),
        vector("older head is this one", since=6, consistency=[]),
        vector("older head of a full tree", since=4),
        vector("index of a neighbour", "inclusion", index=5),
        vector("index outside of the tree", "inclusion", index=6),
        vector("path without its last step", "inclusion", proof=path[:-1]),
        vector("path with a step more", "inclusion", proof=[*path, other]),
        vector("path in reverse", "inclusion", proof=path[::-1]),
        vector("empty path", "inclusion", proof=[]),
        vector("entry changed", "inclusion", entry=entries[4].replace(b"25.00", b"24.00").hex()),
        vector("another root", "inclusion", head=head(6, root=other), older=None),
        vector("head of an earlier tree", "inclusion", head=head(4), older=None),
        vector("about another order of the same customer", "order", order=contents[2].hex()),
        vector("about another customer", "order", debtor="1003"),
        vector("about another identifier", "order", transfer_identifier="t-5"),
        vector("older head of another log", "consistency", older=head(3, log="ff" * 16)),
        vector("older head of another bank", "consistency", older=head(3, bank="F" * 40)),
        vector("older head is the newer one", "consistency", older={**head(6), "size": 7}),
        vector("older root changed", "consistency", older=head(3, root=other)),
        vector("path left out", "consistency", consistency=None),
        vector("path of another size", "consistency", consistency=[item.hex() for item in consistency(2, leaves)]),
        vector("same size, other root", "consistency", older=head(6, root=other), consistency=[]),
        vector("same size with a path", "consistency", older=head(6), consistency=[other]),
    ]


# A new log, as a client judges it once the head's signature has been


def beginning_vectors() -> list[dict[str, Any]]:
    """``outcome``: followed, lost (a person decides) or refused. Leaf 4 of the tree of 7 began the second log."""
    second, third = "11" * 16, "22" * 16
    honest = [
        canonical({**ENTRY, "salt": f"{number:032x}", "transfer_identifier": f"t-{number}"}) for number in range(7)
    ]
    before = [leaf_hash(entry) for entry in honest]

    def head(leaves: list[bytes], log: str = LOG, **changed: object) -> dict[str, Any]:
        return {**HEAD, "log": log, "root": root(leaves).hex(), "size": len(leaves), **changed}

    def beginning(size: int, log: str, continued: str, old: dict[str, Any], **changed: object) -> bytes:
        return canonical(
            {
                "booked": TIME,
                "continued_log": continued,
                "continued_size": size,
                "log": log,
                "old_head": old,
                "salt": "00" * 16,
                "type": "log-beginning",
                "version": 1,
                **changed,
            }
        )

    def tree(*begun: tuple[int, bytes]) -> list[bytes]:
        leaves = [leaf_hash(entry) for entry in honest]
        for place, entry in begun:
            leaves[place] = leaf_hash(entry)
        return leaves

    def placed(leaves: list[bytes], *begun: tuple[int, bytes]) -> list[dict[str, Any]]:
        return [
            {"entry": entry.hex(), "index": place, "proof": [item.hex() for item in inclusion(place, leaves)]}
            for place, entry in begun
        ]

    first = (4, beginning(4, second, LOG, head(before[:6])))
    leaves = tree(first)

    def vector(name: str, outcome: str, size: int = 3, **changed: Any) -> dict[str, Any]:
        honestly: dict[str, Any] = {
            "older": head(before[:size]),
            "head": head(leaves, second),
            "consistency": [item.hex() for item in consistency(size, leaves)],
            "beginnings": placed(leaves, first),
        }
        return {"name": name, "outcome": outcome, **honestly, **changed}

    def other(name: str, outcome: str, *begun: tuple[int, bytes], log: str = second, size: int = 3) -> dict[str, Any]:
        there = tree(*begun)
        path = [item.hex() for item in consistency(size, there)]
        return vector(name, outcome, size, head=head(there, log), consistency=path, beginnings=placed(there, *begun))

    (one,) = placed(leaves, first)
    later = (6, beginning(6, third, second, head(leaves)))
    return [
        vector("nothing known is lost", "followed"),
        vector("all that was taken over is known", "followed", 4),
        vector("an empty log is known", "followed", 0),
        vector("more is known than was taken over", "lost", 5),
        vector("another root is known", "lost", older=head(before[:3], root="ab" * 32)),
        vector("no path", "lost", consistency=None),
        other("two new logs after one another", "followed", first, later, log=third),
        other("two new logs, the first of which lost something known", "lost", first, later, log=third, size=5),
        vector("no beginning", "refused", beginnings=[]),
        vector("a proof with a step less", "refused", beginnings=[{**one, "proof": one["proof"][:-1]}]),
        vector("another index", "refused", beginnings=[{**one, "index": 3}]),
        vector("an entry that is not in the tree", "refused", beginnings=[{**one, "entry": later[1].hex()}]),
        vector("a head of yet another log", "refused", head=head(leaves, third)),
        vector("the same beginning twice", "refused", beginnings=[one, one]),
        vector("the older head of another bank", "refused", older=head(before[:3], bank="F" * 40)),
        other("another number than its place", "refused", (4, beginning(3, second, LOG, head(before[:6])))),
        other(
            "an old head of another bank", "refused", (4, beginning(4, second, LOG, head(before[:6], bank="F" * 40)))
        ),
        other("a transfer in its place", "refused", (4, honest[4])),
        other("an unknown field", "refused", (4, beginning(4, second, LOG, head(before[:6]), more=1))),
    ]
