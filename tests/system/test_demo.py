"""The demonstration leaves nothing behind, also when somebody ends it in the middle."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

DEMO = Path(__file__).parents[2] / "docs" / "demo.py"


def below(folder: Path) -> list[str]:
    """The command lines of living processes that name the folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_demonstration_that_is_ended_leaves_no_server_and_no_folder(short_tmp: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "TMPDIR": str(short_tmp)}
    # Whoever runs the tests under nohup has SIGHUP ignored, and what a program is started with, it keeps.
    command = ["env", f"--default-signal={number.name.removeprefix('SIG')}", sys.executable, str(DEMO)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        assert demo.stdout
        seen = iter(demo.stdout)
        assert any(line.startswith("The desk listens") for line in seen)
        assert below(short_tmp)
        demo.send_signal(number)
        rest = "".join(seen)
        assert demo.wait(30) == 130
    assert "was interrupted" in rest
    assert "Traceback" not in rest
    assert below(short_tmp) == []
    assert list(short_tmp.iterdir()) == []


def test_a_file_is_not_taken_for_the_folder_to_keep(short_tmp: Path) -> None:
    taken = short_tmp / "file"
    taken.write_text("mine")
    done = subprocess.run(
        [sys.executable, str(DEMO), "--keep", str(taken)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "name a new folder" in done.stderr
    assert taken.read_text() == "mine"
