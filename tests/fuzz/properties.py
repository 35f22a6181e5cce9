"""A target asserts more than that nothing crashed: a refusal is one of the package's own errors, and a sentence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar
from unittest import mock

from bank.errors import BankError
from ca.errors import CaError
from customer.errors import CustomerError
from keyring import process
from keyring.errors import KeyringError
from keyring.process import Outcome
from protocol.errors import ProtocolError

ROOTS = (ProtocolError, KeyringError, CaError, BankError, CustomerError)
"""What commands and servers catch of each package; anything else that a reader raises is a defect."""

LONGEST_SENTENCE_CHARACTERS = 2_500
SEPARATOR = b"\x1e"
"""Between the parts of an input for a reader of several things; it is valid in none of our texts."""

P = ParamSpec("P")
R = TypeVar("R")


def attempt(reader: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R | None:
    """What the reader gives, None if it refused as it should; every other exception is a finding."""
    try:
        return reader(*arguments, **options)
    except ROOTS as refusal:
        require_sentence(refusal)
        return None


def require_sentence(refusal: Exception) -> None:
    """The refusal can be shown to a person: not empty, not endless, without a line that looks like gpg's."""
    text = str(refusal)
    assert text.strip(), f"{type(refusal).__name__} says nothing"
    assert len(text) <= LONGEST_SENTENCE_CHARACTERS, f"{type(refusal).__name__} says {len(text)} characters"
    assert "\n[GNUPG:]" not in text


def parts(data: bytes, count: int) -> list[bytes]:
    """The input as ``count`` parts; missing ones are empty, the last keeps what is left."""
    found = data.split(SEPARATOR, count - 1)
    return found + [b""] * (count - len(found))


def text_of(data: bytes) -> str:
    """Any bytes as a text that a command line or a terminal could give, undecodable bytes as surrogates."""
    return data.decode("utf-8", "surrogateescape")


@contextmanager
def gpg_says(*said: bytes) -> Iterator[None]:
    """GnuPG is played by the input: each run gives the next part as status and as output; the last part stays."""
    answers = list(said) or [b""]

    def run(*_arguments: object, **_options: object) -> Outcome:
        status_and_output = answers.pop(0) if len(answers) > 1 else answers[0]
        status, _, output = status_and_output.partition(b"\x1d")
        return Outcome(status, output, output.decode("utf-8", "replace"), len(status) % 2)

    with mock.patch.object(process, "run", run):
        yield


def run(target: Callable[[bytes], None], data: bytes) -> None:
    """One execution of a target, in which no process may be started: that would fuzz GnuPG, slowly."""
    with mock.patch.object(process, "_start", _no_process):
        target(data)


def _no_process(*_arguments: object, **_options: object) -> None:
    raise AssertionError("a target started a process")
