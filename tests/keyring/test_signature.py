"""What we pack around the agent's numbers is, to stock gpg and to Sequoia, a signature by the bank's subkey."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pysequoia
import pytest

from keyring import keys, packets, process
from keyring.agent import Agent
from keyring.errors import EngineError, UnsuitableKey
from keyring.home import Home
from keyring.signature import HeadSigner, mpi

MANY = 300


@pytest.fixture(scope="module")
def bank(make_short_tmp: Callable[[], Path]) -> Iterator[tuple[Home, keys.BankKey]]:
    home = Home.create(make_short_tmp() / "k", own_keys=True)
    yield home, keys.new_bank_key(home, "Our Bank (bank)")
    home.stop()


@pytest.fixture(scope="module")
def signer(bank: tuple[Home, keys.BankKey]) -> Iterator[HeadSigner]:
    home, key = bank
    with HeadSigner.for_home(home, key.primary) as made:
        yield made


def status_of(home: Home, message: bytes) -> tuple[list[list[str]], bytes]:
    outcome = process.run(home, "--decrypt", stdin=message)
    return [line.split(" ")[1:] for line in outcome.status.decode().splitlines()], outcome.output


def line_of(status: list[list[str]], keyword: str) -> list[str]:
    (found,) = [line[1:] for line in status if line[0] == keyword]
    return found


@pytest.mark.parametrize("size", [0, 1, 150, 185, 186, 8377, 8378, 100_000])
def test_stock_gpg_accepts_the_message(bank: tuple[Home, keys.BankKey], signer: HeadSigner, size: int) -> None:
    home, key = bank
    at = int(time.time())
    content = bytes(number % 251 for number in range(size))
    message = signer.sign(content, at)
    packets.require_signed_message(message)
    status, output = status_of(home, message)
    assert output == content
    assert line_of(status, "GOODSIG")[0] == key.signing[-16:]
    valid = line_of(status, "VALIDSIG")
    assert (valid[0], valid[2], valid[-1]) == (key.signing, str(at), key.primary)
    assert valid[6:9] == ["22", "8", "00"]
    assert line_of(status, "PLAINTEXT")[:2] == ["62", str(at)]


def test_sequoia_accepts_the_message(bank: tuple[Home, keys.BankKey], signer: HeadSigner) -> None:
    home, key = bank
    certificate = pysequoia.Cert.from_bytes(keys.export(home, key.primary))
    result = pysequoia.verify(signer.sign(b"a head", int(time.time())), store=lambda _: [certificate])
    assert result.bytes == b"a head"
    assert [(one.certificate.upper(), one.signing_key.upper()) for one in result.valid_sigs] == [
        (key.primary, key.signing)
    ]


@pytest.mark.parametrize("place", [0.5, 0.98, 0.75])
def test_changed_byte_is_accepted_by_neither(bank: tuple[Home, keys.BankKey], signer: HeadSigner, place: float) -> None:
    home, key = bank
    content = b"content" * 100
    message = bytearray(signer.sign(content, int(time.time())))
    message[int(len(message) * place)] ^= 1
    status, _ = status_of(home, bytes(message))
    assert not any(line[0] in ("GOODSIG", "VALIDSIG") for line in status)
    certificate = pysequoia.Cert.from_bytes(keys.export(home, key.primary))
    with pytest.raises(RuntimeError):
        pysequoia.verify(bytes(message), store=lambda _: [certificate])


def bit_lengths(message: bytes) -> tuple[int, int]:
    """Those of r and s, as the two MPIs at the signature packet's end say."""
    values = packets.split(message)[2].body[49:]  # after the subpackets and the digest's first 16 bits
    r = int.from_bytes(values[:2])
    after = 2 + (r + 7) // 8
    return r, int.from_bytes(values[after : after + 2])


def test_many_signatures_with_short_numbers_among_them(
    bank: tuple[Home, keys.BankKey], signer: HeadSigner, short_tmp: Path
) -> None:
    """One number in 256 begins with a zero byte, which an MPI leaves out; signs until both have done so."""
    at = int(time.time())
    messages: list[bytes] = []
    shortest_r = shortest_s = 256
    while len(messages) < MANY or max(shortest_r, shortest_s) > 248:
        assert len(messages) < 20 * MANY, "no short number in 6,000 signatures: they are padded somewhere"
        messages.append(signer.sign(b"%d" % len(messages), at))
        r, s = bit_lengths(messages[-1])
        shortest_r, shortest_s = min(shortest_r, r), min(shortest_s, s)
    names = []
    for number, message in enumerate(messages):
        (short_tmp / f"{number}.gpg").write_bytes(message)
        names.append(str(short_tmp / f"{number}.gpg"))
    for some in (names[at : at + MANY] for at in range(0, len(names), MANY)):  # one answer of gpg is limited in size
        outcome = process.run(bank[0], "--multifile", "--verify", *some)
        assert outcome.status.count(b"\n[GNUPG:] GOODSIG ") == len(some)
        assert outcome.status.count(b"\n[GNUPG:] VALIDSIG " + bank[1].signing.encode()) == len(some)


def test_many_threads_sign_with_one_signer(bank: tuple[Home, keys.BankKey], signer: HeadSigner) -> None:
    at = int(time.time())
    with ThreadPoolExecutor(8) as threads:
        messages = list(threads.map(lambda number: signer.sign(b"%d" % number, at), range(16)))
    for number, message in enumerate(messages):
        status, output = status_of(bank[0], message)
        assert output == b"%d" % number
        assert line_of(status, "VALIDSIG")[0] == bank[1].signing


def test_multiprecision_integer_has_no_leading_zeros() -> None:
    assert mpi(b"\x00\x00\x01\xff") == b"\x00\x09\x01\xff"
    assert mpi(b"\xff") == b"\x00\x08\xff"
    assert mpi(bytes(32)) == b"\x00\x00"


def test_signature_older_than_its_key_is_not_made(signer: HeadSigner) -> None:
    with pytest.raises(EngineError, match="clock"):
        signer.sign(b"content", 1_000_000_000)


def test_home_without_a_signing_subkey_is_refused(make_short_tmp: Callable[[], Path]) -> None:
    home = Home.create(make_short_tmp() / "k", own_keys=True)
    try:
        process.run(
            home, "--passphrase", "", "--pinentry-mode", "loopback", "--quick-gen-key", "Bank (bank)", "ed25519"
        )
        with pytest.raises(UnsuitableKey, match="signing subkey"):
            HeadSigner.for_home(home, keys.secret_keys(home)[0].fingerprint)
    finally:
        home.stop()


def test_rsa_key_does_not_sign_heads(bank: tuple[Home, keys.BankKey]) -> None:
    home, key = bank
    primary = keys.secret_key(home, key.primary).primary
    with Agent(home) as agent, pytest.raises(UnsuitableKey, match="Ed25519"):
        HeadSigner(home, agent, primary.fingerprint, primary.keygrip)


def test_newest_usable_subkey_signs(bank: tuple[Home, keys.BankKey]) -> None:
    home, key = bank
    later = int(time.time()) + 100
    arguments = ("--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", key.primary, "ed25519", "sign")
    process.run(home, *arguments, faked_time=later)
    with HeadSigner.for_home(home, key.primary) as signer:
        assert signer.fingerprint != key.signing
        message = signer.sign(b"content", later)
    outcome = process.run(home, "--decrypt", stdin=message, faked_time=later)
    assert f"VALIDSIG {signer.fingerprint} ".encode() in outcome.status
