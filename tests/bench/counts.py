"""Processes and fsyncs for a transfer are counted by strace, which stops the server for these calls only.

``strace --seccomp-bpf -D`` leaves the server the process that was started, and lets all other calls pass.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.run import Run, Skipped
from tests.bench.stand import standing
from tests.system.programs import program

CALLS = ("execve", "execveat", "fsync", "fdatasync")
OUTSTANDING = 8
_LINE = re.compile(r"^\d+ +(?P<time>\d+\.\d+) (?:<\.\.\. )?(?P<call>\w+)(?P<rest>.*)$", re.MULTILINE)


def strace(log: Path) -> tuple[str, ...]:
    """What is put before a command to have it counted. Raises Skipped where strace does not run."""
    tracer = shutil.which("strace")
    if tracer is None:
        raise Skipped("strace is not installed (Debian: apt-get install strace).")
    words = (tracer, "-D", "-f", "--seccomp-bpf", "-qq", "-ttt", "-e", f"trace={','.join(CALLS)}", "-o", str(log))
    try:
        done = subprocess.run([*words, "true"], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        raise Skipped("strace does not trace here: it hangs.") from None
    if done.returncode:
        raise Skipped(f"strace does not trace here: {done.stderr.strip()[:200]}")
    return words


def counts(run: Run) -> dict[str, Any]:
    """Per 1,000 transfers, eight outstanding on each connection."""
    run.say("processes and fsyncs of the server, by strace")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder) / "calls"
        with standing(run.town, *run.serving, played_by=(*strace(log), program("bank"))) as stand:
            found = run.closed_at(stand, OUTSTANDING, 5.0)
        within = called(log.read_text(), found.began, found.began + found.seconds)
    thousands = max(found.transfers, 1) / 1000
    result = {
        "transfers": found.transfers,
        "gpg_processes_per_1000": round((within["execve"] + within["execveat"]) / thousands, 3),
        "fsyncs_per_1000": round((within["fsync"] + within["fdatasync"]) / thousands, 2),
        "batch_mean": found.batch_mean,
        "run": msgspec.to_builtins(found),
    }
    run.say(f"  {result['gpg_processes_per_1000']} processes, {result['fsyncs_per_1000']} fsyncs per 1,000 transfers")
    return result


def called(log: str, begin: float, end: float) -> dict[str, int]:
    """How often each call was begun between two moments (unix seconds)."""
    found = dict.fromkeys(CALLS, 0)
    for line in _LINE.finditer(log):
        if line["call"] in found and begin <= float(line["time"]) < end and "resumed>" not in line["rest"]:
            found[line["call"]] += 1
    return found
