"""X.509 in the stage certified: each certificate that is not good is refused by name, and stays so."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from bank.errors import InvariantBroken
from bank.revocations import RevocationLists
from ca import bridge
from ca.errors import CaError
from protocol import canonical
from protocol.codes import Reason, Status
from protocol.messages import AskBalance, Balance, Refusal
from protocol.stages import Stage
from tests.bank.counter import Counter, at_counter, entry_of, receive, refusal_in, served
from tests.bank.forgery import below_an_intermediate, forged, rival_root, self_signed
from tests.bank.town import DAY, DAYS, Person, Town

CERTIFIED = Stage.CERTIFIED


@pytest.fixture
def own_counter(town: Town, short_tmp: Path) -> Iterator[Counter]:
    """A bank of the test's own, since what it learns of revocations stays."""
    with at_counter(town, short_tmp) as counter:
        yield counter


def learn(counter: Counter, crl: bytes) -> bridge.RevocationList | None:
    """What `bank fetch` does in another process: the ledger is told, and the server is not."""
    root = bridge.open_root(counter.town.root, counter.town.authority_fingerprint)
    with counter.home.open_ledger() as ledger:
        return RevocationLists(ledger, root).take(crl, int(counter.clock()))


def refusal(counter: Counter, person: Person, **changes: Any) -> tuple[Reason, str | None, str, str | None]:
    """Reason, field, sentence and rule of the refusal of an opening in the stage certified."""
    said = refusal_in(counter.say(counter.opening(person, CERTIFIED, **changes).frame))
    return said.reason, said.field, said.sentence, said.rule


WRONG: dict[str, tuple[Callable[[Town], bytes | None], Reason, str | None, str]] = {
    "missing": (lambda town: None, Reason.CERTIFICATE_MISSING, None, "missing"),
    "empty": (lambda town: b"", Reason.CERTIFICATE_MISSING, "certificate-present", "missing"),
    "unreadable": (lambda town: b"no", Reason.CERTIFICATE_INVALID, "certificate-readable", "not one X.509"),
    "expired": (
        lambda town: forged(town, town.alice, begins=-90, ends=-30),
        Reason.CERTIFICATE_INVALID,
        "not-expired",
        "ended on",
    ),
    "not yet valid": (
        lambda town: forged(town, town.alice, begins=900),
        Reason.CERTIFICATE_INVALID,
        "already-valid",
        "counts from",
    ),
    "other authority": (
        lambda town: forged(town, town.alice, issuer=town.bob),
        Reason.CA_UNKNOWN,
        "issued-by-the-authority",
        "not issued by the authority",
    ),
    "self-signed": (
        lambda town: self_signed(town.alice),
        Reason.CA_UNKNOWN,
        "not-self-signed",
        "issued by its own holder",
    ),
    "for a bank": (
        lambda town: forged(town, town.alice, role="bank"),
        Reason.CERTIFICATE_INVALID,
        "purpose",
        "not for a customer",
    ),
    "other number": (
        lambda town: forged(town, town.alice, number="1002"),
        Reason.CERTIFICATE_INVALID,
        "number",
        "for the number 1002",
    ),
    "other key": (lambda town: forged(town, town.impostor), Reason.CERTIFICATE_INVALID, "same-key", "not for "),
    "somebody else's": (lambda town: town.bob.certificate, Reason.CERTIFICATE_INVALID, "same-key", "not for "),
    "below an intermediate": (
        lambda town: below_an_intermediate(town, town.alice, town.bob)[0],
        Reason.CA_UNKNOWN,
        "issued-by-the-authority",
        "not issued by the authority",
    ),
    "an intermediate": (
        lambda town: below_an_intermediate(town, town.alice, town.bob)[1],
        Reason.CERTIFICATE_INVALID,
        "end-entity",
        "authority",
    ),
    "on another request": (
        lambda town: forged(town, town.alice, request="1" * 64),
        Reason.CERTIFICATE_INVALID,
        "same-request",
        "same request",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_trial_26_a_certificate_that_is_not_the_customers_own_and_good_opens_nothing(
    counter: Counter, case: str
) -> None:
    make, reason, rule, said = WRONG[case]
    kept = counter.count("certificate")
    found = refusal(counter, counter.town.alice, certificate_der=make(counter.town))
    assert found[:2] == (reason, "certificate"), found
    assert said in found[2]
    assert found[3] == rule
    assert counter.count("certificate") == kept


def test_trial_26_a_certified_key_for_another_role_or_number_or_by_another_authority_says_so(counter: Counter) -> None:
    """The OpenPGP form, which is judged first: so an honestly issued certificate that somebody else uses."""
    town = counter.town
    for key, expected in (
        (town.certified_for(town.alice, "1001", "bank"), (Reason.CERTIFICATE_INVALID, "customer", "role")),
        (town.certified_for(town.alice, "1002", "customer"), (Reason.CERTIFICATE_INVALID, "customer", "number")),
        (town.alice.key, (Reason.CA_UNKNOWN, "key", "certified")),
    ):
        reason, field, _, rule = refusal(counter, town.alice, key=key)
        assert (reason, field, rule) == expected


def test_what_a_person_can_mistake_for_each_other_has_different_names() -> None:
    """As the issue of the ceremony lists them; a second unrelated key (one-key) is refused in a test of its own."""
    cases = ("for a bank", "other number", "an intermediate", "expired", "other key", "other authority", "self-signed")
    named = [WRONG[case][2] for case in cases]
    assert None not in named
    assert len({*named, "one-key"}) == len(cases) + 1


def test_trial_26_the_honest_twins_open_a_session_and_orders_are_taken(counter: Counter) -> None:
    alice = counter.town.alice
    for name, certificate in (("issued", alice.certificate), ("like-it", forged(counter.town, alice))):
        with counter.session(alice, CERTIFIED, certificate_der=certificate) as talk:
            entry = talk.pay(f"honest-{name}", certificate=canonical.digest(certificate))
            assert entry.status is Status.SETTLED


def test_the_opening_signs_for_the_certificate_that_is_offered(counter: Counter) -> None:
    alice = counter.town.alice
    assert refusal(counter, alice, certificate="0" * 64)[:2] == (Reason.SIGNATURE, "certificate")
    assert refusal(counter, alice, certificate=None)[:2] == (Reason.SIGNATURE, "certificate")


@pytest.mark.parametrize("stage", [Stage.SESSION, Stage.SIGNED])
def test_a_certificate_is_offered_in_the_stage_certified_only(counter: Counter, stage: Stage) -> None:
    alice = counter.town.alice
    opening = counter.opening(alice, stage, certificate_der=alice.certificate)
    assert counter.refusal(opening.frame) == (Reason.MALFORMED, "certificate")


def test_an_order_names_the_certificate_of_its_session_in_version_2(counter: Counter) -> None:
    alice = counter.town.alice
    with counter.session(alice, CERTIFIED) as talk:
        for changes, expected in (
            ({"version": 1, "certificate": canonical.digest(alice.certified)}, (Reason.MALFORMED, "version")),
            ({"version": 1}, (Reason.MALFORMED, "version")),
            ({"certificate": canonical.digest(alice.certified)}, (Reason.CERTIFICATE_INVALID, "certificate")),
            ({"certificate": None}, (Reason.CERTIFICATE_INVALID, "certificate")),
        ):
            order = counter.submission(alice, "named", CERTIFIED, **changes)
            assert talk.refusal(order) == expected
        assert talk.pay("named").status is Status.SETTLED  # nothing was used up


def test_what_an_order_was_accepted_under_is_kept(own_counter: Counter) -> None:
    alice = own_counter.town.alice
    with own_counter.session(alice, CERTIFIED) as talk:
        talk.pay("kept")
        learn(own_counter, own_counter.town.crl(5))
        talk.pay("kept-later")
    with own_counter.ledger.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT certificate_digest, revocation_number FROM entry WHERE stage = 'certified' ORDER BY leaf"
        ).all()
    assert [tuple(row) for row in rows] == [(canonical.digest(alice.certificate), number) for number in (1, 5)]


# Revocation


def test_revoked_before_the_opening(own_counter: Counter) -> None:
    alice = own_counter.town.alice
    assert learn(own_counter, own_counter.town.crl(2, alice.certificate))
    assert refusal(own_counter, alice)[:2] == (Reason.CERTIFICATE_REVOKED, "certificate")
    with own_counter.session(own_counter.town.bob, CERTIFIED) as talk:  # the honest twin
        assert isinstance(talk.ask(AskBalance(number=1)), Balance)


def test_trial_50_a_revocation_stops_the_next_order_of_an_open_session_and_nothing_brings_it_back(
    town: Town, short_tmp: Path
) -> None:
    older, newer = town.crl(1, ago=60), town.crl(2, town.alice.certificate)
    with at_counter(town, short_tmp) as counter:
        with counter.session(town.alice, CERTIFIED) as talk, counter.session(town.bob, CERTIFIED) as bobs:
            assert talk.pay("before").status is Status.SETTLED
            assert learn(counter, newer)
            order = counter.submission(town.alice, "after", CERTIFIED)
            said = talk.ask(order)
            assert isinstance(said, Refusal)
            assert (said.reason, said.field, said.rule) == (Reason.CERTIFICATE_REVOKED, "certificate", "not-revoked")
            with pytest.raises(CaError, match="older than list 2"):
                learn(counter, older)
            assert talk.refusal(order) == (Reason.CERTIFICATE_REVOKED, "certificate")
            assert entry_of(bobs.ask(counter.submission(town.bob, "twin", CERTIFIED))).status is Status.REJECTED
        counter.server.opener.identities._known.clear()  # so that the small home is made anew
        assert refusal(counter, town.alice)[:2] == (Reason.CERTIFICATE_REVOKED, "certificate")
    with served(town, counter.home) as restarted:
        assert refusal(restarted, town.alice)[:2] == (Reason.CERTIFICATE_REVOKED, "certificate")
        with pytest.raises(CaError, match="older than list 2"):
            learn(restarted, older)
        assert refusal(restarted, town.alice)[:2] == (Reason.CERTIFICATE_REVOKED, "certificate")
        with restarted.session(town.bob, CERTIFIED) as bobs:
            assert isinstance(bobs.ask(AskBalance(number=1)), Balance)


def test_a_list_that_ran_out_stops_orders_and_says_who_must_do_what(own_counter: Counter) -> None:
    town = own_counter.town
    assert learn(own_counter, town.crl(2, days=120 / DAY))
    with own_counter.session(town.alice, CERTIFIED) as talk:
        assert talk.pay("in-time").status is Status.SETTLED
        own_counter.clock.ahead = 180
        answer = talk.ask(own_counter.submission(town.alice, "late", CERTIFIED))
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.field) == (Reason.CERTIFICATE_INVALID, "certificate")
        assert "`ca crl`" in answer.sentence
        assert "`bank fetch`" in answer.sentence
        assert refusal(own_counter, town.alice)[:2] == (Reason.CERTIFICATE_INVALID, "certificate")
        assert learn(own_counter, town.crl(3))
        assert talk.pay("late").status is Status.SETTLED


def test_without_any_list_nothing_is_taken(own_counter: Counter) -> None:
    town = own_counter.town
    with own_counter.home.open_ledger() as ledger, ledger.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER revocation_list_no_delete")
        connection.exec_driver_sql("DELETE FROM revocation_list")
    found = refusal(own_counter, town.alice)
    assert found[:2] == (Reason.CERTIFICATE_INVALID, "certificate")
    assert "`bank fetch`" in found[2]
    assert learn(own_counter, town.crl(1))
    with own_counter.session(town.alice, CERTIFIED) as talk:
        assert talk.pay("now").status is Status.SETTLED


def test_a_certificate_that_ends_within_a_session_is_refused_for_the_next_order(own_counter: Counter) -> None:
    town = own_counter.town
    short = forged(town, town.alice, ends=100)
    with own_counter.session(town.alice, CERTIFIED, certificate_der=short) as talk:
        assert talk.pay("in-time", certificate=canonical.digest(short)).status is Status.SETTLED
        own_counter.clock.ahead = 150
        late = own_counter.submission(town.alice, "late", CERTIFIED, certificate=canonical.digest(short))
        assert talk.refusal(late) == (Reason.CERTIFICATE_INVALID, "certificate")
    with own_counter.session(town.alice, CERTIFIED) as talk:  # the honest twin lasts longer
        assert talk.pay("late").status is Status.SETTLED


# One number, one key


def second_key(town: Town) -> dict[str, Any]:
    """What the impostor offers once the authority has certified that key, too, for Alice's number."""
    key = town.certified_for(town.impostor, "1001", "customer", days=29)
    return {"key": key, "certificate_der": forged(town, town.impostor)}


def test_a_second_key_for_a_number_counts_only_when_the_first_is_revoked(own_counter: Counter) -> None:
    town = own_counter.town
    second = second_key(town)
    with own_counter.session(town.alice, CERTIFIED) as talk:
        talk.pay("first-key")
    found = refusal(own_counter, town.impostor, **second)
    assert found[:2] == (Reason.OTHER_KEY, "certificate")
    assert found[3] == "one-key"
    assert "another key" in found[2]
    assert "`ca revoke`" in found[2]
    renewed = forged(town, town.alice, ends=2 * DAYS * DAY)  # the same key, new dates: a renewal
    with own_counter.session(town.alice, CERTIFIED, certificate_der=renewed) as talk:
        assert talk.pay("renewed", certificate=canonical.digest(renewed)).status is Status.SETTLED
    assert learn(own_counter, town.crl(2, town.alice.certificate))
    assert "another key" in refusal(own_counter, town.impostor, **second)[2]  # the renewed one stands
    assert learn(own_counter, town.crl(3, town.alice.certificate, renewed))
    with own_counter.session(town.impostor, CERTIFIED, **second) as talk:
        digest = canonical.digest(second["certificate_der"])
        assert talk.pay("second-key", certificate=digest).status is Status.SETTLED


def test_of_two_keys_opened_at_once_the_first_to_speak_counts(own_counter: Counter) -> None:
    town = own_counter.town
    with (
        own_counter.session(town.impostor, CERTIFIED, **second_key(town)) as second,
        own_counter.session(town.alice, CERTIFIED) as first,
    ):
        first.pay("first")
        answer = second.ask(AskBalance(number=3))
        assert isinstance(answer, Refusal)
        assert (answer.number, answer.reason, answer.rule) == (0, Reason.OTHER_KEY, "one-key")
        assert receive(second.connection) is None
        assert first.pay("still").status is Status.SETTLED


# What the ledger remembers of revocation lists


def test_only_the_authoritys_lists_are_taken_and_each_once(own_counter: Counter) -> None:
    town = own_counter.town
    kept = own_counter.count("revocation_list")
    with bridge.agent_key(town.bob.home, town.bob.fingerprint, None) as key:
        at = int(time.time())
        foreign = bridge.make_crl(key, rival_root(key), number=99, at=at, next_update=at + DAY, revoked=[])
    for wrong in (foreign, b"no list", b""):
        with pytest.raises(CaError):
            learn(own_counter, wrong)
    assert own_counter.count("revocation_list") == kept
    good = town.crl(4)
    taken = learn(own_counter, good)
    assert taken is not None
    assert taken.number == 4
    assert learn(own_counter, good) is None
    assert own_counter.count("revocation_list") == kept + 1


def test_the_database_refuses_an_older_list_whatever_the_program_does(own_counter: Counter) -> None:
    assert learn(own_counter, own_counter.town.crl(7))
    for number in (6, 7):
        with (
            pytest.raises(InvariantBroken),
            own_counter.home.open_ledger() as ledger,
            ledger.writing() as connection,
        ):
            connection.exec_driver_sql(
                "INSERT OR REPLACE INTO revocation_list VALUES (?, ?, ?, ?)", (number, b"", 0, 0)
            )


def test_forgeries_are_what_they_say(town: Town) -> None:
    """Else a refusal would tell nothing."""
    middle = x509.load_der_x509_certificate(below_an_intermediate(town, town.alice, town.bob)[1])
    assert middle.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    root = x509.load_der_x509_certificate(town.root)
    middle.verify_directly_issued_by(root)
    own = x509.load_der_x509_certificate(self_signed(town.alice))
    own.verify_directly_issued_by(own)
