"""What gpg says of a group of messages counts whole or not at all, and nothing of the messages is left behind."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyring.asked import STATUS_LIMIT_BYTES, Asked
from keyring.verdict import Sealed

NAMES = ("a", "b")
MESSAGES = (b"one", b"two")
WHOLE = b"".join(b"[GNUPG:] FILE_START 3 %s.gpg\nsaid of it\n[GNUPG:] FILE_DONE\n" % name.encode() for name in NAMES)


class Stage:
    """Two messages asked of a gpg that says what the test writes into ``says``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        status, self.says = os.pipe()
        os.set_blocking(status, False)
        self.gpg = SimpleNamespace(status=status, names=io.BytesIO())
        self.ended: list[bool] = []
        self.asked = Asked(
            cast(Any, self.gpg),
            folder,
            NAMES,
            Sealed(),
            clock=lambda: 0.0,
            timeout_seconds=5.0,
            ended=lambda _, reliable: self.ended.append(reliable),
        )

    def heard(self, said: bytes) -> None:
        """All of it, in pieces that a pipe holds, as long as anybody listens."""
        for start in range(0, len(said), 4096):
            if self.is_over():
                return
            os.write(self.says, said[start : start + 4096])
            self.asked.hear()

    def is_over(self) -> bool:
        return self.asked.is_over

    def close(self) -> None:
        os.close(self.gpg.status)
        os.close(self.says)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def test_a_whole_verdict_is_waited_for_and_relied_on(stage: Stage) -> None:
    stage.asked.begin(MESSAGES)
    assert stage.gpg.names.getvalue() == b"a.gpg\nb.gpg\n"
    stage.heard(WHOLE[:-1])
    assert not stage.is_over()
    stage.heard(WHOLE[-1:])
    assert stage.is_over()
    assert stage.asked.is_reliable
    assert stage.asked.answers() is not None
    stage.asked.end()
    stage.asked.end()
    assert stage.ended == [True]


def test_a_verdict_without_an_end_is_given_up(stage: Stage) -> None:
    """Also if the last that is said would make it whole."""
    stage.asked.begin(MESSAGES)
    line = b"[GNUPG:] PROGRESS and so on\n"
    stage.heard(line * (STATUS_LIMIT_BYTES // len(line) - 1))
    assert not stage.is_over()
    stage.heard(line * 2 + WHOLE)
    assert stage.is_over()
    assert not stage.asked.is_reliable
    assert stage.asked.answers() is None
    stage.asked.end()
    assert stage.ended == [False]


def test_where_something_is_in_the_way_gpg_is_not_asked(stage: Stage) -> None:
    (stage.folder / "b").symlink_to("elsewhere")
    stage.asked.begin(MESSAGES)
    assert stage.gpg.names.getvalue() == b""
    assert stage.is_over()
    assert stage.asked.answers() is None
    stage.asked.end()
    assert stage.ended == [False]


def test_nothing_of_the_messages_is_left_behind(stage: Stage) -> None:
    stage.asked.begin(MESSAGES)
    assert {path.name: path.read_bytes() for path in stage.folder.iterdir()} == {"a.gpg": b"one", "b.gpg": b"two"}
    (stage.folder / "a").write_bytes(b"what gpg has opened")
    stage.asked.remove()
    assert not list(stage.folder.iterdir())
