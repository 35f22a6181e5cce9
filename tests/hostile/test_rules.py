"""Each rule that is taken out lets a hostile message in, or it is listed here what stands behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pytest

from keyring import packets
from keyring.verdict import RULES, Expectation, Rejected, Sealed, SignedByBank, SignedByCustomer, UnderPassword
from tests.hostile.case import ANY, Case
from tests.hostile.envelopes import EnvelopeCase
from tests.hostile.judges import Judges
from tests.hostile.mutants import STUMBLES, name_of, packet_rules, refused_by, rejecting, without
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

        for asks in ("keyring.asked", "keyring.worker"):
            patch.setattr(f"{asks}.judge", listening)
        real = without("")
        for case in CASES:
            if case.rule == ANY:
                continue
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
        """The same for a rule of the verdict."""
        touched = [each for each in self.heard if isinstance(each.expected, kind) and rule in each.rejecting]
        opened = {str(each.case) for each in touched if each.rejecting == {rule} and each.packet_rule is None}
        behind = {other for each in touched for other in each.rejecting - {rule}}
        return len(touched), opened, behind

    def refused_before(self, kind: type[Expectation], rule: str) -> bool:
        """Whether the packets' rules refuse all that this rule of the verdict would."""
        touched = [each for each in self.heard if isinstance(each.expected, kind) and rule in each.rejecting]
        return all(each.packet_rule is not None for each in touched)


@pytest.fixture(scope="module")
def study(judges: Judges) -> Study:
    return Study(judges)


# Taken out, each of these lets a hostile message in at once; gpg and the verdict think nothing of it.
PACKETS_ALONE = frozenset(
    {
        *("literal-binary", "one-issuer", "one-pass-class", "one-pass-signature", "one-pass-version"),
        *("packet-sequence", "partial-length", "recipient-version", "recipients", "s2k-count", "s2k-type"),
        *("signature-numbers", "single-times", "unsigned-fields"),
    }
)
VERDICT_ALONE = {
    SignedByCustomer: frozenset({"same-key", "signing-key", "strong-digest", "trust"}),
    SignedByBank: frozenset({"signing-key"}),
    Sealed: frozenset({"no-failure", "not-signed", "saved-plaintext", "strong-cipher"}),
    UnderPassword: frozenset({"no-failure", "not-signed", "saved-plaintext", "strong-cipher"}),
}
# Of these hostile messages remind one too, but another rule stands behind: two of them would have to fail.
VERDICT_DOUBLED = {
    SignedByCustomer: frozenset(
        {
            *("undamaged", "checkable", "signature-not-expired", "key-not-expired", "key-not-revoked", "no-failure"),
            *("one-plaintext", "saved-plaintext", "one-signature", "good-signature", "valid-signature", "signer"),
        }
    ),
    SignedByBank: frozenset({"checkable", "good-signature", "signer", "trust", "valid-signature"}),
    Sealed: frozenset(
        {"no-password", "opened-by-key", "decrypted", "one-plaintext", "one-decryption", "integrity", "content-inside"}
    ),
    UnderPassword: frozenset(
        {"no-recipient", "opened-by-password", "decrypted", "one-plaintext", "one-decryption", "integrity"}
    ),
}


def test_trial_27_each_packet_rule_keeps_something_away(study: Study) -> None:
    """Alone, or with another rule, or with the code that relies on it, standing behind."""
    for rule in sorted(packet_rules()):
        refused, opened, behind = study.packet(rule)
        assert refused, f"no hostile message is refused by {rule}"
        assert bool(opened) == (rule in PACKETS_ALONE), (rule, opened)
        assert opened or behind, rule


def test_trial_26_rules_of_the_verdict_stand_alone_or_are_doubled(study: Study) -> None:
    """What gpg never says of these messages, test_verdict.py shows of transcripts that were made up."""
    for kind in VERDICT_ALONE:
        alone = {rule for rule in names(kind) if study.verdict(kind, rule)[1]}
        assert alone >= VERDICT_ALONE[kind], kind
        for rule in VERDICT_DOUBLED[kind]:
            touched, opened, behind = study.verdict(kind, rule)
            assert touched, (kind, rule)
            assert not opened, (kind, rule, opened)
            # Where the packets are counted as well, that count is what stands behind.
            assert behind or study.refused_before(kind, rule), (kind, rule)


def test_a_rule_that_is_taken_out_is_out(study: Study) -> None:
    """The twin of the above: without the count of packets two messages pass for one, with it they do not."""
    two = study.judges.cast.from_alice().join() * 2
    expected = study.judges.cast.by("alice")
    assert refused_by(without(""), two, expected) == "one-signature"
    assert refused_by(without("packet-sequence"), two, expected) == STUMBLES


def names(kind: type[Expectation]) -> tuple[str, ...]:
    return tuple(name_of(rule) for rule in RULES[kind])
