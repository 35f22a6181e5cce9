"""The benchmark's command line; every measurement can be run by itself."""

import os
import sys
import time

import click
import msgspec

from tests.bench.orders import sign_orders
from tests.bench.plain import plain_database
from tests.bench.stand import standing
from tests.bench.town import CUSTOMERS, BenchTown, town

_begun = time.monotonic()


def say(line: str) -> None:
    """Progress, with the seconds since the start."""
    sys.stderr.write(f"[{time.monotonic() - _begun:6.1f} s] {line}\n")


@click.command()
@click.option("--only", multiple=True, help="Run this measurement only (closed, plain); may be repeated.")
@click.option("--seconds", default=10.0, show_default=True, help="How long each is measured.")
@click.option("--outstanding", "outstandings", multiple=True, type=int, default=(1, 8), show_default=True)
@click.option("--orders", default=800, show_default=True, help="Signed orders of each customer.")
@click.option("--serve", default="", help="Options for `bank serve`, such as '--processes 2'.")
def main(only: tuple[str, ...], seconds: float, outstandings: tuple[int, ...], orders: int, serve: str) -> None:
    """Measure."""
    options = tuple(serve.split())
    made = ready(orders)
    if not only or "closed" in only:
        for outstanding in outstandings:
            with standing(made, *options) as stand:
                say(f"closed loop, {outstanding} outstanding: server process {stand.pid}")
                found = stand.load(
                    connections=CUSTOMERS,
                    seconds=seconds,
                    warm_seconds=2.0,
                    orders_each=orders,
                    outstanding=outstanding,
                )
                say(msgspec.json.format(msgspec.json.encode(found)).decode())
    if not only or "plain" in only:
        with plain_database() as database:
            say(f"pgbench: {database.per_second(int(seconds)):.0f} a second (PostgreSQL {database.version})")


def ready(orders: int) -> BenchTown:
    """The town, and the signed orders of its customers."""
    made = town(CUSTOMERS, say)
    parties = [(each.number, each.certificate_digest, each.signing) for each in made.cast.parties]
    say(f"signing: each customer needs {orders} orders")
    count = sign_orders(made.orders, made.cast.bank, parties, orders, len(os.sched_getaffinity(0)))
    say(f"{count} orders were signed")
    return made
