"""A key is confirmed by what was heard on the telephone and typed in, from a caller who was known; never by a yes."""

# What the answers give away. The operator passes them on, and whoever is on the telephone may be somebody who guesses.
#
# 1. Who calls is judged first. Without the code, or a call to the number on file, no word is asked for or compared.
# 2. A slip that shows in the typed words alone (too few, too many, one of the wrong list) is told from these words
#    alone, by `keyring.slips`: the request is not looked at, so the answer says nothing that the caller did not say,
#    and costs no try. It must stay so: were such words compared, somebody who knew 19 of the 20 could swap two of them
#    on purpose and have every guess at the missing one judged without a try.
# 3. What could be a fingerprint is compared. Any difference costs one of three tries, and its first place is named.
# 4. One difference costs none: all 20 words are right, and their order is not. Only those who have them all get that
#    answer: a guess has it by chance in (10!)² of 2^160 cases, less than one in 2^116, and one that has not costs a
#    try like any other. No place is named then, or the order could be found step by step; without that it is one of
#    (10!)², more than 2^43. Nothing is ever confirmed but the right order, however often this answer is given.
# 5. A line of four words that was read out twice in place of another costs none either: such words are nobody's
#    fingerprint, so nothing was guessed, and the answer is made from the typed words as in 2. For the one key in 2^28
#    that does have the same line twice it could be a guess, and there it costs a try.

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
from keyring.errors import ReadoutError
from protocol.orders import format_time

TEXT_CHARACTERS = 60
"""Longest name of an operator, number dialled and reason."""

_FREE = "No try was used up; have it read out again from the beginning."

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
class Known:
    """The caller of this ``request`` is known, ``reached_by`` the code or a call to the number ``dialled``."""

    request: Request
    reached_by: str
    dialled: str = ""


@dataclass(frozen=True)
class Mistake:
    """What was heard does not fit; the sentence names the place and not what is right.

    A try was used up if it is ``counted``.
    """

    sentence: str
    tries_left: int
    counted: bool = True


def waiting_request(authority: Authority, identifier: str, now: int) -> Request:
    """The request, if it waits for its call at ``now``; else CeremonyError tells what to do next."""
    request = choosing.request(authority, identifier, now, State.WAITING)
    authority.tell(request)  # the desk cannot know that a key is locked whose request it had forgotten
    _require_waiting(authority, request, now)
    return request


def identify(
    authority: Authority,
    request: Request,
    caller: Caller,
    *,
    clock: Callable[[], float],
    notice: bytes | None = None,
) -> Known | Mistake:
    """Judge who calls, before anything is read out; a wrong code uses up a try.

    ``notice`` is one that came by mail in place of those at the desk. What cannot be a code at all uses up no try
    (ReadoutError); nor does anything that is not the caller's mistake (CeremonyError, NoticeError).
    """
    now = int(clock())
    _require_domain(authority, request, now)
    if isinstance(caller, CalledBack):
        return Known(request, BY_CALLING_BACK, recorded(caller.dialled, "The number dialled"))
    found = _notice(authority, request, now, notice)
    try:
        if found.fits(caller.words):
            return Known(request, BY_CODE)
    except ReadoutError as error:
        raise ReadoutError(
            f"The caller's code cannot be judged. {error} No try was used up; have the code said again.", error.position
        ) from None
    # One transaction here and below, so that three tries stay three for two operators at once.
    with authority.decisions.exclusive():
        _require_waiting(authority, request, int(clock()))
        mistake = _counted(authority, request, "The caller's code is not the one in the letter", "have it said again")
    authority.tell(request)
    return mistake


def confirm(
    authority: Authority, caller: Known, *, heard: str, operator: str, clock: Callable[[], float]
) -> Confirmation | Mistake:
    """Compare what a caller who is known read out with the request, and record the confirmation of this very document.

    ``heard`` is the fingerprint in words, hexadecimal or decimal groups. What cannot be one is not compared and uses up
    no try (ReadoutError); nor does anything that is not the caller's mistake (CeremonyError).
    """
    request = caller.request
    try:
        fingerprint = readout.parse(heard)
    except ReadoutError as error:
        raise ReadoutError(f"{error} {_FREE}", error.position) from None
    _require_domain(authority, request, int(clock()))
    operator = recorded(operator, "The operator's name")
    content = request.content
    with authority.decisions.exclusive():
        _require_waiting(authority, request, int(clock()))
        result: Confirmation | Mistake
        if fingerprint == content.fingerprint:
            result = Confirmation(
                digest=request.digest,
                fingerprint=content.fingerprint,
                number=content.number,
                role=content.role,
                name=content.name,
                operator=operator,
                reached_by=caller.reached_by,
                dialled=caller.dialled,
                at=int(clock()),
            )
            authority.decisions.confirm(result)
        else:
            result = _mistake(authority, request, fingerprint)
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
        raise CeremonyError(_told_issued(authority, request, now))
    if state is State.CONFIRMED:
        raise CeremonyError(f"The request is confirmed already; issue it with `ca issue {request.identifier}`.")
    if state is State.LOCKED:
        raise CeremonyError(told_locked(request))


def told_locked(request: Request) -> str:
    """What to do about a request that is locked."""
    return (
        f"The request {request.identifier} is locked after three mistakes, and so is every other of its key."
        f" {_reopening(request)}"
    )


def _told_issued(authority: Authority, request: Request, now: int) -> str:
    """What became of the certificate that was issued on this request, and what its owner does at ``now``."""
    issued, role = authority.decisions.certificate(request.digest), request.content.role
    if issued is None or issued.is_live(now):
        return f"The certificate for {request.identifier} is issued already; its owner can fetch it."
    if issued.is_revoked(now):
        return (
            f"The certificate for {request.identifier} was revoked on {format_time(issued.ends)}, and its key is never"
            " certified again; its owner has to make a new key, and a request for that."
        )
    return (
        f"The certificate for {request.identifier} ended on {format_time(issued.ends)}; its owner makes a new request:"
        f" `{role} request`."
    )


def _require_domain(authority: Authority, request: Request, now: int) -> None:
    """Nobody is certified under a mail address that is not of a bank which this authority has certified."""
    if not authority.has_domain(request, now):
        raise CeremonyError(
            f"The request is for an address at {request.content.domain}, and no bank that is certified now has that"
            " domain; do not confirm it. If the bank's certificate was revoked or has ended (`ca list`), the bank is"
            " certified first; else have the applicant begin again with the bank's letter: `customer init --home"
            " NEW-FOLDER`."
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


def _mistake(authority: Authority, request: Request, heard: str) -> Mistake:
    """What another fingerprint than the request's costs, and what is said of it; the reasons stand above."""
    right = request.content.fingerprint
    slipped = slip(heard, right)
    if slipped:
        left = authority.decisions.tries_left(right, request.content.number)
        return Mistake(f"{slipped} {_FREE}", left, counted=False)
    place = next(at for at in range(20) if heard[2 * at : 2 * at + 2] != right[2 * at : 2 * at + 2])
    what = f"Word {place + 1} (in group {place // 2 + 1} of the hexadecimal form) is not that of the request's key"
    return _counted(authority, request, what, "have it read out again from the beginning")


def slip(heard: str, right: str) -> str:
    """What made this fingerprint of the right one, if that may be said without a try; "" if not."""
    if readout.same_words(heard, right):
        return (
            "Everything that was read out belongs to the request's key, but not in this order: words, groups or whole"
            " lines are swapped."
        )
    doubled = readout.doubled_lines(heard)
    if doubled and not readout.doubled_lines(right):
        return f"Line {doubled[1]} is the same as line {doubled[0]}, so it is doubled, and another is missing."
    return ""


def _counted(authority: Authority, request: Request, what: str, again: str) -> Mistake:
    """Use up a try, and say how many are left."""
    left = authority.decisions.count_failure(request.content.fingerprint, request.content.number)
    if left:
        return Mistake(f"{what}; {again}. {left} {'try is' if left == 1 else 'tries are'} left.", left)
    return Mistake(f"{what}; that was the third mistake. The request is locked. {_reopening(request)}", left)


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
