"""An authority and Alice whose keys are the same in every run, so that what was found is found again.

The primes are test vectors: known to everybody, and of no use elsewhere.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from ca.bridge import Holder, Revocation, make_crl, make_leaf, make_request, make_root, open_request, open_root
from keyring import keys
from keyring.certification import Certification
from tests.ca.bridge_cast import CREATED, DAY, ENDS, NOW, REQUEST_DIGEST, Party

AT: Final = NOW + DAY
EXPONENT: Final = 65537
PRIMES: Final = Path(__file__).with_name("primes.json")


@dataclass(frozen=True)
class Cast:
    """Both keys, and what the authority has issued: root, Alice's certificate and request, a list (all DER)."""

    authority: rsa.RSAPrivateKey
    alice: rsa.RSAPrivateKey
    ca_fingerprint: str
    fingerprint: str
    root: bytes
    leaf: bytes
    request: bytes
    crl: bytes


@cache
def cast_of_fuzzing() -> Cast:
    """The same every time: signatures with PKCS #1 v1.5 have no randomness, and serial numbers are given."""
    private = {name: _key(int(p, 16), int(q, 16)) for name, (p, q) in json.loads(PRIMES.read_text()).items()}
    authority, alice = (Party(private[name], Holder("customer", "1001", "Alice")) for name in ("authority", "alice"))
    root_der = make_root(authority.key, name="Authority", not_before=CREATED, not_after=NOW + 3650 * DAY, serial=1)
    root = open_root(root_der, authority.fingerprint)
    request = make_request(alice.key, role="customer", number="1001", name="Alice")
    opened = open_request(request, fingerprint=alice.fingerprint, role="customer", number="1001", name="Alice")
    certified = Certification(
        number="1001",
        role="customer",
        request_digest=REQUEST_DIGEST,
        created=NOW,
        expires=ENDS,
        certifier=authority.fingerprint,
        user_id=keys.user_id("Alice", "1001"),
    )
    return Cast(
        authority=private["authority"],
        alice=private["alice"],
        ca_fingerprint=authority.fingerprint,
        fingerprint=alice.fingerprint,
        root=root_der,
        leaf=make_leaf(authority.key, root, opened, certified, crl_url=None, serial=2),
        request=request,
        crl=make_crl(authority.key, root, number=7, at=NOW, next_update=NOW + 30 * DAY, revoked=(Revocation(3, NOW),)),
    )


def _key(p: int, q: int) -> rsa.RSAPrivateKey:
    d = rsa.rsa_recover_private_exponent(EXPONENT, p, q)
    public = rsa.RSAPublicNumbers(EXPONENT, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)
