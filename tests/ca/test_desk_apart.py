"""The desk does all of its work on a machine that has its database and ca.toml, and nothing else of the authority."""

import shutil
import typing
from pathlib import Path

import msgspec

from ca import messages
from ca.applicant import Desk
from ca.authority import DECISIONS_FILE, DESK_FILE, KEYS_FOLDER
from ca.config import CONFIGURATION_FILE
from ca.messages import (
    AskAuthority,
    AskBank,
    AskCertificate,
    AskRevocations,
    AuthorityKey,
    Certified,
    DeskAnswer,
    NoticeTaken,
    RequestState,
    Revocations,
    RevokedKeyTaken,
    State,
    SubmitNotice,
    SubmitRequest,
    SubmitRevokedKey,
)
from ca.store import DeskStore
from tests.ca.cast import Cast, opened, prove
from tests.ca.heirs import Heirs
from tests.ca.test_cli import ca, open_desk
from tests.ca.test_given_up import revoked_by_owner


def test_trial_49_desk_does_all_of_its_work_without_the_authoritys_home(
    with_alice: Path, cast: Cast, heirs: Heirs, short_tmp: Path
) -> None:
    """`ca serve` in a process of its own, asked everything that can be asked, and what it hands out proves good."""
    apart, log = short_tmp / "desk", short_tmp / "desk.log"
    apart.mkdir(mode=0o700)
    for name in (CONFIGURATION_FILE, DESK_FILE):
        shutil.copy(with_alice / name, apart)
    asked: list[tuple[msgspec.Struct, type[DeskAnswer] | State]] = [
        (SubmitRequest(cast.bob.request()), State.WAITING),
        (SubmitRequest(heirs.request()), State.VOUCHED),
        (SubmitNotice(cast.bank.notice(cast.bob)), NoticeTaken),
        (AskCertificate(cast.alice.fingerprint), Certified),
        (AskCertificate(heirs.second.fingerprint), State.VOUCHED),
        (AskBank(), Certified),
        (AskAuthority(), AuthorityKey),
        (AskRevocations(), Revocations),
        (SubmitRevokedKey(revoked_by_owner(cast.alice)), RevokedKeyTaken),
    ]
    assert {type(question) for question, _ in asked} == set(typing.get_args(messages.DeskRequest))
    handed_out: dict[str, Certified] = {}
    with open_desk(apart, log) as desk:
        for question, expected in asked:
            answer = ask(desk, question)
            if isinstance(expected, State):
                assert isinstance(answer, RequestState), question
                assert answer.state is expected
            else:
                assert isinstance(answer, expected), question
            if isinstance(question, AskCertificate) and isinstance(answer, Certified):
                handed_out[question.fingerprint] = answer
    assert not (apart / KEYS_FOLDER).exists()
    assert not (apart / DECISIONS_FILE).exists()
    # Back at the authority, what was taken there is what the operator works on.
    with opened(with_alice, short_tmp / "ca") as authority:
        proven = prove(authority, cast.alice, handed_out[cast.alice.fingerprint])
        assert (proven.certification.number, proven.certification.role) == ("1001", "customer")
    store = DeskStore.open(apart / DESK_FILE)
    assert len(store.notices("1002")) == 1
    assert [each.fingerprint for each in store.given_up()] == [cast.alice.fingerprint]
    store.close()


def ask(desk: Desk, question: msgspec.Struct) -> DeskAnswer:
    return desk._answer(question)  # type: ignore[arg-type]


def test_desk_without_its_own_database_says_what_is_missing(with_alice: Path, short_tmp: Path) -> None:

    (short_tmp / "desk").mkdir(mode=0o700)
    shutil.copy(with_alice / CONFIGURATION_FILE, short_tmp / "desk")
    assert "desk.sqlite is missing" in ca(short_tmp / "desk", "serve", exit_code=1)
