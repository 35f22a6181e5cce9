"""What a plain database does: pgbench's transfers (TPC-B) on a PostgreSQL of its own, without any cryptography."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.town import BUILD
from tests.postgres import USER, Cluster, NoPostgreSQL, cluster

__all__ = ["NoPostgreSQL", "PlainDatabase", "plain_database"]

SCALE, CLIENTS, THREADS = 10, 32, 2


@dataclass(frozen=True)
class PlainDatabase:
    """A PostgreSQL in its default configuration, with pgbench's tables in it."""

    cluster: Cluster

    @property
    def version(self) -> str:
        return self.cluster.programs.version

    def pgbench(self, *options: str) -> str:
        """What pgbench says."""
        return self.cluster.run("pgbench", "-h", str(self.cluster.folder), "-U", USER, *options, "postgres")

    def per_second(self, seconds: int) -> float:
        """Transactions a second: 32 clients, 2 threads, prepared statements."""
        said = self.pgbench("-c", str(CLIENTS), "-j", str(THREADS), "-M", "prepared", "-T", str(seconds))
        return float(re.findall(r"^tps = ([0-9.]+)", said, re.MULTILINE)[-1])


@contextmanager
def plain_database() -> Iterator[PlainDatabase]:
    """A new cluster on the same disk as the banks, on a socket only, with its tables filled; removed at the end."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with cluster({}, below=BUILD) as made:
        database = PlainDatabase(made)
        database.pgbench("-i", "-q", "-s", str(SCALE))
        yield database
