"""A request is handed in again as it was, so that repeating it is harmless and it keeps its identifier."""

from typing import Final

from ca.messages import OPEN_STATES, State
from ca.requests import claimed_request
from protocol.orders import format_time

DAY_SECONDS: Final = 24 * 3600
SAME_SECONDS: Final = 30 * DAY_SECONDS
"""How long the same request is handed in again: as long as the authority keeps one that waits, by its default.

Were it shorter, whoever mails a second one would be told an identifier under which the authority files nothing.
"""
VOUCHED_SECONDS: Final = 7 * DAY_SECONDS
"""The same for one that a key vouches for, which the authority issues on for 30 days after it was signed."""


def still_asks(message: bytes, fingerprint: str, state: State | None, now: float) -> bool:
    """Whether a request that was made before serves again for this key, at ``now`` (unix seconds).

    ``state`` is what was last heard of it, None if nothing was: one on which something was issued serves no more, nor
    one that the desk does not know. Raises RequestError if it is not a request.
    """
    if state is not None and state not in OPEN_STATES:
        return False
    made = claimed_request(message)
    since = format_time(now - (SAME_SECONDS if made.vouching is None else VOUCHED_SECONDS))
    return made.content.fingerprint == fingerprint and made.content.created >= since
