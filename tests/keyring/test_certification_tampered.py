"""What owners and strangers add to a certified key adds nothing to what the authority said of it."""

import hashlib
import time

import pytest

from keyring import keys, packets, process
from keyring.agent import Agent
from keyring.certification import CaTemplate
from keyring.errors import UserIdError
from keyring.home import Home
from tests.keyring.scene import COMPLETE, DAY, DIGEST, Scene


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


def test_trial_26_signing_subkey_added_after_the_certification_stays_visible(scene: Scene) -> None:
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
