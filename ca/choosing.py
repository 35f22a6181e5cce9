"""A number stands for the one of its requests that is ready for what is to be done; of several the operator names one.

What the desk says of a request serves to find it, and never to judge how far it has come.
"""

from ca import inventory
from ca.authority import Authority
from ca.errors import RequestError
from ca.messages import OPEN_STATES, State
from ca.requests import IDENTIFIER_DIGITS, Request, open_request
from ca.store import Filed


def request(authority: Authority, text: str, now: int, *ready: State) -> Request:
    """The verified request that ``text`` names: its identifier, the beginning of that, or a customer number.

    By a number it is the one open request, of several the only one in one of the states ``ready`` at ``now`` (unix
    seconds), and without any the one on which the newest certificate of the number was issued. Raises RequestError.
    """
    number = text.strip()
    found = _open(authority, number, now, *ready)
    if found is not None:
        return authority.believed(found)
    if any(each.number == number for each in authority.decisions.certificates()):
        return open_request(inventory.find(authority, number, now).request)
    return authority.request(text)


def filed(authority: Authority, text: str, now: int) -> Filed:
    """An open request as the desk has it, whatever was done to it there, by identifier or number. RequestError."""
    number = text.strip()
    found = _open(authority, number, now)
    if found is not None:
        return found
    issued = any(each.number == number for each in authority.decisions.certificates())
    if issued and not authority.desk.requests_like(number):
        raise RequestError(
            f"No request is open for {number}: a certificate was issued. `ca show {number}` says whether it counts; if"
            f" it should not: `ca revoke {number}`."
        )
    return authority.filed(text)


def _open(authority: Authority, number: str, now: int, *ready: State) -> Filed | None:
    """The open request for this number; None if there is none. RequestError if it may be one or the other."""
    every = [each for each in authority.desk.requests(*OPEN_STATES) if each.number == number]
    if not every:
        return None
    chosen = every
    if len(every) > 1:
        chosen = [each for each in every if inventory.open_state(authority, each, now) in ready]
    if len(chosen) > 1 or not chosen:
        named = ", ".join(
            f"{each.digest[:IDENTIFIER_DIGITS]} ({inventory.open_state(authority, each, now).value})" for each in every
        )
        raise RequestError(f"{len(every)} requests are open for {number}: {named}. Name one of them in place of it.")
    if any(each.digest != chosen[0].digest and each not in every for each in authority.desk.requests_like(number)):
        raise RequestError(
            f"{number} is a number, and the beginning of another request, too; give the whole identifier, as"
            " `ca requests` shows it."
        )
    return chosen[0]
