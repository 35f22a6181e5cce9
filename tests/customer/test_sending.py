"""A transfer is posted once, and called posted only when that is proven, whatever happens on the way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from customer import ceremony, conversing, sending
from customer.errors import CustomerError, NotReady, NotSent, OutcomeUnknown, RefusedByBank
from customer.home import CustomerHome, World
from customer.sending import Outcome, Wish
from customer.store import State, Store
from customer.wire import Event
from keyring import process
from protocol import messages
from protocol.codes import Reason
from protocol.errors import RemoteProtocolError
from protocol.messages import Answer, LookUpOrder, SubmitOrder
from protocol.stages import Stage
from tests.customer.scene import Stand

RENT = Wish(creditor="1002", amount="25.00", description="rent", currency="EUR")
TIME = "2026-01-31T09:30:00Z"


class Killed(BaseException):
    """The program ends here, without a word."""


class Executioner:
    """Kills the program at step number ``at``; a dead program takes no further step."""

    def __init__(self, at: int) -> None:
        self._left = at

    def step(self, _: object = None) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed

    @property
    def has_killed(self) -> bool:
        return self._left < 0

    def around(self, writing: Callable[[Store], Any]) -> Callable[[Store], Any]:
        """Each write to the database is two steps: before it begins, and after it is on the disk."""

        @contextmanager
        def written(store: Store) -> Iterator[Any]:
            self.step()
            with writing(store) as database:
                yield database
            self.step()

        return written


def only(orders: tuple[Any, ...]) -> Any:
    (order,) = orders
    return order


@pytest.mark.parametrize("stage", list(Stage))
def test_a_transfer_is_posted_in_every_stage(stand: Stand, stage: Stage) -> None:
    with stand.customer() as home:
        if stage in (Stage.SESSION, Stage.SIGNED):
            ceremony.register(home)
        outcome = sending.send(home, replace(RENT, amount="25", stage=stage))
        assert outcome.posted
        assert not outcome.earlier
        kept = only(home.store.orders())
        assert kept.state is State.POSTED
        assert kept.receipt == outcome.receipt
        assert kept.order.amount == "25.00"
        head = home.store.newest_head()
        assert head is not None
        assert head.head.size == 2
    assert stand.balance("bob") == "25.00"


@pytest.mark.parametrize("stage", [Stage.PASSWORD, Stage.CERTIFIED])
def test_trial_15_killed_at_every_step_resume_leads_to_one_posting(
    stand: Stand, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest_writing = Store._writing
    stand.customer().store.close()
    at = 0
    while True:
        executioner, identifier = Executioner(at), f"killed-{at}"
        wish = replace(RENT, amount="0.01", identifier=identifier, stage=stage)
        with stand.customer(world=World(watch=executioner.step)) as home, monkeypatch.context() as patch:
            patch.setattr(Store, "_writing", executioner.around(honest_writing))
            with suppress(Killed):
                sending.send(home, wish)
        if not executioner.has_killed:
            break
        with stand.customer() as home:
            order = home.store.find(identifier)
            for doubtful in home.store.in_doubt():
                assert sending.send_again(home, doubtful).posted
            assert not home.store.in_doubt()
        assert stand.postings(identifier) == (1 if order is not None else 0), f"killed at step {at}"
        at += 1
    assert at > 8
    assert stand.postings(identifier) == 1


@pytest.mark.parametrize("moment", ["before posting", "after posting"])
@pytest.mark.parametrize("stage", [Stage.PASSWORD, Stage.CERTIFIED])
def test_a_bank_that_hangs_up_leaves_the_outcome_unknown_until_resumed(stand: Stand, stage: Stage, moment: str) -> None:
    stand.faults.hang_up = moment
    with stand.customer() as home:
        with pytest.raises(OutcomeUnknown, match="customer resume"):
            sending.send(home, replace(RENT, stage=stage))
        order = only(home.store.in_doubt())
        assert order.state is State.UNKNOWN
        if moment == "after posting":
            stand.faults.lie = hang_up  # also at the look-up, which comes first
        with pytest.raises(OutcomeUnknown):
            sending.send_again(home, order)
        stand.faults.hang_up, stand.faults.lie = "", lambda request, answer: answer
        outcome = sending.send_again(home, only(home.store.in_doubt()))
        assert outcome.posted
        assert outcome.earlier == (moment == "after posting")
    assert stand.postings(order.identifier) == 1


def hang_up(request: msgspec.Struct, answer: Answer) -> Answer:
    raise RemoteProtocolError("hung up")


def test_nothing_is_sent_where_nobody_answers(stand: Stand) -> None:
    with stand.customer() as home:
        stand.server.stop()
        with pytest.raises(NotSent, match="Nothing was sent"):
            sending.send(home, RENT)
        assert only(home.store.orders()).state is State.UNSENT
        assert not home.store.in_doubt()


def test_what_surely_never_left_can_be_sent_again_by_its_identifier(stand: Stand) -> None:
    wish = replace(RENT, identifier="rent-1")
    with stand.customer() as home:
        far = replace(home, config=msgspec.structs.replace(home.config, bank=nowhere(home)))
        with pytest.raises(NotSent):
            sending.send(far, wish)
        first = only(home.store.orders())
        assert sending.send(home, wish).posted
        assert only(home.store.orders()).message == first.message
    assert stand.postings("rent-1") == 1


def nowhere(home: CustomerHome) -> Any:
    return msgspec.structs.replace(home.config.bank, address="127.0.0.1:1")


def test_the_same_transfer_again_gives_the_original_answer(stand: Stand) -> None:
    wish = replace(RENT, identifier="rent-1")
    with stand.customer() as home:
        first = sending.send(home, wish)
        again = sending.send(home, replace(wish, amount="25"))
        assert again.posted
        assert again.earlier
        assert again.entry == first.entry
        assert sum(isinstance(each, SubmitOrder) for each in stand.faults.asked) == 1
        stand.server.stop()
        offline = sending.send(home, wish)
        assert offline.posted
        assert offline.entry == first.entry
    assert stand.balance("bob") == "25.00"


@pytest.mark.parametrize(
    ("field", "value"), [("creditor", "1003"), ("amount", "26.00"), ("description", "other"), ("currency", "USD")]
)
def test_an_identifier_is_not_used_for_another_transfer(stand: Stand, field: str, value: str) -> None:
    wish = replace(RENT, identifier="rent-1")
    with stand.customer() as home:
        sending.send(home, wish)
        with pytest.raises(CustomerError, match=f"the {field} differs"):
            sending.send(home, replace(wish, **{field: value}))  # type: ignore[arg-type]


def test_an_identifier_that_the_bank_knows_for_another_transfer_is_refused_unlogged(stand: Stand) -> None:
    wish = replace(RENT, identifier="rent-1")
    with stand.customer() as home:
        sending.send(home, wish)
        home.store._connection.execute("DELETE FROM outbox")
        outcome = sending.send(home, replace(wish, amount="1.00"))
        assert outcome.reason is Reason.IDENTIFIER_REUSED
        assert outcome.entry is None
        assert only(home.store.orders()).state is State.REFUSED
    assert stand.balance("bob") == "25.00"


def test_a_refusal_has_a_receipt_and_stays(stand: Stand) -> None:
    wish = replace(RENT, identifier="yacht", amount="5000.00")
    with stand.customer() as home:
        outcome = sending.send(home, wish)
        assert outcome.reason is Reason.INSUFFICIENT_FUNDS
        assert outcome.entry is not None
        assert outcome.entry.field == "amount"
        again = sending.send(home, wish)
        assert (again.reason, again.earlier) == (Reason.INSUFFICIENT_FUNDS, True)
        assert only(home.store.orders()).state is State.REFUSED


def test_a_kept_receipt_outweighs_a_bank_that_has_forgotten(stand: Stand) -> None:
    wish = replace(RENT, identifier="rent-1")
    with stand.customer() as home:
        sending.send(home, wish)
        stand.faults.lie = lambda request, answer: (
            messages.Unknown(number=request.number, transfer_identifier="rent-1")
            if isinstance(request, LookUpOrder)
            else answer
        )
        with pytest.raises(NotSent, match="receipt is kept here"):
            sending.send(home, wish)
        assert only(home.store.orders()).state is State.POSTED
    assert sum(isinstance(each, SubmitOrder) for each in stand.faults.asked) == 1


def busy(times: int) -> Callable[[msgspec.Struct, Answer], Answer]:
    """The bank is busy so often; nothing of what it would have said is told."""
    left = [times]

    def lie(request: msgspec.Struct, answer: Answer) -> Answer:
        if isinstance(request, SubmitOrder) and left[0]:
            left[0] -= 1
            return messages.refuse(Reason.BUSY, number=request.number, time=TIME)
        return answer

    return lie


@pytest.mark.parametrize(("times", "posted"), [(2, True), (3, False)])
def test_a_busy_bank_is_asked_three_times(stand: Stand, times: int, posted: bool) -> None:
    stand.faults.lie = busy(times)
    waits: list[float] = []
    with stand.customer(world=World(sleep=waits.append)) as home:
        outcome = sending.send(home, RENT)
    assert outcome.posted == posted
    assert len(waits) == 2
    if not posted:
        assert outcome.reason is Reason.BUSY


def test_a_busy_bank_does_not_settle_what_was_in_doubt(stand: Stand) -> None:
    stand.faults.hang_up = "before posting"
    with stand.customer() as home:
        with pytest.raises(OutcomeUnknown):
            sending.send(home, RENT)
        stand.faults.hang_up = ""

        def forgetful(request: msgspec.Struct, answer: Answer) -> Answer:
            if isinstance(request, LookUpOrder):
                return messages.Unknown(number=request.number, transfer_identifier=request.transfer_identifier)
            return messages.refuse(Reason.BUSY, number=request.number, time=TIME)  # type: ignore[attr-defined]

        stand.faults.lie = forgetful
        order = only(home.store.in_doubt())
        with pytest.raises(OutcomeUnknown):
            sending.send_again(home, order)
        stand.faults.lie = lambda request, answer: answer
        assert sending.send_again(home, only(home.store.in_doubt())).posted
    assert stand.postings(order.identifier) == 1


def test_a_wrong_password_is_found_before_the_order_leaves(stand: Stand) -> None:
    with stand.customer() as home:
        bob = replace(home, secrets=stand.secrets("bob"))
        with pytest.raises(RefusedByBank) as refused:
            sending.send(bob, replace(RENT, stage=Stage.PASSWORD))
        assert refused.value.refusal.reason is Reason.PASSWORD
        assert not refused.value.proven
        assert only(home.store.orders()).state is State.UNSENT
        assert not any(isinstance(each, SubmitOrder) for each in stand.faults.asked)
        assert sending.send(home, replace(RENT, stage=Stage.PASSWORD)).posted


def test_no_stage_below_the_highest_used_is_used_again(stand: Stand) -> None:
    with stand.customer() as home:
        assert sending.send(home, replace(RENT, stage=Stage.PASSWORD)).posted
        assert sending.send(home, RENT).posted
        for stage in (Stage.PASSWORD, Stage.SESSION, Stage.SIGNED):
            with pytest.raises(CustomerError, match="weaker stage"):
                sending.send(home, replace(RENT, stage=stage))
            with pytest.raises(CustomerError, match="weaker stage"), conversing.conversation(home, stage):
                pass
        assert len(home.store.orders()) == 2


def test_an_order_of_a_stage_that_became_too_weak_is_asked_about_and_not_sent(stand: Stand) -> None:
    stand.faults.hang_up = "before posting"
    with stand.customer() as home:
        with pytest.raises(OutcomeUnknown):
            sending.send(home, replace(RENT, stage=Stage.PASSWORD, identifier="lost"))
        stand.faults.hang_up = "after posting"
        with pytest.raises(OutcomeUnknown):
            sending.send(home, replace(RENT, stage=Stage.PASSWORD, identifier="done"))
        stand.faults.hang_up = ""
        assert sending.send(home, RENT).posted
        lost, done = home.store.in_doubt()
        with pytest.raises(NotSent, match="no longer used"):
            sending.send_again(home, lost)
        assert sending.send_again(home, done).posted
        assert not home.store.in_doubt()
    assert (stand.postings("lost"), stand.postings("done")) == (0, 1)


def test_an_interrupted_send_says_that_the_outcome_is_unknown(stand: Stand) -> None:
    def interrupt(event: Event) -> None:
        if event.title == "Frame sent" and event.content == b"" and dict(event.facts)["type"].startswith("RECORD"):
            raise KeyboardInterrupt

    with stand.customer(world=World(watch=interrupt)) as home:
        with pytest.raises(OutcomeUnknown, match="interrupted"):
            sending.send(home, RENT)
        assert only(home.store.in_doubt()).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"creditor": "12a"}, "--to"),
        ({"creditor": ""}, "--to"),
        ({"amount": "0"}, "--amount"),
        ({"amount": "-1"}, "--amount"),
        ({"amount": "1e3"}, "--amount"),
        ({"amount": "1.001"}, "--amount"),
        ({"amount": "1,00"}, "--amount"),
        ({"currency": "QQQ"}, "--currency"),
        ({"description": "x" * 141}, "description"),
        ({"description": "a\nb"}, "description"),
        ({"description": "\u202eevil"}, "description"),
        ({"identifier": "a b"}, "--id"),
        ({"identifier": "x" * 36}, "--id"),
        ({"identifier": ""}, "--id"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(stand: Stand, change: dict[str, str], said: str) -> None:
    with stand.customer() as home:
        with pytest.raises(CustomerError, match=said):
            sending.send(home, replace(RENT, **change))  # type: ignore[arg-type]
        assert not home.store.orders()


def test_without_a_certificate_the_stage_certified_names_the_next_step(stand: Stand) -> None:
    with stand.customer(certified=False) as home, pytest.raises(NotReady, match="customer status"):
        sending.send(home, RENT)


def test_a_certified_send_takes_four_gpg_processes(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    with stand.customer() as home:
        sending.send(home, RENT)  # the agent runs now, and the bank knows the key
        ours: list[tuple[str, ...]] = []
        honest = process.run

        def counted(where: Any, *arguments: str, **options: Any) -> process.Outcome:
            if where.path.is_relative_to(home.folder.resolve()):
                ours.append(arguments)
            return honest(where, *arguments, **options)

        monkeypatch.setattr(process, "run", counted)
        assert sending.send(home, RENT).posted
    kinds = ["--sign", "--sign", "--encrypt", "--decrypt"]
    assert [next(each for each in kinds if each in arguments) for arguments in ours] == kinds


def test_the_answer_of_an_outcome_fits_its_type(stand: Stand) -> None:
    def swapped(request: msgspec.Struct, answer: Answer) -> Answer:
        return messages.Closed(number=request.number) if isinstance(request, SubmitOrder) else answer

    stand.faults.lie = swapped
    with stand.customer() as home:
        with pytest.raises(OutcomeUnknown, match="something else"):
            sending.send(home, RENT)
        stand.faults.lie = lambda request, answer: answer
        found: Outcome = sending.send_again(home, only(home.store.in_doubt()))
        assert found.posted
        assert found.earlier
