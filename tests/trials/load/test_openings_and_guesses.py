"""What strangers send before anyone knows who they are costs a bounded amount, and keeps nobody out."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from keyring import messages as openpgp
from protocol import canonical
from protocol.codes import Reason, Status
from protocol.frames import Frame, FrameType
from protocol.messages import Balance, Open
from protocol.secret import Secret
from protocol.stages import Stage
from tests.bank.counter import BALANCE, Counter, at_counter, eventually
from tests.bank.town import Town
from tests.trials.load.attack import attacked, processor_seconds
from tests.trials.load.bank_process import Tell, bank_process, percentile

RECIPIENTS = 16
"""As many as pass the check of packets."""

SECONDS = 8.0
HONEST_SECONDS = 5.0
ATTEMPTS = 3


def junk_opening(counter: Counter) -> Frame:
    """An opening to as many recipients as may be, of which one looks like the bank's key and costs gpg-agent a try."""
    sealed = counter.seal(b"{}")
    end = 2 + sealed[1]
    recipients = [bytearray(sealed[: end - 8] + bytes(8)) for _ in range(RECIPIENTS)]
    for place, recipient in enumerate(recipients):
        recipient[10] ^= place  # the last byte of the key ID, which may be there once
    junk = b"".join(recipients) + sealed[end:]
    return Frame(FrameType.OPEN, canonical.encode(Open(sealed=junk, stage=Stage.SESSION)))


def guesses(counter: Counter, number: int) -> list[Frame]:
    """Password messages under wrong passwords."""
    town = counter.town

    def sealed(guess: Secret) -> Callable[[bytes], bytes]:
        return lambda content: openpgp.seal_with_password(town.view, guess, content)

    made = [
        counter.password_frame(town.alice, BALANCE, seal=sealed(Secret(f"guess {place}".encode())))
        for place in range(4)
    ]
    return [made[place % len(made)] for place in range(number)]


def one_address(_: int) -> str:
    return "127.1.0.1"


def twenty_addresses(place: int) -> str:
    return f"127.1.0.{place % 20 + 1}"


def test_trial_37_a_recipient_named_twice_is_refused_before_gpg_is_asked(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp) as counter:
        sealed = counter.seal(b"{}")
        end = 2 + sealed[1]
        opening = Frame(
            FrameType.OPEN, canonical.encode(Open(sealed=sealed[:end] * RECIPIENTS + sealed[end:], stage=Stage.SESSION))
        )
        assert counter.refusal(opening) == (Reason.MALFORMED, "sealed")
        assert not counter.server.opener.sealed_worker.alive
        counter.refusal(junk_opening(counter))
        assert counter.server.opener.sealed_worker.alive


def test_trial_37_a_crowd_of_openings_from_one_address_keeps_no_other_address_out(town: Town, short_tmp: Path) -> None:
    """The crowd is longer than its turns last: were it one line, who comes last would be told busy."""
    limits = {"openings_at_once": 1, "wait_seconds": 20.0}
    with at_counter(town, short_tmp, limits=limits) as counter, counter.session(town.alice, Stage.SESSION) as talk:
        turns = counter.server.opener.turns
        with attacked(counter, [junk_opening(counter)] * 30, one_address) as attack:
            eventually(lambda: len(turns._waiting.get("127.1.0.1", ())) > 20, 60)
            served = attack.told.total()
            with counter.session(town.bob, Stage.SESSION) as honest:
                overtaken = attack.told.total() - served
                assert isinstance(honest.ask(BALANCE), Balance)
            # Heads go on being signed by the agent that the crowd keeps busy.
            assert talk.pay("in-the-crowd").status is Status.SETTLED
        assert overtaken < 15
        assert set(attack.told) <= {"FF01", "busy"}


def test_trial_43_the_right_password_is_heard_among_guesses_from_everywhere(town: Town, short_tmp: Path) -> None:
    with at_counter(town, short_tmp, limits={"wait_seconds": 20.0}) as counter:
        right = counter.password_frame(town.alice, BALANCE)
        with attacked(counter, guesses(counter, 10), twenty_addresses) as attack:
            eventually(lambda: attack.told.total() > 3, 60)
            assert isinstance(counter.opened(town.alice, counter.say(right)), Balance)
        assert set(attack.told) <= {"password", "busy"}
        # Nobody is locked out: after any number of guesses the next right one is heard, too.
        assert isinstance(counter.ask(town.alice, BALANCE), Balance)


@pytest.mark.measured
@pytest.mark.timeout(300)
def test_trial_37_hundreds_of_openings_with_junk_recipients_cost_a_bounded_time(
    town: Town, short_tmp: Path, tell: Tell
) -> None:
    with bank_process(town, short_tmp) as (counter, process), counter.session(town.alice, Stage.SESSION) as talk:
        junk, opened = junk_opening(counter), []
        for _ in range(ATTEMPTS):
            before, paid = processor_seconds(process), []
            with attacked(counter, [junk] * 200, one_address) as attack:
                until = time.monotonic() + SECONDS
                while time.monotonic() < until:
                    started = time.monotonic()
                    assert talk.pay(f"in-the-flood-{time.time_ns()}", amount="0.01").status is Status.SETTLED
                    paid.append(time.monotonic() - started)
                started = time.monotonic()
                with counter.session(town.bob, Stage.SESSION) as honest:
                    assert isinstance(honest.ask(BALANCE), Balance)
                opened.append(time.monotonic() - started)
            tell(
                f"trial 37: {attack.told.total() / attack.seconds:.0f} junk openings a second by 200 strangers "
                f"({dict(attack.told)}), the slowest answered after {max(attack.waits):.1f} s, "
                f"{(processor_seconds(process) - before) / attack.seconds:.2f} cores of the server's own; "
                f"{len(paid)} transfers meanwhile, p99 {percentile(paid, 99) * 1000:.0f} ms; "
                f"an honest opening took {opened[-1]:.2f} s"
            )
            assert len(paid) >= 3
            assert set(attack.told) <= {"FF01", "busy"}
            if opened[-1] < HONEST_SECONDS:
                break
        assert min(opened) < HONEST_SECONDS, opened


@pytest.mark.measured
@pytest.mark.timeout(300)
def test_trial_43_guessing_occupies_one_core_at_most_and_the_right_password_is_heard_within_five_seconds(
    town: Town, short_tmp: Path, tell: Tell
) -> None:
    with bank_process(town, short_tmp) as (counter, process), counter.session(town.bob, Stage.SESSION) as other:
        wrong, slowest, most = guesses(counter, 100), [], []
        for _ in range(ATTEMPTS):
            running: list[int] = []
            stop = threading.Event()
            watcher = threading.Thread(target=lambda stop=stop, running=running: _count(process, running, stop))
            with attacked(counter, wrong, twenty_addresses) as attack:
                watcher.start()
                until = time.monotonic() + SECONDS
                took: list[float] = []
                while time.monotonic() < until:
                    right = counter.password_frame(town.alice, BALANCE)
                    started = time.monotonic()
                    assert isinstance(counter.opened(town.alice, counter.say(right)), Balance)
                    took.append(time.monotonic() - started)
                    assert isinstance(other.ask(BALANCE), Balance)
                stop.set()
                watcher.join()
            most.append(max(running))
            slowest.append(max(took))
            tell(
                f"trial 43: {attack.told.total() / attack.seconds:.0f} guesses a second from 20 addresses "
                f"({dict(attack.told)}), at most {most[-1]} gpg at once for them; the right password {len(took)} times "
                f"meanwhile, the slowest after {slowest[-1]:.2f} s"
            )
            assert set(attack.told) <= {"password", "busy"}
            if slowest[-1] < HONEST_SECONDS:
                break
        assert min(slowest) < HONEST_SECONDS, slowest
        assert max(most) <= 1, "guesses are tried one at a time"


def _count(process: psutil.Process, running: list[int], stop: threading.Event) -> None:
    """How many of the server's children try a password, looked at again and again."""
    while not stop.wait(0.02):
        found = 0
        for child in process.children():
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            found += "--passphrase-fd" in words
        running.append(found)
