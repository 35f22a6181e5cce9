"""Every order and head that a bank of the tests has stored is verified by Sequoia too, which must say the same."""

import sqlite3
from contextlib import closing
from pathlib import Path

from bank.home import BankHome
from tests.hostile.second_opinion import verified

_ORDERS = """SELECT entry.leaf, entry.message, entry.content, key.fingerprint, key.data
    FROM entry JOIN key ON key.digest = entry.key_digest WHERE entry.message IS NOT NULL ORDER BY entry.leaf"""


def require_second_opinion(folder: Path) -> tuple[int, int]:
    """How many orders and heads are in the ledger of a bank that has stopped; an AssertionError names the bad one.

    An order must be signed by the primary key under which it was accepted and by nobody else, a head by a subkey of the
    bank's; both must say what is stored. With the hashes, which `bank audit` recomputes, that makes every receipt.
    """
    bank = BankHome.open(folder)
    certificate = bank.public_key()  # also where no authority has certified it
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as database:
        orders = database.execute(_ORDERS).fetchall()
        heads = database.execute("SELECT size, message, content FROM head ORDER BY size").fetchall()
    for leaf, message, content, fingerprint, key in orders:
        found = verified(message, (key,))
        assert found == (content, frozenset({(fingerprint, fingerprint)})), f"Sequoia refuses the order of leaf {leaf}"
    for size, message, content in heads:
        found = verified(message, (certificate,))
        assert found is not None, f"Sequoia refuses the head of size {size}"
        assert found[0] == content, f"Sequoia reads the head of size {size} otherwise"
        ((primary, signing),) = found[1]
        assert primary == bank.config.fingerprint != signing, (
            f"the head of size {size} is not by a subkey of the bank's"
        )
    return len(orders), len(heads)
