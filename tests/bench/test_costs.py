"""What a transfer costs is guarded by counts, which no busy machine changes: statements, fsyncs, processes, calls."""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from customer import conversing
from protocol.messages import NumberedReceipt
from protocol.stages import Stage
from tests.bank.ledgers import Bank
from tests.bench.counts import strace
from tests.bench.held import post_held
from tests.bench.orders import Signer, signing_key
from tests.bench.run import Skipped
from tests.bench.usual import PLAYED_BY
from tests.system import crafted
from tests.system.programs import program
from tests.system.town import Town, standing, submit

ORDERS = 100
STATEMENTS_A_BATCH = 10
FSYNCS_A_BATCH = 6
"""One is the commit's and two are those of the newest head beside the ledger; an idle moment after it costs more."""
CALLS_A_POSTED_ORDER = 5
CALLS_A_TRANSFER = 150
"""Over a session in the stage certified, those of gpg included; 60 when this was written."""

_WAITING = frozenset({"futex", "sched_yield", "clock_nanosleep", "restart_syscall", "exit", "exit_group"})
"""Calls whose number depends on what else the machine does."""
_CALL = re.compile(r"^\d+ +(?P<call>[a-z]\w*)\(", re.MULTILINE)


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests that need strace are skipped where it does not run."""
    try:
        strace(tmp_path_factory.mktemp("strace") / "log")
    except Skipped as skipped:
        pytest.skip(str(skipped))


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL statements of this process."""
    found: list[str] = []

    def before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", before)


def posted_with(folder: Path, orders: int, *, apart: bool = False) -> list[str]:
    """The statements with which so many orders are posted."""
    marks: dict[str, int] = {}
    folder.mkdir()
    with statements() as found:

        def around(mark: str, _: Bank) -> None:
            marks[mark] = len(found)

        post_held(folder, orders, around, apart=apart)
    return found[marks["begin"] : marks["end"]]


def test_a_batch_takes_as_many_statements_whatever_its_size(short_tmp: Path) -> None:
    few, many = posted_with(short_tmp / "few", 10), posted_with(short_tmp / "many", ORDERS)
    assert [each.split()[0] for each in few] == [each.split()[0] for each in many]
    assert 0 < len(many) <= STATEMENTS_A_BATCH, "\n".join(many)
    # The honest twin: orders that are posted one by one take more.
    assert len(posted_with(short_tmp / "apart", 10, apart=True)) > 5 * len(few)


@pytest.mark.usefixtures("tracer")
@pytest.mark.parametrize("apart", [False, True])
def test_a_batch_of_a_hundred_orders_takes_few_fsyncs_and_system_calls(short_tmp: Path, apart: bool) -> None:
    log = short_tmp / "calls"
    command = [sys.executable, "-m", "tests.bench.held", str(short_tmp), str(ORDERS), *(["apart"] if apart else [])]
    subprocess.run([*traced(log), *command], check=True, capture_output=True, timeout=100)
    _, _, after = log.read_text().partition('write(2, "begin\\n"')
    batch, end, _ = after.partition('write(2, "end\\n"')
    assert end
    found = calls_in(batch)
    fsyncs, calls = found["fsync"] + found["fdatasync"], found.total()
    if apart:
        assert fsyncs >= ORDERS
        assert calls > CALLS_A_POSTED_ORDER * ORDERS
    else:
        assert 1 <= fsyncs <= FSYNCS_A_BATCH, found
        assert calls <= CALLS_A_POSTED_ORDER * ORDERS, found


@pytest.mark.usefixtures("tracer")
def test_a_hundred_certified_transfers_start_no_process_and_take_few_system_calls(town: Town, short_tmp: Path) -> None:
    found = transferred(town, short_tmp, (program("bank"),), ORDERS)
    assert not found["execve"] + found["vfork"] + found["fork"], found
    assert 0 < found.total() <= CALLS_A_TRANSFER * ORDERS, found


@pytest.mark.usefixtures("tracer")
def test_the_usual_way_starts_a_process_for_each_verification_and_each_receipt(town: Town, short_tmp: Path) -> None:
    """What the benchmark compares with is what it is called, and processes that are started are counted."""
    found = transferred(town, short_tmp, PLAYED_BY, 5)
    assert found["execve"] >= 10, found
    assert found.total() > CALLS_A_TRANSFER * 5


def transferred(town: Town, folder: Path, played_by: tuple[str, ...], count: int) -> Counter[str]:
    """The system calls of a server while Alice makes so many transfers in an open session."""
    log = folder / "calls"
    with standing(town, folder, minimum=Stage.CERTIFIED) as stand:
        stand.stop()
        stand.played_by = (*traced(log), *played_by)
        stand.start()
        alice = stand.person("alice")
        with alice.opened() as home:
            signer, certificate = Signer(signing_key(home.keys, home.key)), crafted.certificate(home)
            contents = [crafted.order(stand, f"t-{place}", certificate=certificate) for place in range(count + 1)]
            messages = [signer.sign(content, int(time.time())) for content in contents]
            with conversing.conversation(home, Stage.CERTIFIED) as talk:
                assert isinstance(talk.ask(submit(messages[0]))[0], NumberedReceipt)
                begin = len(log.read_bytes())
                answers = talk.ask(*map(submit, messages[1:]))
                end = len(log.read_bytes())
        assert all(isinstance(answer, NumberedReceipt) for answer in answers), answers[0]
    return calls_in(log.read_bytes()[begin:end].decode("utf-8", "replace"))


def traced(log: Path) -> tuple[str, ...]:
    """What is put before a command so that all its calls are written down."""
    return ("strace", "-D", "-f", "-qq", "-s", "16", "-o", str(log))


def calls_in(log: str) -> Counter[str]:
    """How often each call was begun, those left out that only wait."""
    return Counter(call["call"] for call in _CALL.finditer(log) if call["call"] not in _WAITING)
