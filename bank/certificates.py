"""A customer's certificate counts for an order only if it is good at that moment, by the newest revocation list."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, exists, insert, select

from bank import schema
from bank.customers import follow
from bank.identities import ROLE, Identity, OpeningRefused
from bank.own_certificate import OwnCertificate
from bank.revocations import RevocationLists
from bank.storage import Ledger
from ca.bridge import CertificateRefused, JudgedCertificate, RevocationList, Root, judge_leaf
from protocol.codes import Reason
from protocol.orders import format_time

FIELD: Final = "certificate"

BOOKING_MARGIN_SECONDS: Final = 2
"""How long before its end a certificate, or the list it is judged by, counts for no new order: an order is booked a
moment after it was judged, and evidence and audit ask whether its certificate counted when it was booked."""


@dataclass(frozen=True)
class Presented:
    """A certificate with which a customer opened a session: the DER, and what it was judged to be.

    ``succeeds`` is the fingerprint of the key that vouched for this one, as the authority's certification says it, ""
    where none did.
    """

    der: bytes = field(repr=False)
    judged: JudgedCertificate
    succeeds: str = ""


class Certificates:
    """Judges certificates by the root and the newest list, and keeps those that were used in the ledger."""

    def __init__(self, ledger: Ledger, root: Root, own: Callable[[], bytes | None] = lambda: None) -> None:
        """``own`` gives the bank's own certificate (DER) as it is now."""
        self.lists: Final = RevocationLists(ledger, root)
        self.own: Final = OwnCertificate(own, self.lists.newest)
        self._ledger: Final = ledger
        self._root: Final = root

    def present(self, der: bytes, identity: Identity, at: int) -> Presented:
        """The certificate, if it says of the identity's key what the authority's OpenPGP certification says.

        Nothing is recorded. Raises OpeningRefused.
        """
        try:
            judged = judge_leaf(
                der,
                root=self._root,
                role=ROLE,
                number=identity.customer,
                fingerprint=identity.fingerprint,
                at=at,
            )
        except CertificateRefused as error:
            raise OpeningRefused(error.reason, str(error), FIELD, error.rule) from None
        if identity.certification is None or identity.certification.request_digest != judged.request_digest:
            raise OpeningRefused(
                Reason.CERTIFICATE_INVALID,
                "Certified key and certificate were not issued on the same request; fetch both again.",
                FIELD,
                "same-request",
            )
        newest = self._newest()
        self._require_good(judged, newest, at)
        presented = Presented(der, judged, identity.certification.succeeds)
        with self._ledger.reading() as connection:
            _require_sole(connection, presented, newest, at)
        return presented

    def known_good(self, judged: JudgedCertificate, at: int) -> tuple[int, int] | None:
        """The number of the list by which a certificate is good at ``at``, and until when it is good by that list.

        Asked for every order, since both change; good also means for as long as a booking takes. This asks the newest
        list that this process has met, in memory: whoever records the order says Outdated if there is a newer one. None
        where that list does not accept it; to refuse it takes :meth:`require_good`.
        """
        with suppress(OpeningRefused):
            return self._good_by(self._known(), judged, at)
        return None

    def require_good(self, judged: JudgedCertificate, at: int) -> tuple[int, int]:
        """As :meth:`known_good`, by the newest list of all, which is in the ledger. Raises OpeningRefused."""
        return self._good_by(self._newest(), judged, at)

    def _good_by(self, newest: RevocationList, judged: JudgedCertificate, at: int) -> tuple[int, int]:
        for moment in (at, at + BOOKING_MARGIN_SECONDS):
            self._require_good(judged, newest, moment)
        return newest.number, min(judged.not_after, newest.next_update)

    def remember(self, presented: Presented, key: bytes, at: int) -> None:
        """Keeps a certificate for later evidence. Harmless when repeated.

        Where its key succeeds the registered one, that is the registered one from now on, ``key`` being its bytes.
        Raises OpeningRefused if meanwhile another key was used under the number.
        """
        judged = presented.judged
        with self._ledger.reading() as connection:
            if _is_known(connection, judged.digest):
                return  # nearly always: then no write transaction is needed
        newest = self._newest()
        with self._ledger.writing() as connection:
            _require_sole(connection, presented, newest, at)
            keep(connection, presented.der, judged, presented.succeeds)
            if presented.succeeds:
                follow(connection, judged.holder.number, presented.succeeds, judged.fingerprint, key)

    def _newest(self) -> RevocationList:
        return self._required(self.lists.newest)

    def _known(self) -> RevocationList:
        return self._required(self.lists.known)

    def _required(self, ask: Callable[[], RevocationList | None]) -> RevocationList:
        try:
            newest = ask()
        except CertificateRefused as error:
            raise OpeningRefused(error.reason, str(error), FIELD, error.rule) from None
        if newest is None:
            raise OpeningRefused(
                Reason.CERTIFICATE_INVALID,
                "The bank has no revocation list yet, so no certificate can be relied on and nothing was recorded: the "
                "bank's operator must run `bank fetch`. After that, send the same transfer again.",
                FIELD,
                "crl-present",
            )
        return newest

    def _require_good(self, judged: JudgedCertificate, newest: RevocationList, at: int) -> None:
        try:
            judged.require_good(at, newest)
        except CertificateRefused as error:
            sentence = str(error)
            if error.rule == "crl-current":
                sentence = (
                    f"The bank's revocation list {newest.number} ran out on {format_time(newest.next_update)}, so no "
                    "certificate can be relied on and nothing was recorded: the authority's operator must run `ca crl`,"
                    " then the bank's operator `bank fetch`. After that, send the same transfer again."
                )
            raise OpeningRefused(error.reason, sentence, FIELD, error.rule) from None


def keep(connection: Connection, der: bytes, judged: JudgedCertificate, succeeds: str = "") -> None:
    """Records a certificate under its holder's number, within a write transaction. Harmless when repeated.

    ``succeeds`` is the fingerprint of the key that vouched for its own, "" where none did.
    """
    if _is_known(connection, judged.digest):
        return
    connection.execute(
        insert(schema.certificate),
        {
            "digest": judged.digest,
            "number": judged.holder.number,
            "der": der,
            "serial": f"{judged.serial:x}",
            "fingerprint": judged.fingerprint,
            "not_before": judged.not_before,
            "not_after": judged.not_after,
            "succeeds": succeeds or None,
        },
    )


def certificate_at(connection: Connection, number: str, at: int) -> bytes | None:
    """The certificate (DER) of a number that was good at a time in unix seconds, the newest if there are several."""
    column = schema.certificate.c
    return connection.execute(
        select(column.der)
        .where(column.number == number, column.not_before <= at, column.not_after >= at)
        .order_by(column.not_before.desc(), column.digest)
        .limit(1)
    ).scalar()


def _is_known(connection: Connection, digest: str) -> bool:
    return bool(connection.execute(select(exists().where(schema.certificate.c.digest == digest))).scalar())


def _require_sole(connection: Connection, presented: Presented, newest: RevocationList, at: int) -> None:
    """A number has one key at a time: another one counts when the certificate of the first has ended or is revoked.

    Beside it counts the one that it vouched for, by the authority's record, until the authority ends the first.
    """
    column, judged = schema.certificate.c, presented.judged
    others = connection.execute(
        select(column.serial, column.fingerprint, column.not_after, column.succeeds).where(
            column.number == judged.holder.number,
            column.fingerprint != judged.fingerprint,
            column.not_after >= at,
        )
    )
    for serial, fingerprint, not_after, succeeds in others:
        if int(serial, 16) in newest.revoked or presented.succeeds == fingerprint or succeeds == judged.fingerprint:
            continue
        raise OpeningRefused(
            Reason.OTHER_KEY,
            f"The customer {judged.holder.number} has used a certificate for another key, {fingerprint}, which is "
            f"good until {format_time(not_after)}. This one is no renewal of it, and no key that it has vouched "
            "for: the authority must revoke the first with `ca revoke` before a new key counts.",
            FIELD,
            "one-key",
        )
