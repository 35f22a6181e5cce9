"""Every measurement has a bank of its own: a fresh copy of the town's, served by the real command as a process."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bank.serving import runtime_folder
from customer import config as customer_configuration
from keyring.home import Home
from tests.bench.load import Found, Plan
from tests.bench.town import BUILD, BenchTown
from tests.system.programs import Serving

LOAD_SECONDS = 300.0


class LoadFailed(Exception):
    """The load generator has ended with an error, which is the text."""


@dataclass(frozen=True)
class Stand:
    """A bank that serves; ``folder`` is its home."""

    town: BenchTown
    folder: Path
    serving: Serving
    address: str

    @property
    def pid(self) -> int:
        return self.serving.process.pid

    @contextmanager
    def customer(self, home: Path) -> Iterator[Path]:
        """A copy of a customer's home that knows where this bank serves."""
        copy = self.folder.parent / home.name
        shutil.copytree(home, copy, ignore=shutil.ignore_patterns("S.*"))
        found = customer_configuration.read(copy)
        bank = msgspec.structs.replace(found.bank, address=self.address)
        customer_configuration.write(copy, msgspec.structs.replace(found, bank=bank))
        try:
            yield copy
        finally:
            Home.open(copy / "gnupg").stop()

    def load(self, **given: Any) -> Found:
        """Run the load generator against it."""
        plan = Plan(
            address=self.address,
            cast=str(self.town.cast_file),
            server=self.pid,
            home=str(self.folder / "gnupg"),
            **{"orders": str(self.town.orders), **given},
        )
        file = self.folder.parent / "plan.json"
        file.write_bytes(msgspec.json.encode(plan))
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.load", str(file)],
            capture_output=True,
            timeout=LOAD_SECONDS,
            check=False,
        )
        if done.returncode:
            log = self.serving.log.read_text()[-2000:]
            raise LoadFailed(f"{done.stderr.decode()}\n{log}")
        return msgspec.json.decode(done.stdout, type=Found)


@contextmanager
def standing(town: BenchTown, *options: str, played_by: tuple[str, ...] = (), prepare: Any = None) -> Iterator[Stand]:
    """A bank that serves with these options of `bank serve` until the block is left; ``prepare`` gets its home before.

    ``played_by`` is started in place of `bank`.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stand-", dir=BUILD) as place:
        folder = Path(place) / "bank"
        shutil.copytree(town.bank, folder, ignore=shutil.ignore_patterns("S.*", "notices"))
        if prepare is not None:
            prepare(folder)
        listen = ("--home", folder, "--listen", "127.0.0.1:0", *options)
        serving = Serving("bank", *listen, log=Path(place) / "bank.log", played_by=played_by)
        try:
            address = serving.first_line.partition(" serves at ")[2].partition(",")[0]
            yield Stand(town, folder, serving, address)
            if serving.process.poll() is None and serving.terminate() != 0:
                raise LoadFailed(serving.log.read_text()[-2000:])
        finally:
            serving.kill()
            Home.open(folder / "gnupg").stop()
            for left in runtime_folder(folder).parent.glob(f"{runtime_folder(folder).name}*"):
                shutil.rmtree(left, ignore_errors=True)
