"""One gpg for many messages: each trap of ``--multifile --decrypt`` is laid here, with real GnuPG."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from keyring.asked import Asked
from keyring.errors import EngineError
from keyring.home import Home
from keyring.opened import Opened
from keyring.process import run
from keyring.verdict import Accepted, Expectation, Rejected, Sealed, SignedByBank
from keyring.worker import GROUP, MESSAGE_LIMIT_BYTES, Worker, open_once
from keyring.worker_set import WorkerSet
from tests.conftest import gnupg_processes_below
from tests.keyring.cast import ORDER, Cast, assert_opens, rule_of, seal_to, verdict_rules
from tests.keyring.parties import ALWAYS, DAY, certified, new_party, small_home, succeeded


def folder_of(worker: Worker) -> Path:
    return worker._folder


def is_alive(worker: Worker) -> bool:
    return worker.alive  # a call, lest mypy remember the answer


def pid_of(worker: Worker) -> int:
    assert worker._gpg is not None
    return worker._gpg.process.pid


def test_one_process_opens_many_messages(worker: Worker, cast: Cast) -> None:
    assert not is_alive(worker)
    found = worker.open(cast.alice.make("--sign", content=ORDER, faked_time=ALWAYS + DAY), cast.by_alice)
    assert found == Opened(ORDER, Accepted(cast.alice.fingerprint, cast.alice.fingerprint, ALWAYS + DAY))
    assert is_alive(worker)
    first = pid_of(worker)
    for content in (b"", b"\r\n\x00\xff", b"x" * 900_000):
        assert_opens(worker, cast, content)
    assert pid_of(worker) == first
    assert list(folder_of(worker).iterdir()) == []


def test_its_folder_is_private_and_goes_with_it(cast: Cast) -> None:
    worker = Worker(cast.judges)
    assert_opens(worker, cast)
    folder, process = folder_of(worker), pid_of(worker)
    assert folder.stat().st_mode & 0o777 == 0o700
    worker.close()
    assert not folder.exists()
    assert not worker.alive
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    worker.close()


def test_a_bad_signature_is_refused_and_ends_nothing(worker: Worker, cast: Cast) -> None:
    """With --batch gpg would exit here; and its output file holds the changed content before the verdict."""
    assert_opens(worker, cast)
    first = pid_of(worker)
    message = cast.alice.make("--sign", content=ORDER)
    found = worker.open(message.replace(b"25.00", b"99.00"), cast.by_alice)
    assert rule_of(found) == "undamaged"
    assert list(folder_of(worker).iterdir()) == []
    assert_opens(worker, cast)
    assert pid_of(worker) == first


def test_an_output_name_that_is_taken_is_refused_and_the_next_one_is_fresh(worker: Worker, cast: Cast) -> None:
    assert_opens(worker, cast)
    message = cast.alice.make("--sign", content=ORDER)
    (folder_of(worker) / "2").mkdir()
    assert rule_of(worker.open(message, cast.by_alice)) == "engine"
    (folder_of(worker) / "3").write_bytes(b"stale")
    assert rule_of(worker.open(message, cast.by_alice)) == "engine"
    assert_opens(worker, cast)


def test_content_that_gpg_does_not_save_is_refused(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    message = cast.alice.make("--set-filename", "_CONSOLE", "--sign", content=ORDER)
    with Worker(cast.judges) as worker:
        assert rule_of(worker.open(message, cast.by_alice)) == "literal-name"
    sealed = seal_to(cast.bob, cast, "--set-filename", "_CONSOLE")
    with Worker(cast.bob.home) as worker:
        assert rule_of(worker.open(sealed, Sealed())) == "saved-plaintext"
        # And if the name were not known: what is not there is not read.
        rules = tuple(rule for rule in verdict_rules() if rule.__name__ != "saved_plaintext")
        monkeypatch.setattr("keyring.verdict.RULES", {Sealed: rules})
        assert rule_of(worker.open(sealed, Sealed())) == "output"


def test_a_message_that_is_too_long_does_not_reach_gpg(worker: Worker, cast: Cast) -> None:
    message = cast.alice.make("--sign", content=b"x" * MESSAGE_LIMIT_BYTES)
    assert rule_of(worker.open(message, cast.by_alice)) == "size"
    assert rule_of(open_once(cast.judges, message, cast.by_alice)) == "size"
    assert not worker.alive


def test_a_compressed_bomb_inside_a_sealed_message_is_cut_off(cast: Cast) -> None:
    bomb = succeeded(
        run(
            cast.judges,
            *("-z", "9", "--compress-algo", "zlib", "--cipher-algo", "AES256"),
            *("--trust-model", "always", "--recipient", cast.bob.fingerprint, "--encrypt"),
            stdin=bytes(15_000_000),
        )
    ).output
    assert len(bomb) < 100_000
    with Worker(cast.bob.home) as worker:
        assert rule_of(worker.open(bomb, Sealed())) == "content-size"
        assert list(folder_of(worker).iterdir()) == []
        found = worker.open(seal_to(cast.bob, cast), Sealed())
        assert found == Opened(ORDER, Accepted("", "", 0))
    assert rule_of(open_once(cast.bob.home, bomb, Sealed())) == "content-size"


def contents(found: Sequence[Opened | Rejected]) -> list[bytes | str]:
    """What each message said, or the rule by which it was rejected."""
    return [each.content if isinstance(each, Opened) else each.rule for each in found]


def test_messages_opened_together_are_each_judged_by_themselves(worker: Worker, cast: Cast) -> None:
    """More than a group of them, with wrong ones in between: each answer is about its own message."""
    assert_opens(worker, cast)
    first = pid_of(worker)
    orders = [cast.alice.make("--sign", content=b"order %d" % place) for place in range(GROUP + 4)]
    expected: list[bytes | str] = [b"order %d" % place for place in range(len(orders))]
    for place, message, rule in (
        (2, cast.alice.make("--sign", content=ORDER).replace(b"25.00", b"99.00"), "undamaged"),
        (5, orders[5] + orders[6], "one-signature"),
        (GROUP + 1, cast.bob.make("--sign", content=ORDER), "signer"),
    ):
        orders[place] = message
        expected[place] = rule
    found = worker.open_all(orders, cast.by_alice)
    assert contents(found) == expected
    assert pid_of(worker) == first
    assert list(folder_of(worker).iterdir()) == []
    assert worker.open_all([], cast.by_alice) == []


def test_trial_32_a_process_that_dies_among_messages_opened_together_decides_over_none(
    worker: Worker, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked again one by one, by another process."""
    assert_opens(worker, cast)
    first = pid_of(worker)
    orders = [cast.alice.make("--sign", content=b"order %d" % place) for place in range(3)]
    honest = Asked.wait

    def die(asked: Asked) -> None:
        gpg = worker._gpg
        if len(asked._names) > 1 and gpg is not None:
            gpg.process.kill()
            gpg.process.wait()
        honest(asked)

    monkeypatch.setattr(Asked, "wait", die)
    assert contents(worker.open_all(orders, cast.by_alice)) == [b"order 0", b"order 1", b"order 2"]
    assert pid_of(worker) != first
    assert list(folder_of(worker).iterdir()) == []


@pytest.mark.parametrize("change", ["swapped", "one-missing", "one-twice"])
def test_trial_32_verdicts_out_of_step_decide_nothing(
    change: str, worker: Worker, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bad order's verdict stands in the other's place, or none stands there: then both are asked by themselves."""
    bad = cast.alice.make("--sign", content=ORDER).replace(b"25.00", b"99.00")
    orders = [cast.alice.make("--sign", content=ORDER), bad]
    honest = os.read
    asked: list[bytes] = []

    def read(descriptor: int, size: int) -> bytes:
        piece = honest(descriptor, size)
        gpg = worker._gpg
        if gpg is None or descriptor != gpg.status or len(asked) > 0:
            return piece
        while piece.count(b"FILE_DONE\n") < 2:
            piece += honest(descriptor, size)
        asked.append(piece)
        one, two, _ = (part + b"FILE_DONE\n" for part in piece.split(b"FILE_DONE\n"))
        return {"swapped": two + one, "one-missing": two + two, "one-twice": one + one + two}[change]

    monkeypatch.setattr("keyring.asked.os.read", read)
    assert contents(worker.open_all(orders, cast.by_alice)) == [ORDER, "undamaged"]
    assert len(asked) == 1


def test_trial_32_a_hung_process_is_replaced_after_the_time_limit(cast: Cast) -> None:
    with Worker(cast.judges, timeout_seconds=0.3) as worker:
        assert_opens(worker, cast)
        hung = pid_of(worker)
        os.kill(hung, signal.SIGSTOP)
        message = cast.alice.make("--sign", content=ORDER)
        before = time.monotonic()
        assert rule_of(worker.open(message, cast.by_alice)) == "engine"
        assert 0.3 <= time.monotonic() - before < 3
        assert not worker.alive
        assert list(folder_of(worker).iterdir()) == []
        assert_opens(worker, cast)
        assert pid_of(worker) != hung


def test_trial_32_a_process_killed_in_flight_means_refusal_and_a_new_one(worker: Worker, cast: Cast) -> None:
    assert_opens(worker, cast)
    killed = pid_of(worker)
    os.kill(killed, signal.SIGSTOP)
    message = cast.alice.make("--sign", content=ORDER)
    found: list[Opened | Rejected] = []
    opening = threading.Thread(target=lambda: found.append(worker.open(message, cast.by_alice)))
    opening.start()
    while not list(folder_of(worker).glob("*.gpg")):  # until the message is in flight
        time.sleep(0.001)
    os.kill(killed, signal.SIGKILL)
    opening.join()
    assert rule_of(found[0]) == "engine"
    assert_opens(worker, cast)


def test_trial_32_a_process_killed_between_two_messages_costs_nothing(worker: Worker, cast: Cast) -> None:
    assert_opens(worker, cast)
    assert worker._gpg is not None
    worker._gpg.process.kill()
    worker._gpg.process.wait()
    assert not worker.alive
    assert_opens(worker, cast)


@pytest.mark.parametrize("said", ["[GNUPG:] FILE_START 3 9.gpg", "[GNUPG:] GOODMDC\\n[GNUPG:] FILE_START 3 1.gpg"])
def test_an_answer_out_of_step_is_refused(
    said: str, cast: Cast, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gpg that answers for another message, with all that acceptance takes; and, as the twin, one that does not."""
    message = cast.alice.make("--sign", content=ORDER)
    lines = run(cast.judges, "--decrypt", stdin=message).status.decode().strip().replace("\n", "\\n")
    (short_tmp / "gpg").touch(mode=0o700)
    monkeypatch.setenv("PATH", f"{short_tmp}:{os.environ['PATH']}")
    for start, rule in ((said, "engine"), ("[GNUPG:] FILE_START 3 1.gpg", None)):
        (short_tmp / "gpg").write_text(
            "#!/bin/bash\n"
            'for word; do [ "$before" = --status-fd ] && STATUS=$word; before=$word; done\n'
            f"read -r name; printf order > 1; printf '{start}\\n{lines}\\n[GNUPG:] FILE_DONE\\n' >&$STATUS; cat\n"
        )
        with Worker(cast.judges) as worker:
            found = worker.open(message, cast.by_alice)
        assert (found.rule if isinstance(found, Rejected) else None) == rule


def test_a_home_replaced_whole_is_noticed(cast: Cast, short_tmp: Path) -> None:
    path = small_home(short_tmp / "home", cast.authority, certified(cast.authority, cast.alice)).path
    small_home(short_tmp / "next", cast.authority, cast.bob.export())
    message = cast.alice.make("--sign", content=ORDER)
    with Worker(Home.open(path)) as worker:
        assert isinstance(worker.open(message, cast.by_alice), Opened)
        path.rename(short_tmp / "old")
        (short_tmp / "next").rename(path)
        assert rule_of(worker.open(message, cast.by_alice)) == "checkable"
        succeeded(run(Home.open(path), "--import", stdin=cast.alice.export()))
        assert rule_of(worker.open(message, cast.by_alice)) == "trust"


def test_a_signing_subkey_imported_later_is_seen(cast: Cast, short_tmp: Path) -> None:
    bank = new_party(short_tmp / "bank", "Bank")
    home = small_home(short_tmp / "home", cast.authority, certified(cast.authority, bank))
    with Worker(home) as worker:
        by_primary = SignedByBank(bank.fingerprint, frozenset({bank.fingerprint}), certified=True)
        assert isinstance(worker.open(bank.make("--sign", content=ORDER), by_primary), Opened)
        subkey = bank.add_subkey("ed25519", "sign")
        succeeded(run(home, "--import", stdin=bank.export()))
        message = succeeded(run(bank.home, "-z", "0", "--local-user", f"{subkey}!", "--sign", stdin=ORDER)).output
        by_bank = SignedByBank(bank.fingerprint, frozenset({subkey}), certified=True)
        found = worker.open(message, by_bank)
        assert isinstance(found, Opened)
        assert (found.verdict.primary, found.verdict.signing) == (bank.fingerprint, subkey)
        assert rule_of(worker.open(message, by_primary)) == "signing-key"
    bank.home.stop()


def test_threads_take_turns(worker: Worker, cast: Cast) -> None:
    messages = {content: cast.alice.make("--sign", content=content) for content in (b"1", b"2", b"3", b"4")}
    wrong: list[object] = []

    def ask(content: bytes) -> None:
        for _ in range(10):
            found = worker.open(messages[content], cast.by_alice)
            if not isinstance(found, Opened) or found.content != content:
                wrong.append(found)

    threads = [threading.Thread(target=ask, args=(content,)) for content in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_worker_answers_by_a_process_for_the_message_alone(cast: Cast) -> None:
    worker = Worker(cast.judges)
    worker.close()
    assert_opens(worker, cast)
    assert not worker.alive
    assert rule_of(worker.open(cast.bob.make("--sign", content=ORDER), cast.by_alice)) == "signer"


def test_a_set_keeps_the_workers_used_last(cast: Cast) -> None:
    workers = WorkerSet(2)
    first, second = workers.get("1", cast.judges), workers.get("2", cast.judges)
    assert workers.get("1", cast.judges) is first
    assert_opens(second, cast)
    third = workers.get("3", cast.judges)
    assert len(workers) == 2
    assert not second.alive, "the one not used for the longest time made room"
    assert workers.get("1", cast.judges) is first
    assert_opens(third, cast)
    assert workers.get("3", cast.bob.home) is not third, "another home, another worker"
    assert not third.alive
    assert_opens(first, cast)
    workers.evict("1")
    workers.evict("nobody")
    assert not first.alive
    workers.close()
    assert len(workers) == 0
    with pytest.raises(EngineError):
        workers.get("1", cast.judges)


def test_its_folder_may_be_put_where_its_owner_clears(cast: Cast, short_tmp: Path) -> None:
    """A server that is killed outright clears what its workers left at its next start."""
    with Worker(cast.judges, scratch=short_tmp) as worker:
        assert folder_of(worker).parent == short_tmp
        assert_opens(worker, cast)


def test_a_sealed_message_is_asked_about_again_where_the_agent_was_ended(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends the agent of a home, ends it between any two steps of gpg."""
    asked: list[bytes] = []

    def ask(worker: Worker, messages: Sequence[bytes], expected: Expectation) -> list[Opened | Rejected]:
        asked.extend(messages)
        if len(asked) == 1:
            cast.alice.home.stop()
            return [Rejected("opened-by-key", "The message was not opened with exactly one of our keys.")]
        return honest(worker, messages, expected)

    honest = Worker._ask
    monkeypatch.setattr(Worker, "_ask", ask)
    with Worker(cast.alice.home) as worker:
        found = worker.open(seal_to(cast.alice, cast), Sealed())
        assert isinstance(found, Opened)
        assert found.content == ORDER
        assert len(asked) == 2
        stranger = worker.open(seal_to(cast.bob, cast), Sealed())
    assert rule_of(stranger) == "opened-by-key"
    assert len(asked) == 4


def test_trial_32_a_worker_whose_agent_was_killed_opens_the_next_message(cast: Cast) -> None:
    """gpg itself never comes back to an agent: it goes on asking the one that it has known."""
    sealed = seal_to(cast.alice, cast)
    with Worker(cast.alice.home) as worker:
        assert isinstance(worker.open(sealed, Sealed()), Opened)
        for agent in gnupg_processes_below(cast.alice.home.path):
            if agent.pid != pid_of(worker):
                agent.kill()
                psutil.wait_procs([agent], timeout=10)
        for _ in range(2):
            assert isinstance(worker.open(sealed, Sealed()), Opened)
