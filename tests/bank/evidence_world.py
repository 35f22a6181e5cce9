"""A bank, an authority and customers of a year ago, whose evidence a test checks or changes today."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509

from bank.evidence import Keys, LoggedEntry, SentOrder, make_evidence
from ca import bridge
from keyring import keys, process
from keyring.certification import Certification
from keyring.home import Home
from keyring.signature import HeadSigner
from protocol import canonical, merkle
from protocol.codes import GroupStatus, Reason, Status
from protocol.evidence import Certificates
from protocol.orders import BulkOrder, Payment, TransferOrder, encode_order, format_time
from protocol.receipts import BulkEntry, LogEntry, RefusedPayment, TreeHead
from protocol.stages import Stage

DAY = 86_400
LOG = "ab" * 16
REQUEST = f"request@countersign.example={'0' * 64}"
Files = dict[str, bytes]


@dataclass(frozen=True)
class Party:
    """A home with one key of its own, made at a time of our choice."""

    home: Home
    fingerprint: str

    @classmethod
    def make(cls, folder: Path, name: str, at: int, *kind: str) -> "Party":
        home = Home.create(folder / name.split()[0].lower(), own_keys=True)
        text = "\n".join(("%no-protection", *kind, f"Name-Real: {name}", "Expire-Date: 0", "%commit", ""))
        process.run(home, "--generate-key", stdin=text.encode(), faked_time=at)
        return cls(home, keys.secret_keys(home)[0].fingerprint)

    def sign(self, content: bytes, at: int, key: str | None = None) -> bytes:
        options = ("-z", "0", "--digest-algo", "SHA256", "--local-user", f"{key or self.fingerprint}!")
        return process.run(self.home, *options, "--sign", stdin=content, faked_time=at).output

    @property
    def key(self) -> bytes:
        return keys.export(self.home, self.fingerprint)

    def certify(self, key: bytes, fingerprint: str, at: int, *notations: str, days: int = 90) -> bytes:
        """The key with our certification: the one signature more, and nothing kept."""
        process.run(self.home, "--import", stdin=key, faked_time=at)
        said = [f"--cert-notation={each}" for each in notations]
        lasting = ("--no-auto-check-trustdb", "--default-cert-expire", f"{days}d", "--force-sign-key")
        user = (f"{self.fingerprint}!", *said, "--quick-sign-key", fingerprint)
        process.run(self.home, *lasting, "--local-user", *user, faked_time=at)
        certified = keys.export(self.home, fingerprint)
        process.run(self.home, "--delete-keys", fingerprint)
        return certified

    def certify_as(self, other: "Party", number: str, role: str, at: int, days: int = 90) -> bytes:
        notations = (f"number@countersign.example={number}", f"role@countersign.example={role}", REQUEST)
        return self.certify(other.key, other.fingerprint, at, *notations, days=days)

    def root(self) -> bytes:
        """Our X.509 root certificate, as an authority, good for ten years."""
        with bridge.agent_key(self.home, self.fingerprint, None) as key:
            return bridge.make_root(key, name="CA", not_before=key.created, not_after=key.created + 3650 * DAY)

    def issue(self, other: "Party", number: str, role: str, at: int, *, name: str, days: int = 90) -> bytes:
        """The X.509 certificate that says what :meth:`certify_as` says; by a root made for it, alike each time."""
        with (
            bridge.agent_key(self.home, self.fingerprint, None) as key,
            bridge.agent_key(other.home, other.fingerprint, None) as own,
        ):
            request = bridge.open_request(
                bridge.make_request(own, role=role, number=number, name=name),
                fingerprint=other.fingerprint,
                role=role,
                number=number,
                name=name,
            )
            user_id = keys.user_id(name, number)
            made = Certification(number, role, "0" * 64, at, at + days * DAY, self.fingerprint, user_id)
            root = bridge.open_root(self.root(), self.fingerprint)
            return bridge.make_leaf(key, root, request, made, crl_url=None)

    def crl(self, number: int, at: int, *revoked: bytes, days: int = 30) -> bytes:
        """A revocation list, with these certificates (DER) in it."""
        entries = [bridge.Revocation(x509.load_der_x509_certificate(each).serial_number, at) for each in revoked]
        with bridge.agent_key(self.home, self.fingerprint, None) as key:
            root = bridge.open_root(self.root(), self.fingerprint)
            return bridge.make_crl(key, root, number=number, at=at, next_update=at + days * DAY, revoked=entries)

    def revoked(self, key: bytes, other: "Party", at: int) -> bytes:
        """The key with our certification of it and the revocation of that."""
        process.run(self.home, "--import", stdin=key, faked_time=at)
        process.run(
            self.home,
            "--no-auto-check-trustdb",
            "--quick-revoke-sig",
            other.fingerprint,
            self.fingerprint,
            faked_time=at,
        )
        revoked = keys.export(self.home, other.fingerprint)
        process.run(self.home, "--delete-keys", other.fingerprint)
        assert len(revoked) > len(key)
        return revoked


RSA = ("Key-Type: RSA", "Key-Length: 3072", "Key-Usage: sign,cert")
ENCRYPT = ("Subkey-Type: ECDH", "Subkey-Curve: Curve25519", "Subkey-Usage: encrypt")
QUICK = ("Key-Type: EDDSA", "Key-Curve: Ed25519", "Key-Usage: sign,cert")  # for those who are only in the way


@dataclass(frozen=True)
class World:
    """A year ago: keys were made, a minute later certified for 90 days; ten days later the order came."""

    born: int
    authority: Party
    rival: Party  # another authority
    bank: Party
    alice: Party
    bob: Party
    signer: HeadSigner
    alice_key: bytes
    bank_key: bytes
    bob_key: bytes
    certificates: Certificates
    """All four, of the time of the order: the list was made the day before."""

    @property
    def ordered(self) -> int:
        return self.born + 10 * DAY

    def order(self, **changes: object) -> TransferOrder:
        """Of version 1, which names the certified key, if not changed."""
        order = TransferOrder(
            amount="25.00",
            bank=self.bank.fingerprint,
            certificate=canonical.digest(self.alice_key),
            created=format_time(self.ordered),
            creditor="1002",
            currency="EUR",
            debtor="1001",
            description='Miete für "März", \\ & $(true) `true` "debtor":"1002"',
            transfer_identifier="T-1",
            version=1,
        )
        return msgspec.structs.replace(order, **changes)

    def bulk_case(self, stage: Stage = Stage.CERTIFIED, payments: int = 3) -> "Case":
        """A bulk order made as far as possible: the second of its payments was refused."""
        case = self.case(stage, x509=True)
        description = 'Lohn "M\u00e4rz", },{"amount":"9" \\ & $(true) `true` "debtor":"1002"'
        order = BulkOrder(
            bank=self.bank.fingerprint,
            certificate=case.order.certificate,
            count=payments,
            created=format_time(self.ordered),
            currency="EUR",
            debtor="1001",
            execution="best-effort",
            payments=(Payment("1.00", "1002", description),) * payments,
            sum=f"{payments}.00",
            transfer_identifier="B-1",
        )
        content = encode_order(order)
        entry = BulkEntry(
            booked=format_time(self.ordered + 5),
            count=order.count,
            currency=order.currency,
            debtor=order.debtor,
            execution=order.execution,
            field="payments",
            order=canonical.digest(content),
            posted=f"{payments - 1}.00",
            reason=Reason.PAYMENTS,
            reference="B-7",
            refused=(RefusedPayment(field="creditor", payment=2, reason=Reason.ACCOUNT_BLOCKED),),
            salt="0f" * 16,
            stage=stage.value,
            status=GroupStatus.PARTLY,
            sum=order.sum,
            transfer_identifier=order.transfer_identifier,
        )
        return replace(case, content=content, bulk=entry)

    def case_of(self, key: bytes, signer: Party) -> "Case":
        """Alice's order, of which ``key`` is said to be the debtor's and which ``signer`` signs."""
        order = self.order(certificate=canonical.digest(key))
        return replace(self.case(), order=order, content=encode_order(order), alice_key=key, by=signer)

    def case(
        self,
        stage: Stage = Stage.CERTIFIED,
        *,
        bank_certified: bool = True,
        with_head: bool = True,
        x509: bool = False,
        changes: Mapping[str, Any] | None = None,
    ) -> "Case":
        """Without X.509 all rests on OpenPGP, so what is wrong there is noticed there. ``changes``: of certificates."""
        order = self.order() if stage.is_certified else self.order(certificate=None)
        certificates = replace(self.certificates, **(changes or {})) if x509 else None
        if certificates and stage.is_certified:
            order = self.order(certificate=canonical.digest(certificates.customer or b""), version=2)
        elif certificates:
            certificates = replace(certificates, customer=None, revocations=None)
        return Case(
            self,
            stage,
            order,
            encode_order(order),
            alice_key=self.alice_key if stage.is_certified else self.alice.key,
            bank_key=self.bank_key if bank_certified else self.bank.key,
            authority=self.authority.key if bank_certified else None,
            with_head=with_head,
            certificates=certificates,
        )


@contextmanager
def world_in(folder: Path) -> Iterator[World]:
    """The world, made in this folder; its agents are stopped in the end."""
    born = int(time.time()) - 400 * DAY
    authority = Party.make(folder, "Authority (ca)", born, "Key-Type: RSA", "Key-Length: 3072", "Key-Usage: cert")
    rival = Party.make(folder, "Rival (ca)", born, *QUICK)
    bank = Party.make(folder, "Bank (0000)", born, *RSA, *ENCRYPT)
    adding = ("--passphrase", "", "--pinentry-mode", "loopback", "--quick-add-key", bank.fingerprint)
    process.run(bank.home, *adding, "ed25519", "sign", "0", faked_time=born)
    alice = Party.make(folder, "Alice (1001)", born, *RSA, *ENCRYPT)
    bob = Party.make(folder, "Bob (1002)", born, *QUICK)
    at = born + 60
    certificates = Certificates(
        authority=authority.root(),
        bank=authority.issue(bank, "0000", "bank", at, name="Bank"),
        customer=authority.issue(alice, "1001", "customer", at, name="Alice"),
        revocations=authority.crl(3, born + 9 * DAY),
    )
    with HeadSigner.for_home(bank.home, bank.fingerprint) as signer:
        yield World(
            *(born, authority, rival, bank, alice, bob, signer),
            alice_key=authority.certify_as(alice, "1001", "customer", at),
            bank_key=authority.certify_as(bank, "0000", "bank", at),
            bob_key=authority.certify_as(bob, "1002", "customer", at),
            certificates=certificates,
        )
    for party in (authority, rival, bank, alice, bob):
        party.home.stop()


@dataclass(frozen=True)
class Case:
    """One order with everything that the bank knows of it; a test changes what it wants before it is signed."""

    world: World
    stage: Stage
    order: TransferOrder
    content: bytes
    alice_key: bytes
    bank_key: bytes
    authority: bytes | None
    with_head: bool = True
    message: bytes | None = None
    entry_changes: Mapping[str, object] = field(default_factory=dict)
    signed_later: int = 3600
    at: int | None = None
    by: Party | None = None
    certificates: Certificates | None = None
    bulk: BulkEntry | None = None
    """The entry, where ``content`` is a bulk order's; then ``order`` does not count."""

    def sent(self) -> bytes | None:
        if self.message is not None or not self.stage.orders_are_signed:
            return self.message
        return (self.by or self.world.alice).sign(self.content, self.at or self.world.ordered)

    def logged(self) -> LoggedEntry:
        entry = LogEntry(
            amount=self.order.amount,
            booked=format_time(self.world.ordered + 5),
            creditor=self.order.creditor,
            currency=self.order.currency,
            debtor=self.order.debtor,
            field=None,
            order=canonical.digest(self.content),
            reason=None,
            reference="B-7",
            salt="0f" * 16,
            stage=self.stage.value,
            status=Status.SETTLED,
            transfer_identifier=self.order.transfer_identifier,
        )
        data = canonical.encode(msgspec.structs.replace(self.bulk or entry, **self.entry_changes))
        before, after = merkle.leaf_hash(b"before"), merkle.leaf_hash(b"after")
        root = merkle.node_hash(merkle.node_hash(before, merkle.leaf_hash(data)), after).hex()
        at = self.world.ordered + 10
        head = TreeHead(bank=self.world.bank.fingerprint, log=LOG, root=root, size=3, time=format_time(at))
        message = self.world.signer.sign(canonical.encode(head), at) if self.with_head else None
        return LoggedEntry(data, 1, LOG, 3, root, (before.hex(), after.hex()), message)

    def files(self) -> Files:
        sent = SentOrder(self.content, self.sent())
        customer = self.alice_key if self.stage.orders_are_signed else None
        own = Keys(self.bank_key, customer, self.authority, self.certificates)
        return make_evidence(self.logged(), sent, own, self.world.signer, self.world.ordered + self.signed_later)
