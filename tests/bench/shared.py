"""How much several servers post to one PostgreSQL, spread over accounts and all to one: the ledger's own limit.

Without sessions and gpg: orders are handed to the posting of each server in its own process, which decides them,
commits with full durability, has the head signed (by a stub) and proves the receipt.
"""

import multiprocessing
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from bank import accounts
from bank.heads import FILE_NAME, head_file
from bank.places import Database
from bank.posting import Refused
from bank.storage import Ledger
from tests.bank.ledgers import BANK, NOW, Bank
from tests.bench.run import Run, Skipped
from tests.postgres import Databases, NoPostgreSQL, cluster

SERVERS = (1, 2, 4)
ACCOUNTS = 64
HOT = "9000"
AT_ONCE = 256
WARM_SECONDS = 1.0

_SPAWN = multiprocessing.get_context("spawn")


def _serve(url: str, head: bytes, place: int, hot: bool, seconds: float, told: "Queue[int]") -> None:
    """One server: so many orders at a time for so long; tells how many were posted after the first second."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE_NAME).write_bytes(head)  # what a server that joins is given
        bank = Bank(Path(folder), url=url)
        begun, posted, sent = time.monotonic(), 0, 0
        while (spent := time.monotonic() - begun) < WARM_SECONDS + seconds:
            orders = []
            for _ in range(AT_ONCE):
                sent += 1
                debtor, creditor = str(1001 + sent % ACCOUNTS), HOT if hot else str(1001 + (sent * 7 + 3) % ACCOUNTS)
                orders.append(bank.order(debtor, creditor, "0.01", f"s{place}-{sent}"))
            answers = [each.result(120) for each in [bank.submit(order) for order in orders]]
            if any(isinstance(each, Refused) for each in answers):
                raise ValueError(f"An order was not posted: {answers}")
            posted += len(answers) if spent >= WARM_SECONDS else 0
        bank.close()
    told.put(posted)


def per_second(url: str, head: bytes, servers: int, hot: bool, seconds: float) -> float:
    """Transfers a second of all servers."""
    told: Queue[int] = _SPAWN.Queue()
    processes = [
        _SPAWN.Process(target=_serve, args=(url, head, place + servers * 10 + hot * 100, hot, seconds, told))
        for place in range(servers)
    ]
    for each in processes:
        each.start()
    posted = sum(told.get(timeout=seconds + 240) for _ in processes)
    for each in processes:
        each.join()
    return posted / seconds


def postgresql(run: Run) -> dict[str, Any]:
    """One, two and four servers, spread and hot, on a PostgreSQL in its default configuration with fsync."""
    return measure(run.seconds(8.0), run.say)


def measure(seconds: float, say: Any) -> dict[str, Any]:
    """The same, for whoever has no run."""
    found: dict[str, Any] = {}
    try:
        with cluster({}) as server, tempfile.TemporaryDirectory() as folder:
            url = Databases(server.url()).new()
            Ledger.create(Database(url, Path(folder)), bank_fingerprint=BANK, currency="EUR").close()
            bank = Bank(Path(folder), url=url)
            for number in (*(str(1001 + place) for place in range(ACCOUNTS)), HOT):
                accounts.open_account(bank.ledger, number, f"Customer {number}", NOW)
                bank.deposit(number, "100000.00")
            for servers in SERVERS:
                for hot in (False, True):
                    rate = per_second(url, head_file(bank.ledger).read_bytes(), servers, hot, seconds)
                    found[f"{servers} {'hot' if hot else 'spread'}"] = round(rate)
                    say(f"  {servers} servers, {'all to one account' if hot else 'spread'}: {rate:.0f} a second")
            bank.close()
            found["version"] = server.programs.version
    except NoPostgreSQL as missing:
        raise Skipped(str(missing)) from None
    return found
