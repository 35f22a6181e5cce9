"""Each hostile message is refused by the rule its table names; each honest twin opens, and for Sequoia as well.

The tables are signatures.py, signers.py and structures.py (orders and receipts) and envelopes.py (openings and
passwords); their messages are made anew in every run from keys that live in memory only.
"""

import pytest

from keyring.opened import Opened
from tests.hostile.case import Case
from tests.hostile.cast import ORDER
from tests.hostile.envelopes import CUT, ENVELOPES, EnvelopeCase
from tests.hostile.judges import Judges, is_as_expected
from tests.hostile.signatures import SIGNATURES
from tests.hostile.signers import SIGNERS
from tests.hostile.structures import STRUCTURES

CASES: tuple[Case | EnvelopeCase, ...] = (*SIGNATURES, *SIGNERS, *STRUCTURES, *ENVELOPES)


def of_trial(number: int) -> pytest.MarkDecorator:
    cases = [case for case in CASES if case.trial == number]
    assert any(case.rule is None for case in cases), f"trial {number} has no honest twin"
    return pytest.mark.parametrize("case", cases, ids=str)


def judged(judges: Judges, case: Case | EnvelopeCase) -> None:
    found = judges.found(case)
    assert is_as_expected(found, case.rule), f"{found}, where {case.rule} was expected"
    if isinstance(found, Opened) and isinstance(case, Case) and case.by in judges.cast.people:
        fingerprint = judges.cast.people[case.by].fingerprint
        assert (found.verdict.primary, found.verdict.signing) == (fingerprint, fingerprint)


@of_trial(26)
def test_trial_26_a_signature_that_does_not_count_is_refused_by_name(judges: Judges, case: Case) -> None:
    judged(judges, case)


@of_trial(27)
def test_trial_27_a_message_that_is_built_otherwise_is_refused_by_name(judges: Judges, case: Case) -> None:
    judged(judges, case)


@of_trial(28)
def test_trial_28_what_was_changed_under_encryption_is_refused(judges: Judges, case: EnvelopeCase) -> None:
    judged(judges, case)


@of_trial(29)
def test_trial_29_no_status_line_is_believed_that_gpg_did_not_write(judges: Judges, case: Case) -> None:
    judged(judges, case)


@of_trial(30)
def test_trial_30_a_good_signature_of_another_is_refused(judges: Judges, case: Case) -> None:
    judged(judges, case)


@of_trial(31)
def test_trial_31_a_user_id_changes_nobodys_identity(judges: Judges, case: Case) -> None:
    judged(judges, case)


def test_trial_34_sequoia_opens_whatever_is_accepted_and_reads_the_same(judges: Judges) -> None:
    accepted = [case for case in CASES if case.rule is None]
    assert len(accepted) > 30
    for case in accepted:
        ours, theirs = judges.found(case), judges.second_opinion(case)
        assert isinstance(ours, Opened), case.name
        assert theirs == (None if case.sequoia == CUT else ours.content), case.name


def test_trial_34_where_sequoia_accepts_more_the_table_says_why(judges: Judges) -> None:
    refused = [case for case in CASES if case.rule is not None]
    taken = {str(case) for case in refused if judges.second_opinion(case) is not None}
    assert taken == {str(case) for case in refused if case.sequoia}


def test_names_are_unique_and_orders_are_orders(judges: Judges) -> None:
    names = [str(case) for case in CASES]
    assert len(names) == len(set(names))
    assert judges.cast.from_alice().literal.endswith(ORDER)
