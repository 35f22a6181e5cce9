"""Only the authority's own, valid, complete certification says who a key belongs to; refusals have honest twins."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keyring import certification, keys, packets, process
from keyring.agent import Agent
from keyring.certification import CaTemplate, Certification, judged_home, read_certification, registered_home
from keyring.errors import KeyringError, NotCertified, PassphraseError, UnsuitableKey, UserIdError
from keyring.home import Home
from protocol.secret import Secret

PASSPHRASE = Secret(b"authority")
DIGEST = "0123456789abcdef" * 4
DAY = 86_400
COMPLETE = ("number=1001", "role=customer", f"request={DIGEST}")


@dataclass(frozen=True)
class Party:
    home: Home
    fingerprint: str
    user_id: str

    def key(self) -> bytes:
        return keys.export(self.home, self.fingerprint)


@pytest.fixture(scope="module")
def made(make_short_tmp: Callable[[], Path]) -> Iterator[dict[str, Party]]:
    """The authority, another one, and Alice, each with its own home; no test changes these."""
    folder = make_short_tmp()
    homes = {name: Home.create(folder / name, own_keys=True) for name in ("ca", "other", "alice")}
    alice = keys.user_id("Alice", "1001")
    yield {
        "ca": Party(homes["ca"], keys.new_ca_key(homes["ca"], "Authority", PASSPHRASE), "Authority"),
        "other": Party(homes["other"], keys.new_ca_key(homes["other"], "Authority", PASSPHRASE), "Authority"),
        "alice": Party(homes["alice"], keys.new_customer_key(homes["alice"], alice, None), alice),
    }
    for home in homes.values():
        home.stop()


class Scene:
    """Copies of the three homes for one test, and the few steps that the tests repeat."""

    def __init__(self, folder: Path, made: dict[str, Party]) -> None:
        self.folder = folder
        self.ca, self.other, self.alice = (self._copy(party, name) for name, party in made.items())
        self._judged = 0

    def _copy(self, party: Party, name: str) -> Party:
        path = self.folder / name
        shutil.copytree(party.home.path, path, ignore=shutil.ignore_patterns("S.*", ".#*", "*.lock"))
        return Party(Home.open(path), party.fingerprint, party.user_id)

    def certify(self, by: Party | None = None, **changed: Any) -> bytes:
        """Alice's key as certified by the authority, the honest way."""
        authority = by or self.ca
        # With clean: without it, a second import would drop the first certification from the authority's home.
        keys.import_key(authority.home, self.alice.key(), expected_fingerprint=None, clean=True)
        values: dict[str, Any] = {"number": "1001", "role": "customer", "request_digest": DIGEST, "days": 30}
        values |= {"passphrase": PASSPHRASE, "notations": {}} | changed
        certification.certify(authority.home, self.alice.fingerprint, self.alice.user_id, **values)
        return keys.export(authority.home, self.alice.fingerprint)

    def certify_oddly(self, *notations: str, at: int | None = None, expire: str = "30d", user_id: str = "") -> bytes:
        """Alice's key as certified by the authority without the checks of `certify`."""
        process.run(self.ca.home, "--import", stdin=self.alice.key())
        arguments = [f"--cert-notation={text.replace('=', '@countersign.example=', 1)}" for text in notations]
        outcome = process.run(
            self.ca.home,
            *("--force-sign-key", "--default-cert-expire", expire, *arguments),
            *("--quick-sign-key", self.alice.fingerprint, user_id or self.alice.user_id),
            passphrase=PASSPHRASE,
            faked_time=at,
        )
        assert outcome.exit_code == 0, outcome.log
        return keys.export(self.ca.home, self.alice.fingerprint)

    def judge(self, offered: bytes, **changed: Any) -> tuple[Home, Certification, str]:
        self._judged += 1
        values: dict[str, Any] = {"ca_key": self.ca.key(), "ca_fingerprint": self.ca.fingerprint, "offered": offered}
        values |= {"expected_fingerprint": self.alice.fingerprint} | changed
        return judged_home(self.path_of_judgement, **values)

    def refuse(self, offered: bytes, rule: str, **changed: Any) -> None:
        """The key is refused by the rule, in a sentence, and no folder stays."""
        with pytest.raises(NotCertified) as caught:
            self.judge(offered, **changed)
        assert caught.value.rule == rule
        assert str(caught.value).endswith(".")
        assert not self.path_of_judgement.exists()

    @property
    def path_of_judgement(self) -> Path:
        return self.folder / f"judged{self._judged}"


@pytest.fixture
def scene(short_tmp: Path, made: dict[str, Party]) -> Scene:
    return Scene(short_tmp, made)


def test_honest_certification_is_read_back_and_trusted(scene: Scene) -> None:
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


def test_uncertified_key_is_refused(scene: Scene) -> None:
    scene.refuse(scene.alice.key(), "certified")


def test_key_certified_by_another_authority_is_refused(scene: Scene) -> None:
    offered = scene.certify(by=scene.other)
    scene.refuse(offered, "certified")
    scene.judge(offered, ca_key=scene.other.key(), ca_fingerprint=scene.other.fingerprint)


def test_authority_other_than_the_pinned_one_is_refused(scene: Scene) -> None:
    with pytest.raises(UnsuitableKey, match="was expected"):
        scene.judge(scene.certify(by=scene.other), ca_key=scene.other.key())
    assert not scene.path_of_judgement.exists()


def test_certification_for_another_number_and_role_says_so(scene: Scene) -> None:
    read = scene.judge(scene.certify(number="0077", role="bank"))[1]
    assert (read.number, read.role) == ("0077", "bank")


def test_offered_key_other_than_the_expected_one_is_refused(scene: Scene) -> None:
    with pytest.raises(UnsuitableKey, match="was expected"):
        scene.judge(scene.certify(), expected_fingerprint=scene.other.fingerprint)


def test_copy_without_the_certification_is_refused(scene: Scene) -> None:
    scene.certify()
    scene.refuse(keys.export_minimal(scene.ca.home, scene.alice.fingerprint), "certified")


def test_revoked_certification_is_refused_but_an_older_copy_is_not(scene: Scene) -> None:
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


def test_certification_ends_at_its_time(scene: Scene) -> None:
    offered = scene.certify()
    read = scene.judge(offered)[1]
    assert scene.judge(offered, at=read.expires - 1)[1] == read
    scene.refuse(offered, "not-expired", at=read.expires)
    scene.refuse(offered, "not-expired", at=read.expires + DAY)


def test_certification_of_the_future_is_refused(scene: Scene) -> None:
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


def test_complete_certification_with_foreign_notations_is_read(scene: Scene) -> None:
    process.run(scene.ca.home, "--import", stdin=scene.alice.key())
    assert scene.judge(scene.certify_oddly(*COMPLETE, "later-invention=1"))[1].number == "1001"


def test_renewal_counts_and_a_contradiction_is_refused(scene: Scene) -> None:
    scene.certify(days=10)
    later = scene.judge(scene.certify(days=20))[1]
    assert later.expires == later.created + 20 * DAY
    with pytest.raises(KeyringError, match="customer 1001"):
        scene.certify(number="1002")
    scene.refuse(scene.certify_oddly("number=1002", *COMPLETE[1:]), "one-meaning")


def test_user_id_added_after_the_certification_changes_nothing(scene: Scene) -> None:
    offered = scene.certify()
    process.run(scene.alice.home, "--import", stdin=offered)
    process.run(scene.alice.home, "--quick-add-uid", scene.alice.fingerprint, "Bob (1002) <bob@bank.example>")
    home, read, _ = scene.judge(scene.alice.key())
    assert (read.number, read.user_id) == ("1001", "Alice (1001)")
    signed = process.run(scene.alice.home, "--sign", "-z", "0", stdin=b"order").output
    status = process.run(home, "--decrypt", stdin=signed).status
    assert b"GOODSIG " in status
    assert b"Bob (1002)" in status, "gpg no longer shows the added name: this test tests nothing"


def test_user_id_that_cannot_be_printed_is_refused(scene: Scene) -> None:
    offered = scene.certify()
    process.run(scene.alice.home, "--import", stdin=offered)
    process.run(scene.alice.home, "--quick-add-uid", scene.alice.fingerprint, "Bob \u202e(1002)")
    with pytest.raises(UserIdError):
        scene.judge(scene.alice.key())
    assert not scene.path_of_judgement.exists()


def test_two_certified_user_ids_are_refused(scene: Scene) -> None:
    process.run(scene.alice.home, "--quick-add-uid", scene.alice.fingerprint, "Bob (1002)")
    scene.certify_oddly(*COMPLETE)
    scene.refuse(scene.certify_oddly(*COMPLETE, user_id="Bob (1002)"), "one-user-id")


def test_signing_subkey_added_after_the_certification_stays_visible(scene: Scene) -> None:
    """The home is made, and gpg trusts the subkey fully: the verdict must compare fingerprints, and can."""
    process.run(scene.alice.home, "--import", stdin=scene.certify())
    quick = ("--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", scene.alice.fingerprint)
    process.run(scene.alice.home, *quick, "ed25519", "sign")
    home, read, _ = scene.judge(scene.alice.key())
    assert read.number == "1001"
    signed = process.run(scene.alice.home, "--sign", "-z", "0", stdin=b"order").output
    status = process.run(home, "--decrypt", stdin=signed).status
    (valid,) = [line.split(b" ") for line in status.split(b"\n") if b" VALIDSIG " in line]
    assert b"TRUST_FULLY" in status
    assert valid[2].decode() != valid[-1].decode() == scene.alice.fingerprint


def subpacket(kind: int, data: bytes) -> bytes:
    return bytes((len(data) + 1, kind)) + data


def notation(name: str, value: str) -> bytes:
    named = f"{name}@countersign.example".encode()
    lengths = len(named).to_bytes(2) + len(value).to_bytes(2)
    return subpacket(20, b"\x80\0\0\0" + lengths + named + value.encode())


def old_packet(tag: int, body: bytes) -> bytes:
    return bytes((0x81 | tag << 2,)) + len(body).to_bytes(2) + body


def test_own_signature_that_claims_the_authority_is_refused(scene: Scene) -> None:
    """gpg lists it as good, with the authority's fingerprint: it believes the subpacket that the signer wrote."""
    now = int(time.time())
    found = packets.split(scene.alice.key())
    subpackets = subpacket(33, b"\x04" + bytes.fromhex(scene.ca.fingerprint)) + subpacket(2, now.to_bytes(4))
    subpackets += subpacket(3, (30 * DAY).to_bytes(4))
    subpackets += b"".join(notation(*text.split("=")) for text in COMPLETE)
    hashed = bytes((4, 0x10, 1, 8)) + len(subpackets).to_bytes(2) + subpackets
    key, name = found[0].body, found[1].body
    covered = b"\x99" + len(key).to_bytes(2) + key + b"\xb4" + len(name).to_bytes(4) + name
    digest = hashlib.sha256(covered + hashed + b"\x04\xff" + len(hashed).to_bytes(4)).digest()
    with Agent(scene.alice.home) as agent:
        value = int.from_bytes(agent.sign(keys.secret_keys(scene.alice.home)[0].primary.keygrip, digest).s)
    issuer = subpacket(16, bytes.fromhex(scene.alice.fingerprint)[-8:])
    body = hashed + len(issuer).to_bytes(2) + issuer + digest[:2]
    body += value.bit_length().to_bytes(2) + value.to_bytes((value.bit_length() + 7) // 8)
    parts = [old_packet(packet.tag, packet.body) for packet in found]
    forged = b"".join((*parts[:3], old_packet(2, body), *parts[3:]))
    scene.refuse(forged, "certified")
    home = CaTemplate.create(scene.folder / "look", scene.ca.key(), scene.ca.fingerprint).path
    process.run(Home.open(home), "--import", stdin=forged)
    listing = process.run(Home.open(home), "--with-colons", "--check-sigs", scene.alice.fingerprint).output
    claiming = [line.split(b":") for line in listing.split(b"\n") if scene.ca.fingerprint.encode() in line]
    assert [line[1] for line in claiming] == [b"!"], "gpg no longer lists the forgery as good: this test tests nothing"


def test_notation_added_outside_the_signature_is_refused(scene: Scene) -> None:
    offered = scene.certify_oddly(*COMPLETE[:2])
    scene.refuse(offered, "notations")
    parts = []
    for packet in packets.split(offered):
        body = packet.body
        if packet.tag == 2 and b"countersign" in body:
            place = 6 + int.from_bytes(body[4:6])
            length = int.from_bytes(body[place : place + 2])
            unhashed = body[place + 2 : place + 2 + length] + notation("request", DIGEST)
            body = body[:place] + len(unhashed).to_bytes(2) + unhashed + body[place + 2 + length :]
        parts.append(old_packet(packet.tag, body))
    scene.refuse(b"".join(parts), "signed-notations")


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
