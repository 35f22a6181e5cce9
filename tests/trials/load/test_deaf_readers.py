"""Whoever asks and never reads costs the bank a bounded buffer, and then the connection."""

from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from bank import sessions
from protocol import messages
from protocol.codes import Status
from protocol.frames import Frame
from protocol.link import Link
from protocol.messages import AskStatement, Statement
from protocol.stages import Stage
from tests.bank.counter import BALANCE, Counter, Talk, at_counter, entry_of
from tests.bank.town import SECONDS, Town
from tests.trials.load.bank_process import Tell, bank_process

DEAF = 25
LINES = 500
REQUESTS = 64
MEBIBYTE = 1024 * 1024


def fill(counter: Counter, talk: Talk, lines: int) -> None:
    """Bookings with long descriptions, so that a page of the statement is long."""
    made = [counter.submission(talk.person, f"line-{n}", talk.stage, description="x" * 140) for n in range(lines)]
    for start in range(0, lines, 50):
        talk.send(*made[start : start + 50])
        assert all(entry_of(talk.answer()).status is Status.SETTLED for _ in made[start : start + 50])


def ask_for_much(talk: Talk) -> None:
    """As many pages at once as a session may ask for, in one piece."""
    asked = [AskStatement(after=0, lines=LINES, number=number) for number in range(REQUESTS)]
    frames = [talk.channel.seal(messages.encode(request)) for request in asked]
    talk.connection.send(*frames, timeout_seconds=SECONDS)


def test_trial_39_answers_leave_in_pieces_and_in_order(
    town: Town, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PIECE_BYTES", 20_000)
    pieces: list[int] = []
    honest = Link.send

    async def send(self: Link, *frames: Frame, timeout_seconds: float) -> None:
        pieces.append(sum(len(frame.body) for frame in frames))
        await honest(self, *frames, timeout_seconds=timeout_seconds)

    monkeypatch.setattr(Link, "send", send)
    with at_counter(town, short_tmp) as counter, counter.session(town.alice, Stage.SESSION) as talk:
        fill(counter, talk, 30)
        pieces.clear()
        ask_for_much(talk)
        found = [talk.answer() for _ in range(REQUESTS)]
        assert [each.number for each in found if isinstance(each, Statement)] == list(range(REQUESTS))
        one = len(messages.encode(found[0])) + 100 if isinstance(found[0], Statement) else 0
        assert sum(pieces) > 64 * 30 * 140
        assert max(pieces) < 20_000 + one


@pytest.mark.measured
@pytest.mark.timeout(300)
def test_trial_39_readers_that_never_read_fill_no_memory_and_are_cut_off(
    town: Town, short_tmp: Path, tell: Tell
) -> None:
    with (
        bank_process(town, short_tmp, limits={"send_seconds": 5.0}) as (counter, process),
        counter.session(town.bob, Stage.SESSION) as other,
        ExitStack() as stack,
    ):
        other.ask(BALANCE)
        with counter.session(town.alice, Stage.SESSION) as talk:
            fill(counter, talk, LINES)
            before = process.memory_info().rss
            page = len(messages.encode(talk.ask(AskStatement(after=0, lines=LINES, number=1))))
        for _ in range(DEAF):
            ask_for_much(stack.enter_context(counter.session(town.alice, Stage.SESSION)))
        most, posted = 0, 0
        while _connections(process) > 1:
            paid = other.pay(f"meanwhile-{posted}", creditor="1001", amount="0.01")
            assert paid.transfer_identifier == f"meanwhile-{posted}"
            most, posted = max(most, process.memory_info().rss), posted + 1
            assert posted < 100_000
        tell(
            f"trial 39: {DEAF} sessions asked for {DEAF * REQUESTS * page / MEBIBYTE:.0f} MiB and read nothing: "
            f"{(most - before) / MEBIBYTE:.0f} MiB more in memory at most, all cut off; {posted} transfers meanwhile"
        )
        # What a session holds: a piece, an answer and their copies on the way; the rest is the interpreter's.
        assert most - before < DEAF * 4 * MEBIBYTE
        assert posted > 0


def _connections(process: psutil.Process) -> int:
    """Open conversations of the server."""
    return sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections("tcp"))
