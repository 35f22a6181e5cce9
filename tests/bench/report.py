"""The targets are judged by what one run has found, and nothing that was not measured is called met."""

import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

Results = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A goal of the project: ``value`` finds its figure in the results (KeyError: not measured)."""

    name: str
    goal: str
    value: Callable[[Results], float]
    met: Callable[[float], bool]
    unit: str = ""


def at_least(bound: float) -> Callable[[float], bool]:
    return lambda value: value >= bound


def at_most(bound: float) -> Callable[[float], bool]:
    return lambda value: value <= bound


TARGETS = (
    Target(
        "1 rate, one order outstanding",
        "at least 1.0 times pgbench",
        lambda found: found["rates"]["1"]["to_plain"],
        at_least(1.0),
    ),
    Target(
        "1 rate, eight orders outstanding",
        "at least 1.5 times pgbench",
        lambda found: found["rates"]["8"]["to_plain"],
        at_least(1.5),
    ),
    Target(
        "2 rate beside the usual way, one order outstanding",
        "at least 30 times",
        lambda found: found["usual"]["1"]["ours_to_usual"],
        at_least(30),
    ),
    Target(
        "2 rate beside the usual way, eight orders outstanding",
        "at least 30 times",
        lambda found: found["usual"]["8"]["ours_to_usual"],
        at_least(30),
    ),
    Target(
        "3 rate beside two gpg workers that only verify",
        "at least 0.5 times",
        lambda found: found["limits"]["ours_to_workers"],
        at_least(0.5),
    ),
    Target(
        "4 p99 latency at half load",
        "at most 50 ms",
        lambda found: found["latency"]["latency_ms"]["p99"],
        at_most(50),
        "ms",
    ),
    Target(
        "4 customer send from the shell",
        "at most 0.35 s",
        lambda found: found["send"]["seconds"],
        at_most(0.35),
        "s",
    ),
    Target(
        "5 payments of bulk orders",
        "at least 10 times pgbench",
        lambda found: found["bulk"]["to_plain"],
        at_least(10),
    ),
    Target(
        "6 processor time with 100,000 customers (rows)",
        "at most 1.2 times that with 10",
        lambda found: found["growth"]["customers"]["ratio"],
        at_most(1.2),
    ),
    Target(
        "6 rate with 10 million entries (rows)",
        "at least 0.75 of that with 1,000",
        lambda found: found["growth"]["entries"]["rate_ratio"],
        at_least(0.75),
    ),
    Target(
        "6 start-up with 10 million entries (rows)",
        "at most 1.25 times that with 1,000",
        lambda found: found["growth"]["entries"]["start_ratio"],
        at_most(1.25),
    ),
    Target(
        "7 memory of an idle connection",
        "at most 100 KB",
        lambda found: found["idle"]["kilobytes_each"],
        at_most(100),
        "KB",
    ),
    Target(
        "7 rate beside 2,000 idle connections",
        "at least 0.9 of that without",
        lambda found: found["idle"]["rate_to_alone"],
        at_least(0.9),
    ),
    Target(
        "8 failures of 500 sessions at once",
        "none",
        lambda found: found["burst"]["failed"],
        at_most(0),
    ),
    Target(
        "8 gpg processes beyond one for a customer in a process",
        "at most 16 at any time",
        lambda found: found["burst"]["most_gpg_processes"] - found["burst"]["workers"],
        at_most(16),
    ),
)


def judged(found: Results) -> list[dict[str, Any]]:
    """Every target with its figure; ``value`` is null where it was not measured, and that is not met."""
    rows = []
    for target in TARGETS:
        try:
            value: float | None = target.value(found)
        except KeyError:
            value = None
        met = value is not None and target.met(value)
        rows.append({"name": target.name, "goal": target.goal, "value": value, "unit": target.unit, "met": met})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The targets as people read them."""
    shown = [
        (
            row["name"],
            row["goal"],
            "not measured" if row["value"] is None else f"{row['value']:g} {row['unit']}".strip(),
            "" if row["value"] is None else "met" if row["met"] else "NOT MET",
        )
        for row in rows
    ]
    return tabulate(shown, headers=("target", "goal", "measured", ""), disable_numparse=True)


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "processors": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "load_before": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """What ran."""
    import sqlite3

    def first_line(*command: str) -> str:
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
        except (OSError, subprocess.CalledProcessError, IndexError):
            return "?"

    return {
        "python": platform.python_version(),
        "gnupg": first_line("gpg", "--version"),
        "sqlite": sqlite3.sqlite_version,
        "commit": first_line("git", "rev-parse", "--short", "HEAD"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
