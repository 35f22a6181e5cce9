"""A key is confirmed by what was heard on the telephone and typed in, from a caller who was known; never by a yes."""

from collections.abc import Callable
from dataclasses import dataclass

from ca import choosing
from ca.authority import Authority
from ca.decisions import Confirmation, Reopening
from ca.documents import BANK, CUSTOMER
from ca.errors import CeremonyError, NoticeError
from ca.messages import State
from ca.notices import AccountNotice, open_notice
from ca.requests import Request
from ca.vouching import is_vouched
from keyring import keys, readout

TEXT_CHARACTERS = 60
"""Longest name of an operator, number dialled and reason."""

BY_CODE, BY_CALLING_BACK = "code from the letter", "called back"


@dataclass(frozen=True)
class CallerCode:
    """The caller said the code from the bank's letter."""

    words: str

    def __repr__(self) -> str:
        return "CallerCode(…)"


@dataclass(frozen=True)
class CalledBack:
    """The operator called back at the number on file."""

    dialled: str


Caller = CallerCode | CalledBack


@dataclass(frozen=True)
class Mistake:
    """What was heard does not fit, and a try is used up; the sentence names the place and not what is right."""

    sentence: str
    tries_left: int


def waiting_request(authority: Authority, identifier: str, now: int) -> Request:
    """The request, if it waits for its call at ``now``; else CeremonyError tells what to do next."""
    request = choosing.request(authority, identifier, now, State.WAITING)
    authority.tell(request)  # the desk cannot know that a key is locked whose request it had forgotten
    _require_waiting(authority, request, now)
    return request


def confirm(
    authority: Authority,
    request: Request,
    *,
    heard: str,
    caller: Caller,
    operator: str,
    clock: Callable[[], float],
    notice: bytes | None = None,
) -> Confirmation | Mistake:
    """Compare what was heard with the request, and record the confirmation of this very document.

    ``heard`` is the fingerprint in words or hex; ``notice`` one that came by mail in place of those at the desk.
    What cannot be a fingerprint or a code at all is not compared and uses up no try (ReadoutError); nor does anything
    that is not the caller's mistake (CeremonyError, NoticeError).
    """
    fingerprint = readout.parse(heard)
    _require_domain(authority, request, int(clock()))
    operator = recorded(operator, "The operator's name")
    reached_by, dialled = BY_CALLING_BACK, ""
    known = True
    if isinstance(caller, CallerCode):
        reached_by = BY_CODE
        known = _notice(authority, request, int(clock()), notice).fits(caller.words)
    else:
        dialled = recorded(caller.dialled, "The number dialled")
    content = request.content
    # One transaction, so that three tries stay three for two operators at once.
    with authority.decisions.exclusive():
        _require_waiting(authority, request, int(clock()))
        if known and fingerprint == content.fingerprint:
            confirmation = Confirmation(
                digest=request.digest,
                fingerprint=content.fingerprint,
                number=content.number,
                role=content.role,
                name=content.name,
                operator=operator,
                reached_by=reached_by,
                dialled=dialled,
                at=int(clock()),
            )
            authority.decisions.confirm(confirmation)
            result: Confirmation | Mistake = confirmation
        else:
            left = authority.decisions.count_failure(content.fingerprint, content.number)
            what = _difference(fingerprint, content.fingerprint) if known else "The code is not the one in the letter"
            result = Mistake(f"{what}; {_next(left, request)}", left)
    authority.tell(request)
    return result


def reopen(
    authority: Authority, identifier: str, *, reason: str, operator: str, clock: Callable[[], float]
) -> Reopening:
    """Give the key of a locked request its tries for that number again; who did so and why is recorded.

    Raises CeremonyError.
    """
    request = authority.request(identifier)
    reason, operator = recorded(reason, "The reason"), recorded(operator, "The operator's name")
    with authority.decisions.exclusive():
        state = authority.state(request)
        if state is not State.LOCKED:
            raise CeremonyError(
                f"The request {request.identifier} is not locked but {state.value}; there is nothing to reopen."
            )
        reopening = Reopening(request.content.fingerprint, request.content.number, operator, reason, int(clock()))
        authority.decisions.reopen(reopening)
    authority.tell(request)
    return reopening


def _require_waiting(authority: Authority, request: Request, now: int) -> None:
    state = authority.state(request)
    if state is State.WAITING and is_vouched(authority, request, now):
        raise CeremonyError(
            f"The request is vouched for by a key that counts, and needs no call; `ca issue {request.identifier}`."
        )
    if state is State.ISSUED:
        raise CeremonyError(f"The certificate for {request.identifier} is issued already; its owner can fetch it.")
    if state is State.CONFIRMED:
        raise CeremonyError(f"The request is confirmed already; issue it with `ca issue {request.identifier}`.")
    if state is State.LOCKED:
        raise CeremonyError(
            f"The request {request.identifier} is locked after three mistakes, and so is every other of its key."
            f" {_reopening(request)}"
        )


def _require_domain(authority: Authority, request: Request, now: int) -> None:
    """Nobody is certified under a mail address that is not of a bank which this authority has certified."""
    if not authority.has_domain(request, now):
        raise CeremonyError(
            f"The request is for an address at {request.content.domain}, and no certified bank has that domain; do not"
            " confirm it. Have the applicant begin again with the bank's letter: `customer init --home NEW-FOLDER`."
        )


def _notice(authority: Authority, request: Request, now: int, mailed: bytes | None) -> AccountNotice:
    """The newest notice of the request's customer that the certified bank signed, for the name in the request."""
    number = request.content.number
    if request.content.role != CUSTOMER:
        raise CeremonyError(f"A {BANK} has no code; call it back at the number on file, and give --called-back.")
    found = _trusted(authority, (mailed,) if mailed is not None else authority.desk.notices(number), now)
    for notice in sorted(found, key=lambda each: each.created, reverse=True):
        if notice.customer != number:
            continue
        if notice.name != request.content.name:
            raise CeremonyError(
                f"The bank knows customer {number} by another name than the request gives; do not confirm it. Ask the"
                " bank, and have the applicant make the request under the name in the letter."
            )
        return notice
    raise CeremonyError(
        f"There is no notice of the bank for customer {number}, so the code cannot be checked; ask the bank for it (and"
        " give it with --notice), or call back at the number on file and give --called-back."
    )


def _trusted(authority: Authority, messages: tuple[bytes, ...], now: int) -> list[AccountNotice]:
    """Those that the bank signed; strangers' are passed over, unless they are all there is."""
    home, fingerprint = authority.home(), authority.configuration.fingerprint
    banks = authority.bank_keys(now)
    if not banks:
        raise CeremonyError(
            "No bank is certified yet, so no notice can be checked; certify the bank first, or call back at the number"
            " on file and give --called-back."
        )
    key = keys.export_minimal(home, fingerprint)
    trusted: list[AccountNotice] = []
    refused: NoticeError | None = None
    for message in messages:
        for bank in banks:
            try:
                trusted.append(open_notice(message, ca_key=key, ca_fingerprint=fingerprint, bank_key=bank))
            except NoticeError as error:
                refused = error
    if refused and not trusted:
        raise NoticeError(
            f"None of the notices for this customer is the certified bank's, so the code cannot be checked. {refused}"
            " Ask the bank to send its notice, or call back at the number on file and give --called-back."
        )
    return trusted


def _difference(heard: str, right: str) -> str:
    place = next(at for at in range(20) if heard[2 * at : 2 * at + 2] != right[2 * at : 2 * at + 2])
    return f"Word {place + 1} (in group {place // 2 + 1} of the hexadecimal form) is not that of the request's key"


def _next(left: int, request: Request) -> str:
    if left:
        return f"have it read out again from the beginning. {left} {'try is' if left == 1 else 'tries are'} left."
    return f"that was the third mistake. The request is locked. {_reopening(request)}"


def _reopening(request: Request) -> str:
    return (
        f'If the mistakes have an honest reason, give it: `ca reopen {request.identifier} --reason "…"`; if somebody'
        f' tried to pass for another: `ca drop {request.identifier} --reason "…"`.'
    )


def recorded(text: str, what: str) -> str:
    """What is typed in to be kept, without spaces around it. Raises CeremonyError if it is not of that kind."""
    text = text.strip()
    if not text or len(text) > TEXT_CHARACTERS or not text.isprintable():
        raise CeremonyError(f"{what} is recorded and must have 1 to {TEXT_CHARACTERS} printable characters.")
    return text
