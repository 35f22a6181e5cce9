"""What GnuPG says is read as if it were hostile: a verdict needs every line, a listing every field."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from keyring import agent, certification, colons, inspect, keys, messages, process, revocation, worker
from keyring.agent import Agent, Expression
from keyring.home import Home
from keyring.opened import Opened
from keyring.process import RunningGpg
from keyring.verdict import (
    Accepted,
    Expectation,
    Rejected,
    Sealed,
    SignedByBank,
    SignedByCustomer,
    UnderPassword,
    judge,
)
from keyring.worker import Worker
from protocol.secret import Secret
from tests.fuzz.openpgp import signed
from tests.fuzz.properties import attempt, gpg_says, parts
from tests.fuzz.scratch import empty_home, scratch

A, B = "A" * 40, "B" * 40
EXPECTATIONS: tuple[Expectation, ...] = (
    *(SignedByCustomer(A, certified=certified) for certified in (True, False)),
    *(SignedByBank(A, frozenset({B}), certified=certified) for certified in (True, False)),
    Sealed(),
    UnderPassword(),
)
DEADLY = (
    b"BADSIG 0 x",
    b"FAILURE decrypt 1",
    b"NODATA 1",
    b"REVKEYSIG 0 x",
    b"BADMDC",
    b"DECRYPTION_FAILED",
    b"NEWSIG",
)


def verdicts(data: bytes) -> None:
    """No status lines break a verdict; those that it accepts say everything, and one bad line undoes it."""
    for expected in EXPECTATIONS:
        found = judge(data, expected)
        if isinstance(found, Rejected):
            assert found.rule
            assert found.sentence.endswith(".")
            continue
        lines = data.split(b"\n")
        assert lines.pop() == b""
        assert all(line.startswith(b"[GNUPG:] ") for line in lines)
        assert sum(line.startswith(b"[GNUPG:] PLAINTEXT ") for line in lines) == 1
        _require_evidence(lines, expected, found)
        for bad in DEADLY:
            assert isinstance(judge(data + b"[GNUPG:] " + bad + b"\n", expected), Rejected)


def _require_evidence(lines: list[bytes], expected: Expectation, found: Accepted) -> None:
    """Read a second time, naively: gpg must have said these very things."""

    def count(begin: str) -> int:
        return sum(line.startswith(f"[GNUPG:] {begin}".encode()) for line in lines)

    if isinstance(expected, SignedByCustomer | SignedByBank):
        signing = A if isinstance(expected, SignedByCustomer) else B
        assert (found.primary, found.signing) == (A, signing)
        assert count("NEWSIG") == count("GOODSIG ") == count("VALIDSIG ") == count(f"VALIDSIG {signing} ") == 1
        assert not expected.certified or count("TRUST_FULLY") == 1
        assert any(line.endswith(f" {A}".encode()) for line in lines)
    else:
        assert found == Accepted("", "", 0)
        assert count("DECRYPTION_OKAY") == count("GOODMDC") == 1
        assert count("NEED_PASSPHRASE_SYM") == isinstance(expected, UnderPassword)


def opened_messages(data: bytes) -> None:
    """A message is opened only by an accepting verdict, and its content is then what gpg gave out, to the byte."""
    output = data.partition(b"\x1d")[2]
    with gpg_says(data):
        found = worker.open_once(empty_home(), signed(b"{}"), EXPECTATIONS[0])
        under = attempt(messages.open_with_password, empty_home(), Secret(b"word"), signed(b"{}"))
        attempt(messages.sign, empty_home(), A, b"{}")
        attempt(messages.seal, empty_home(), A, b"{}")
        attempt(messages.seal_with_password, empty_home(), Secret(b"word"), b"{}")
    assert isinstance(under, Rejected)  # not the packets of such a message
    if isinstance(found, Opened):
        assert found.content == output
        assert found.verdict == judge(data.partition(b"\x1d")[0], EXPECTATIONS[0])


def worker_answers(data: bytes) -> None:
    """A kept gpg that says anything whatever on its status pipe: a verdict on this very message, or a rejection."""
    before, _, status = data[:60_000].partition(b"\x1d")

    def started(_home: Home, *_arguments: str, folder: Path, **_options: object) -> RunningGpg:
        (folder / "1").write_bytes(b"content")
        return _running(before + status)

    with mock.patch.object(process, "start", _late_start(started)):
        kept = Worker(empty_home(), timeout_seconds=5, scratch=scratch())
        try:
            found = kept.open(signed(b"{}"), EXPECTATIONS[0])
        finally:
            kept.close()
    if isinstance(found, Opened):
        said = re.fullmatch(
            rb"\[GNUPG:\] FILE_START 3 1\.gpg\n(.*\n)\[GNUPG:\] FILE_DONE\n", before + status, re.DOTALL
        )
        assert said is not None
        assert isinstance(judge(said[1], EXPECTATIONS[0]), Accepted)


def _late_start(start: Any) -> Any:
    """The output lies there only after the name was given, as with gpg; before, it would be in the way."""

    def started(home: Home, *arguments: str, folder: Path, file_limit_bytes: int) -> RunningGpg:
        running = cast(RunningGpg, start(home, *arguments, folder=folder))
        (folder / "1").rename(folder / "made")

        def flush() -> None:
            (folder / "made").rename(folder / "1")

        cast(Any, running.names).flush = flush
        return running

    return started


def _running(said: bytes) -> RunningGpg:
    reader, writer = os.pipe()
    os.write(writer, said)
    os.close(writer)
    names = SimpleNamespace(write=lambda _: None, flush=lambda: None, close=lambda: None)
    ended = SimpleNamespace(returncode=0, poll=lambda: None, wait=lambda _seconds: 0)
    return RunningGpg(cast(Any, ended), cast(Any, names), reader)


def listings(data: bytes) -> None:
    """A listing with colons: keys, user IDs, signatures and subpackets, every field of which was well formed."""
    found = attempt(colons.parse, data)
    if found is None:
        return
    for key in found:
        for part in key.parts:
            assert re.fullmatch("(?:[0-9A-F]{40}(?:[0-9A-F]{24})?)?", part.fingerprint)
            assert part.created >= 0
        for name in key.user_ids:
            for signature in name.signatures:
                attempt(lambda each: each.notations, signature)
                assert not signature.made_by(A) or (signature.good and signature.fingerprint == A)
        attempt(keys.require_suitable, key)
        attempt(keys.require_suitable, key, several_user_ids=True)
        attempt(inspect.report, scratch(), key, found, now=1_800_000_000)
    if found:
        attempt(inspect.choose, found, data[:50].decode("utf-8", "surrogateescape"))


def certifications(data: bytes) -> None:
    """What is read of a certification is what the authority's own good signature says, and it is in force."""
    with gpg_says(b"\x1d" + data):
        found = attempt(certification.read_certification, empty_home(), A, B, at=1_800_000_000)
    if found is not None:
        assert found.certifier == B
        assert found.created <= 1_800_000_000 < found.expires
        assert re.fullmatch("customer|bank", found.role)
        assert re.fullmatch("[0-9A-Za-z-]{1,16}", found.number)
        assert re.fullmatch("[0-9a-f]{64}", found.request_digest)
        assert all(b in data for b in (b"sig:!:", b":" + B.encode()))


def small_homes(data: bytes) -> None:
    """Making a small home from an offered key, with a gpg that says anything: it is refused and leaves nothing."""
    key, *said = parts(data, 5)
    place = scratch() / "small"
    with gpg_says(*(b"[GNUPG:] IMPORT_OK 1 " + A.encode() + b"\n\x1d" + each for each in said)):
        for made in (
            attempt(certification.registered_home, place, key=key, expected_fingerprint=A),
            attempt(revocation.revoked_key, key, data, A),
        ):
            assert made is None  # nobody has found a key of that fingerprint yet
    assert not place.exists()


def agent_expressions(data: bytes) -> None:
    """An S-expression of the agent is canonical: encoded again it is the same bytes."""
    found = attempt(agent.parse_expression, data)
    if found is not None:
        assert _encoded(found) == data
        for read in (agent._signature_value, agent._public_key):
            attempt(read, found)


def _encoded(expression: Expression) -> bytes:
    if isinstance(expression, bytes):
        return b"%d:%s" % (len(expression), expression)
    return b"(" + b"".join(map(_encoded, expression)) + b")"


def agent_lines(data: bytes) -> None:
    """A connection to something that is no agent: a signature, or an error within the time limit."""
    with _socket_that_says(data):
        for ask in (None, Secret(b"passphrase")):
            kept = Agent(empty_home(), passphrase=ask, timeout_seconds=5)
            attempt(kept.sign, A, bytes(32))
            attempt(kept.readkey, A)
            kept.close()


@contextmanager
def _socket_that_says(data: bytes) -> Iterator[None]:
    def connection(*_: object) -> Any:
        pieces = [data[: len(data) // 2], data[len(data) // 2 :]]
        return SimpleNamespace(
            settimeout=lambda _seconds: None,
            connect=lambda _path: None,
            sendall=lambda _line: None,
            recv=lambda _size: pieces.pop(0) if pieces else b"",
            close=lambda: None,
        )

    with (
        mock.patch("keyring.agent.socket.socket", connection),
        mock.patch.object(process, "agent_socket", return_value=scratch() / "no-socket"),
        mock.patch.object(process, "run_tool"),
    ):
        yield
