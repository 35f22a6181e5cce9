"""What comes by mail is taken like at the desk, save for what bounds strangers there: it has gone through a hand."""

from collections.abc import Callable
from typing import Final

from ca.authority import Authority
from ca.counter import Counter
from ca.documents import BANK, CUSTOMER
from ca.errors import CaError, NoticeError, RequestError
from ca.messages import (
    DeskAnswer,
    DeskRefusal,
    DeskRequest,
    NoticeTaken,
    RequestState,
    RevokedKeyTaken,
    State,
    SubmitNotice,
    SubmitRequest,
    SubmitRevokedKey,
)
from ca.notices import claimed_notice
from ca.requests import claimed_request
from keyring import packets
from keyring.errors import KeyringError

_ENDED: Final = {
    State.REVOKED: "The certificate of this key was revoked, and the key is never certified again; its owner makes a"
    " new one, and a request for that.",
    State.EXPIRED: "The certificate that was issued on this very request has expired; its owner makes a new request.",
}
PUBLIC_KEY_TAG = 6
"""The packet that a public key begins with (RFC 4880, section 4.3)."""


def take(authority: Authority, document: bytes, *, clock: Callable[[], float]) -> DeskAnswer:
    """Take in a request, a key that its owner has revoked, or a bank's notice, all as files. Raises RequestError."""
    question = question_about(document)
    counter = Counter(authority.desk, authority.configuration.limits, clock=clock, log=lambda _event, _details: None)
    try:
        answer = counter.answer(question, None)
    except (RequestError, NoticeError) as error:
        raise RequestError(f"{error} Nothing was taken in; ask its sender for a new file.") from None
    if isinstance(answer, DeskRefusal):
        raise RequestError(f"{answer.sentence} Nothing was taken in.")
    if isinstance(answer, RequestState) and answer.state in _ENDED:
        raise RequestError(f"{_ENDED[answer.state]} Nothing was taken in.")
    return answer


def told(answer: DeskAnswer) -> str:
    """What was taken in, in a sentence for the operator."""
    match answer:
        case RequestState(identifier=identifier, state=State.ISSUED):
            return f"It is certified already, on the request {identifier}: `ca issue {identifier} --out FILE` mails it."
        case RequestState():
            return f"Taken in: request {answer.identifier}, {answer.state.value}."
        case NoticeTaken():
            return "Taken in: a notice of the bank."
        case RevokedKeyTaken():
            return "Taken in: a key that its owner has revoked."
    raise AssertionError(answer)


def question_about(document: bytes) -> DeskRequest:
    """What would be said with it at the desk, by the look of it."""
    try:
        if packets.split(document)[0].tag == PUBLIC_KEY_TAG:
            return SubmitRevokedKey(document)
    except KeyringError:
        pass  # whoever tries it as a request says what is wrong
    try:
        claimed_request(document)
    except RequestError as error:
        try:
            claimed_notice(document)
        except CaError:
            raise RequestError(
                f"This is no file that is taken in. {error} Taken are what `{CUSTOMER} request --out FILE`, `{CUSTOMER}"
                f" renew --new-key --out FILE`, `{CUSTOMER} revoke` and `{BANK} request --out FILE` write; ask its"
                " sender for that."
            ) from None
        return SubmitNotice(document)
    return SubmitRequest(document)
