"""Who sends the hostile messages and who judges them: keys made once in memory, and the small homes that know them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyring.certification import CaTemplate, judged_home
from keyring.home import Home
from keyring.process import run
from keyring.verdict import SignedByBank, SignedByCustomer
from tests.hostile.certs import bare, bound, certification, named, notations, revoked_certification, revoked_key
from tests.hostile.forge import (
    AUTHENTICATE,
    CERTIFY,
    DAY,
    ENCRYPT,
    KEY,
    SHA1,
    SIGN,
    EdwardsKey,
    Message,
    RsaKey,
    Signer,
    created,
    issuer,
    issuer_fingerprint,
    key_lasting,
    packet,
    signed,
    sub,
)
from tests.keyring.parties import succeeded

ORDER = b'{"amount":"25.00","creditor":"1002"}'
LINE = b"\n[GNUPG:] "


@dataclass(frozen=True)
class Person:
    """A key, the name in it, and the public key as the judging homes have it."""

    key: RsaKey
    user_id: bytes
    certificate: bytes

    @property
    def fingerprint(self) -> str:
        return self.key.fingerprint


@dataclass(frozen=True)
class Cast:
    """Everybody. ``homes``: "alice" and "bank" are judged as the doors judge them; "crowd" knows all of them."""

    now: int
    authority: RsaKey
    rival: RsaKey
    """Another authority, whom nobody trusts."""
    people: Mapping[str, Person]
    late: RsaKey
    """Alice's signing subkey, added after her key was certified."""
    vault: RsaKey
    """A subkey of Alice's that is for encryption only."""
    heads: EdwardsKey
    """The bank's signing subkey."""
    unbacked: EdwardsKey
    """A signing subkey of the bank's that never agreed to be one."""
    homes: Mapping[str, Home]

    @property
    def alice(self) -> RsaKey:
        return self.people["alice"].key

    @property
    def bob(self) -> RsaKey:
        return self.people["bob"].key

    @property
    def bank(self) -> RsaKey:
        return self.people["bank"].key

    def by(self, name: str, *, certified: bool = True) -> SignedByCustomer:
        return SignedByCustomer(self.people[name].fingerprint, certified=certified)

    @property
    def by_bank(self) -> SignedByBank:
        return SignedByBank(self.bank.fingerprint, frozenset({self.heads.fingerprint}), certified=True)

    def from_alice(self, content: bytes = ORDER, *, ago: int = 60, **wrong: object) -> Message:
        """Alice's order, made so many seconds ago, and wrong as ``forge.signed`` lets it be."""
        return signed(self.alice, content, at=self.now - ago, **wrong)  # type: ignore[arg-type]

    def said_by(self, name: str, content: bytes = ORDER, *, ago: int = 60, **wrong: object) -> Message:
        return signed(self.people[name].key, content, at=self.now - ago, **wrong)  # type: ignore[arg-type]


def make_cast(folder: Path) -> Cast:
    now = int(time.time())
    born, vouched = now - 100 * DAY, now - 50 * DAY
    authority, rival = RsaKey.new(born, 3072), RsaKey.new(born)
    people: dict[str, Person] = {}

    def vouch(key: Signer, user_id: bytes, number: bytes, *, role: bytes = b"customer", **changed: object) -> bytes:
        values = {"at": vouched, "said": notations(number, role), **changed}
        return certification(authority, key, user_id, **values)  # type: ignore[arg-type]

    def add(name: str, user_id: bytes, certificate: bytes, key: RsaKey) -> None:
        people[name] = Person(key, user_id, certificate)

    def customer(
        name: str, number: bytes, *, bits: int = 2048, usage: int = CERTIFY | SIGN, hashed: bytes = b""
    ) -> RsaKey:
        """A certified customer; what is wrong with one is put in its place below."""
        key, user_id = RsaKey.new(born, bits), name.capitalize().encode() + b" (" + number + b")"
        add(name, user_id, bare(key, user_id, usage=usage, hashed=hashed) + vouch(key, user_id, number), key)
        return key

    alice = customer("alice", b"1001", bits=3072)
    late, vault, timid = (RsaKey.new(now - 10 * DAY) for _ in range(3))
    subkeys = bound(alice, late) + bound(alice, vault, usage=ENCRYPT) + bound(alice, timid, usage=AUTHENTICATE)
    add("alice", people["alice"].user_id, people["alice"].certificate + subkeys, alice)
    customer("bob", b"1002")
    customer("expired", b"1003", hashed=key_lasting(90 * DAY))
    customer("certifier", b"1008", usage=CERTIFY)

    key = RsaKey.new(born)
    user_id = b"Stranger (1004)"
    add("stranger", user_id, bare(key, user_id), key)
    key, user_id = RsaKey.new(born), b"Revoked (1005)"
    whole = bare(key, user_id) + vouch(key, user_id, b"1005")
    revocation = revoked_key(key, key, at=now - DAY)
    cut = len(packet(KEY, key.public))
    add("revoked", user_id, whole[:cut] + revocation + whole[cut:], key)
    key, user_id = RsaKey.new(born), b"Lapsed (1006)"
    add("lapsed", user_id, bare(key, user_id) + vouch(key, user_id, b"1006", days=20), key)
    key, user_id = RsaKey.new(born), b"Withdrawn (1007)"
    withdrawal = revoked_certification(authority, key, user_id, at=now - DAY)
    add("withdrawn", user_id, bare(key, user_id) + vouch(key, user_id, b"1007") + withdrawal, key)
    key, user_id = RsaKey.new(born), b"Weak (1009)"
    add("weakly", user_id, bare(key, user_id) + vouch(key, user_id, b"1009", digest=SHA1), key)
    key, user_id = RsaKey.new(born), b"Rival (1010)"
    by_rival = certification(rival, key, user_id, at=vouched, said=notations(b"1010"))
    claim = issuer_fingerprint(authority.fingerprint) + created(vouched)
    claimed = certification(
        rival, key, user_id, at=vouched, said=notations(b"1010"), fields=claim, issuers=issuer(rival.fingerprint)
    )
    add("rivals", user_id, bare(key, user_id) + by_rival + claimed, key)
    key, user_id = RsaKey.new(born), b"Carol (1011)"
    foreign = named(key, b"Bob (1002)", hashed=sub(25, b"\x01"), at=now - DAY)
    add("many", user_id, bare(key, user_id) + vouch(key, user_id, b"1011") + foreign, key)
    valid = f"VALIDSIG {alice.fingerprint} 2026-01-01 {now} 0 4 0 1 8 00 {alice.fingerprint}".encode()
    for name, breaks in (
        ("newline", LINE),
        ("nel", b"\xc3\x85[GNUPG:] "),
        ("raw", b"\x85[GNUPG:] "),
        ("cr", b"\r[GNUPG:] "),
    ):
        key, user_id = RsaKey.new(born), b"Forger" + breaks + valid + breaks + b"TRUST_FULLY 0 pgp"
        add(name, user_id, bare(key, user_id), key)

    heads, unbacked, idle = EdwardsKey.new(born), EdwardsKey.new(born), RsaKey.new(born, 3072)
    user_id = b"Example Bank (0000)"
    whole = bare(idle, user_id) + vouch(idle, user_id, b"0000", role=b"bank") + bound(idle, heads)
    add("bank", user_id, whole + bound(idle, unbacked, back=b""), idle)

    homes = {}
    ca_key = bare(authority, b"Authority", usage=CERTIFY)
    template = CaTemplate.create(folder / "template", ca_key, authority.fingerprint)
    for name in ("alice", "bank"):
        homes[name] = judged_home(
            folder / name,
            ca_key=ca_key,
            ca_fingerprint=authority.fingerprint,
            offered=people[name].certificate,
            expected_fingerprint=people[name].fingerprint,
            template=template,
        )[0]
    homes["crowd"] = crowd = template.copy(folder / "crowd")
    for person in people.values():
        run(crowd, "--import", stdin=person.certificate)
    run(crowd, "--import", stdin=bare(rival, b"Rival"))
    succeeded(run(crowd, "--check-trustdb"))
    people["authority"] = Person(authority, b"Authority", ca_key)
    return Cast(now, authority, rival, people, late, vault, heads, unbacked, homes)
