"""A revocation list has a higher number than every one before, and every certificate that was revoked."""

from typing import Final

from ca import bridge
from ca.bridge import AgentKey, Revocation, Root
from ca.decisions import AuthorityStore, Certificate, IssuedList
from ca.errors import RevocationError

DEFAULT_DAYS: Final = 30
DAYS_LIMIT: Final = 100
KEPT_SECONDS: Final = 30 * 86_400
"""How long a revoked certificate stays in the lists after its end: for clocks that are late."""

REASONS = {flag.name.replace("_", "-").removesuffix("-of-operation"): flag for flag in bridge.REASONS}
"""Why a certificate may be revoked, as the operator says it: "key-compromise", "superseded", "cessation", ..."""


def issue_list(store: AuthorityStore, key: AgentKey, root: Root, *, days: int, at: int) -> IssuedList:
    """Sign the next list, good for ``days`` days from ``at`` (unix seconds), and keep it. Raises RevocationError.

    What is revoked from a later moment on, while this list is good, is in a list of that moment, signed now and kept as
    one for later: nobody has to come back for it, and it is good no longer than this one, so that whoever gets hold of
    it before its time gains nothing.
    """
    if not 1 <= days <= DAYS_LIMIT:
        raise RevocationError(f"A revocation list lasts 1 to {DAYS_LIMIT} days, not {days}; choose a number between.")
    before = store.newest_list()
    if before is not None and at < before.at:
        raise RevocationError("The list before is dated in the future; set this machine's clock right.")
    number, next_update = store.highest_number() + 1, at + days * 86_400
    revoked = [each for each in store.certificates() if each.revoked_at is not None]
    later = sorted({each.revoked_at for each in revoked if each.revoked_at and at < each.revoked_at < next_update})
    made = [
        IssuedList(each, begins, next_update, _signed(key, root, each, begins, next_update, revoked), later=begins > at)
        for each, begins in enumerate((at, *later), start=number)
    ]
    for each in made:
        store.add_list(each)
    return made[0]


def _signed(key: AgentKey, root: Root, number: int, at: int, next_update: int, revoked: list[Certificate]) -> bytes:
    """The list of what is revoked ``at`` that time."""
    return bridge.make_crl(
        key,
        root,
        number=number,
        at=at,
        next_update=next_update,
        revoked=[
            Revocation(int(each.serial, 16), each.revoked_at, REASONS[each.reason])
            for each in revoked
            if each.revoked_at is not None and each.is_revoked(at) and at < each.expires + KEPT_SECONDS
        ],
    )
