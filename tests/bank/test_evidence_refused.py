"""The bank gives no evidence of parts that do not belong together, whoever mixed them up."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bank.evidence import EvidenceRefused, Keys, SentOrder, make_evidence
from protocol import evidence
from protocol.stages import OPERATOR
from tests.bank.evidence_world import Case, World


def test_evidence_of_a_wrong_proof_is_not_given(world: World) -> None:
    case = world.case()
    sent, own = SentOrder(case.content, case.sent()), Keys(case.bank_key, case.alice_key, case.authority)
    with pytest.raises(EvidenceRefused, match="log's root"):
        make_evidence(replace(case.logged(), index=0), sent, own, world.signer, world.ordered + 60)


def with_bank_as_customer(world: World) -> evidence.Certificates:
    return replace(world.certificates, customer=world.certificates.bank)


REFUSED: tuple[tuple[str, Callable[[Case], Case]], ...] = (
    ("operator", lambda case: replace(case, entry_changes={"stage": OPERATOR})),
    ("not the one that was decided", lambda case: replace(case, entry_changes={"order": "0" * 64})),
    ("belongs an order without", lambda case: replace(case, entry_changes={"stage": "session"})),
    ("another content", lambda case: replace(case, message=case.world.alice.sign(b"{}", case.world.ordered))),
    ("another content", lambda case: replace(case, message=b"not OpenPGP")),
    ("is not the certified one", lambda case: replace(case, alice_key=case.world.bob_key)),
    ("which the order names", lambda case: replace(case, bank_key=case.world.bob_key)),
    ("the authority's", lambda case: replace(case, authority=None)),
    ("of the time when T-1 was booked", lambda case: replace(case.world.case(x509=True), certificates=None)),
    ("of the time when T-1 was booked", lambda case: case.world.case(x509=True, changes={"revocations": None})),
    (
        "not the one that the order names",
        lambda case: replace(case.world.case(x509=True), certificates=with_bank_as_customer(case.world)),
    ),
)


@pytest.mark.parametrize(("sentence", "change"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_evidence_of_parts_that_disagree_is_not_given(
    world: World, sentence: str, change: Callable[[Case], Case]
) -> None:
    with pytest.raises(EvidenceRefused, match=sentence):
        change(world.case()).files()


def test_evidence_without_the_debtors_key_is_not_given(world: World) -> None:
    case = world.case()
    own = Keys(case.bank_key, None, case.authority)
    with pytest.raises(EvidenceRefused, match="belongs to the evidence"):
        make_evidence(case.logged(), SentOrder(case.content, case.sent()), own, world.signer, world.ordered + 60)
