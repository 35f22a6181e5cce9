"""What the documents show in a terminal is what happens there."""

import socket
import sys
from pathlib import Path

import pytest

from tests.clusters import DOCUMENT, here, pair
from tests.consoles import Step, Terminal, matches, steps

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def play(walk: list[Step], folder: Path) -> None:
    """Type every command in a folder, and compare what is printed."""
    desk, bank, page = (str(free_port()) for _ in range(3))
    # Another copy of this test may hold the default ports; where a command names none, it is told here.
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "GNUPGHOME": "/nonexistent"}
    terminal = Terminal(folder, environment)
    try:
        for step in walk:
            command = step.command.replace("9464", page)
            if command.startswith("ca init"):
                command += f" --listen 127.0.0.1:{desk}"
            if command.startswith("bank init"):
                command += f" --listen 127.0.0.1:{bank} --authority 127.0.0.1:{desk}"
            printed = terminal.run(command)
            expected = tuple(
                line.replace("7402", desk).replace("7401", bank).replace("9464", page) for line in step.expected
            )
            assert matches(expected, printed), "\n".join([f"$ {command}", *printed, "--- expected:", *expected])
    finally:
        terminal.close()


def test_the_walk_through_the_four_stages_and_the_screen_of_the_readme(short_tmp: Path) -> None:
    """docs/stages.md, from its first command to its last, in an empty folder; then what README.md shows of Alice."""
    walk = steps((ROOT / "docs" / "stages.md").read_text())
    screen = steps((ROOT / "README.md").read_text())
    assert walk
    assert screen
    play([*walk, Step("export CUSTOMER_HOME=alice", ()), *screen], short_tmp)


@pytest.mark.timeout(600)  # some seventy commands, each a process of its own
def test_the_ceremony_with_its_mistakes_renewal_and_revocation(short_tmp: Path) -> None:
    """docs/ceremony.md, from its first command to its last, in an empty folder."""
    walk = steps((ROOT / "docs" / "ceremony.md").read_text())
    assert walk
    play(walk, short_tmp)


@pytest.mark.timeout(300)
def test_trial_23_backup_and_restore_as_an_operator_types_them(short_tmp: Path) -> None:
    """docs/operations.md, from its first command to its last, in an empty folder."""
    walk = steps((ROOT / "docs" / "operations.md").read_text())
    assert walk
    play(walk, short_tmp)


@pytest.mark.timeout(300)
def test_trial_25_several_servers_as_operators_type_them(short_tmp: Path) -> None:
    """docs/high-availability.md, from its first command to its last, on the two database servers that it describes."""
    second = str(free_port())
    with pair() as machines:

        def placed(text: str) -> str:
            return here(text, machines.places).replace("7411", second)

        walk = [
            Step(placed(step.command), tuple(placed(line) for line in step.expected))
            for step in steps(DOCUMENT.read_text())
        ]
        assert walk
        play(walk, short_tmp)


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        (("a", "…", "b"), ["a", "x", "y", "b"], True),
        (("a", "…", "b"), ["a", "b"], True),
        (("…",), [], True),
        (("…",), ["x", "y"], True),
        (("a … c",), ["a b c"], True),
        (("a", "…", "b"), ["a", "x"], False),
        (("a",), ["a", "b"], False),
        ((), ["x"], False),
        (("a … c",), ["a b d"], False),
        (("…", "[exit code 1]"), ["no", "[exit code 1]"], True),
        (("…", "[exit code 1]"), ["no"], False),
        (("at 2026-01-31T09:30:00Z",), ["at 2027-02-28T10:00:00Z"], True),
        (("at 2026-01-31T09:30:00Z",), ["at noon"], False),
    ],
)
def test_a_session_that_prints_something_else_is_noticed(
    expected: tuple[str, ...], printed: list[str], fits: bool
) -> None:
    """The comparison itself, in both directions."""
    assert matches(expected, printed) is fits
