"""Who takes part in the ceremony: an authority, a bank, Alice, Bob, and somebody who says that he is Alice."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ca import bridge, ceremony, inventory, issuing, mail
from ca.applicant import Desk, Proven, verify_own
from ca.authority import Authority
from ca.bridge import Holder
from ca.ceremony import CalledBack, Caller, CallerCode, Mistake
from ca.config import Limits
from ca.decisions import Certificate, Confirmation
from ca.desk import DeskServer
from ca.messages import AuthorityKey, Certified, RequestState
from ca.notices import make_notice
from ca.publishing import pem
from ca.requests import Request, Role, claimed_request, make_request
from ca.store import DeskStore
from keyring import certification, keys, readout
from keyring.home import Home
from protocol.secret import Secret
from protocol.transport import Address

PASSPHRASE = Secret(b"a passphrase for tests")
CODE = " ".join(readout.encode(b"letter"))
CALL = CallerCode(CODE)
CALL_BACK = CalledBack("+49 30 1234")


@dataclass(frozen=True)
class Applicant:
    """A home with one key, and whom its owner claims to be."""

    home: Home
    fingerprint: str
    role: Role
    number: str
    name: str
    domain: str = ""

    @classmethod
    def make(cls, path: Path, role: Role, number: str, name: str, domain: str = "") -> "Applicant":
        home = Home.create(path, own_keys=True)
        user_id = keys.user_id(name, number, domain)
        if role == "bank":
            return cls(home, keys.new_bank_key(home, user_id).primary, role, number, name, domain)
        return cls(home, keys.new_customer_key(home, user_id, None), role, number, name, domain)

    @property
    def words(self) -> str:
        return " ".join(readout.words(self.fingerprint))

    def request(self, clock: Callable[[], float] = time.time) -> bytes:
        return make_request(
            self.home,
            self.fingerprint,
            role=self.role,
            number=self.number,
            name=self.name,
            domain=self.domain,
            passphrase=None,
            clock=clock,
        )

    def notice(self, customer: "Applicant", *, code: str = CODE, name: str = "", at: float | None = None) -> bytes:
        """The notice that this bank sends for a customer."""
        return make_notice(
            self.home,
            self.fingerprint,
            customer=customer.number,
            name=name or customer.name,
            caller_code=code,
            clock=lambda: time.time() if at is None else at,
        )


@dataclass(frozen=True)
class Cast:
    """Everybody's keys, made once; ``folder`` is an authority's, ``with_bank`` that of one with a certified bank."""

    folder: Path
    with_bank: Path
    other_folder: Path
    bank: Applicant
    alice: Applicant
    bob: Applicant
    impostor: Applicant


@contextmanager
def opened(source: Path, path: Path) -> Iterator[Authority]:
    """An authority in a copy of a folder."""
    shutil.copytree(source, path)
    with Authority.open(path) as authority:
        yield authority


@contextmanager
def serving(store: DeskStore, limits: Limits | None = None, log: list[str] | None = None) -> Iterator[Desk]:
    """A desk at a free port, and its client."""

    def note(event: str, details: dict[str, str]) -> None:
        if log is not None:
            log.append(f"{event} {details}")

    server = DeskServer(store, Address("127.0.0.1", 0), limits or Limits(), clock=time.time, log=note)
    server.start()
    try:
        yield Desk(server.address)
    finally:
        server.stop()


def file(authority: Authority, message: bytes) -> str:
    """Hand a request in at the authority's desk without a socket; returns its identifier."""
    answer = mail.take(authority, message, clock=time.time)
    assert isinstance(answer, RequestState)
    return answer.identifier


def confirm(
    authority: Authority,
    identifier: str,
    heard: str,
    caller: Caller = CALL_BACK,
    notice: bytes | None = None,
) -> Confirmation | Mistake:
    waiting = ceremony.waiting_request(authority, identifier, int(time.time()))
    known = ceremony.identify(authority, waiting, caller, clock=time.time, notice=notice)
    if isinstance(known, Mistake):
        return known
    return ceremony.confirm(authority, known, heard=heard, operator="operator", clock=time.time)


def issue(authority: Authority, identifier: str, days: int = 90) -> Certificate:
    return issuing.issue(authority, identifier, days=days, passphrase=PASSPHRASE, clock=time.time)


def certify(authority: Authority, applicant: Applicant) -> Certificate:
    """The whole ceremony, for an applicant who was called back."""
    identifier = file(authority, applicant.request())
    assert isinstance(confirm(authority, identifier, applicant.words), Confirmation)
    return issue(authority, identifier)


def misissued(source: Path, path: Path, applicant: Applicant, *, number: str, role: str) -> Certified:
    """The applicant's certificate as an authority would have issued it for this number and role."""
    user_id = keys.user_id(applicant.name, applicant.number)
    with opened(source, path) as authority, authority.signing(PASSPHRASE) as signing:
        home = signing.home
        keys.import_key(home, keys.export_minimal(applicant.home, applicant.fingerprint), expected_fingerprint=None)
        request = claimed(applicant)
        certification.certify(
            home,
            applicant.fingerprint,
            user_id,
            number=number,
            role=role,
            request_digest=request.digest,
            days=30,
            passphrase=PASSPHRASE,
            notations={},
        )
        made = certification.read_certification(home, applicant.fingerprint, signing.key.fingerprint)
        der = bridge.make_leaf(
            signing.key,
            signing.root,
            replace(request.signing_request(), holder=Holder(role, number, applicant.name)),
            replace(made, user_id=keys.user_id(applicant.name, number)),
            crl_url=None,
        )
        return Certified(certificate=der, key=keys.export(home, applicant.fingerprint))


def prove(
    authority: Authority, applicant: Applicant, offered: Certified, at: float | None = None, highest: int = 0
) -> Proven:
    """What the applicant makes of a certificate, by what the authority's desk hands out with it."""
    return verify_own(
        offered,
        authority=authority.desk.authority(),
        crl=authority.desk.revocations(),
        ca_fingerprint=authority.configuration.fingerprint,
        fingerprint=applicant.fingerprint,
        number=applicant.number,
        role=applicant.role,
        at=int(time.time() if at is None else at),
        highest_crl_number=highest,
    )


def issued_to(authority: Authority, applicant: Applicant) -> Certificate:
    """The newest certificate of an applicant's key, as the authority's records have it."""
    return inventory.find(authority, applicant.fingerprint, int(time.time()))


def openssl_verifies(
    folder: Path, offered: Certified, public: AuthorityKey, crl: bytes | None, role: str, at: int | None = None
) -> str:
    """What `openssl verify` says of a certificate for its role's purpose, now or ``at``: "OK", or its complaint."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, label, der in (
        ("leaf", "CERTIFICATE", offered.certificate),
        ("root", "CERTIFICATE", public.root),
        ("crl", "X509 CRL", crl or b""),
    ):
        (folder / name).write_text(pem(label, der))
    checked: tuple[str, ...] = ("-crl_check", "-CRLfile", str(folder / "crl")) if crl is not None else ()
    purpose = "sslserver" if role == "bank" else "sslclient"
    checked += ("-attime", str(at)) if at is not None else ()
    arguments = ("-purpose", purpose, *checked, "-CAfile", str(folder / "root"), str(folder / "leaf"))
    outcome = subprocess.run(
        ("openssl", "verify", "-x509_strict", *arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    return "OK" if outcome.returncode == 0 else outcome.stderr


def claimed(applicant: Applicant) -> Request:
    return claimed_request(applicant.request())


def send_notice(authority: Authority, message: bytes, customer: str = "1001") -> None:
    """Lay a notice at the authority's desk without a socket."""
    authority.desk.file_notice(str(hash(message)), customer, message)
