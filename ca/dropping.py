"""What waits at the desk goes at an operator's word alone, who gives a reason; tries that were used up stay used up."""

from collections.abc import Callable

from ca import inventory
from ca.authority import Authority
from ca.ceremony import recorded
from ca.decisions import Drop
from ca.errors import RequestError
from ca.requests import IDENTIFIER_DIGITS
from ca.store import Filed

NOTICES = "notices"


def drop_request(authority: Authority, filed: Filed, *, reason: str, operator: str, clock: Callable[[], float]) -> Drop:
    """Take a request from the desk, and back what was confirmed of it, and record why. Raises RequestError.

    Its applicant may hand it in again; a key that is locked stays locked.
    """
    reason, operator = recorded(reason, "The reason"), recorded(operator, "The operator's name")
    with authority.decisions.exclusive():
        if authority.decisions.certificate(filed.digest) is not None:
            raise RequestError(
                f"The certificate for {filed.digest[:IDENTIFIER_DIGITS]} is issued, so there is nothing to drop; if it"
                " should not count: `ca revoke`."
            )
        state = inventory.open_state(authority, filed, int(clock()))
        dropped = Drop(filed.digest, filed.number, state.value, operator, reason, int(clock()))
        authority.decisions.drop(dropped)
    authority.desk.drop_request(filed.digest)
    return dropped


def drop_notices(authority: Authority, number: str, *, reason: str, operator: str, clock: Callable[[], float]) -> int:
    """Take the bank's notices for this customer number from the desk, and record why; how many. RequestError if none.

    The customer's caller code is then known only from a notice that the bank hands in anew, or mails.
    """
    reason, operator = recorded(reason, "The reason"), recorded(operator, "The operator's name")
    count = len(authority.desk.notices(number))
    if not count:
        raise RequestError(f"The desk keeps no notice for the number {number[:40]!a}.")
    authority.decisions.drop(Drop("", number, NOTICES, operator, reason, int(clock())))
    authority.desk.drop_notices(number)
    return count
