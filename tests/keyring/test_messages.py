"""What we make is exactly what the other side takes, and a passphrase that is missing or wrong is told apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyring import messages
from keyring.errors import EngineError, HomeError, KeyringError, PassphraseError, UnsuitableKey
from keyring.home import Home
from keyring.messages import open_with_password, seal, seal_with_password, sign
from keyring.opened import Opened
from keyring.packets import require_password_message, require_sealed_message, require_signed_message
from keyring.process import run
from keyring.verdict import Accepted, Rejected, Sealed, SignedByCustomer
from keyring.worker import open_once
from protocol.secret import Secret
from tests.keyring.parties import ALWAYS, DAY, Party, new_party, succeeded

CONTENT = b'{"amount":"25.00"}\r\n\x00\xff'
PASSPHRASE = Secret(b"correct horse")
PASSWORD = Secret(b"tissue absurd chisel almighty")
NOBODY = "0" * 40


@dataclass(frozen=True)
class Cast:
    """Alice's key is unprotected, Bob's has a passphrase; ``publics`` holds both public keys and no secret ones."""

    alice: Party
    bob: Home
    bob_fingerprint: str
    publics: Home


@pytest.fixture(scope="module")
def cast(make_short_tmp: Callable[[], Path]) -> Iterator[Cast]:
    root = make_short_tmp()
    alice = new_party(root / "alice", "Alice (1001)")
    bob = Home.create(root / "bob", own_keys=True)
    arguments = ("--quick-gen-key", "Bob (1002)", "ed25519", "sign,cert", "0")
    made = succeeded(run(bob, *arguments, passphrase=PASSPHRASE))
    publics = Home.create(root / "publics", own_keys=False)
    for home in (alice.home, bob):
        succeeded(run(publics, "--import", stdin=run(home, "--export").output))
    yield Cast(alice, bob, made.status.partition(b"KEY_CREATED P ")[2][:40].decode(), publics)
    alice.home.stop()
    bob.stop()


@pytest.fixture
def forgetful(cast: Cast) -> Home:
    """Bob's home with an agent that remembers no passphrase and has no pinentry chosen."""
    (cast.bob.path / "gpg-agent.conf").write_text("extra-socket none\nbrowser-socket none\ndisable-scdaemon\n")
    cast.bob.stop()
    return cast.bob


def test_a_signed_message_is_taken_as_signed(cast: Cast) -> None:
    for content in (CONTENT, b"", bytes(900_000)):
        message = sign(cast.alice.home, cast.alice.fingerprint, content)
        require_signed_message(message)
        found = open_once(cast.publics, message, SignedByCustomer(cast.alice.fingerprint, certified=False))
        assert isinstance(found, Opened)
        assert found.content == content


def test_the_primary_key_signs_also_where_there_is_a_signing_subkey(short_tmp: Path) -> None:
    party = new_party(short_tmp / "party", "Alice (1001)")
    party.add_subkey("ed25519", "sign")
    message = sign(party.home, party.fingerprint, CONTENT)
    found = open_once(party.home, message, SignedByCustomer(party.fingerprint, certified=False))
    assert isinstance(found, Opened)
    party.home.stop()


def test_a_passphrase_opens_the_key_and_a_wrong_one_is_said_to_be_wrong(cast: Cast, forgetful: Home) -> None:
    with pytest.raises(PassphraseError, match="does not open the private key") as caught:
        sign(forgetful, cast.bob_fingerprint, CONTENT, Secret(b"wrong"))
    assert "wrong" not in str(caught.value)
    require_signed_message(sign(forgetful, cast.bob_fingerprint, CONTENT, PASSPHRASE))
    require_signed_message(sign(forgetful, cast.bob_fingerprint, CONTENT))  # the agent remembers it


ANSWERS = {
    "right": "echo D correct horse; echo OK",
    "wrong": "echo D something else; echo OK",
    "cancelled": "echo ERR 83886179 Operation cancelled",
}


def give_pinentry(home: Home, program: Path, answer: str) -> None:
    cases = f"GETPIN) {ANSWERS[answer]};; BYE) echo OK; exit;; *) echo OK;;"
    program.write_text(f"#!/bin/sh\necho OK\nwhile read -r word rest; do case $word in {cases} esac; done\n")
    program.chmod(0o700)
    with (home.path / "gpg-agent.conf").open("a") as conf:
        conf.write(f"pinentry-program {program}\n")


def test_without_passphrase_and_terminal_nobody_is_asked_and_the_option_is_named(
    cast: Cast, forgetful: Home, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_pinentry(forgetful, short_tmp / "pinentry", "right")
    monkeypatch.setattr(messages, "_terminal", lambda: False)
    with pytest.raises(PassphraseError, match="--passphrase-file"):
        sign(forgetful, cast.bob_fingerprint, CONTENT)


@pytest.mark.parametrize(
    ("answer", "told"),
    [("right", None), ("wrong", "does not open the private key"), ("cancelled", "--passphrase-file")],
)
def test_at_a_terminal_pinentry_asks(
    answer: str, told: str | None, cast: Cast, forgetful: Home, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_pinentry(forgetful, short_tmp / "pinentry", answer)
    monkeypatch.setattr(messages, "_terminal", lambda: True)
    if told is None:
        require_signed_message(sign(forgetful, cast.bob_fingerprint, CONTENT))
    else:
        with pytest.raises(PassphraseError, match=told):
            sign(forgetful, cast.bob_fingerprint, CONTENT)


def test_signing_without_the_secret_key_says_so(cast: Cast) -> None:
    with pytest.raises(UnsuitableKey, match="no usable private key"):
        sign(cast.alice.home, NOBODY, CONTENT)


def test_signing_where_no_agent_can_start_says_why(cast: Cast, short_tmp: Path) -> None:
    with pytest.raises(EngineError, match=r"No gpg-agent could be started .* meant to hold secret keys"):
        sign(cast.publics, cast.alice.fingerprint, CONTENT)


@pytest.mark.parametrize("name", ["", "alice", "028fc4019223b0bd440c72f0dce92dcf3efab5a3", "--armor", f"{NOBODY}\n"])
def test_only_a_whole_fingerprint_names_a_key(name: str, cast: Cast) -> None:
    for make in (sign, seal):
        with pytest.raises(UnsuitableKey, match="40 hexadecimal digits"):
            make(cast.alice.home, name, CONTENT)


def test_a_sealed_message_opens_for_its_recipient_only(cast: Cast) -> None:
    message = seal(cast.publics, cast.alice.fingerprint, CONTENT)
    require_sealed_message(message)
    assert open_once(cast.alice.home, message, Sealed()) == Opened(CONTENT, Accepted("", "", 0))
    assert isinstance(open_once(cast.bob, message, Sealed()), Rejected)


def test_nothing_is_sealed_to_a_key_that_cannot_receive(cast: Cast, short_tmp: Path) -> None:
    expired = new_party(short_tmp / "expired", "Carol (1003)", expires="10d")
    for home, fingerprint in (
        (cast.publics, NOBODY),
        (cast.publics, cast.bob_fingerprint),  # it has no encryption subkey
        (expired.home, expired.fingerprint),
    ):
        with pytest.raises(UnsuitableKey, match="Nothing can be encrypted"):
            seal(home, fingerprint, CONTENT)
    made = run(
        expired.home,
        *("--trust-model", "always", "--recipient", expired.fingerprint, "--encrypt"),
        stdin=CONTENT,
        faked_time=ALWAYS + DAY,
    )
    assert made.exit_code == 0, "the honest twin: in its days it could"
    expired.home.stop()


def test_a_message_under_a_password_opens_with_it_only(cast: Cast) -> None:
    message = seal_with_password(cast.publics, PASSWORD, CONTENT)
    require_password_message(message)
    assert open_with_password(cast.publics, PASSWORD, message) == Opened(CONTENT, Accepted("", "", 0))
    found = open_with_password(cast.publics, Secret(b"another"), message)
    assert isinstance(found, Rejected)
    assert found.rule == "decrypted"


def test_a_changed_message_under_a_password_is_refused(cast: Cast) -> None:
    message = seal_with_password(cast.publics, PASSWORD, CONTENT)
    for place in (3, 8, len(message) // 2, len(message) - 1):
        changed = message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :]
        assert isinstance(open_with_password(cast.publics, PASSWORD, changed), Rejected), place


def test_what_was_not_made_with_the_password_is_refused(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trial 27; first as it is, then as if nobody had counted the packets."""
    sealed = seal(cast.publics, cast.alice.fingerprint, CONTENT)
    literal = cast.alice.make("--store", content=CONTENT)
    signed = sign(cast.alice.home, cast.alice.fingerprint, CONTENT)
    for _ in range(2):
        for message in (sealed, literal, signed):
            assert isinstance(open_with_password(cast.publics, PASSWORD, message), Rejected)
        monkeypatch.setattr("keyring.packets.require_password_message", lambda message: None)


def test_a_message_for_password_and_key_alike_is_refused(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    recipient = ("--s2k-count", "65536", "--trust-model", "always", "--recipient", cast.alice.fingerprint)
    both = succeeded(
        run(cast.publics, "-z", "0", *recipient, "--encrypt", "--symmetric", stdin=CONTENT, passphrase=PASSWORD)
    ).output
    assert isinstance(open_with_password(cast.publics, PASSWORD, both), Rejected)
    monkeypatch.setattr("keyring.packets.require_password_message", lambda message: None)
    found = open_with_password(cast.publics, PASSWORD, both)
    assert isinstance(found, Rejected)
    assert found.rule == "no-recipient"


def test_a_home_with_secret_keys_opens_no_password_messages(cast: Cast) -> None:
    message = seal_with_password(cast.publics, PASSWORD, CONTENT)
    with pytest.raises(HomeError, match="without any"):
        open_with_password(cast.alice.home, PASSWORD, message)


def test_no_secret_is_told_in_an_error(cast: Cast) -> None:
    with pytest.raises(KeyringError) as caught:
        seal_with_password(cast.publics, Secret(b"one\ntwo"), CONTENT)
    assert "two" not in str(caught.value)
