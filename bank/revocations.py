"""The newest revocation list that the bank has ever seen decides, whoever fetched it; an older one never does."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, func, insert, select

from bank import schema
from bank.errors import RecordError
from bank.storage import Ledger
from ca.bridge import RevocationList, Root, open_crl

_HIGHEST = select(func.max(schema.revocation_list.c.number))


class RevocationLists:
    """The revocation lists in a ledger, all of them by the authority of ``root``."""

    def __init__(self, ledger: Ledger, root: Root) -> None:
        self._ledger: Final = ledger
        self._root: Final = root
        self._newest: RevocationList | None = None

    def known(self) -> RevocationList | None:
        """The newest list that this process has met, if any: without a look into the ledger.

        Whoever records an order asks :func:`highest_number` beside it.
        """
        return self._newest

    def newest(self) -> RevocationList | None:
        """The list with the highest number, None if there is none yet; another process may have stored it just now.

        Raises CertificateRefused if it is another authority's.
        """
        kept = self._newest
        with self._ledger.reading() as connection:
            number = highest_number(connection)
            if number == 0:
                return None
            if kept is not None and kept.number == number:
                return kept
            crl = self._crl(connection, number)
        self._newest = opened = open_crl(crl, self._root)
        return opened

    def take(self, crl: bytes, at: int) -> RevocationList | None:
        """Store a list (DER) that was handed out at ``at``, unix seconds; None if it is the newest known already.

        Raises CertificateRefused if the authority did not sign it, if it is dated in the future, or if a newer one was
        seen before.
        """
        with self._ledger.reading() as connection:
            highest = highest_number(connection)
            if highest and self._crl(connection, highest) == crl:
                return None  # nearly always: a list is read only once, however long it is
        opened = open_crl(crl, self._root, highest_seen=highest)
        opened.require_begun(at)
        if opened.number == highest:
            return None
        with self._ledger.writing() as connection:
            if opened.number <= highest_number(connection):
                return None  # another process was quicker
            connection.execute(
                insert(schema.revocation_list),
                {"number": opened.number, "crl": crl, "next_update": opened.next_update, "taken_at": at},
            )
        self._newest = opened
        return opened

    def every(self) -> Iterator[tuple[RevocationList, int]]:
        """All lists, oldest first, and when each was taken (unix seconds). Raises CertificateRefused."""
        column = schema.revocation_list.c
        with self._ledger.reading() as connection:
            for crl, taken_at in connection.execute(select(column.crl, column.taken_at).order_by(column.number)):
                yield open_crl(crl, self._root), taken_at

    @staticmethod
    def _crl(connection: Connection, number: int) -> bytes:
        column = schema.revocation_list.c
        crl = connection.execute(select(column.crl).where(column.number == number)).scalar()
        if crl is None:
            raise RecordError(f"The revocation list {number} is missing from the ledger; run `bank audit`.")
        return bytes(crl)


def highest_number(connection: Connection) -> int:
    """The number of the newest list, 0 if there is none."""
    return connection.execute(_HIGHEST).scalar() or 0


def newest_crl(ledger: Ledger) -> bytes | None:
    """The newest list as it was handed out (DER), None if there is none yet."""
    column = schema.revocation_list.c
    with ledger.reading() as connection:
        return connection.execute(select(column.crl).order_by(column.number.desc()).limit(1)).scalar()
