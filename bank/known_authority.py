"""The authority counts from the moment when `bank fetch` has brought its key and root, also while the bank serves."""

import threading
from collections.abc import Callable
from typing import Final

from bank.certificates import Certificates
from bank.home import BankHome
from bank.identities import Identities
from bank.journal import note
from bank.storage import Ledger
from ca.bridge import open_root


class KnownAuthority:
    """By what certificates are judged; ``taken`` is told once, when there is something to judge them by."""

    def __init__(
        self, home: BankHome, ledger: Ledger, identities: Identities, taken: Callable[[Certificates], None]
    ) -> None:
        self._home: Final = home
        self._ledger: Final = ledger
        self._identities: Final = identities
        self._taken: Final = taken
        self._lock = threading.Lock()
        self._certificates: Certificates | None = None

    def __call__(self) -> Certificates | None:
        """The judge of certificates, None while the bank has no certificate itself.

        Until it has, two files are looked for whenever somebody wants to open a session in the stage certified.
        """
        if self._certificates is None:
            with self._lock:
                if self._certificates is None:
                    self._certificates = self._judge()
        return self._certificates

    def _judge(self) -> Certificates | None:
        authority = self._home.authority()
        if authority is None or self._home.certified() is None:
            return None
        root = open_root(authority.root, authority.fingerprint)
        certificates = Certificates(self._ledger, root, self._own)
        self._identities.believe(authority)
        self._taken(certificates)
        note("authority", fingerprint=authority.fingerprint)
        return certificates

    def _own(self) -> bytes | None:
        certified = self._home.certified()
        return certified.certificate if certified else None
