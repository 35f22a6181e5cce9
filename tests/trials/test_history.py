"""The check of a history finds each kind of wrong, and nothing wrong in an honest one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from protocol.codes import Reason, Status
from protocol.receipts import LogEntry
from tests.trials.history import RULES, Ended, History, Look, Try, problems


def entry(debtor: str, identifier: str, creditor: str, amount: str, reason: Reason | None = None) -> LogEntry:
    return LogEntry(
        amount=amount,
        booked="2026-01-01T00:00:00Z",
        creditor=creditor,
        currency="EUR",
        debtor=debtor,
        field=None,
        order="0" * 64,
        reason=reason,
        reference=None,
        salt="0" * 32,
        stage="signed",
        status=Status.REJECTED if reason else Status.SETTLED,
        transfer_identifier=identifier,
    )


FUNDS = Reason.INSUFFICIENT_FUNDS
# 1 pays 2 six; the same again is too much; 2 pays 1 two, which nobody heard of until later; 1 did not get one away.
HONEST = History(
    opening={"1": 10_00, "2": 0},
    tries=(
        Try("1", "a", "2", 6_00, 1.0, 2.0, Ended.OK, 5, None),
        Try("1", "b", "2", 6_00, 3.0, 4.0, Ended.OK, 6, FUNDS),
        Try("2", "a", "1", 2_00, 3.5, 4.5, Ended.INFO),
        Try("2", "a", "1", 2_00, 8.0, 9.0, Ended.OK, 7, None),
        Try("1", "c", "2", 1_00, 5.0, 6.0, Ended.FAIL),
        Try("1", "a", "2", 6_00, 7.0, 8.0, Ended.OK, 5, None),
    ),
    looks=(
        Look(0.1, 0.2, {"1": 10_00, "2": 0}),
        Look(1.5, 1.6, {"1": 10_00, "2": 0}),  # meanwhile either would do
        Look(1.7, 1.8, {"1": 4_00, "2": 6_00}),
        Look(3.6, 3.7, {"2": 4_00}),
        Look(9.5, 9.6, {"1": 6_00, "2": 4_00}),
    ),
    log=(entry("1", "a", "2", "6.00"), entry("1", "b", "2", "6.00", FUNDS), entry("2", "a", "1", "2.00")),
    leaves=(5, 6, 7),
    closing={"1": 6_00, "2": 4_00},
)
LAST = HONEST.log[2]
WRONG: dict[str, Callable[[], History]] = {
    "each_transfer_is_decided_once": lambda: replace(HONEST, log=(*HONEST.log, LAST), leaves=(5, 6, 7, 8)),
    "what_is_logged_was_asked_for": lambda: replace(HONEST, log=(*HONEST.log[:2], entry("2", "a", "1", "1.00"))),
    "what_is_receipted_is_logged": lambda: replace(HONEST, log=HONEST.log[:2], leaves=(5, 6)),
    "what_was_not_taken_is_not_logged": lambda: replace(
        HONEST, tries=[each for each in HONEST.tries if each.identifier != "b"] + [failed("b")]
    ),
    "the_model_decides_the_same": lambda: replace(HONEST, closing={"1": 6_00, "2": 4_01}),
    "no_money_is_made_or_lost": lambda: looked(Look(1.5, 1.6, {"1": 4_00, "2": 5_00})),
    "every_reading_is_of_one_moment": lambda: looked(Look(9.7, 9.8, {"1": 4_00, "2": 6_00})),
    "what_was_known_before_stands_before": lambda: replace(
        HONEST, log=(HONEST.log[1], HONEST.log[0], LAST), leaves=(6, 5, 7)
    ),
}


def failed(identifier: str) -> Try:
    return Try("1", identifier, "2", 6_00, 3.0, 4.0, Ended.FAIL)


def looked(look: Look) -> History:
    return replace(HONEST, looks=(*HONEST.looks, look))


def test_trial_02_an_honest_history_has_no_problems() -> None:
    assert problems(HONEST) == []


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_trial_02_each_rule_finds_what_it_is_for(rule: str) -> None:
    assert any(found.startswith(f"{rule}: ") for found in problems(WRONG[rule]()))


@pytest.mark.parametrize(
    "look",
    [
        Look(2.5, 2.6, {"1": 10_00, "2": 0}),  # older than a receipt that had come
        Look(1.9, 1.95, {"1": 10_00}),  # older than what another had read
        Look(1.5, 1.6, {"1": 6_00}),  # newer than anything asked for
        Look(9.7, 9.8, {"1": 6_01}),  # never so
        Look(9.7, 9.8, {"1": -1, "2": 10_01}),
    ],
)
def test_trial_01_a_reading_that_fits_nowhere_is_found(look: Look) -> None:
    assert problems(looked(look))


def test_trial_02_an_outcome_that_the_model_would_not_give_is_found() -> None:
    """Such as an overdraft, or a refusal of somebody who had enough."""
    for place, reason in ((0, FUNDS), (1, None)):
        log = list(HONEST.log)
        log[place] = entry("1", "ab"[place], "2", "6.00", reason)
        assert any("by the model" in found for found in problems(replace(HONEST, log=log)))
