"""What customers and readers saw is compared with the bank's log, replayed one by one on a plain model.

The log gives the order of the commits, so nothing needs to be searched for: each answer must fit the state of the model
at one place of the log, and no answer may be older than what somebody knew before the question was asked.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from heapq import heappop, heappush
from itertools import accumulate
from math import inf
from typing import Final

from protocol.codes import Reason
from protocol.receipts import LogEntry


class Ended(Enum):
    """How a try ended for the customer: with a proven decision, without one ever to come, or in doubt."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


@dataclass(frozen=True)
class Try:
    """One try of a customer to have a transfer made; times on one clock. ``leaf`` and ``reason``: of the receipt."""

    debtor: str
    identifier: str
    creditor: str
    minor: int
    begun: float
    ended: float
    end: Ended
    leaf: int | None = None
    reason: Reason | None = None


@dataclass(frozen=True)
class Look:
    """One reading of balances, of all accounts or of one's own, that was answered."""

    begun: float
    ended: float
    balances: Mapping[str, int]


@dataclass(frozen=True)
class History:
    """Everything that was seen, and ``log``: the decisions on customers' orders in the order of their commits.

    ``leaves`` are their places in the bank's log; ``opening`` the balances before, ``closing`` those in the end.
    """

    opening: Mapping[str, int]
    tries: Sequence[Try]
    looks: Sequence[Look]
    log: Sequence[LogEntry]
    leaves: Sequence[int]
    closing: Mapping[str, int]

    @cached_property
    def states(self) -> list[dict[str, int]]:
        """The balances after no, one, two … decisions."""
        return list(accumulate(self.log, _after, initial=dict(self.opening)))

    @cached_property
    def first_begun(self) -> dict[tuple[str, str], float]:
        """When each transfer was asked for first."""
        found: dict[tuple[str, str], float] = {}
        for each in self.tries:
            name = each.debtor, each.identifier
            found[name] = min(each.begun, found.get(name, inf))
        return found

    def decided_before(self, time: float) -> int:
        """How many decisions stand at least, as anybody knows who has waited for answers until then."""
        known = bisect_left(self._known, (time, 0))
        return bisect_left(self.leaves, self._known[known - 1][1]) + 1 if known else 0

    def asked_before(self, time: float) -> int:
        """How many decisions can stand at most: the first that nobody had asked for by then does not."""
        return bisect_right(self._asked, time)

    @cached_property
    def _known(self) -> list[tuple[float, int]]:
        """When it was known that the log has a leaf: the end of each answer, with the highest leaf known by then."""
        known = sorted((each.ended, each.leaf) for each in self.tries if each.leaf is not None)
        return list(accumulate(known, lambda before, new: (new[0], max(before[1], new[1]))))

    @cached_property
    def _asked(self) -> list[float]:
        """For each place of the log, when all up to it had been asked for."""
        return list(accumulate((self.first_begun.get(_name(entry), inf) for entry in self.log), max))


Rule = Callable[[History], list[str]]
"""A check; it gives a sentence for each thing that is wrong."""


def problems(history: History) -> list[str]:
    """All that is wrong, each with the name of the rule in front."""
    return [f"{rule.__name__}: {sentence}" for rule in RULES for sentence in rule(history)]


def each_transfer_is_decided_once(history: History) -> list[str]:
    """No identifier of a customer has two entries."""
    names = [_name(entry) for entry in history.log]
    return [f"{name} has {names.count(name)} entries." for name in sorted(set(names)) if names.count(name) > 1]


def what_is_logged_was_asked_for(history: History) -> list[str]:
    """The bank does nothing of its own accord, and nothing other than what was asked."""
    asked = {(each.debtor, each.identifier, each.creditor, each.minor) for each in history.tries}
    return [
        f"Nobody asked for {_name(entry)} to {entry.creditor} over {entry.amount}."
        for entry in history.log
        if (entry.debtor, entry.transfer_identifier, entry.creditor, _minor(entry)) not in asked
    ]


def what_is_receipted_is_logged(history: History) -> list[str]:
    """Each proven decision is at its place in the log, with the same outcome."""
    at = dict(zip(history.leaves, history.log, strict=True))
    found = []
    for each in history.tries:
        if each.end is not Ended.OK:
            continue
        entry = at.get(each.leaf) if each.leaf is not None else None
        if entry is None or _name(entry) != (each.debtor, each.identifier):
            found.append(f"The receipt of {each.debtor}/{each.identifier} at {each.leaf} is not in the log.")
        elif entry.reason != each.reason:
            found.append(f"{each.debtor}/{each.identifier} was answered {each.reason}, and the log has {entry.reason}.")
    return found


def what_was_not_taken_is_not_logged(history: History) -> list[str]:
    """Where each try ended with "nothing was sent" or an unlogged refusal, there is no entry."""
    perhaps = {(each.debtor, each.identifier) for each in history.tries if each.end is not Ended.FAIL}
    return [f"{_name(entry)} was not taken, and is in the log." for entry in history.log if _name(entry) not in perhaps]


def the_model_decides_the_same(history: History) -> list[str]:
    """The log replayed one by one has the same outcomes, and in the end the same balances."""
    found, states = [], history.states
    for entry, before in zip(history.log, states[:-1], strict=True):
        expected = Reason.INSUFFICIENT_FUNDS if before[entry.debtor] < _minor(entry) else None
        if entry.reason != expected:
            found.append(f"{_name(entry)} was decided {entry.reason}; by the model it is {expected}.")
    if states[-1] != dict(history.closing):
        found.append(f"The balances are {dict(history.closing)}; by the model they are {states[-1]}.")
    return found


def no_money_is_made_or_lost(history: History) -> list[str]:
    """Each reading of all accounts has the same total, and nobody is below zero."""
    total = sum(history.opening.values())
    found = []
    for look in history.looks:
        if len(look.balances) == len(history.opening) and sum(look.balances.values()) != total:
            found.append(f"A reading has the total {sum(look.balances.values())} in place of {total}.")
        if min(look.balances.values()) < 0:
            found.append(f"A reading has somebody below zero: {look.balances}.")
    return found


def every_reading_is_of_one_moment(history: History) -> list[str]:
    """Each is the model's state at a place between what was known when it began and what was asked when it ended.

    Nor is it older than a reading that ended before it began. The earliest place that fits is taken: a later one could
    only be worse for those that follow.
    """
    found, states = [], history.states
    pending: list[tuple[float, int]] = []
    seen = 0
    for look in sorted(history.looks, key=lambda each: each.begun):
        while pending and pending[0][0] < look.begun:
            seen = max(seen, heappop(pending)[1])
        first = max(seen, history.decided_before(look.begun))
        last = history.asked_before(look.ended)
        fits = (place for place in range(first, last + 1) if look.balances.items() <= states[place].items())
        place = next(fits, None)
        if place is None:
            found.append(f"{look.balances} was read, and was so at no place from {first} to {last} of the log.")
        else:
            heappush(pending, (look.ended, place))
    return found


def what_was_known_before_stands_before(history: History) -> list[str]:
    """A transfer that was receipted before another was asked for comes before it in the log."""
    begun = history.first_begun
    return [
        f"{_name(entry)} was asked for when {history.decided_before(begun[_name(entry)])} decisions were known, and "
        f"stands at {place}."
        for place, entry in enumerate(history.log)
        if _name(entry) in begun and place < history.decided_before(begun[_name(entry)])
    ]


RULES: Final[tuple[Rule, ...]] = (
    each_transfer_is_decided_once,
    what_is_logged_was_asked_for,
    what_is_receipted_is_logged,
    what_was_not_taken_is_not_logged,
    the_model_decides_the_same,
    no_money_is_made_or_lost,
    every_reading_is_of_one_moment,
    what_was_known_before_stands_before,
)


def _name(entry: LogEntry) -> tuple[str, str]:
    return entry.debtor, entry.transfer_identifier


def _minor(entry: LogEntry) -> int:
    return int(entry.amount.replace(".", ""))


def _after(balances: dict[str, int], entry: LogEntry) -> dict[str, int]:
    if entry.reason is not None:
        return balances
    left = balances | {entry.debtor: balances[entry.debtor] - _minor(entry)}
    return left | {entry.creditor: left[entry.creditor] + _minor(entry)}
