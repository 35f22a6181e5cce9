"""The log of the server: its events are named, no line is forged, and it neither grows nor ends unseen."""

import ast
import json
import logging
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from bank import journal
from bank.figures import EVENTS, Counting, Figures
from bank.journal import note
from protocol.codes import Reason

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    journal.close()


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_event_is_named_and_every_name_is_of_an_event() -> None:
    noted = set()
    for path in (ROOT / "bank").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("note", "journal.note"):
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: name the event itself"
                noted.add(node.args[0].value)
    assert noted | {"suppressed"} == set(journal.EVENTS)
    assert all(sentence.endswith(".") for sentence in journal.EVENTS.values())


def test_every_event_has_its_row_in_the_page_for_operators() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    table = page.partition("| event | what it says |\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert table == [f"| `{event}` | {sentence} |" for event, sentence in journal.EVENTS.items()]


def test_a_line_is_one_object_whatever_strangers_put_into_it() -> None:
    stream = StringIO()
    journal.configure(stream, verbose=False)
    note("malformed", peer="a\nb\x1b[2J\u2028", field="x" * 10_000, number=3, nothing=None)
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert list(found) == ["time", "level", "event", "peer", "field", "number", "nothing"]
    assert (found["level"], found["event"], found["peer"]) == ("info", "malformed", "a\nb\x1b[2J\u2028")
    assert len(found["field"]) == journal.VALUE_CHARACTERS
    assert line.isascii()
    assert "\x1b" not in line


@pytest.mark.parametrize(("level", "priority"), [(10, "<7>"), (20, "<6>"), (30, "<4>"), (40, "<3>"), (50, "<2>")])
def test_journald_gets_the_priority_before_the_same_line(level: int, priority: str) -> None:
    stream = StringIO()
    journal.configure(stream, verbose=True, style="systemd")
    note("refused", level=level, reason="busy")
    assert stream.getvalue().startswith(f'{priority}{{"time": ')
    assert json.loads(stream.getvalue().removeprefix(priority))["reason"] == "busy"


def test_a_log_that_was_moved_away_is_made_anew_and_is_private(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('{"event": "earlier"}\n')
    mask = os.umask(0)
    try:
        journal.configure(log, verbose=False)
        note("serving")
        log.rename(tmp_path / "log.1")
        note("stopped")
    finally:
        os.umask(mask)
    assert [line["event"] for line in lines((tmp_path / "log.1").read_text())] == ["earlier", "serving"]
    assert [line["event"] for line in lines(log.read_text())] == ["stopped"]
    assert log.stat().st_mode & 0o777 == 0o600


class Minutes:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now * 60


def limited(per_minute: int) -> tuple[journal.Limited, StringIO, Minutes]:
    stream, clock = StringIO(), Minutes()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(journal.JsonLines())
    made = journal.Limited(handler, per_minute, clock)
    made.setLevel(logging.INFO)
    journal.LOGGER.addHandler(made)
    journal.LOGGER.setLevel(logging.INFO)
    return made, stream, clock


def test_a_flood_of_one_event_is_cut_counted_and_told_and_hides_no_other() -> None:
    made, stream, clock = limited(3)
    for number in range(100):
        note("refused", number=number)
    note("serving")
    assert [line["event"] for line in lines(stream.getvalue())] == [*["refused"] * 3, "serving"]
    clock.now = 0.9
    made.settle()
    assert len(lines(stream.getvalue())) == 4
    clock.now = 1.0
    made.settle()
    made.settle()
    told = lines(stream.getvalue())[4:]
    assert [(line["event"], line["level"], line["of"], line["lines"]) for line in told] == [
        ("suppressed", "warning", "refused", 97)
    ]
    note("refused", number=100)
    assert lines(stream.getvalue())[-1]["number"] == 100


def test_what_was_left_out_is_told_by_the_next_line_and_at_the_end() -> None:
    _, stream, clock = limited(1)
    note("refused")
    note("refused")
    clock.now = 5
    note("serving")
    assert [line["event"] for line in lines(stream.getvalue())] == ["refused", "suppressed", "serving"]
    note("serving")
    journal.close()
    assert lines(stream.getvalue())[-1]["of"] == "serving"


def test_as_many_lines_as_are_allowed_are_all_written_and_nothing_is_told() -> None:
    made, stream, clock = limited(3)
    for _ in range(3):
        note("refused")
    clock.now = 1
    made.settle()
    assert [line["event"] for line in lines(stream.getvalue())] == ["refused"] * 3


def test_what_is_not_written_is_counted_still() -> None:
    _, stream, _ = limited(1)
    figures = Figures(2)
    journal.listen(Counting(figures.tallies[1]))
    journal.listen(Counting(figures.tallies[0]))  # the one before does not count any more
    for _ in range(5):
        note("refused", reason=Reason.BUSY.value)
        note("session-opened", level=10, stage="signed")
    assert figures.sum(EVENTS) == (5, 5, 0, 0, 0)
    assert figures.tallies[1].get(EVENTS) == (0, 0, 0, 0, 0)
    assert [line["event"] for line in lines(stream.getvalue())] == ["refused"]
