"""Each target is fuzzed for its share of the time, from the kept corpus on; what was found new is kept beside it."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.fuzz import targets
from tests.fuzz.scratch import MEMORY

ROOT: Final = Path(__file__).resolve().parent.parent.parent
WORK: Final = Path(".fuzz")
"""Below the root and not in git: what earlier runs have found, to go on from."""

LONGEST_INPUT_BYTES: Final = 20_000
SLOWEST_SECONDS: Final = 10
MEMORY_MIB: Final = 1_500
STARTING_SECONDS: Final = 180
"""How long a process may take to import everything and to read its corpus, and to say goodbye."""


@dataclass(frozen=True)
class Outcome:
    """What became of one target: ``new`` inputs reached what none had before; ``crash`` names the file, "" if none."""

    target: str
    seconds: float
    executions: int
    new: int
    crash: str
    log: str


def can_fuzz() -> bool:
    """Whether atheris is here; without it the targets can still be run on their corpus."""
    return find_spec("atheris") is not None


def fuzz(
    names: Sequence[str],
    *,
    seconds: float,
    jobs: int,
    root: Path = ROOT,
    work: Path = WORK,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Iterator[Outcome]:
    """Fuzz these targets for ``seconds`` in all, ``jobs`` at once; each outcome as soon as it is there."""
    share = max(1, round(seconds * jobs / len(names)))
    with ThreadPoolExecutor(jobs) as pool:
        for outcome in pool.map(lambda name: _fuzz_one(name, share, root, root / work), names):
            progress(outcome)
            yield outcome


def _fuzz_one(name: str, seconds: int, root: Path, work: Path) -> Outcome:
    found, crashes, kept = work / "corpus" / name, work / "crashes" / name, targets.CORPUS / name
    for folder in (found, crashes, kept):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    started = time.monotonic()
    command = [
        *(sys.executable, "-m", "tests.fuzz.worker", targets.family(name), name),
        *(f"-max_total_time={seconds}", f"-timeout={SLOWEST_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}"),
        *(f"-max_len={LONGEST_INPUT_BYTES}", "-print_final_stats=1", "-verbosity=1", f"-artifact_prefix={crashes}/"),
        *(str(found), str(kept)),
    ]
    memory = str(MEMORY) if MEMORY.is_dir() else None
    try:
        with tempfile.TemporaryDirectory(prefix="cs-fuzz-", dir=memory) as scratch:
            ended = subprocess.run(
                command,
                cwd=root,
                env={**os.environ, "TMPDIR": scratch},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds + STARTING_SECONDS + SLOWEST_SECONDS,
                check=False,
            )
        log, code = (ended.stdout + ended.stderr).decode("utf-8", "replace"), ended.returncode
    except subprocess.TimeoutExpired as error:
        said = ((error.stdout or b"") + (error.stderr or b"")).decode("utf-8", "replace")
        log, code = f"{said}\nNo end within {error.timeout} seconds.", -1
    new_crashes = sorted(set(crashes.iterdir()) - before)
    crash = str(new_crashes[0].relative_to(root)) if new_crashes else "" if code == 0 else f"exit code {code}"
    return Outcome(
        name,
        time.monotonic() - started,
        _stat(log, "number_of_executed_units"),
        _stat(log, "new_units_added"),
        crash,
        log,
    )


def _stat(log: str, name: str) -> int:
    """A figure that libFuzzer prints at its end; after a crash it may be missing."""
    found = re.findall(rf"stat::{name}:\s+(\d+)", log)
    if found:
        return int(found[-1])
    counted = re.findall(r"^#(\d+)\s", log, re.MULTILINE)
    return int(counted[-1]) if counted and name == "number_of_executed_units" else 0


def keep(name: str, root: Path = ROOT, work: Path = WORK) -> int:
    """Add to the kept corpus of a target what a run has found and nothing kept reaches; how many inputs."""
    found, kept = root / work / "corpus" / name, targets.CORPUS / name
    before = len(targets.corpus(name))
    kept.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.worker",
            targets.family(name),
            name,
            "-merge=1",
            "-max_len=600",
            str(kept),
            str(found),
        ],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    return len(targets.corpus(name)) - before
