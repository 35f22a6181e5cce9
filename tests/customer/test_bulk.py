"""Many payments in one order: asked about, posted once, each result proven, and said plainly to people and scripts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from customer import ceremony, payments, sending, wishes
from customer.cli import bulk, commands
from customer.errors import CustomerError, NotProven, OutcomeUnknown
from customer.store import State
from customer.wire import Event
from customer.wishes import BulkWish, Wish
from protocol import canonical
from protocol.limits import ORDER_BYTES_UNDER_PASSWORD
from protocol.messages import Answer, NumberedReceipt
from protocol.orders import Payment
from protocol.receipts import BulkEntry, decode_entry
from protocol.stages import Stage
from tests.customer.scene import Stand

GOOD = "to,amount,description\n1002,25.00,salary\n1002,17.50,bonus\n"
PARTLY = GOOD + "9999,1.00,nobody\n1002,5000.00,too much\n1002,7.50,more\n"
STAGES = tuple(Stage)


def called(*arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(commands, [str(each) for each in arguments], prog_name="customer", input=answer)


@pytest.fixture
def alice(stand: Stand) -> Path:
    home = stand.customer()
    home.store.close()
    return home.folder


@pytest.fixture
def send(alice: Path, short_tmp: Path) -> Callable[..., Result]:
    def send(text: str, *more: str, answer: str | None = None) -> Result:
        file = short_tmp / "payments.csv"
        file.write_text(text)
        return called("send", "--home", alice, "--file", file, *more, answer=answer)

    return send


Send = Callable[..., Result]


def test_a_file_is_posted_with_a_result_for_every_payment(stand: Stand, alice: Path, send: Send) -> None:
    before = stand.balance("bob")
    done = send(GOOD, "--json", "--id", "salaries")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["status"], facts["code"], facts["amount"], facts["payments"]) == ("posted", "ACSC", "42.50", 2)
    assert [(each["payment"], each["to"], each["amount"], each["status"]) for each in facts["results"]] == [
        (1, "1002", "25.00", "posted"),
        (2, "1002", "17.50", "posted"),
    ]
    assert float(stand.balance("bob")) - float(before) == 42.5
    (row,) = json.loads(called("outbox", "--home", alice, "--json").stdout)
    assert (row["state"], row["amount"], row["payments"]) == ("posted", "42.50", 2)
    assert "2 payments" in called("outbox", "--home", alice).stdout
    (receipt,) = json.loads(called("verify", "--home", alice, "salaries", "--json").stdout)
    assert receipt["status"] == "ACSC"
    lines = json.loads(called("statement", "--home", alice, "--json").stdout)["lines"]
    assert (lines[-1]["amount"], lines[-1]["payments"], lines[-1]["transfer_identifier"]) == ("-42.50", 2, "salaries")
    assert "bulk order, payments: 2" in called("statement", "--home", alice).stdout


def test_an_atomic_file_with_refused_payments_moves_nothing(stand: Stand, send: Send) -> None:
    before = stand.balance("alice"), stand.balance("bob")
    done = send(PARTLY, "--yes")
    assert done.exit_code == 1
    assert "Refused by the bank" in done.stdout
    assert "AC03" in done.stdout
    assert "AM04" in done.stdout
    assert "None of the others was made" in done.stdout
    assert (stand.balance("alice"), stand.balance("bob")) == before


def test_best_effort_makes_what_can_be_made_and_names_the_rest(stand: Stand, alice: Path, send: Send) -> None:
    before = float(stand.balance("bob"))
    done = send(PARTLY, "--best-effort", "--json")
    assert done.exit_code == 1
    facts = json.loads(done.stdout)
    assert (facts["status"], facts["code"], facts["reason"]) == ("partly", "PART", "payments")
    assert [(each["status"], each["reason"]) for each in facts["results"]] == [
        ("posted", None),
        ("posted", None),
        ("refused", "AC03"),
        ("refused", "AM04"),
        ("posted", None),
    ]
    assert all(bool(each["sentence"]) is (each["status"] == "refused") for each in facts["results"])
    assert float(stand.balance("bob")) == before + 50
    (row,) = json.loads(called("outbox", "--home", alice, "--json").stdout)
    assert (row["state"], row["reason"]) == ("partly", "payments")
    said = send(PARTLY, "--best-effort", "--yes").stdout
    assert "Posted in part" in said
    assert "3 payments, 50.00 EUR" in said


# Before anything is signed


def test_bad_lines_are_all_shown_and_nothing_is_made(stand: Stand, alice: Path, send: Send) -> None:
    text = GOOD + "1001,1,own\nx,-1,y\n"
    done = send(text, "--yes")
    assert done.exit_code == 2
    for words in ("Line 4, to: This is your own number", "Line 5, to:", "Line 5, amount:", "3 to correct"):
        assert words in done.stderr
    facts = json.loads(send(text, "--json").stdout)
    assert [(each["line"], each["field"]) for each in facts["lines"]] == [(4, "to"), (5, "to"), (5, "amount")]
    assert json.loads(called("outbox", "--home", alice, "--json").stdout) == []
    assert stand.faults.asked == []


def test_without_a_terminal_it_sends_only_if_told_to(alice: Path, send: Send) -> None:
    done = send(GOOD)
    assert done.exit_code == 2
    assert "2 payments, 42.50 EUR in all" in done.stderr
    assert "--yes" in done.stderr
    assert json.loads(called("outbox", "--home", alice, "--json").stdout) == []
    assert send(GOOD, "--yes").exit_code == 0


@pytest.mark.parametrize(("answer", "code", "orders"), [("y\n", 0, 1), ("n\n", 2, 0), ("", 2, 0)])
def test_at_a_terminal_it_asks(
    alice: Path, send: Send, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, orders: int
) -> None:
    monkeypatch.setattr(bulk, "is_terminal", lambda: True)
    done = send(GOOD + "1002,17.50,bonus\n", answer=answer)
    assert done.exit_code == code
    assert "lines 3 and 4 are the same payment" in done.stderr
    assert "Send them?" in done.stderr
    assert len(json.loads(called("outbox", "--home", alice, "--json").stdout)) == orders


@pytest.mark.parametrize(
    "more",
    [
        ("--file", "x", "--to", "1002"),
        ("--file", "x", "--amount", "1"),
        ("--file", "x", "--description", "y"),
        ("--to", "1002", "--amount", "1", "--best-effort"),
        ("--to", "1002", "--amount", "1", "--yes"),
        (),
    ],
)
def test_options_of_one_payment_and_of_many_do_not_mix(alice: Path, more: tuple[str, ...]) -> None:
    assert called("send", "--home", alice, *more).exit_code == 2
    assert json.loads(called("outbox", "--home", alice, "--json").stdout) == []


# Safe to repeat


def two_payments(stage: Stage, identifier: str) -> BulkWish:
    made = (Payment("1.00", "1002", "a"), Payment("2.00", "1002", "b"))
    return BulkWish(made, "3.00", "EUR", "atomic", stage, identifier)


def test_trial_09_the_same_file_under_one_identifier_is_posted_once(stand: Stand, send: Send) -> None:
    first = json.loads(send(GOOD, "--json", "--id", "march").stdout)
    again = json.loads(send(GOOD, "--json", "--id", "march").stdout)
    assert (again["duplicate"], again["entry"]) == (True, first["entry"])
    assert stand.postings("march") == 1
    before = stand.balance("alice")
    for text, more, words in (
        (GOOD.replace("17.50", "17.51"), (), "the list of payments differs"),
        (GOOD, ("--best-effort",), "the execution differs"),
    ):
        done = send(text, "--yes", "--id", "march", *more)
        assert done.exit_code == 2
        assert words in done.stderr
    assert stand.balance("alice") == before


def test_trial_10_a_file_and_a_single_transfer_do_not_share_an_identifier(alice: Path, send: Send) -> None:
    single = ("send", "--home", alice, "--to", "1002", "--amount", "1.00", "--id")
    assert called(*single, "one").exit_code == 0
    assert "without a file of payments" in send(GOOD, "--yes", "--id", "one").stderr
    assert send(GOOD, "--yes", "--id", "many").exit_code == 0
    done = called(*single, "many")
    assert done.exit_code == 2
    assert "with a file of payments" in done.stderr


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.value)
@pytest.mark.parametrize("moment", ["before posting", "after posting"])
def test_an_interrupted_file_is_resumed_and_posted_once(stand: Stand, stage: Stage, moment: str) -> None:
    wish = BulkWish(
        (Payment("1.00", "1002", "a"), Payment("2.00", "1002", "b")), "3.00", "EUR", "atomic", stage, "bulk-1"
    )
    before = float(stand.balance("bob"))
    with stand.customer() as home:
        if stage in (Stage.SESSION, Stage.SIGNED):
            ceremony.register(home)
        stand.faults.hang_up = moment
        with pytest.raises(OutcomeUnknown):
            sending.send(home, wish)
        stand.faults.hang_up = ""
        (order,) = home.store.in_doubt()
        outcome = sending.send_again(home, order)
        assert outcome.posted
        assert outcome.earlier is (moment == "after posting")
        assert home.store.orders()[0].state is State.POSTED
    assert stand.postings("bulk-1") == 1
    assert float(stand.balance("bob")) == before + 3


# What the bank says is checked


def altered(answer: Answer, **changes: Any) -> Answer:
    """A receipt whose entry says something else, so that its proof does not fit it."""
    assert isinstance(answer, NumberedReceipt)
    entry = decode_entry(answer.receipt.entry)
    entry = msgspec.structs.replace(entry, **changes)
    return msgspec.structs.replace(
        answer, receipt=msgspec.structs.replace(answer.receipt, entry=canonical.encode(entry))
    )


@pytest.mark.parametrize(
    "changes",
    [{"posted": "2.00"}, {"count": 1}, {"sum": "2.00"}, {"execution": "best-effort"}, {"reference": None}],
    ids=str,
)
def test_results_that_do_not_follow_are_not_believed(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    from customer import bank_view

    def unproved(receipt: Any, head: Any) -> Any:
        return decode_entry(receipt.entry)

    monkeypatch.setattr(bank_view, "check_inclusion", unproved)
    wish = two_payments(Stage.CERTIFIED, "b")
    with stand.customer() as home:
        stand.faults.lie = lambda request, answer: (
            altered(answer, **changes) if isinstance(answer, NumberedReceipt) else answer
        )
        with pytest.raises((OutcomeUnknown, NotProven)):
            sending.send(home, wish)
        stand.faults.lie = lambda request, answer: answer
        (order,) = home.store.in_doubt()
        assert sending.send_again(home, order).posted


def test_a_receipt_of_a_single_order_decides_no_bulk_order(stand: Stand) -> None:
    from customer.bank_view import require_about

    with stand.customer() as home:
        single = sending.send(home, Wish("1002", "1.00", "", "EUR", Stage.CERTIFIED, "one"))
        many = sending.send(
            home, BulkWish((Payment("1.00", "1002", ""),), "1.00", "EUR", "atomic", Stage.CERTIFIED, "many")
        )
        assert isinstance(many.entry, BulkEntry)
        assert single.entry
        require_about(many.entry, many.order.content)
        for entry, order in ((single.entry, many.order), (many.entry, single.order)):
            digest = canonical.digest(order.content)
            lie = msgspec.structs.replace(entry, order=digest, transfer_identifier=order.identifier)
            with pytest.raises(NotProven, match="another type"):
                require_about(lie, order.content)


def test_in_the_stage_password_an_order_that_is_too_long_is_not_made(stand: Stand) -> None:
    longest = Payment("1.00", "1002", "\U0001f3e0" * 140)
    with stand.customer() as home:
        for count, possible in ((1000, False), (500, True)):
            wish = BulkWish((longest,) * count, f"{count}.00", "EUR", "atomic", Stage.PASSWORD, f"long-{count}")
            if possible:
                assert len(wishes.made(home, wish, Stage.PASSWORD).content) < ORDER_BYTES_UNDER_PASSWORD
                assert sending.send(home, wish).order.state is not State.UNKNOWN
            else:
                with pytest.raises(CustomerError, match="Split the file"):
                    sending.send(home, wish)
        assert [order.identifier for order in home.store.orders()] == ["long-500"]


# The bar


def test_the_progress_moves_with_the_steps_and_never_back() -> None:
    moved: list[int] = []
    watch = bulk._mover(moved.append)
    for title in ("The order, signed", "something else", "Record sent", "The order, signed", "Proven: all of it"):
        watch(Event(title))
    assert sum(moved) == len(bulk.MILESTONES)
    assert min(moved) > 0


def test_every_milestone_is_a_step_that_is_told(stand: Stand) -> None:
    titles: list[str] = []
    from dataclasses import replace

    with stand.customer() as home:
        watched = replace(home, world=replace(home.world, watch=lambda event: titles.append(event.title)))
        sending.send(watched, two_payments(Stage.CERTIFIED, "many"))
    for milestone in bulk.MILESTONES:
        assert any(title.startswith(milestone) for title in titles), milestone


def test_the_remedy_of_a_wrong_single_payment_names_the_option(alice: Path) -> None:
    for option, value in (("--to", "x"), ("--amount", "-1"), ("--description", "x" * 141)):
        given = {"--to": "1002", "--amount": "1.00", "--description": "rent", option: value}
        done = called("send", "--home", alice, *(part for pair in given.items() for part in pair))
        assert done.exit_code == 2
        assert f"Correct {option}." in done.stderr


def test_bad_payments_is_an_error_of_the_customers() -> None:
    assert issubclass(payments.BadPayments, CustomerError)
