"""The real `bank serve` on a disk that is watched: each change is noted for later, or may be made to fail.

Usage: python watched_bank.py record TRACE PRAGMAS serve …, or: fail ORDERS PRAGMAS serve … PRAGMAS are statements for
each connection to the ledger, apart by semicolons, or "-".
"""

import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event

from bank import sqlite
from bank.cli import main
from protocol import messages
from protocol.frames import Frame
from protocol.messages import NumberedReceipt
from protocol.receipts import decode_entry
from protocol.records import Channel
from tests.trials.durability.failing_disk import FailingDisk
from tests.trials.durability.power import Recorder
from tests.trials.durability.watched_disk import watch


def set_pragmas(pragmas: list[str]) -> None:
    """After those of the bank itself."""
    plain = sqlite.file_engine

    def engine(path: Path, *, writes: bool) -> Any:
        made = plain(path, writes=writes)

        @event.listens_for(made, "connect")
        def prepare(connection: Any, _record: object) -> None:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}").close()

        return made

    sqlite.file_engine = engine


def note_receipts(recorder: Recorder) -> None:
    """A receipt is noted before its first byte is sent: from then on somebody may have it."""
    plain = Channel.seal

    def seal(self: Channel, content: bytes) -> Frame:
        if b'"receipt"' in content:
            answer = messages.decode_answer(content)
            if isinstance(answer, NumberedReceipt):
                entry = decode_entry(answer.receipt.entry)
                name = f"{entry.debtor}/{entry.transfer_identifier}"
                recorder.told(name, answer.receipt.index, answer.receipt.entry)
        return plain(self, content)

    Channel.seal = seal  # type: ignore[method-assign]


if __name__ == "__main__":
    mode, file, pragmas = sys.argv[1:4]
    sys.argv[1:4] = []
    home = Path(sys.argv[sys.argv.index("--home") + 1])
    if pragmas != "-":
        set_pragmas(pragmas.split(";"))
    if mode == "record":
        recorder = Recorder(Path(file))
        note_receipts(recorder)
        watch(home, recorder)
    else:
        watch(home, FailingDisk(Path(file)))
    main()
