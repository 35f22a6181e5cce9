"""Messages that are wrong in one way each: the worker and the one-off process refuse them by the same rule."""

import subprocess
import time
from pathlib import Path

import pytest

from keyring.home import Home
from keyring.opened import Opened
from keyring.packets import split
from keyring.process import run
from keyring.verdict import Expectation, Rejected, Sealed, SignedByCustomer
from keyring.worker import Worker, open_once
from tests.keyring.cast import ORDER, Cast, assert_opens, rule_of, seal_to
from tests.keyring.parties import ALWAYS, DAY, certified, new_party, small_home, succeeded


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
