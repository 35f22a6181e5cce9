"""Our transfers and a plain database's are measured in turn, round by round: the machine is the same for both."""

from typing import Any

import msgspec

from tests.bench.plain import NoPostgreSQL, plain_database
from tests.bench.run import Run, Skipped, middle
from tests.bench.stand import standing
from tests.bench.usual import PLAYED_BY

SECONDS = 8.0
ROUNDS = 3
OUTSTANDING = (1, 8)


def rates(run: Run) -> dict[str, Any]:
    """Closed loops with one and with eight orders outstanding on each of 64 connections, and pgbench beside them."""
    seconds = run.seconds(SECONDS)
    plain: list[float] = []
    ours: dict[int, list[Any]] = {outstanding: [] for outstanding in OUTSTANDING}
    try:
        run.say("pgbench: a PostgreSQL of its own")
        with plain_database() as database:
            for number in range(run.rounds(ROUNDS)):
                plain.append(database.per_second(round(seconds)))
                run.say(f"round {number + 1}: pgbench {plain[-1]:.0f} a second (PostgreSQL {database.version})")
                for outstanding in OUTSTANDING:
                    run.say(f"round {number + 1}: ours, {outstanding} outstanding on each connection")
                    ours[outstanding].append(run.closed(outstanding, SECONDS))
    except NoPostgreSQL as missing:
        raise Skipped(str(missing)) from None
    version = database.version
    found: dict[str, Any] = {"plain": {"per_second": plain, "version": f"PostgreSQL {version}"}}
    for outstanding, each in ours.items():
        ratios = [one.per_second / beside for one, beside in zip(each, plain, strict=True)]
        found[str(outstanding)] = {
            "per_second": middle([one.per_second for one in each]),
            "to_plain": round(middle(ratios), 3),
            "rounds": [msgspec.to_builtins(one) for one in each],
        }
    return found


def usual(run: Run) -> dict[str, Any]:
    """The usual way, and ours beside it with one and with eight orders outstanding on each of 64 connections.

    The usual way has one outstanding: with a process for each order there is nothing to gain from more.
    """
    run.say("the usual way: a gpg process for each verification and each receipt")
    with standing(run.town, *run.serving, played_by=PLAYED_BY) as stand:
        theirs = run.closed_at(stand, 1, 10.0, usual=True)
    found: dict[str, Any] = {"per_second": theirs.per_second, "run": msgspec.to_builtins(theirs)}
    for outstanding in OUTSTANDING:
        run.say(f"ours beside it, {outstanding} outstanding")
        ours = run.closed(outstanding, 6.0)
        found[str(outstanding)] = {
            "per_second": ours.per_second,
            "ours_to_usual": round(ours.per_second / max(theirs.per_second, 0.1), 1),
            "run": msgspec.to_builtins(ours),
        }
    return found
