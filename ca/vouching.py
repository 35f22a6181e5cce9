"""A key vouches for one new key of its owner, once, while the authority's certificate for it counts: no call is needed.

What the desk says of a request counts for nothing here: the key before is the one in the authority's own records.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ca.authority import Authority
from ca.decisions import Certificate
from ca.documents import CUSTOMER, decoded, verified_content
from ca.errors import RequestError, VouchingError
from ca.requests import Request, VouchedRequest
from keyring import certification, keys
from keyring.errors import EngineError, KeyringError
from protocol.limits import CLOCK_TOLERANCE_SECONDS
from protocol.orders import format_time, parse_time

DAY_SECONDS: Final = 86_400
OVERLAP_DAYS: Final = 14
"""How long the key before goes on counting beside the new one, if the operator does not say otherwise."""

OVERLAP_DAYS_LIMIT: Final = 30
"""Longest overlap, in days."""

REACHED: Final = "vouched for by"
"""How the applicant was reached, before the fingerprint of the key that vouched."""


def require_vouched(authority: Authority, request: Request, now: int) -> Certificate:
    """The newest certificate of the key that vouches for a request at ``now`` (unix seconds); else VouchingError."""
    predecessor = require_able(authority, request, now)
    vouching, key = request.vouching, authority.configuration.fingerprint
    try:
        with tempfile.TemporaryDirectory(prefix="cs-") as folder:
            home, certified, _ = certification.judged_home(
                Path(folder) / "before",
                ca_key=keys.export_minimal(authority.home(), key),
                ca_fingerprint=key,
                offered=predecessor.key,
                expected_fingerprint=predecessor.fingerprint,
            )
            content = verified_content(
                home, request.message, predecessor.fingerprint, certified=True, error=RequestError
            )
    except EngineError:
        raise  # trouble of ours, not the applicant's
    except (KeyringError, RequestError) as error:
        raise _refused(request, f"The key {predecessor.fingerprint} did not sign it: {error}") from None
    if (certified.number, certified.role) != (predecessor.number, predecessor.role):
        raise _refused(request, "The key that signed it is not certified for whom the records say.")
    if decoded(VouchedRequest, content, RequestError) != vouching:
        raise _refused(request, "What the key before signed is not what the request claims.")
    return predecessor


def is_vouched(authority: Authority, request: Request, now: int) -> bool:
    """Whether a key that counts vouches for the request at ``now`` (unix seconds), so that it needs no call."""
    try:
        require_vouched(authority, request, now)
    except VouchingError:
        return False
    return True


def require_able(authority: Authority, request: Request, now: int) -> Certificate:
    """As :func:`require_vouched`, by the records alone: no signature is looked at, so nothing may be issued on it."""
    content, vouching = request.content, request.vouching
    if vouching is None or content.succeeds is None:
        raise _refused(request, "No key vouches for it.")
    every = authority.decisions.certificates()
    before = [each for each in every if each.fingerprint == content.succeeds]
    if not before:
        raise _refused(request, f"This authority has not certified the key {content.succeeds}.")
    newest = max(before, key=lambda each: (each.is_live(now), each.issued))
    said, known = ((each.role, each.number, each.name) for each in (content, newest))
    if said != known or content.role != CUSTOMER:
        raise _refused(
            request,
            f"The key {newest.fingerprint} is certified for the {newest.role} {newest.number}, {newest.name}, and can"
            " vouch for nobody else, and under no other name.",
        )
    if newest.is_revoked(now):
        raise _refused(request, f"The key {newest.fingerprint} was revoked on {format_time(newest.ends)}.")
    if not newest.is_live(now):
        raise _refused(request, f"The certificate of the key {newest.fingerprint} ended on {format_time(newest.ends)}.")
    for other in every:
        if other.succeeds == newest.fingerprint and other.digest != request.digest:
            raise _refused(
                request, f"The key {newest.fingerprint} has vouched already, for {other.fingerprint}; it does so once."
            )
        if other.fingerprint == content.fingerprint and other.digest != request.digest:
            raise _refused(request, f"The new key was certified before, on {format_time(other.issued)}.")
    _require_fresh(authority, request, vouching, now)
    return newest


def overlap_end(certificates: Sequence[Certificate], days: int, now: int) -> int:
    """When the key before stops to count: at the first midnight (UTC) after ``days`` days, or with the last of its own.

    At midnight, so that however many keys change, the revocation lists that must be signed ahead are one a day.
    """
    midnight = -(-(now + days * DAY_SECONDS) // DAY_SECONDS) * DAY_SECONDS
    return min(midnight, max(each.ends for each in certificates))


def _require_fresh(authority: Authority, request: Request, vouching: VouchedRequest, now: int) -> None:
    """A document that was never handed in is of no use to whoever finds it much later."""
    created = int(parse_time(vouching.created, "created").timestamp())
    days = authority.configuration.limits.open_request_days
    if not now - days * DAY_SECONDS <= created <= now + CLOCK_TOLERANCE_SECONDS:
        raise _refused(
            request, f"It was signed on {vouching.created}, and counts for {days} days from then; compare the clocks."
        )


def _refused(request: Request, why: str) -> VouchingError:
    return VouchingError(
        f"The request {request.identifier} is not vouched for. {why} Without that it takes a call: revoke what counts"
        f" still, then `ca confirm {request.identifier}`."
    )
