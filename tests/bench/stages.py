"""A transfer's budget: how long each step of it takes in the server, by the clock and in processor time."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.run import Run
from tests.bench.stand import standing

ORDER = ("record", "parse", "verify", "queue", "post", "commit", "sign", "receipt", "send")


def budget(run: Run) -> dict[str, Any]:
    """Sums over a whole run with one process, divided by its transfers; steps of a batch are shared by its orders."""
    run.say("the budget of a transfer, by step (one process)")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "steps"
        with standing(run.town, played_by=(sys.executable, "-m", "tests.bench.budget", str(file))) as stand:
            found = run.closed_at(stand, 8, 5.0)
        said = msgspec.json.decode(file.read_bytes())
    steps, transfers = said["steps"], max(found.sent, 1)
    whole = steps.pop("transaction")
    commit = {key: whole[key] - steps["post"][key] for key in ("wall", "processor")}
    steps["commit"] = {**commit, "calls": whole["calls"]}
    rows = {
        name: {
            "wall_ms": round(steps[name]["wall"] / transfers * 1000, 4),
            "processor_ms": round(steps[name]["processor"] / transfers * 1000, 4),
            "calls_per_transfer": round(steps[name]["calls"] / transfers, 3),
        }
        for name in ORDER
    }
    for name, row in rows.items():
        run.say(f"  {name:8} {row['wall_ms']:9.3f} ms by the clock, {row['processor_ms']:7.4f} ms of processor time")
    return {"steps": rows, "not_timed": said["missing"], "run": msgspec.to_builtins(found)}
