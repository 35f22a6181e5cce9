"""Alice with two keys more in her home, for which her certified one vouches."""

import time
from dataclasses import dataclass

from ca import issuing
from ca.authority import Authority
from ca.decisions import Certificate
from ca.requests import make_request
from tests.ca.cast import PASSPHRASE, Applicant


@dataclass(frozen=True)
class Heirs:
    """Alice with two keys more in her home, the second and the third."""

    first: Applicant
    second: Applicant
    third: Applicant

    def request(self, by: Applicant | None = None, of: Applicant | None = None, ahead: float = 0) -> bytes:
        """The second key's request, for which the first vouches."""
        of = of or self.second
        return make_request(
            self.first.home,
            of.fingerprint,
            role="customer",
            number=of.number,
            name=of.name,
            passphrase=None,
            clock=lambda: time.time() + ahead,
            succeeds=(by or self.first).fingerprint,
        )


def issue(authority: Authority, identifier: str, **options: float) -> Certificate:
    ahead = options.pop("ahead", 0)
    return issuing.issue(
        authority,
        identifier,
        days=90,
        passphrase=PASSPHRASE,
        clock=lambda: time.time() + ahead,
        operator="operator",
        **options,  # type: ignore[arg-type]
    )


def keys_certified(authority: Authority) -> set[str]:
    return {each.fingerprint for each in authority.decisions.certificates() if each.role == "customer"}
