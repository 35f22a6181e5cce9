"""The newest revocation list decides before every opening; an older or a late one never does, whoever gives it out."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ca.errors import CaError
from ca.messages import Certified
from ca.messages import State as Asked
from customer import asking, ceremony, conversing, progress, revocations, sending
from customer.errors import CustomerError, NotReady, NotSent, OutcomeUnknown
from customer.home import CustomerHome, World
from customer.sending import Wish
from customer.store import State
from keyring.home import Home
from protocol import canonical
from protocol.stages import Stage
from protocol.transport import Address
from tests.customer.authority import DAY, copied
from tests.customer.desk import DeskStandIn, newcomer
from tests.customer.scene import Stand, Template, mail, serial_of

RENT = Wish(creditor="1002", amount="25.00", description="rent", currency="EUR", identifier="rent-1")


def mailed(stand: Stand, home: CustomerHome, crl: bytes, own: Certified | None = None) -> ceremony.Fetched:
    file = stand.folder / "mail"
    mail(stand.template, file, own or stand.template.certified["alice"], crl)
    return ceremony.fetch(home, file)


@pytest.mark.parametrize("whose", ["bank", "alice"])
def test_nothing_is_sent_once_either_side_is_revoked(stand: Stand, whose: str) -> None:
    with stand.customer() as home:
        assert sending.send(home, Wish("1002", "1.00", "before", "EUR")).posted
        asked = len(stand.faults.asked)
        with pytest.raises(CaError):
            mailed(stand, home, stand.template.authority.crl(2, serial_of(stand.template.certified[whose])))
        with pytest.raises(NotSent, match="has revoked"):
            sending.send(home, RENT)
        assert len(stand.faults.asked) == asked
        assert [each.state for each in home.store.orders()] == [State.POSTED, State.UNSENT]
        said = progress.progress(home).next
        assert whose == "bank" or said.command.startswith("customer init --home")


def test_trial_50_an_older_list_never_brings_a_revoked_certificate_back(stand: Stand) -> None:
    template = stand.template
    with stand.customer() as home:
        with pytest.raises(CaError):
            mailed(stand, home, template.authority.crl(7, serial_of(template.certified["bank"])))
        for older in (template.crl, template.authority.crl(6)):
            with pytest.raises(CaError, match="older than list 7"):
                mailed(stand, home, older)
            assert revocations.newest(home).number == 7
        with pytest.raises(NotSent, match="has revoked"):
            sending.send(home, RENT)


def test_a_newer_list_is_taken(stand: Stand) -> None:
    with stand.customer() as home:
        other = serial_of(stand.template.certified["bob"])
        assert mailed(stand, home, stand.template.authority.crl(2, other)).crl_number == 2
        assert revocations.newest(home).revoked == {other}
        assert sending.send(home, RENT).posted


def test_two_programs_keep_the_highest_list(stand: Stand) -> None:
    with stand.customer() as home, CustomerHome.open(home.folder) as second:
        low, high = revocations.newest(home), stand.template.authority.crl(9)
        mailed(stand, second, high)
        home.store.keep_revocations(low)
        assert home.store.revocations() == second.store.revocations()
        assert revocations.newest(home).number == 9


@pytest.fixture
def clock() -> list[float]:
    return [time.time()]


@pytest.fixture
def alice(
    bank_template: Template, short_tmp: Path, desk: tuple[DeskStandIn, Address], clock: list[float]
) -> "Callable[[], CustomerHome]":
    """Alice, who has fetched everything from the desk."""

    def opened() -> CustomerHome:
        folder = short_tmp / "alice"
        world = World(clock=lambda: clock[0])
        if not folder.exists():
            with newcomer(bank_template, folder, desk[1], world) as home:
                ceremony.fetch(home, None)
        return CustomerHome.open(folder, world)

    return opened


def judge(home: CustomerHome) -> None:
    """What is asked before every opening."""
    revocations.require_unrevoked(home, conversing.view_for(home, Stage.CERTIFIED).serial)


def test_the_desk_is_asked_once_a_day_and_its_silence_is_borne_until_the_list_runs_out(
    alice: Callable[[], CustomerHome], desk: tuple[DeskStandIn, Address], clock: list[float], bank_template: Template
) -> None:
    stand_in, good = desk[0], bank_template.crl
    with alice() as home:
        before = stand_in.asked_for_list
        judge(home)
        assert stand_in.asked_for_list == before
        clock[0] += DAY
        judge(home)
        judge(home)
        assert stand_in.asked_for_list == before + 1
        stand_in.crl = b"not a list"
        clock[0] += DAY
        judge(home)
        judge(home)
        assert stand_in.asked_for_list == before + 2
        clock[0] += 3600
        judge(home)
        assert stand_in.asked_for_list == before + 3
        clock[0] += 29 * DAY
        stand_in.crl = good
        with pytest.raises(NotReady, match=r"`ca crl`.*`customer fetch`"):
            judge(home)
        assert stand_in.asked_for_list == before + 4


def test_a_newer_list_from_the_desk_counts_at_once(
    alice: Callable[[], CustomerHome], desk: tuple[DeskStandIn, Address], clock: list[float], bank_template: Template
) -> None:
    authority = bank_template.authority
    with alice() as home:
        clock[0] += 31 * DAY
        desk[0].crl = authority.crl(2, at=int(clock[0]))
        judge(home)
        clock[0] += DAY
        desk[0].crl = authority.crl(3, serial_of(bank_template.certified["bank"]), at=int(clock[0]))
        with pytest.raises(revocations.Revoked, match="bank's certificate"):
            judge(home)
        desk[0].crl = authority.crl(2, at=int(clock[0]))
        clock[0] += 2 * DAY
        with pytest.raises(revocations.Revoked):
            judge(home)


def test_a_list_from_the_future_means_that_the_clock_is_wrong(
    alice: Callable[[], CustomerHome], clock: list[float]
) -> None:
    with alice() as home:
        judge(home)
        clock[0] = revocations.newest(home).this_update - 301
        with pytest.raises(NotReady, match="set this machine's clock"):
            judge(home)


def test_ends_are_announced_with_who_acts_and_the_command(
    alice: Callable[[], CustomerHome], clock: list[float], desk: tuple[DeskStandIn, Address], bank_template: Template
) -> None:
    with alice() as home:

        def told() -> tuple[str, str, str]:
            found = progress.progress(home)
            warnings = " ".join(each for each in found.warnings if "lies beside" not in each)
            return found.next.command.split(" --")[0], found.next.who, warnings

        assert told() == ("customer send", "you", "")
        clock[0] += 22 * DAY
        assert told()[0] == "customer send"
        assert told()[2] == ""
        clock[0] += 1.5 * DAY
        assert "runs out in 6 days" in told()[2]
        clock[0] += 8 * DAY
        assert told()[:2] == ("customer fetch", "the authority, then you")
        desk[0].crl = bank_template.authority.crl(2, at=int(clock[0]), days=60)
        assert ceremony.fetch(home, None).crl_number == 2
        assert told() == ("customer send", "you", "")
        clock[0] += 46 * DAY
        command, who, warnings = told()
        assert (command, who) == ("customer renew", "the authority, then you")
        assert "ends in 12 days" in warnings
        assert "ca renew 1001" in warnings
        clock[0] += 14 * DAY
        assert told()[0] == "customer request"
        with pytest.raises(NotReady, match="has ended"):
            conversing.offered(home)


def test_an_order_under_way_when_the_certificate_was_renewed_is_sent_again_unchanged(
    stand: Stand, short_tmp: Path
) -> None:
    authority = copied(stand.template.authority, short_tmp / "ca")
    with stand.customer() as home:
        first = conversing.offered(home)
        stand.faults.hang_up = "before posting"
        with pytest.raises(OutcomeUnknown):
            sending.send(home, RENT)
        renewed = authority.certify(Home.open(home.folder / "gnupg"), "1001", "customer", days=100)
        fetched = mailed(stand, home, stand.template.crl, renewed)
        assert fetched.until is not None
        assert fetched.before is not None
        assert fetched.until > fetched.before
        assert conversing.offered(home).certificate == renewed.certificate != first.certificate
        stand.faults.hang_up = ""
        (order,) = home.store.in_doubt()
        assert sending.send_again(home, order).posted
        assert order.order.certificate == canonical.digest(first.certificate)
        outcome = sending.send(home, Wish("1002", "1.00", "after", "EUR"))
        assert outcome.posted
        assert outcome.order.order.certificate == canonical.digest(renewed.certificate)
    authority.home.stop()


def test_an_order_whose_certificate_has_ended_is_not_sent_again(stand: Stand, short_tmp: Path) -> None:
    with stand.customer() as home:
        stand.faults.hang_up = "before posting"
        with pytest.raises(OutcomeUnknown):
            sending.send(home, RENT)
        (order,) = home.store.in_doubt()
        stand.faults.hang_up = ""
        named = order.order.certificate
        assert named is not None
        with home.store._writing() as database:
            database.execute("UPDATE certificates SET ends = 0, digest = 'ended'")
        authority = copied(stand.template.authority, short_tmp / "ca")
        renewed = authority.certify(Home.open(home.folder / "gnupg"), "1001", "customer", days=100)
        mailed(stand, home, stand.template.crl, renewed)
        with pytest.raises(CustomerError, match="certificate that has ended"):
            sending.send_again(home, order)
        assert stand.postings("rent-1") == 0
        assert not home.store.in_doubt()
    authority.home.stop()


def test_nothing_is_written_to_be_mailed_for_a_key_that_is_revoked(stand: Stand) -> None:
    """The authority would send it back, after a way by mail and a call."""
    out = stand.folder / "request"
    with stand.customer() as home:
        mailed(stand, home, stand.template.authority.crl(2, serial_of(stand.template.certified["bob"])))
        ceremony.request(home, out)  # the honest twin: somebody else is revoked
        out.unlink()
        with pytest.raises(CaError):
            mailed(stand, home, stand.template.authority.crl(3, serial_of(stand.template.certified["alice"])))
        assert ceremony.request(home, out).state.state is Asked.REVOKED
        assert not out.exists()


def test_example_of_a_transfer_is_never_to_oneself() -> None:
    for number, other in (("1001", "1002"), ("1002", "1001"), ("7", "1002")):
        assert f"--to {other} " in asking.example_transfer(number)
