"""Under one identifier a customer's money moves once, whatever is sent again, by whom, and in which session."""

import time

import pytest

from customer import conversing
from keyring import messages as openpgp
from protocol.messages import NumberedReceipt, Refusal
from protocol.orders import format_time
from protocol.stages import Stage
from tests.system import crafted
from tests.system.proxy import TO_BANK, cut_before
from tests.system.town import Person, Stand, submit

CHANGES = {"creditor": ("--to", "1003"), "amount": ("--amount", "25.01"), "description": ("--description", "loan")}
SUBMISSION = 1


def send(person: Person, identifier: str, *changed: object, code: int | None = 0) -> dict[str, object]:
    """A transfer of 25 euros to Bob, with later options in place of earlier ones."""
    done = person.send("--id", identifier, "--json", *changed, code=code)
    found = done.json() if done.out else {}
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("stage", [Stage.PASSWORD, Stage.CERTIFIED])
def test_trial_09_the_same_transfer_again_is_posted_once_and_says_so(stand: Stand, stage: Stage) -> None:
    alice = stand.person("alice")
    first, second = (send(alice, "rent-1", "--stage", stage.value) for _ in range(2))
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    for field in ("status", "code", "reference", "booked", "entry"):
        assert first[field] == second[field]
    assert stand.balance("1001") == 1000_00 - 25_00
    assert stand.postings("1001", "rent-1") == 1


@pytest.mark.parametrize("field", CHANGES)
def test_trial_10_other_content_is_refused_and_the_field_is_named(stand: Stand, field: str) -> None:
    alice = stand.person("alice")
    first = send(alice, "rent-1")
    done = alice.send("--id", "rent-1", *CHANGES[field], code=2)
    assert f"the {field} differs" in done.err
    # A program that has forgotten its outbox asks the bank, which has not.
    alice.forget("outbox")
    found = send(alice, "rent-1", *CHANGES[field], code=1)
    assert (found["reason"], found["field"], found["entry"]) == ("DU04", field, None)
    alice.forget("outbox")
    # The bank compares whole orders, made at a time of their own; so the original comes back to its own bytes only.
    while format_time(time.time()) <= str(first["booked"]):
        time.sleep(0.05)
    assert send(alice, "rent-1", code=1)["reason"] == "DU04"
    assert stand.balance("1001") == 1000_00 - 25_00
    assert stand.postings("1001", "rent-1") == 1
    assert send(alice, "rent-2", *CHANGES[field])["status"] == "posted"
    assert first["status"] == "posted"


def test_trial_11_a_refused_identifier_stays_refused_when_the_money_has_come(stand: Stand) -> None:
    alice = stand.person("alice")
    first = send(alice, "car", "--amount", "1500.00", code=1)
    assert first["reason"] == "AM04"
    stand.bank("deposit", "--to", "1001", "--amount", "1000.00")
    again = send(alice, "car", "--amount", "1500.00", code=1)
    assert (again["reason"], again["duplicate"], again["entry"]) == ("AM04", True, first["entry"])
    assert stand.balance("1001") == 2000_00
    assert send(alice, "car-2", "--amount", "1500.00")["status"] == "posted"


def test_trial_14_two_customers_may_use_one_identifier(stand: Stand) -> None:
    alice, bob = stand.person("alice"), stand.person("bob")
    ours = send(alice, "rent-1")
    theirs = send(bob, "rent-1", "--to", "1001", "--amount", "3.00")
    assert (ours["duplicate"], theirs["duplicate"]) == (False, False)
    assert ours["reference"] != theirs["reference"]
    assert stand.balance("1001") == 1000_00 - 25_00 + 3_00
    # And neither sees the other's: in the statement the counterparty's identifier is left out.
    lines = bob.here("statement", "--json").json()["lines"]
    assert [line["transfer_identifier"] for line in lines] == [None, None, "rent-1"]


@pytest.mark.parametrize("stage", [Stage.SIGNED, Stage.CERTIFIED])
def test_trial_17_a_signed_order_serves_its_owner_only(stand: Stand, stage: Stage) -> None:
    alice, bob = stand.ready("alice", stage), stand.ready("bob", stage)
    with stand.between(alice) as proxy:
        proxy.rule = cut_before(TO_BANK, SUBMISSION)
        alice.send("--id", "rent-1", stage=stage, code=3)
    entries = stand.entries()
    with alice.opened() as home:
        order = home.store.find("rent-1")
        assert order is not None
    with bob.opened() as home, conversing.conversation(home, stage) as talk:
        (answer,) = talk.ask(submit(order.message))
        assert isinstance(answer, Refusal)
        assert answer.reason.value == "DS17"
    assert stand.entries() == entries
    # By its owner, in another session: it is posted, and the next time it is the same entry.
    (found,) = alice.resume()
    assert (found["status"], found["duplicate"]) == ("posted", False)
    with alice.opened() as home, conversing.conversation(home, stage) as talk:
        (answer,) = talk.ask(submit(order.message))
        assert isinstance(answer, NumberedReceipt)
        assert answer.receipt.duplicate
        assert answer.receipt.index == found["entry"]
    assert stand.postings("1001", "rent-1") == 1


@pytest.mark.parametrize(
    ("field", "value", "reason"), [("bank", "0" * 40, "AG08"), ("debtor", "1002", "AG08"), ("amount", "1.00", "")]
)
def test_trial_17_an_order_for_another_bank_or_account_is_refused_unlogged(
    stand: Stand, field: str, value: str, reason: str
) -> None:
    alice, entries = stand.ready("alice", Stage.SIGNED), stand.entries()
    content = crafted.order(stand, "order-1", **{field: value})
    with alice.opened() as home:
        message = openpgp.sign(home.keys, home.key, content)
        with conversing.conversation(home, Stage.SIGNED) as talk:
            (answer,) = talk.ask(submit(message))
    if not reason:  # the honest twin
        assert isinstance(answer, NumberedReceipt)
        return
    assert isinstance(answer, Refusal)
    assert (answer.reason.value, answer.field) == (reason, field)
    assert stand.entries() == entries
