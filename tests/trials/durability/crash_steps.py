"""The steps at which a bank can be killed are functions of the code by name, so that a renamed one fails loudly."""

import os
import signal
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import partial, wraps
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Final


class Phase(StrEnum):
    """When in the life of a server a step is met."""

    OPENING = "opening"
    """As a session is opened."""
    ORDER = "order"
    """With each order, on its way from the record to the receipt."""
    RETRY = "retry"
    """When a customer asks what became of an order."""
    QUIET = "quiet"
    """When no order has come for a moment."""
    START = "start"
    """As a server starts that finds entries of a killed one without a signed head."""
    STOP = "stop"
    """After SIGTERM."""


@dataclass(frozen=True)
class Step:
    """The moment before or after a call of ``function`` (module:name), made by ``within`` where that is named."""

    name: str
    phase: Phase
    moment: str
    function: str
    within: str = ""


_TRANSACT: Final = "bank.posting:Posting._transact"
_ANSWER: Final = "bank.sessions:Sessions._answer"

STEPS: Final = (
    Step("first frame read", Phase.OPENING, "after", "protocol.transport:Connection.receive"),
    Step("opening judged", Phase.OPENING, "after", "bank.opening:Opener.open"),
    Step("session answered", Phase.OPENING, "after", "protocol.transport:Connection.raise_frame_limit"),
    Step("key remembered", Phase.OPENING, "after", "bank.customers:Customers.remember_key"),
    Step("records read", Phase.ORDER, "after", "bank.sessions:Sessions._group"),
    Step("record opened", Phase.ORDER, "after", "protocol.records:Channel.open"),
    Step("request parsed", Phase.ORDER, "after", "protocol.messages:decode_request"),
    Step("revocation list consulted", Phase.ORDER, "after", "bank.certificates:Certificates.known_good"),
    Step("signature verified", Phase.ORDER, "after", "bank.verifier:Verifier.open_all"),
    Step("order parsed", Phase.ORDER, "after", "bank.service:decode_order"),
    Step("order queued", Phase.ORDER, "after", "bank.posting:Posting.submit"),
    Step("orders taken", Phase.ORDER, "after", "bank.posting:Posting._take"),
    Step("transaction begun", Phase.ORDER, "before", "bank.posting:_end", _TRANSACT),
    Step("accounts loaded", Phase.ORDER, "after", "bank.posting:load"),
    Step("order decided", Phase.ORDER, "after", "bank.batch:Batch.decide"),
    Step("statement done", Phase.ORDER, "after", "sqlalchemy:Connection.execute", "bank.batch:Batch.write"),
    Step("rows written", Phase.ORDER, "after", "bank.batch:Batch.write"),
    Step("head of before stored", Phase.ORDER, "after", "bank.heads:Heads.store", _TRANSACT),
    Step("before commit", Phase.ORDER, "before", "sqlalchemy.engine.default:DefaultDialect.do_commit", _TRANSACT),
    Step("after commit", Phase.ORDER, "after", "sqlalchemy.engine.default:DefaultDialect.do_commit", _TRANSACT),
    Step("hashes remembered", Phase.ORDER, "after", "bank.log:Growth.commit"),
    Step("head made", Phase.ORDER, "before", "keyring.signature:HeadSigner.sign"),
    Step("head signed", Phase.ORDER, "after", "keyring.signature:HeadSigner.sign"),
    Step("head written", Phase.ORDER, "before", "pathlib:Path.replace", "bank.heads:write_file"),
    Step("head in its place", Phase.ORDER, "after", "bank.heads:write_file"),
    Step("receipt made", Phase.ORDER, "after", "bank.posting:Posting._receipt"),
    Step("decision handed over", Phase.ORDER, "after", "bank.service:Service._decided"),
    Step("answer sealed", Phase.ORDER, "after", "protocol.records:Channel.seal", _ANSWER),
    Step("answers sent", Phase.ORDER, "after", "protocol.link:Link.send", _ANSWER),
    Step("order looked up", Phase.RETRY, "after", "bank.posting:Posting.look_up"),
    Step("head to be stored", Phase.QUIET, "before", "bank.heads:_insert", "bank.posting:Posting._settle"),
    Step("head stored by itself", Phase.QUIET, "after", "bank.heads:Heads.store", "bank.posting:Posting._settle"),
    Step("log found to continue", Phase.START, "after", "bank.heads:require_continuation"),
    Step("missing head signed", Phase.START, "after", "keyring.signature:HeadSigner.sign", "bank.heads:Heads.start"),
    Step("missing head stored", Phase.START, "after", "bank.heads:Heads.store", "bank.heads:Heads.start"),
    Step("connections closed", Phase.STOP, "after", "protocol.transport:Listener.stop"),
    Step("posting stopped", Phase.STOP, "after", "bank.posting:Posting.stop"),
)


def named(name: str) -> Step:
    """The step of this name."""
    return next(step for step in STEPS if step.name == name)


def found(function: str) -> tuple[Any, str, Callable[..., Any]]:
    """Where a function hangs, under which name, and the function; LookupError if the code has it no longer."""
    module, _, path = function.partition(":")
    *owners, name = path.split(".")
    holder: Any = import_module(module)
    for each in owners:
        holder = getattr(holder, each, None)
    got = getattr(holder, name, None)
    if not callable(got):
        raise LookupError(  # noqa: TRY004 - it is not a wrong type, it is gone
            f"There is no {function} any more; name in tests/trials/durability/crash_steps.py what took its place."
        )
    return holder, name, got


def strike_at(step: Step, count: int, struck: Path) -> None:
    """From now on this process is killed at the step when it is met for the count-th time, and notes that it was."""
    lock, left = threading.Lock(), count

    def meet() -> None:
        nonlocal left
        with lock:
            left -= 1
            if left == 0:
                struck.write_text(step.name)
                os.kill(os.getpid(), signal.SIGKILL)

    _watch(step, meet)


def note_all(met: Path) -> None:
    """From now on each step that is met for the first time is noted, a line for each."""
    names: set[str] = set()
    lock = threading.Lock()

    def note(name: str) -> None:
        with lock:
            if name not in names:
                names.add(name)
                with met.open("a") as file:
                    file.write(f"{name}\n")

    for step in STEPS:
        _watch(step, partial(note, step.name))


def _watch(step: Step, meet: Callable[[], None]) -> None:
    inside = ContextVar("inside", default=not step.within)

    def entered(function: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(function):

            @wraps(function)
            async def around_it(*words: Any, **named: Any) -> Any:
                before = inside.set(True)
                try:
                    return await function(*words, **named)
                finally:
                    inside.reset(before)

            return around_it

        @wraps(function)
        def around(*words: Any, **named: Any) -> Any:
            before = inside.set(True)
            try:
                return function(*words, **named)
            finally:
                inside.reset(before)

        return around

    def met(function: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(function):

            @wraps(function)
            async def around_it(*words: Any, **named: Any) -> Any:
                passed("before")
                result = await function(*words, **named)
                passed("after")
                return result

            return around_it

        @wraps(function)
        def around(*words: Any, **named: Any) -> Any:
            passed("before")
            result = function(*words, **named)
            passed("after")
            return result

        return around

    def passed(moment: str) -> None:
        if step.moment == moment and inside.get():
            meet()

    for function, wrapped in ((step.within, entered), (step.function, met)):
        if function:
            holder, name, got = found(function)
            setattr(holder, name, wrapped(got))
