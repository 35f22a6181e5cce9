"""The kept inputs keep their promises in every run, every reader has a target, and the fuzzer finds what is planted."""

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from keyring import packets, process, readout
from protocol import canonical
from protocol.errors import MalformedContent
from tests.fuzz import readers, runner, wire
from tests.fuzz.command import main
from tests.fuzz.examples import encoded
from tests.fuzz.properties import SEPARATOR, attempt, run
from tests.fuzz.targets import CORPUS, FAMILIES, corpus, family, targets
from tests.fuzz.unfuzzed import UNFUZZED

SLOWEST_SECONDS = 20.0
"""Processor time of one input; the slowest kept one takes a tenth of a second."""

CUT_WHOLLY = ("frames", "packet_framing", "explanations", "signature_details", "public_keys", "agent_expressions")
"""Targets so quick that each kept input is tried in every length."""

every_target = pytest.mark.parametrize("name", list(targets()))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # the bank's log of what it refused
    yield
    logging.disable(logging.NOTSET)


@every_target
def test_trial_35_kept_inputs_keep_their_promises(name: str) -> None:
    for path in corpus(name):
        before = time.process_time()
        run(targets()[name], path.read_bytes())  # again: .venv/bin/python -m tests.fuzz --target NAME FILE
        assert time.process_time() - before < SLOWEST_SECONDS, path


@every_target
def test_trial_35_every_target_has_kept_inputs(name: str) -> None:
    assert corpus(name), "add seeds in tests/fuzz/seeds.py or said.py, then run: python -m tests.fuzz.seeds"


@pytest.mark.parametrize("name", CUT_WHOLLY)
def test_trial_35_every_truncation_of_every_kept_input(name: str) -> None:
    target = targets()[name]
    for path in corpus(name):
        data = path.read_bytes()[:700]
        for length in range(len(data)):
            run(target, data[:length])


@pytest.mark.parametrize("name", sorted(wire.KINDS))
def test_trial_35_every_truncation_of_every_message(name: str) -> None:
    data = encoded(wire.KINDS[name])
    for length in range(len(data)):
        with pytest.raises(MalformedContent):
            canonical.decode(wire.KINDS[name], data[:length])
    wire.every_message(name.encode() + SEPARATOR + data)


def test_trial_35_every_tag_and_length_octet_of_a_packet() -> None:
    """Each first octet with each length octet, before 300 octets and before none: whole packets or one typed error."""
    body = bytes(300)
    for first in range(256):
        for length in range(256):
            for rest in (b"", body):
                message = bytes((first, length)) + rest
                found = attempt(packets.split_for_study, message) or ()
                assert sum(packet.header_length + len(packet.body) for packet in found) <= len(message)


def test_trial_35_every_reader_of_foreign_bytes_has_a_target() -> None:
    kept = ((target, path) for name, target in targets().items() for path in corpus(name))
    readout._word_lists.cache_clear()  # or it would not be read here if another test was first
    entered = readers.entered(partial(run, target, path.read_bytes()) for target, path in kept)
    known = {str(reader): (reader.path, reader.line) in entered for reader in readers.readers()}
    forgotten = sorted(name for name, reached in known.items() if not reached and name not in UNFUZZED)
    assert not forgotten, f"write a target that reaches them, or give the reason in unfuzzed.py: {forgotten}"
    stale = sorted(name for name in UNFUZZED if known.get(name, True))
    assert not stale, f"these are gone or have a target now, take them out of unfuzzed.py: {stale}"


def test_trial_35_a_reader_that_is_forgotten_is_noticed(tmp_path: Path) -> None:
    """The twin of the test above: readers of each kind are seen, and what reads nothing is not."""
    for package in readers.PACKAGES:
        (tmp_path / package).mkdir()
    (tmp_path / "bank" / "new.py").write_text(
        "class A:\n    def one(self, data):\n        return json.loads(data)\n"
        "def two(path):\n    def inner():\n        return path.read_bytes()\n    return inner\n"
        "def three(data):\n    return HEADER.unpack_from(data)\ndef four(data):\n    return canonical.encode(data)\n"
    )
    assert [reader.name for reader in readers.readers(tmp_path)] == ["A.one", "two.<locals>.inner", "three"]


def test_each_family_holds_targets() -> None:
    held = {family(name) for name in targets()}
    assert held == {each.__name__.rpartition(".")[2] for each in FAMILIES}
    assert all(target.__doc__ for target in targets().values())


def test_the_corpus_is_small_and_without_doubles() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    assert {path.parent.name for path in files} == set(targets())
    for name in targets():
        assert len({path.read_bytes() for path in corpus(name)}) == len(corpus(name))


def test_only_the_packages_own_errors_are_refusals() -> None:
    def refusing(error: Exception) -> Callable[[], None]:
        def refuse() -> None:
            raise error

        return refuse

    assert attempt(refusing(MalformedContent("It is malformed."))) is None
    with pytest.raises(ValueError, match="not ours"):
        attempt(refusing(ValueError("not ours")))
    with pytest.raises(AssertionError, match="says nothing"):
        attempt(refusing(MalformedContent("")))


def test_a_target_that_starts_a_process_is_noticed() -> None:
    def require_text(text: str) -> None:
        assert text

    with pytest.raises(AssertionError, match="started a process"):
        run(lambda _data: require_text(process.version_text()), b"")
    assert process.version_text().startswith("gpg")


def test_targets_and_inputs_can_be_listed_and_run_one_by_one() -> None:
    listed = CliRunner().invoke(main, ["--list"])
    assert all(name in listed.output for name in targets())
    ran = CliRunner().invoke(main, ["--target", "frames", str(corpus("frames")[0])])
    assert ran.output.splitlines()[-1] == "fuzz: 1 targets, 1 kept inputs, 0 crashes"
    assert CliRunner().invoke(main, ["--target", "no-such"]).exit_code == 2


@pytest.mark.skipif(not runner.can_fuzz(), reason="there is no atheris for this Python or machine")
def test_trial_35_a_short_run_over_frames_finds_nothing(tmp_path: Path) -> None:
    (outcome,) = runner.fuzz(["frames"], seconds=2, jobs=1, work=tmp_path)
    assert outcome.crash == "", outcome.log
    assert outcome.executions > len(corpus("frames"))
    assert list((tmp_path / "corpus" / "frames").iterdir())


@pytest.mark.skipif(not runner.can_fuzz(), reason="there is no atheris for this Python or machine")
def test_trial_35_a_planted_defect_is_found(tmp_path: Path) -> None:
    """The twin of the short run: an exception behind four bytes that no seed has."""
    (tmp_path / "tests" / "fuzz").mkdir(parents=True)
    (tmp_path / "tests" / "fuzz" / "planted.py").write_text(
        "def planted(data):\n    if data[:1] == b'B' and data[1:2] == b'a' and data[2:3] == b'n':\n"
        "        if data[3:4] == b'k':\n            raise ValueError('planted')\n"
    )
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.worker",
            "planted",
            "planted",
            "-runs=5000000",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=runner.ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode != 0
    assert re.search(rb"ValueError: planted", ended.stdout + ended.stderr)
    assert any(path.read_bytes().startswith(b"Bank") for path in tmp_path.glob("crash-*"))
