"""Latency is measured at half load in an open loop, from the moment at which an order was to be sent."""

import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.run import WARM_SECONDS, Run, middle
from tests.bench.stand import standing
from tests.bench.town import CUSTOMERS, FIRST_NUMBER
from tests.system.programs import program

SECONDS = 12.0
SENDS = 9


def latency(run: Run) -> dict[str, Any]:
    """An open loop at half of what the closed loop reached with eight outstanding."""
    highest = run.results.get("rates", {}).get("8", {}).get("per_second")
    if highest is None:
        run.say("the highest rate first, of which half is offered then")
        highest = run.closed(8, 6.0).per_second
    run.say(f"latency at half load: {highest / 2:.0f} orders a second, whatever is answered")
    with standing(run.town, *run.serving) as stand:
        found = stand.load(
            connections=CUSTOMERS,
            orders_each=run.orders_each,
            seconds=run.seconds(SECONDS),
            warm_seconds=WARM_SECONDS,
            rate=highest / 2,
        )
    shown = ", ".join(f"{name} {value:.1f}" for name, value in found.latency_ms.items())
    run.say(f"  {found.per_second:.0f} a second; ms: {shown}")
    return {"offered_per_second": highest / 2, **msgspec.to_builtins(found)}


def send(run: Run) -> dict[str, Any]:
    """`customer send` from the shell, and a bare `gpg --sign` with the same key, in turn."""
    run.say("customer send from the shell")
    customer = run.town.customer(str(FIRST_NUMBER))
    sends, signs = [], []
    with standing(run.town, *run.serving) as stand, stand.customer(customer) as home:
        for number in range(run.rounds(SENDS) + 2):
            sends.append(_timed(_send(home, str(FIRST_NUMBER + 1))))
            signs.append(_timed(_sign(home)))
            if number == 0:
                sends.clear()  # the agent is started, and the bank makes the customer's home
                signs.clear()
    run.say(f"  {middle(sends):.3f} s; gpg --sign {middle(signs):.3f} s")
    return {"seconds": round(middle(sends), 3), "gpg_sign_seconds": round(middle(signs), 3), "each": sends}


def _send(home: Path, creditor: str) -> list[str]:
    options = ("--to", creditor, "--amount", "0.01", "--description", "invoice 4711")
    return [program("customer"), "send", "--home", str(home), *options]


def _sign(home: Path) -> list[str]:
    return ["gpg", "--homedir", str(home / "gnupg"), "--batch", "--sign", "--output", "-", str(home / "customer.toml")]


def _timed(command: list[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    spent = time.perf_counter() - begun
    if done.returncode:
        raise ValueError(f"{command[0]} failed: {(done.stdout + done.stderr).decode()[-500:]}")
    return round(spent, 4)
