"""The agent's answers are believed only as far as they are well formed, and a lost agent is asked once more."""

import hashlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SocketIO

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from keyring import agent as agent_module
from keyring import keys, process
from keyring.agent import Agent, EdwardsPublicKey, RsaPublicKey, follow_redirect, parse_expression
from keyring.errors import EngineError, KeyringError, PassphraseError
from keyring.home import Home
from protocol.secret import Secret

PASSPHRASE = Secret("  50% \u00fcber\n".strip().encode())
DIGEST = hashlib.sha256(b"content").digest()


@pytest.fixture(scope="module")
def bank(make_short_tmp: Callable[[], Path]) -> Iterator[tuple[Home, keys.BankKey]]:
    home = Home.create(make_short_tmp() / "k", own_keys=True)
    yield home, keys.new_bank_key(home, "Our Bank (bank)")
    home.stop()


@pytest.fixture(scope="module")
def protected(make_short_tmp: Callable[[], Path]) -> Iterator[tuple[Home, str]]:
    """A home with one Ed25519 key under PASSPHRASE, and the key's keygrip; quick to make."""
    home = Home.create(make_short_tmp() / "k", own_keys=True)
    process.run(home, "--quick-gen-key", "Alice (1001)", "ed25519", "sign", "0", passphrase=PASSPHRASE)
    yield home, keys.secret_keys(home)[0].primary.keygrip
    home.stop()


def keygrip_of(home: Home, fingerprint: str) -> str:
    return next(part.keygrip for key in keys.secret_keys(home) for part in key.parts if part.fingerprint == fingerprint)


def test_rsa_signature_is_good_for_an_independent_implementation(bank: tuple[Home, keys.BankKey]) -> None:
    home, key = bank
    keygrip = keygrip_of(home, key.primary)
    with Agent(home) as agent:
        public = agent.readkey(keygrip)
        value = agent.sign(keygrip, DIGEST)
    assert isinstance(public, RsaPublicKey)
    assert value.algorithm == "rsa"
    verifier = RSAPublicNumbers(public.exponent, public.modulus).public_key()
    signature = int.from_bytes(value.s).to_bytes(384)
    verifier.verify(signature, DIGEST, PKCS1v15(), Prehashed(SHA256()))
    with pytest.raises(InvalidSignature):
        verifier.verify(signature, bytes(32), PKCS1v15(), Prehashed(SHA256()))


def test_eddsa_signature_is_good_for_an_independent_implementation(bank: tuple[Home, keys.BankKey]) -> None:
    home, key = bank
    keygrip = keygrip_of(home, key.signing)
    with Agent(home) as agent:
        public = agent.readkey(keygrip)
        value = agent.sign(keygrip, DIGEST)
    assert isinstance(public, EdwardsPublicKey)
    Ed25519PublicKey.from_public_bytes(public.point).verify(value.r + value.s, DIGEST)


def test_trial_32_agent_that_died_is_started_again(bank: tuple[Home, keys.BankKey]) -> None:
    home, key = bank
    keygrip = keygrip_of(home, key.signing)
    with Agent(home) as agent:
        before = agent.sign(keygrip, DIGEST)
        process.run_tool(home, "gpgconf", "--kill", "gpg-agent")
        assert agent.sign(keygrip, DIGEST) == before


def test_trial_33_many_threads_share_one_connection(bank: tuple[Home, keys.BankKey]) -> None:
    home, key = bank
    keygrip = keygrip_of(home, key.signing)
    digests = [hashlib.sha256(bytes((number,))).digest() for number in range(64)]
    with Agent(home) as agent, ThreadPoolExecutor(16) as threads:
        public = agent.readkey(keygrip)
        values = list(threads.map(lambda digest: agent.sign(keygrip, digest), digests))
    assert isinstance(public, EdwardsPublicKey)
    for digest, value in zip(digests, values, strict=True):
        Ed25519PublicKey.from_public_bytes(public.point).verify(value.r + value.s, digest)


def test_closed_agent_says_so(bank: tuple[Home, keys.BankKey]) -> None:
    home, key = bank
    agent = Agent(home)
    agent.close()
    agent.close()
    with pytest.raises(EngineError, match="closed"):
        agent.sign(keygrip_of(home, key.signing), DIGEST)


def test_missing_key_is_named_as_such_and_the_connection_goes_on(bank: tuple[Home, keys.BankKey]) -> None:
    home, key = bank
    with Agent(home) as agent:
        with pytest.raises(EngineError, match="no such private key"):
            agent.sign("0" * 40, DIGEST)
        assert agent.sign(keygrip_of(home, key.signing), DIGEST).algorithm == "eddsa"


@pytest.mark.parametrize("keygrip", ["", "0" * 39, "a" * 40, "0" * 40 + "\nBYE", "0" * 40 + "\n"])
def test_keygrip_that_is_not_one_is_refused(bank: tuple[Home, keys.BankKey], keygrip: str) -> None:
    with Agent(bank[0]) as agent, pytest.raises(EngineError, match="keygrip"):
        agent.sign(keygrip, DIGEST)


def test_digest_of_another_length_is_refused(bank: tuple[Home, keys.BankKey]) -> None:
    with Agent(bank[0]) as agent, pytest.raises(EngineError, match="32 bytes"):
        agent.sign("0" * 40, bytes(20))


@pytest.mark.parametrize("passphrase", [Secret(b"wrong"), None])
def test_wrong_or_missing_passphrase_signs_nothing(protected: tuple[Home, str], passphrase: Secret | None) -> None:
    home, keygrip = protected
    home.stop()  # the agent remembers passphrases
    with Agent(home, passphrase=passphrase) as agent, pytest.raises(PassphraseError):
        agent.sign(keygrip, DIGEST)


def test_right_passphrase_signs(protected: tuple[Home, str]) -> None:
    home, keygrip = protected
    home.stop()
    with Agent(home, passphrase=PASSPHRASE) as agent:
        assert agent.sign(keygrip, DIGEST).algorithm == "eddsa"


def test_agent_is_found_behind_a_redirect_file(bank: tuple[Home, keys.BankKey], short_tmp: Path) -> None:
    path = short_tmp / ("long" * 30) / "k"
    shutil.copytree(bank[0].path, path, ignore=shutil.ignore_patterns("S.*", ".#*", "*.lock"))
    path.chmod(0o700)
    home = Home.open(path)
    try:
        with Agent(home) as agent:
            assert agent.sign(keygrip_of(home, bank[1].signing), DIGEST).algorithm == "eddsa"
    finally:
        home.stop()


@pytest.mark.parametrize("text", ["", "socket=/tmp/x\n", "%Assuan%\n", "%Assuan%\nsocket=relative\n", "\udc85" * 600])
def test_file_that_is_no_redirect_is_refused(short_tmp: Path, text: str) -> None:
    path = short_tmp / "S.gpg-agent"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(EngineError):
        follow_redirect(path)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"(", b")", b"()x", b"(1:a", b"(01:a)", b"(2:a)", b"(1:a))", b"1:a1:b", b"(-1:a)", b"(1 :a)"),
        *(b"(999999:a)", b"(" * 9 + b")" * 9, b"(1:a)\0", b"#61#", b"[4:hint]1:a"),
    ],
)
def test_expression_that_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(EngineError):
        parse_expression(data)


def test_expression_that_is_canonical_is_read() -> None:
    assert parse_expression(b"(7:sig-val(1:r0:)(1:s3:(1)))") == (b"sig-val", (b"r", b""), (b"s", b"(1)"))


GOOD = b"(7:sig-val(5:eddsa(1:r32:" + bytes(32) + b")(1:s32:" + b"%25" * 32 + b")))"


@contextmanager
def stand_in(folder: Path, answer: bytes | None) -> Iterator[Path]:
    """An agent that greets, says OK to all, and answers PKSIGN with ``answer`` (None: falls silent)."""
    path = folder / "S"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(10)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with suppress(OSError):  # the client is free to hang up on what it hears
                    connection, _ = listener.accept()
                    with connection, connection.makefile("rwb", buffering=0) as stream:
                        converse(stream)

        def converse(stream: SocketIO) -> None:
            stream.write(b"OK greetings\n")
            while line := stream.readline():
                if line == b"PKSIGN\n" and answer is None:
                    ended.wait(10)
                stream.write(answer or b"" if line == b"PKSIGN\n" else b"OK\n")
                if line == b"PKSIGN\n" and not answer:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            ended.set()
            with socket.socket(socket.AF_UNIX) as waker:
                waker.connect(str(path))
            thread.join()


def ask(path: Path, monkeypatch: pytest.MonkeyPatch, timeout_seconds: float = 5.0) -> agent_module.SignatureValue:
    def here(_home: Home) -> Path:
        return path

    monkeypatch.setattr(process, "agent_socket", here)
    with Agent(Home(path.parent), timeout_seconds=timeout_seconds) as agent:
        return agent.sign("0" * 40, DIGEST)


def test_well_formed_answer_of_a_stand_in_is_taken(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stand_in(short_tmp, b"S PROGRESS\n# note\nD " + GOOD[:50] + b"\nD " + GOOD[50:] + b"\nOK\n") as path:
        value = ask(path, monkeypatch)
    assert (value.r, value.s) == (bytes(32), b"%" * 32)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="silence"),
        pytest.param(b"", id="end of file"),
        pytest.param(b"OK\n", id="no data"),
        pytest.param(b"D " + GOOD + b"x\nOK\n", id="trailing byte"),
        pytest.param(b"D " + GOOD.replace(b"%25", b"%2x") + b"\nOK\n", id="broken escape"),
        pytest.param(b"D " + GOOD.replace(b"eddsa", b"ecdsa") + b"\nOK\n", id="another algorithm"),
        pytest.param(b"GARBAGE\n", id="not Assuan"),
        pytest.param(b"ERR 0x5 what\n", id="malformed error"),
        pytest.param(b"ERR 67108949 \x1b[2JNo\x85\n", id="an error"),
    ],
)
def test_answer_that_is_not_one_is_an_error(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    with stand_in(short_tmp, answer) as path, pytest.raises(KeyringError) as caught:
        ask(path, monkeypatch, timeout_seconds=0.5)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        pytest.param(b"#" * 2_000 + b"\n", "longer than Assuan allows", id="a long line"),
        pytest.param(b"#" * 20_000, "longer than Assuan allows", id="a line without an end"),
        pytest.param((b"D " + b"0" * 900 + b"\n") * 40, "more than 16384 bytes", id="much data"),
    ],
)
def test_answer_beyond_a_limit_is_cut_off(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch, before: bytes, sentence: str
) -> None:
    with stand_in(short_tmp, before + b"D " + GOOD + b"\nOK\n") as path, pytest.raises(EngineError, match=sentence):
        ask(path, monkeypatch)
