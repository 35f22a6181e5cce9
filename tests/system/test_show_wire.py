"""`customer send --show-wire` shows every step of its stage to whoever studies it, and never a secret."""

import base64
import os
import re
from collections.abc import Callable

import pytest

from customer.home import World
from protocol.stages import Stage
from tests.system.town import Stand

SHOWN = {
    Stage.PASSWORD: ("sealed under the password", "symmetric-key", "The answer inside"),
    Stage.SESSION: ("The opening, signed", "public-key", "HKDF-SHA256", "Record sent", "nobody signs"),
    Stage.SIGNED: ("The order, signed", "HKDF-SHA256", "Record received", "nonce counter: 0"),
    Stage.CERTIFIED: ("The order, signed", "HKDF-SHA256", "Record received", 'stage: "certified"'),
}


@pytest.mark.parametrize("stage", list(Stage))
def test_trial_44_the_wire_is_shown_step_by_step_and_without_a_secret(stand: Stand, stage: Stage) -> None:
    alice = stand.ready("alice", stage)
    drawn: list[bytes] = []
    honest = os.urandom

    def remembered(count: int) -> bytes:
        drawn.append(honest(count))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("customer.home.World.__init__.__defaults__", _with_random(remembered))
        shown = alice.send_here("--show-wire", stage=stage).out
    for part in SHOWN[stage]:
        assert part in shown, shown
    numbers = [int(each) for each in re.findall(r"^ *(\d+)\. [A-Z]", shown, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    paper = stand.town.letter("alice")
    for secret in (paper.password, paper.password.split(" ", 1)[1], paper.caller_code):
        assert secret not in shown
    if stage.has_session:
        assert "(secret, not shown)" in shown
        session_keys = [each for each in drawn if len(each) == 32]
        assert session_keys
        for key in session_keys:
            assert all(form not in shown for form in _spellings(key))
    # Otherwise it is the same transfer, and without the option nothing of this is said.
    assert "Posted." in shown
    assert "Frame sent" not in alice.send(stage=stage).out
    assert paper.password not in stand.log.read_text()


def _with_random(random: Callable[[int], bytes]) -> tuple[object, ...]:
    defaults = World.__init__.__defaults__ or ()
    return tuple(random if each is os.urandom else each for each in defaults)


def _spellings(key: bytes) -> tuple[str, ...]:
    return (key.hex(), key.hex().upper(), base64.b64encode(key).decode(), str(list(key)))
