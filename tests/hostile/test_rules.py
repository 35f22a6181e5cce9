"""Each rule that is taken out lets a hostile message in, or it is listed here what stands behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pytest

from keyring import packets, verdict
from keyring.verdict import RULES, Expectation, Rejected, Sealed, UnderPassword
from tests.hostile.case import Case
from tests.hostile.envelopes import EnvelopeCase
from tests.hostile.judges import Judges
from tests.hostile.mutants import name_of, packet_rules, refused_by, rejecting, without
from tests.hostile.test_corpus import CASES


@dataclass(frozen=True)
class Heard:
    """A case as it stands before each rule: its message, and what gpg says of it where nobody counts packets."""

    case: Case | EnvelopeCase
    message: bytes
    expected: Expectation
    packet_rule: str | None
    status: bytes | None
    rejecting: frozenset[str]


@dataclass
class Study:
    """All cases, each shown to gpg once."""

    judges: Judges

    @cached_property
    def heard(self) -> tuple[Heard, ...]:
        with pytest.MonkeyPatch.context() as patch:
            for kind in ("signed", "sealed", "password"):
                patch.setattr(packets, f"require_{kind}_message", lambda message: None)
            return tuple(self._hear(patch))

    def _hear(self, patch: pytest.MonkeyPatch) -> Iterator[Heard]:
        said: list[bytes] = []

        def listening(status: bytes, expected: Expectation) -> Rejected:
            said.append(status)
            return Rejected("heard", "Only listened to.")

        patch.setattr("keyring.worker.judge", listening)
        real = without("")
        for case in CASES:
            said.clear()
            message, expected = self.judges.message(case), self.judges.expected(case)
            self.judges.ask(case, message)
            status = said[0] if said else None
            rules = rejecting(status, expected) if status is not None else frozenset({"engine"})
            yield Heard(case, message, expected, refused_by(real, message, expected), status, rules)

    def packet(self, rule: str) -> tuple[int, set[str], set[str]]:
        """How many cases the rule refuses; which open without it, and which other rules refuse the rest."""
        mutant = without(rule)
        refused = [each for each in self.heard if each.packet_rule == rule]
        opened, behind = set(), set()
        for each in refused:
            other = refused_by(mutant, each.message, each.expected)
            if other is None and not each.rejecting:
                opened.add(str(each.case))
            elif other is not None:
                behind.add(other)
            else:
                behind |= each.rejecting
        return len(refused), opened, behind

    def verdict(self, kind: type[Expectation], rule: str) -> tuple[int, set[str], set[str]]:
        """The same for a rule of the verdict, with the packets counted or, behind "nobody counts", not."""
        touched = [each for each in self.heard if isinstance(each.expected, kind) and rule in each.rejecting]
        opened = {str(each.case) for each in touched if each.rejecting == {rule} and each.packet_rule is None}
        behind = {other for each in touched for other in each.rejecting - {rule}}
        return len(touched), opened, behind
