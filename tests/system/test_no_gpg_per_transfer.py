"""Inside an open session the bank starts no process for a transfer, whatever the stage."""

import shutil
from pathlib import Path

import pytest

from customer import conversing
from keyring import messages as openpgp
from protocol.messages import NumberedReceipt
from protocol.stages import Stage
from tests.system import crafted
from tests.system.town import Stand, submit

TRANSFERS = 50
PROGRAMS = ("gpg", "gpg-agent", "gpgconf", "gpg-connect-agent", "gpgsm")


def counting_programs(folder: Path) -> tuple[Path, Path]:
    """A folder of programs that write a line each time they are started and then are GnuPG's own; and those lines."""
    programs, lines = folder / "programs", folder / "started"
    programs.mkdir()
    lines.touch()
    for name in PROGRAMS:
        real = shutil.which(name)
        if real is not None:
            wrapper = programs / name
            wrapper.write_text(f'#!/bin/sh\necho "{name} $*" >>"{lines}"\nexec "{real}" "$@"\n')
            wrapper.chmod(0o700)
    return programs, lines


@pytest.mark.parametrize("stage", [Stage.SESSION, Stage.SIGNED])
def test_fifty_transfers_in_a_session_start_no_process(stand: Stand, stage: Stage) -> None:
    alice = stand.ready("alice", stage)
    programs, lines = counting_programs(stand.folder)
    stand.stop()
    stand.environment["PATH"] = f"{programs}:/usr/local/bin:/usr/bin:/bin"
    stand.start()

    def started() -> int:
        return len(lines.read_text().splitlines())

    assert started() > 0, "the server's own start is counted"
    with alice.opened() as home:
        orders = [crafted.order(stand, f"order-{number}") for number in range(TRANSFERS + 1)]
        if stage.orders_are_signed:
            orders = [openpgp.sign(home.keys, home.key, content) for content in orders]
        before_session = started()
        with conversing.conversation(home, stage) as talk:
            talk.ask(submit(orders[0]))
            before = started()
            for order in orders[1:]:
                (answer,) = talk.ask(submit(order))
                assert isinstance(answer, NumberedReceipt)
            assert started() == before, lines.read_text()
    # The honest twin: what does start a process is counted.
    assert before > before_session
    assert len(stand.entries()) == 2 + TRANSFERS + 1
