"""A request is handed in again as it was, so that repeating it is harmless and it keeps its identifier."""

from typing import Final

from ca.messages import OPEN_STATES, State
from ca.requests import claimed_request
from protocol.orders import format_time

SAME_SECONDS: Final = 7 * 24 * 3600
"""How long the same request is handed in again; the authority takes it for longer, but not for ever."""


def still_asks(message: bytes, fingerprint: str, state: State | None, now: float) -> bool:
    """Whether a request that was made before serves again for this key, at ``now`` (unix seconds).

    ``state`` is what was last heard of it, None if nothing was: one on which something was issued serves no more, nor
    one that the desk does not know. Raises RequestError if it is not a request.
    """
    if state is not None and state not in OPEN_STATES:
        return False
    content = claimed_request(message).content
    return content.fingerprint == fingerprint and content.created >= format_time(now - SAME_SECONDS)
