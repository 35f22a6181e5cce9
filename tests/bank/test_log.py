"""The stored log is the tree of RFC 9162, however its leaves were appended and whatever the cache still holds."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bank.log import Growth, Log
from protocol import merkle
from tests.bank.ledgers import Bank, receipt_of


class Nodes(Log):
    """A log that is kept in memory only: what is not in the cache is not there."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}

    def node(self, level: int, position: int) -> bytes:
        return self.nodes[level, position]

    def remember(self, nodes: object) -> None:
        assert isinstance(nodes, dict)
        self.nodes.update(nodes)


def reference(leaves: list[bytes], level: int, position: int) -> bytes:
    if level == 0:
        return merkle.leaf_hash(leaves[position])
    left, right = (reference(leaves, level - 1, 2 * position + side) for side in (0, 1))
    return merkle.node_hash(left, right)


@given(st.lists(st.integers(0, 20), max_size=8))
def test_batches_of_any_size_make_one_tree(batches: list[int]) -> None:
    log = Nodes()
    leaves: list[bytes] = []
    for batch in batches:
        growth = Growth(log, len(leaves))
        for _ in range(batch):
            leaves.append(str(len(leaves)).encode())
            completed = growth.append(leaves[-1])
            levels = len(completed) // 32
            assert completed[-32:] == reference(leaves, levels - 1, (len(leaves) >> levels - 1) - 1)
        growth.commit()
        expected = merkle.root_hash(len(leaves), lambda level, position: reference(leaves, level, position))
        assert log.root(len(leaves)) == expected


def test_what_was_not_committed_is_not_seen() -> None:
    log = Nodes()
    growth = Growth(log, 0)
    growth.append(b"a")
    assert not log.nodes


def test_the_stored_tree_is_the_same_without_any_cache() -> None:
    folder = Path(tempfile.mkdtemp(prefix="cs-log-"))
    bank = Bank(folder)
    try:
        bank.open_accounts(n1001="50.00", n1002="0")
        entries = [receipt_of(bank.post(bank.order("1001", "1002", "0.01"))).entry for _ in range(30)]
        with bank.ledger.reading() as connection:
            first = connection.exec_driver_sql("SELECT entry FROM entry WHERE leaf = 0").scalar_one()
        leaves = [first, *entries]
        log = Log(bank.ledger, cached_nodes=0)
        for size in range(len(leaves) + 1):
            expected = merkle.root_hash(size, lambda level, position: reference(leaves, level, position))
            assert log.root(size) == expected
    finally:
        bank.close()
        shutil.rmtree(folder)
