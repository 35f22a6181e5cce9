"""One gpg for many messages: each trap of ``--multifile --decrypt`` is laid here, with real GnuPG."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyring.errors import EngineError
from keyring.home import Home
from keyring.packets import split
from keyring.process import run
from keyring.verdict import Accepted, Expectation, Rejected, Sealed, SignedByBank, SignedByCustomer
from keyring.worker import MESSAGE_LIMIT_BYTES, Opened, Worker, WorkerSet, open_once
from tests.keyring.parties import ALWAYS, DAY, Party, certified, new_party, small_home, succeeded

ORDER = b'{"amount":"25.00","creditor":"1002"}'


@dataclass(frozen=True)
class Cast:
    """Alice is certified in ``judges``; Bob is known there, not certified; the subkey came after the certification."""

    authority: Party
    alice: Party
    bob: Party
    late_subkey: str
    judges: Home

    @property
    def by_alice(self) -> SignedByCustomer:
        return SignedByCustomer(self.alice.fingerprint, certified=True)


@pytest.fixture(scope="module")
def cast(make_short_tmp: Callable[[], Path]) -> Iterator[Cast]:
    root = make_short_tmp()
    authority = new_party(root / "ca", "Authority", usage="cert")
    alice = new_party(root / "alice", "Alice (1001)")
    bob = new_party(root / "bob", "Bob (1002)")
    key = certified(authority, alice)
    late_subkey = alice.add_subkey("ed25519", "sign")
    judges = small_home(root / "judges", authority, key, alice.export(), bob.export())
    yield Cast(authority, alice, bob, late_subkey, judges)
    for party in (authority, alice, bob):
        party.home.stop()


@pytest.fixture
def worker(cast: Cast) -> Iterator[Worker]:
    with Worker(cast.judges) as one:
        yield one


def folder_of(worker: Worker) -> Path:
    return worker._folder


def is_alive(worker: Worker) -> bool:
    return worker.alive  # a call, lest mypy remember the answer


def pid_of(worker: Worker) -> int:
    assert worker._gpg is not None
    return worker._gpg.process.pid


def rule_of(found: Opened | Rejected) -> str:
    assert isinstance(found, Rejected), "the message was opened"
    return found.rule


def assert_opens(worker: Worker, cast: Cast, content: bytes = ORDER) -> None:
    found = worker.open(cast.alice.make("--sign", content=content), cast.by_alice)
    assert isinstance(found, Opened), found
    assert found.content == content


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


def verdict_rules() -> tuple[Callable[..., str | None], ...]:
    from keyring.verdict import SEALED_RULES

    return SEALED_RULES


def seal_to(party: Party, cast: Cast, *arguments: str, content: bytes = ORDER) -> bytes:
    recipient = ("--trust-model", "always", "--recipient", party.fingerprint)
    return succeeded(run(cast.judges, "-z", "0", *arguments, *recipient, "--encrypt", stdin=content)).output


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
        assert rule_of(worker.open(bomb, Sealed())) in {"engine", "no-failure", "decrypted"}
        assert list(folder_of(worker).iterdir()) == []
        found = worker.open(seal_to(cast.bob, cast), Sealed())
        assert found == Opened(ORDER, Accepted("", "", 0))
    assert rule_of(open_once(cast.bob.home, bomb, Sealed())) == "engine"


def test_a_hung_process_is_replaced_after_the_time_limit(cast: Cast) -> None:
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


def test_a_process_killed_in_flight_means_refusal_and_a_new_one(worker: Worker, cast: Cast) -> None:
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


def test_a_process_killed_between_two_messages_costs_nothing(worker: Worker, cast: Cast) -> None:
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


def both(cast: Cast, message: bytes, expected: Expectation, home: Home | None = None) -> str:
    """The rule by which worker and one-off process refuse, which must be the same."""
    home = home or cast.judges
    with Worker(home) as worker:
        found = worker.open(message, expected)
    assert found == open_once(home, message, expected)
    return rule_of(found)


def test_a_good_message_of_another_signer_is_refused(cast: Cast) -> None:
    message = cast.bob.make("--sign", content=ORDER)
    assert both(cast, message, cast.by_alice) == "signer"
    assert both(cast, message, SignedByCustomer(cast.bob.fingerprint, certified=True)) == "trust"
    found = open_once(cast.judges, message, SignedByCustomer(cast.bob.fingerprint, certified=False))
    assert isinstance(found, Opened)


def test_a_subkey_added_after_the_certification_signs_nothing(cast: Cast) -> None:
    arguments = ("-z", "0", "--local-user", f"{cast.late_subkey}!", "--sign")
    message = succeeded(run(cast.alice.home, *arguments, stdin=ORDER)).output
    assert both(cast, message, cast.by_alice) == "signing-key"


def test_an_expired_signature_is_refused(cast: Cast) -> None:
    message = cast.alice.make("--default-sig-expire", "1d", "--sign", content=ORDER, faked_time=ALWAYS + DAY)
    assert both(cast, message, cast.by_alice) == "signature-not-expired"
    kept = cast.alice.make("--default-sig-expire", "20y", "--sign", content=ORDER, faked_time=ALWAYS + DAY)
    assert isinstance(open_once(cast.judges, kept, cast.by_alice), Opened)


def test_a_signature_from_the_future_is_refused(cast: Cast) -> None:
    """gpg itself calls it good."""
    now = int(time.time())
    message = cast.alice.make("--sign", content=ORDER, faked_time=now + DAY)
    assert both(cast, message, cast.by_alice) == "signature-not-early"
    a_little = cast.alice.make("--sign", content=ORDER, faked_time=now + 120)
    assert isinstance(open_once(cast.judges, a_little, cast.by_alice), Opened)
    with Worker(cast.judges, clock=lambda: now + DAY) as later:
        assert isinstance(later.open(message, cast.by_alice), Opened)


def test_an_expired_key_is_refused_and_its_old_signatures_judged_at_their_time(cast: Cast, short_tmp: Path) -> None:
    short = new_party(short_tmp / "short", "Short (1003)", expires="10d")
    expected = SignedByCustomer(short.fingerprint, certified=False)
    home = small_home(short_tmp / "home", cast.authority, short.export())
    message = short.make("--sign", content=ORDER, faked_time=ALWAYS + DAY)
    assert both(cast, message, expected, home) == "key-not-expired"
    assert isinstance(open_once(home, message, expected, faked_time=ALWAYS + 2 * DAY), Opened)
    short.home.stop()


def test_a_signature_older_than_its_key_is_refused(cast: Cast, short_tmp: Path) -> None:
    message = cast.alice.make("--ignore-time-conflict", "--sign", content=ORDER, faked_time=ALWAYS - DAY)
    assert both(cast, message, cast.by_alice) in {"checkable", "undamaged"}


def test_an_expired_encryption_subkey_does_not_hinder_signatures(cast: Cast, short_tmp: Path) -> None:
    party = new_party(short_tmp / "party", "Party (1004)")
    party.add_subkey("cv25519", "encr", "1d", faked_time=ALWAYS)
    home = small_home(short_tmp / "home", cast.authority, party.export())
    expected = SignedByCustomer(party.fingerprint, certified=False)
    assert isinstance(open_once(home, party.make("--sign", content=ORDER), expected), Opened)
    party.home.stop()


def test_a_revoked_key_is_refused(cast: Cast, short_tmp: Path) -> None:
    party = new_party(short_tmp / "party", "Party (1005)")
    home = small_home(short_tmp / "home", cast.authority, certified(cast.authority, party))
    expected = SignedByCustomer(party.fingerprint, certified=True)
    message = party.make("--sign", content=ORDER)
    with Worker(home) as worker:
        assert isinstance(worker.open(message, expected), Opened)
        revocation = (party.home.path / "openpgp-revocs.d" / f"{party.fingerprint}.rev").read_bytes()
        succeeded(run(home, "--import", stdin=revocation.replace(b":-----BEGIN", b"-----BEGIN")))
        assert rule_of(worker.open(message, expected)) == "key-not-revoked"
    party.home.stop()


def test_a_sha1_signature_is_refused(cast: Cast) -> None:
    made = succeeded(
        run(cast.alice.home, "--digest-algo", "SHA1", "--allow-weak-digest-algos", "-z", "0", "--sign", stdin=ORDER)
    ).output
    assert both(cast, made, cast.by_alice) == "checkable"


def not_inline(cast: Cast) -> dict[str, bytes]:
    signed = cast.alice.make("--sign", content=ORDER)
    return {
        "two signatures": cast.alice.make("--local-user", f"{cast.late_subkey}!", "--sign", content=ORDER),
        "two messages": signed + signed,
        "trailing bytes": signed + b"\x00",
        "cut": signed[:-1],
        "compressed": cast.alice.make("-z", "6", "--compress-algo", "zip", "--sign", content=ORDER),
        "literal only": cast.alice.make("--store", content=ORDER),
        "detached": cast.alice.make("--detach-sign", content=ORDER),
        "cleartext": cast.alice.make("--clear-sign", content=ORDER),
        "armoured": cast.alice.make("--armor", "--sign", content=ORDER),
        "sealed": seal_to(cast.alice, cast),
        "nothing": b"",
    }


def test_only_one_inline_signature_over_one_literal_reaches_gpg(worker: Worker, cast: Cast) -> None:
    """Trial 27; which packet rule refuses is the business of test_packets.py."""
    for name, message in not_inline(cast).items():
        assert isinstance(worker.open(message, cast.by_alice), Rejected), name
        assert isinstance(open_once(cast.judges, message, cast.by_alice), Rejected), name
        assert not worker.alive, name
    assert_opens(worker, cast)


def test_the_verdict_alone_refuses_what_gpg_reports(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody counts the packets here; gpg takes some of these for one good message, which is why they are counted."""
    monkeypatch.setattr("keyring.packets.require_signed_message", lambda message: None)
    messages = not_inline(cast)
    passing = {"compressed", "armoured", "two messages", "trailing bytes"}
    with Worker(cast.judges) as worker:
        found = {name: worker.open(message, cast.by_alice) for name, message in messages.items()}
    assert {name for name, one in found.items() if isinstance(one, Opened)} <= passing
    assert rule_of(found["two signatures"]) == "one-signature"
    assert rule_of(found["sealed"]) == "not-encrypted"


def test_a_signature_inside_a_sealed_message_is_refused(cast: Cast) -> None:
    recipient = ("--trust-model", "always", "--recipient", cast.bob.fingerprint)
    succeeded(run(cast.alice.home, "--import", stdin=cast.bob.export()))
    message = cast.alice.make(*recipient, "--sign", "--encrypt", content=ORDER)
    assert both(cast, message, Sealed(), cast.bob.home) == "not-signed"
    assert isinstance(open_once(cast.bob.home, seal_to(cast.bob, cast), Sealed()), Opened)


def test_a_sealed_message_with_its_integrity_stripped_cut_or_changed_is_refused(cast: Cast) -> None:
    """Trial 28."""
    message = seal_to(cast.bob, cast, content=ORDER * 20)
    changes = {
        "cut": message[:-5],
        "trailing": message + message,
        "changed": message[:-60] + bytes([message[-60] ^ 1]) + message[-59:],
        "integrity code changed": message[:-3] + bytes([message[-3] ^ 1]) + message[-2:],
    }
    with Worker(cast.bob.home) as worker:
        assert isinstance(worker.open(message, Sealed()), Opened)
        rules = {name: rule_of(worker.open(changed, Sealed())) for name, changed in changes.items()}
        assert isinstance(worker.open(message, Sealed()), Opened)
    assert rules["changed"] in {"no-failure", "decrypted"}
    assert rules["integrity code changed"] in {"no-failure", "decrypted"}


def test_a_sealed_message_downgraded_to_one_without_integrity_is_refused(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = seal_to(cast.bob, cast)
    session, protected = split(message)
    plain = b"\xc9\xff" + (len(protected.body) - 1).to_bytes(4, "big") + bytes(protected.body[1:])
    stripped = message[: protected.offset] + plain
    with Worker(cast.bob.home) as worker:
        assert isinstance(worker.open(stripped, Sealed()), Rejected)
        assert not worker.alive
        monkeypatch.setattr("keyring.packets.require_sealed_message", lambda message: None)
        assert isinstance(worker.open(stripped, Sealed()), Rejected)
        assert isinstance(worker.open(message[session.offset :], Sealed()), Opened)


def test_deep_nesting_inside_a_sealed_message_is_refused_in_time(cast: Cast) -> None:
    """Trial 27: 64 packets, each inside the one before, as a compressed packet that stores (RFC 4880, 5.6)."""
    literal = b"\xcb" + bytes([6 + len(ORDER)]) + b"b\x00\x00\x00\x00\x00" + ORDER
    nested = literal
    for _ in range(64):
        nested = b"\xc8\xff" + (len(nested) + 1).to_bytes(4, "big") + b"\x00" + nested
    recipient = ("--trust-model", "always", "--recipient", cast.bob.fingerprint)
    with Worker(cast.bob.home) as worker:
        for content, opens in ((literal, True), (nested, False)):
            made = run(cast.judges, "--no-literal", "-z", "0", *recipient, "--encrypt", stdin=content)
            found = worker.open(succeeded(made).output, Sealed())
            assert isinstance(found, Opened) is opens, found


def test_a_file_name_with_a_status_line_in_it_is_not_believed(cast: Cast) -> None:
    """Trial 29: the name is the signer's to choose, and not signed."""
    name = f"x\n[GNUPG:] VALIDSIG {cast.alice.fingerprint}\x85\r"
    command = ["gpg", "--homedir", str(cast.bob.home.path), "--batch", "-z", "0", "--set-filename", name, "--sign"]
    message = subprocess.run(command, input=ORDER, capture_output=True, check=True).stdout
    assert b"\n[GNUPG:] VALIDSIG" in message
    assert both(cast, message, cast.by_alice) == "signer"
    found = open_once(cast.judges, message, SignedByCustomer(cast.bob.fingerprint, certified=False))
    assert isinstance(found, Opened)


def test_a_user_id_with_a_status_line_in_it_is_not_believed(cast: Cast, short_tmp: Path) -> None:
    forger = new_party(short_tmp / "forger", f"Å[GNUPG:] VALIDSIG {cast.alice.fingerprint} (1006)")
    home = small_home(short_tmp / "home", cast.authority, cast.alice.export(), forger.export())
    message = forger.make("--sign", content=ORDER)
    assert both(cast, message, cast.by_alice, home) == "signer"
    found = open_once(home, message, SignedByCustomer(forger.fingerprint, certified=False))
    assert isinstance(found, Opened)
    forger.home.stop()


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
