"""Only the authority's own, valid, complete certification says who a key belongs to; refusals have honest twins."""

import time
from typing import Any

import pytest

from keyring import certification, keys, process
from keyring.certification import CaTemplate, read_certification, registered_home
from keyring.errors import KeyringError, NotCertified, PassphraseError, UnsuitableKey
from keyring.home import Home
from protocol.secret import Secret
from tests.keyring.scene import COMPLETE, DAY, DIGEST, PASSPHRASE, Scene


def test_trial_26_honest_certification_is_read_back_and_trusted(scene: Scene) -> None:
    notations = {"confirmed-by": "Zo\u00eb: 100% = %k", "confirmed-at": "2026-01-01T00:00:00Z", "reached-by": "+1 555"}
    before = int(time.time())
    home, read, fingerprint = scene.judge(scene.certify(notations=notations))
    assert (read.number, read.role, read.request_digest) == ("1001", "customer", DIGEST)
    assert (read.confirmed_by, read.confirmed_at, read.reached_by) == tuple(notations.values())
    assert (read.certifier, read.user_id) == (scene.ca.fingerprint, "Alice (1001)")
    assert before <= read.created <= time.time()
    assert read.expires == read.created + 30 * DAY
    assert fingerprint == scene.alice.fingerprint
    signed = process.run(scene.alice.home, "--sign", "-z", "0", stdin=b"order").output
    assert b"[GNUPG:] TRUST_FULLY " in process.run(home, "--decrypt", stdin=signed).status


def test_template_gives_the_same_home_with_two_gpg_processes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = scene.certify()
    template = CaTemplate.create(scene.folder / "template", scene.ca.key(), scene.ca.fingerprint)
    assert scene.judge(offered)[1:] == scene.judge(offered, template=template)[1:]
    started: list[object] = []
    real = process._start

    def counting(*arguments: Any, **options: Any) -> Any:
        started.append(arguments)
        return real(*arguments, **options)

    ca_key = scene.ca.key()
    monkeypatch.setattr(process, "_start", counting)
    scene.judge(offered, template=template, ca_key=ca_key)
    assert len(started) == 2


def test_template_of_another_authority_is_refused(scene: Scene) -> None:
    template = CaTemplate.create(scene.folder / "template", scene.other.key(), scene.other.fingerprint)
    with pytest.raises(UnsuitableKey, match="another authority"):
        scene.judge(scene.certify(), template=template)


def test_trial_26_uncertified_key_is_refused(scene: Scene) -> None:
    scene.refuse(scene.alice.key(), "certified")


def test_trial_26_key_certified_by_another_authority_is_refused(scene: Scene) -> None:
    offered = scene.certify(by=scene.other)
    scene.refuse(offered, "certified")
    scene.judge(offered, ca_key=scene.other.key(), ca_fingerprint=scene.other.fingerprint)


def test_authority_other_than_the_pinned_one_is_refused(scene: Scene) -> None:
    with pytest.raises(UnsuitableKey, match="was expected"):
        scene.judge(scene.certify(by=scene.other), ca_key=scene.other.key())
    assert not scene.path_of_judgement.exists()


def test_trial_26_certification_for_another_number_and_role_says_so(scene: Scene) -> None:
    read = scene.judge(scene.certify(number="0077", role="bank"))[1]
    assert (read.number, read.role) == ("0077", "bank")


def test_offered_key_other_than_the_expected_one_is_refused(scene: Scene) -> None:
    with pytest.raises(UnsuitableKey, match="was expected"):
        scene.judge(scene.certify(), expected_fingerprint=scene.other.fingerprint)


def test_trial_26_copy_without_the_certification_is_refused(scene: Scene) -> None:
    scene.certify()
    scene.refuse(keys.export_minimal(scene.ca.home, scene.alice.fingerprint), "certified")


def test_trial_26_revoked_certification_is_refused_but_an_older_copy_is_not(scene: Scene) -> None:
    """The older copy cannot know: what was revoked is remembered outside GnuPG, by the revocation list."""
    older = scene.certify()
    certification.revoke(scene.ca.home, scene.alice.fingerprint, passphrase=PASSPHRASE)
    scene.refuse(keys.export(scene.ca.home, scene.alice.fingerprint), "not-revoked")
    scene.judge(older)


def test_revocation_of_the_same_second_revokes(scene: Scene) -> None:
    at = int(time.time()) + 10
    scene.certify_oddly(*COMPLETE, at=at)
    arguments = ("--quick-revoke-sig", scene.alice.fingerprint, scene.ca.fingerprint)
    process.run(scene.ca.home, *arguments, passphrase=PASSPHRASE, faked_time=at)
    scene.refuse(keys.export(scene.ca.home, scene.alice.fingerprint), "not-revoked", at=at + 60)


def test_certification_counts_again_when_made_after_the_revocation(scene: Scene) -> None:
    at = int(time.time())
    scene.certify_oddly(*COMPLETE, at=at)
    arguments = ("--quick-revoke-sig", scene.alice.fingerprint, scene.ca.fingerprint)
    process.run(scene.ca.home, *arguments, passphrase=PASSPHRASE, faked_time=at + 10)
    offered = scene.certify_oddly(*COMPLETE, at=at + 20)
    assert scene.judge(offered, at=at + 60)[1].created == at + 20


def test_trial_26_certification_ends_at_its_time(scene: Scene) -> None:
    offered = scene.certify()
    read = scene.judge(offered)[1]
    assert scene.judge(offered, at=read.expires - 1)[1] == read
    scene.refuse(offered, "not-expired", at=read.expires)
    scene.refuse(offered, "not-expired", at=read.expires + DAY)


def test_trial_26_certification_of_the_future_is_refused(scene: Scene) -> None:
    at = int(time.time()) + DAY
    offered = scene.certify_oddly(*COMPLETE, at=at)
    scene.refuse(offered, "not-yet-valid")
    scene.judge(offered, at=at)


def test_certification_without_an_end_is_refused(scene: Scene) -> None:
    scene.refuse(scene.certify_oddly(*COMPLETE, expire="0"), "limited")


@pytest.mark.parametrize(
    ("notations", "rule"),
    [
        pytest.param((), "notations", id="none"),
        pytest.param(COMPLETE[1:], "notations", id="no number"),
        pytest.param(COMPLETE[::2], "notations", id="no role"),
        pytest.param(COMPLETE[:2], "notations", id="no request"),
        pytest.param((*COMPLETE, "number=1002"), "single-notations", id="two numbers"),
        pytest.param((*COMPLETE, "number=1001"), "single-notations", id="the number twice"),
        pytest.param(("number=10 01", *COMPLETE[1:]), "readable-notations", id="a number that is none"),
        pytest.param(("role=king", *COMPLETE[:1], COMPLETE[2]), "readable-notations", id="a role that is none"),
    ],
)
def test_certification_that_does_not_say_all_once_is_refused(
    scene: Scene, notations: tuple[str, ...], rule: str
) -> None:
    scene.refuse(scene.certify_oddly(*notations), rule)


def test_incomplete_certification_beside_a_complete_one_is_refused(scene: Scene) -> None:
    scene.certify()
    scene.refuse(scene.certify_oddly(), "notations")


def test_complete_certification_with_other_notations_is_read(scene: Scene) -> None:
    offered = scene.certify_oddly(*COMPLETE, "later-invention=1", "number@elsewhere.example=1002")
    assert scene.judge(offered)[1].number == "1001"


def test_certification_that_gpg_does_not_trust_is_refused(scene: Scene) -> None:
    """Our reading alone does not suffice: here the authority's key is in the home, but gpg was not told to trust it."""
    home = Home.create(scene.folder / "template", own_keys=False)
    keys.import_key(home, scene.ca.key(), expected_fingerprint=scene.ca.fingerprint)
    offered = scene.certify()
    scene.refuse(offered, "trusted", template=CaTemplate(home.path, scene.ca.fingerprint))
    keys.trust_ca(home, scene.ca.fingerprint)
    scene.judge(offered, template=CaTemplate(home.path, scene.ca.fingerprint))


def test_renewal_counts_and_a_contradiction_is_refused(scene: Scene) -> None:
    scene.certify(days=10)
    later = scene.judge(scene.certify(days=20))[1]
    assert later.expires == later.created + 20 * DAY
    with pytest.raises(KeyringError, match="customer 1001"):
        scene.certify(number="1002")
    scene.refuse(scene.certify_oddly("number=1002", *COMPLETE[1:]), "one-meaning")


def test_authority_does_not_certify_itself(scene: Scene) -> None:
    with pytest.raises(KeyringError):
        scene.judge(scene.ca.key(), expected_fingerprint=scene.ca.fingerprint)
    with pytest.raises(NotCertified) as caught:
        read_certification(scene.ca.home, scene.ca.fingerprint, scene.ca.fingerprint)
    assert caught.value.rule == "not-the-authority"


def test_wrong_passphrase_certifies_and_revokes_nothing(scene: Scene) -> None:
    with pytest.raises(PassphraseError):
        scene.certify(passphrase=Secret(b"wrong"))
    scene.refuse(keys.export(scene.ca.home, scene.alice.fingerprint), "certified")
    offered = scene.certify()
    scene.ca.home.stop()
    with pytest.raises(PassphraseError):
        certification.revoke(scene.ca.home, scene.alice.fingerprint, passphrase=Secret(b"wrong"))
    scene.judge(offered)


@pytest.mark.parametrize(
    "changed",
    [
        {"number": "1001\n"},
        {"number": "10 01"},
        {"number": "0" * 17},
        {"number": ""},
        {"role": "king"},
        {"request_digest": "ab"},
        {"days": 0},
        {"days": 4000},
        {"notations": {"confirmed-by": "line\nbreak"}},
        {"notations": {"confirmed-by": "\u202e"}},
        {"notations": {"confirmed-by": ""}},
        {"notations": {"confirmed-by": "x" * 201}},
        {"notations": {"invented": "x"}},
        {"notations": {"number=1@x": "x"}},
    ],
)
def test_value_that_cannot_be_written_is_refused_before_signing(scene: Scene, changed: dict[str, Any]) -> None:
    with pytest.raises(KeyringError):
        scene.certify(**changed)
    scene.refuse(keys.export(scene.ca.home, scene.alice.fingerprint), "certified")


def test_only_the_confirmed_user_id_is_certified(scene: Scene) -> None:
    keys.import_key(scene.ca.home, scene.alice.key(), expected_fingerprint=None)
    values: dict[str, Any] = {"number": "1001", "role": "customer", "request_digest": DIGEST, "days": 30}
    with pytest.raises(UnsuitableKey, match="confirmed name"):
        certification.certify(
            scene.ca.home, scene.alice.fingerprint, "Bob (1001)", **values, passphrase=PASSPHRASE, notations={}
        )
    scene.refuse(keys.export(scene.ca.home, scene.alice.fingerprint), "certified")


def test_registered_home_holds_the_one_key(scene: Scene) -> None:
    path = scene.folder / "registered"
    home = registered_home(path, key=scene.certify(), expected_fingerprint=scene.alice.fingerprint)
    signed = process.run(scene.alice.home, "--sign", "-z", "0", stdin=b"order").output
    status = process.run(home, "--decrypt", stdin=signed).status
    assert b"VALIDSIG " + scene.alice.fingerprint.encode() in status
    assert b"TRUST_FULLY" not in status


def test_registered_home_is_removed_when_the_key_is_refused(scene: Scene) -> None:
    path = scene.folder / "registered"
    with pytest.raises(UnsuitableKey):
        registered_home(path, key=scene.alice.key(), expected_fingerprint=scene.ca.fingerprint)
    process.run(scene.alice.home, "--quick-add-uid", scene.alice.fingerprint, "Bob (1002)")
    with pytest.raises(UnsuitableKey, match="user IDs"):
        registered_home(path, key=scene.alice.key(), expected_fingerprint=scene.alice.fingerprint)
    assert not path.exists()
