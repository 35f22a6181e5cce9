"""A key that its owner has declared invalid is believed by its own signature, whatever the desk says of it."""

from dataclasses import dataclass

from ca.authority import Authority
from ca.decisions import Certificate
from ca.store import GivenUp
from keyring.errors import KeyringError
from keyring.revocation import require_revoked


@dataclass(frozen=True)
class Waiting:
    """A key that its owner has given up, with the newest certificate of it, which still counts."""

    given_up: GivenUp
    certificate: Certificate
    command: str
    """What the operator types next."""


def found(authority: Authority, fingerprint: str) -> GivenUp | None:
    """What the owner of this key has handed in; None if there is nothing, or nothing that its key has signed."""
    return next((each for each in authority.desk.given_up() if each.fingerprint == fingerprint and _counts(each)), None)


def waiting(authority: Authority, now: int) -> tuple[Waiting, ...]:
    """What was handed in about keys whose certificates still count at ``now`` (unix seconds), oldest first."""
    live = [each for each in authority.decisions.certificates() if each.is_live(now)]
    newest = {each.fingerprint: each for each in sorted(live, key=lambda each: each.issued)}
    keys_of_number = [each.number for each in newest.values()]
    return tuple(
        Waiting(each, certificate, _command(certificate, alone=keys_of_number.count(certificate.number) == 1))
        for each in authority.desk.given_up()
        if (certificate := newest.get(each.fingerprint)) is not None and _counts(each)
    )


def _command(certificate: Certificate, *, alone: bool) -> str:
    return f"ca revoke {certificate.number if alone else certificate.fingerprint} --reason key-compromise"


def _counts(given_up: GivenUp) -> bool:
    try:
        return require_revoked(given_up.key) == given_up.fingerprint
    except KeyringError:
        return False
