"""The stage alone decides how the bank is spoken to; whoever asks something need not know the stage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from customer import bank_view, revocations
from customer.bank_view import BankView
from customer.errors import CustomerError, NotReady, RefusedByBank
from customer.home import CustomerHome
from customer.store import Fact, KeptHead
from protocol.codes import Reason
from protocol.errors import RemoteProtocolError
from protocol.messages import Answer, AskBankKey, AskHead, BankKey, Head, Refusal, Request
from protocol.stages import Stage
from protocol.transport import Address

if TYPE_CHECKING:
    from customer.session import Conversation, Line, Offered

BUSY_WAITS_SECONDS: Final = (0.2, 0.8)
"""How long to wait before the second and the third try where the bank is busy."""

Wanted = TypeVar("Wanted")


def require_stage(home: CustomerHome, stage: Stage) -> None:
    """Refuse a stage below the highest one used with success: nobody talks this customer into a weaker one."""
    floor = home.store.floor()
    if stage.rank < floor.rank:
        raise CustomerError(
            f"This customer has used the stage {floor.value}, so the weaker stage {stage.value} is refused; leave out "
            f"--stage or use --stage {floor.value}."
        )


@contextmanager
def conversation(
    home: CustomerHome, stage: Stage, *, to_register: bool = False, certificate: str | None = None
) -> Iterator["Conversation"]:
    """An open conversation with the bank in this stage, closed at the end.

    In the stage certified it is opened under the own certificate with the SHA-256 ``certificate``, if that still
    counts, else under the newest. Only to register may it be in a stage below the floor: that repeats what was done and
    gives nothing away. Raises CustomerError, ProtocolError or KeyringError; then nothing was asked of the bank.
    """
    if not to_register:
        require_stage(home, stage)
    talk = patiently(home, lambda: _open(home, stage, certificate))
    try:
        yield talk
        if stage.is_certified:
            _follow(home, certificate)
    finally:
        talk.close()


def patiently(home: CustomerHome, attempt: Callable[[], Wanted]) -> Wanted:
    """Try up to three times, with short waits, as long as the bank is only busy."""
    for wait_seconds in BUSY_WAITS_SECONDS:
        try:
            return attempt()
        except RefusedByBank as refused:
            if refused.refusal.reason is not Reason.BUSY:
                raise
        home.world.sleep(wait_seconds)
    return attempt()


def ask(talk: "Conversation", request: Request, kind: type[Wanted]) -> Wanted:
    """Ask one thing and get the answer of its kind; a refusal raises RefusedByBank."""
    (answer,) = talk.ask(request)
    return expect(answer, kind)


def expect(answer: Answer, kind: type[Wanted]) -> Wanted:
    """The answer, if it is of the kind that fits; a refusal raises RefusedByBank."""
    if isinstance(answer, Refusal):
        raise RefusedByBank(answer, proven=True)
    if not isinstance(answer, kind):
        raise RemoteProtocolError(f"The bank answered with {type(answer).__name__}, which does not fit the question.")
    return answer


def view_for(home: CustomerHome, stage: Stage) -> BankView:
    """The view of the bank that heads are verified with in this stage. Raises NotReady."""
    kind = bank_view.CERTIFIED if stage.is_certified else bank_view.REGISTERED
    return bank_view.open_view(home.folder, kind, home.config.bank.fingerprint, home.world.clock())


def view_in(home: CustomerHome, talk: "Conversation") -> BankView:
    """As :func:`view_for`; in the stage password a view that is missing is made from the key that the bank gives."""
    try:
        return view_for(home, talk.stage)
    except NotReady:
        if talk.stage.has_session:
            raise
    key = ask(talk, AskBankKey(number=0), BankKey).key
    return bank_view.make_registered(home.folder, key, home.config.bank.fingerprint)


def newest_head(home: CustomerHome, talk: "Conversation", view: BankView) -> KeptHead:
    """The bank's newest head, proven to continue the one kept, and kept. Raises NotProven."""
    since = home.store.newest_head()
    answer = ask(talk, AskHead(number=0, since=since.head.size if since else None), Head)
    kept = view.continued(answer.head, answer.consistency, since)
    home.store.keep_head(kept)
    return kept


def _open(home: CustomerHome, stage: Stage, certificate: str | None) -> "Conversation":
    if stage is Stage.PASSWORD:
        return _open_password(home)
    from customer.session import Session, Speaker

    own = offered(home, certificate) if stage.is_certified else None
    view = view_for(home, stage)
    if own is not None:
        revocations.require_unrevoked(home, view.serial)
        own = offered(home, certificate)  # a newer list may have come meanwhile

    def opened(own: "Offered | None") -> Session:
        fingerprint = own.fingerprint if own else home.registered_key
        speaker = Speaker(home.number, home.keys, fingerprint, home.secrets.passphrase, own)
        return Session.open(speaker, view, stage, _line(home), clock=home.world.clock, random=home.world.random)

    try:
        session = opened(own)
    except RefusedByBank:
        # An earlier certificate may be revoked by a list that the bank has and we have not: our own list decides.
        if own is None or own == offered(home):
            raise
        revocations.refresh(home)
        again = offered(home, certificate)
        if again == own:
            raise
        session = opened(again)
    home.store.raise_floor(stage)
    return session


def _follow(home: CustomerHome, certificate: str | None) -> None:
    """The bank has registered the new key in place of the one before, once that has spoken in the stage certified."""
    key, before = home.key, home.store.text(Fact.KEY_BEFORE)
    if before and home.registered_key == before and offered(home, certificate).fingerprint == key:
        home.store.set_facts({Fact.REGISTERED_KEY: key.encode()})


def _open_password(home: CustomerHome) -> "Conversation":
    from customer.password import Acquaintance, PasswordConversation

    acquaintance = Acquaintance(home.number, home.config.bank.fingerprint, home.secrets.password(), home.keyless)
    return PasswordConversation.open(acquaintance, _line(home), clock=home.world.clock, random=home.world.random)


def _line(home: CustomerHome) -> "Line":
    from customer.session import Line

    return Line(Address.parse(home.config.bank.address), home.config.limits, home.world.watch)


def offered(home: CustomerHome, digest: str | None = None) -> "Offered":
    """Both forms of the own certificate: the one with this SHA-256 if it still counts here, else the newest.

    Raises NotReady while there is none, or when its time is over.
    """
    from customer.session import Offered

    kept = home.store.certificate(digest) if digest else None
    newest = home.store.revocations()
    if kept is not None and home.world.clock() < kept.ends and not (newest and kept.serial in newest.revoked):
        return Offered(kept.certificate, kept.key, kept.fingerprint)
    key, certificate = home.store.fact(Fact.CERTIFIED_KEY), home.store.fact(Fact.CERTIFICATE)
    until = home.store.number(Fact.CERTIFIED_UNTIL)
    if key is None or certificate is None or until is None:
        raise NotReady(
            "The authority's certificate is not here yet, and the stage certified needs it; see `customer status`."
        )
    if home.world.clock() >= until:
        raise NotReady(
            "The certificate of this customer has ended. If the authority has renewed it, take it with `customer "
            "renew`; else request a new one with `customer request`."
        )
    return Offered(certificate, key, home.key)
