"""Whoever asks how the authority stands is told first what stops others soonest, and the command that mends it."""

from dataclasses import dataclass
from typing import Final

from ca import given_up, inventory
from ca.authority import Authority
from ca.errors import StoreError
from ca.inventory import DAY_SECONDS
from ca.messages import OPEN_STATES, State
from ca.requests import IDENTIFIER_DIGITS
from protocol.orders import format_time

LIST_WARNING_DAYS: Final = 7
_COMMANDS: Final = {
    State.CONFIRMED: "ca issue {}",
    State.VOUCHED: "ca issue {}",
    State.WAITING: "ca confirm {}",
    State.LOCKED: 'ca reopen {} --reason "…"',
}
"""What is due for an open request, the most urgent state first."""


@dataclass(frozen=True)
class Standing:
    """How the authority stands. Days are whole ones still left, below 0 when it is past; times are RFC 3339.

    ``warnings`` are sentences, each with its command; ``next_step`` is the command that is due first.
    """

    certificates: dict[str, int]
    requests: dict[str, int]
    crl_number: int
    crl_next_update: str
    crl_days_left: int
    expires_next: str
    warnings: tuple[str, ...]
    next_step: str


def standing(authority: Authority, now: int) -> Standing:
    """How the authority stands at ``now`` (unix seconds), by its own records. Raises StoreError."""
    newest = authority.decisions.newest_list(now)
    if newest is None:
        raise StoreError("There is no revocation list, so nobody can rely on a certificate; make one with `ca crl`.")
    certificates = inventory.certificates(authority, now)
    waiting = [(each, inventory.open_state(authority, each, now)) for each in authority.desk.requests(*OPEN_STATES)]
    days_left = (newest.next_update - now) // DAY_SECONDS
    warnings, steps = [], []
    for lost in given_up.waiting(authority, now):
        steps.append(lost.command)
        warnings.append(
            f"The owner of the key of the {lost.certificate.role} {lost.certificate.number} has declared it invalid,"
            f" and its certificate still counts; stop it: `{lost.command}`."
        )
    if days_left < LIST_WARNING_DAYS:
        steps.append("ca crl")
        until = format_time(newest.next_update)
        warnings.append(
            f"The revocation list {newest.number} ran out on {until}: certified orders are refused until `ca crl`."
            if newest.next_update < now
            else f"The revocation list {newest.number} is good until {until} only; make the next one: `ca crl`."
        )
    elif authority.desk.revocations(now) != newest.crl:
        steps.append("ca crl")
        warnings.append(
            f"The desk does not hand out the newest revocation list, {newest.number}; put one out: `ca crl`."
        )
    for state, command in _COMMANDS.items():
        steps += [command.format(filed.digest[:IDENTIFIER_DIGITS]) for filed, found in waiting if found is state]
    locked = [filed for filed, found in waiting if found is State.LOCKED]
    warnings += [
        f"The request {filed.digest[:IDENTIFIER_DIGITS]} is locked after three mistakes on the telephone; if they have"
        f" an honest reason, give it: `{_COMMANDS[State.LOCKED].format(filed.digest[:IDENTIFIER_DIGITS])}`; otherwise"
        f' `ca drop {filed.digest[:IDENTIFIER_DIGITS]} --reason "…"`.'
        for filed in locked
    ]
    for each in certificates:
        if each.state == "expires soon":
            steps.append(f"ca renew {each.number}")
            warnings.append(
                f"The certificate of the {each.role} {each.number} ends on {each.expires}; renew it with `ca renew"
                f" {each.number}`."
            )
    counting = [each for each in certificates if each.state in ("valid", "expires soon")]
    return Standing(
        certificates=_counted([each.state for each in certificates]),
        requests=_counted([state.value for _, state in waiting]),
        crl_number=newest.number,
        crl_next_update=format_time(newest.next_update),
        crl_days_left=days_left,
        expires_next=f"{counting[0].role} {counting[0].number}, {counting[0].expires}" if counting else "nothing",
        warnings=tuple(warnings),
        next_step=steps[0] if steps else "nothing; keep `ca serve` running",
    )


def _counted(words: list[str]) -> dict[str, int]:
    return {word: words.count(word) for word in sorted(set(words))}
