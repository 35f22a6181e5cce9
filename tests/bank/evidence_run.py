"""Evidence is judged by sh with the commands of its own VERIFY.md, pasted into an empty home."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from protocol import evidence
from tests.bank.evidence_world import Files, World


@dataclass(frozen=True)
class Run:
    """What the shell said: the ``ok:`` lines in order, everything, and whether it came to the end."""

    passed: tuple[str, ...]
    output: str
    exit_code: int


Verify = Callable[..., Run]


def verifier(short_tmp: Path, world: World) -> Verify:
    """Runs the commands of the folder's VERIFY.md, all of them pasted into one shell."""

    def run(files: Files, *shell: str, commands: str | None = None, **known: str) -> Run:
        folder, home = short_tmp / "e", short_tmp / "h"
        for each in (folder, home):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir(mode=0o700)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        text = commands or "".join(evidence.commands(files[evidence.INSTRUCTIONS].decode()))
        fingerprints = {
            "AUTHORITY": world.authority.fingerprint,
            "BANK": world.bank.fingerprint,
            "CUSTOMER": world.alice.fingerprint,
        }
        done = subprocess.run(
            [*(shell or ("sh", "-e")), "-c", text],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **fingerprints, **known},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        output = done.stdout.decode()
        passed = tuple(line for line in output.splitlines() if line.startswith("ok:"))
        return Run(passed, output, done.returncode)

    return run


def accepted(files: Files, run: Run) -> bool:
    """Every step passed; the exit code and the lines agree about that."""
    complete = run.passed == evidence.require_folder(files).passed_lines()
    assert complete == (run.exit_code == 0), run.output
    return complete
