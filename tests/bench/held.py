"""A posting is held until a hundred orders are queued, so that they are one batch, and what it costs can be counted.

``python -m tests.bench.held FOLDER ORDERS`` writes the lines ``begin`` and ``end`` to standard error around it, for
strace to see; the ledger is in FOLDER, and its signer needs no GnuPG. With ``apart`` each order is a batch by itself.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tests.bank.ledgers import DEADLINE_SECONDS, Bank, Signer, receipt_of


class HeldSigner(Signer):
    """Signs when it is let; until then the posting thread waits."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let = threading.Event(), threading.Event()
        self.let.set()

    def sign(self, content: bytes, at: int) -> bytes:
        self.asked.set()
        self.let.wait(DEADLINE_SECONDS)
        return super().sign(content, at)


def post_held(folder: Path, orders: int, around: Callable[[str, Bank], None], *, apart: bool = False) -> None:
    """Post so many orders in one batch; ``around`` is told "begin" before it and "end" once all are receipted."""
    signer = HeldSigner()
    bank = Bank(folder, signer, options={"batch_limit": 1} if apart else {})
    try:
        bank.open_accounts(n1001="50.00", n1002="0")
        signer.let.clear()
        signer.asked.clear()
        bank_is_busy = bank.submit(bank.order("1001", "1002", "0.01"))
        assert signer.asked.wait(DEADLINE_SECONDS)
        queued = [bank.submit(bank.order("1001", "1002", "0.01")) for _ in range(orders)]
        around("begin", bank)
        signer.let.set()
        receipt_of(bank_is_busy.result(DEADLINE_SECONDS))
        for each in queued:
            receipt_of(each.result(DEADLINE_SECONDS))
        around("end", bank)
    finally:
        signer.let.set()
        bank.close()


if __name__ == "__main__":
    post_held(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        lambda mark, _: (os.write(2, f"{mark}\n".encode()), None)[1],
        apart="apart" in sys.argv[3:],
    )
