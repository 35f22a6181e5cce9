"""The bank asks the authority's desk for its newest revocation list again and again, and stores what is newer."""

import threading
from collections.abc import Callable
from typing import Final, Self

from bank.errors import BankError
from bank.journal import note
from bank.own_certificate import OwnCertificate
from bank.revocations import RevocationLists
from ca.errors import CaError

DESK_SECONDS: Final = 5.0
"""How long the desk may take to answer; also how long a stop of the server may wait for it."""


class Watcher:
    """Asks once at the beginning and then every ``seconds``; what fails is tried again, and said once.

    ``fetch`` gives what the desk hands out (DER), ``clock`` unix seconds. ``own`` looks each time, whether this process
    took a list or another one did, what it says of the bank itself.
    """

    def __init__(
        self,
        lists: RevocationLists,
        fetch: Callable[[], bytes],
        seconds: float,
        clock: Callable[[], float],
        own: OwnCertificate,
    ) -> None:
        self._lists = lists
        self._own = own
        self._fetch = fetch
        self._seconds = seconds
        self._clock = clock
        self._failure: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="revocations", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(self._seconds)

    def look(self) -> None:
        """Ask once. Whatever goes wrong, the newest list that is known goes on deciding until it runs out."""
        try:
            taken = self._lists.take(self._fetch(), int(self._clock()))
        except (BankError, CaError) as error:
            self._failed(str(error))
        except Exception:  # noqa: BLE001 - a fault of ours must not end the watch; it is logged loudly
            note("fault", level=50, trace=True, task="revocations")
        else:
            if self._failure is not None:
                note("revocations-reached")
                self._failure = None
            if taken is not None:
                note("revocation-list", number=taken.number, revoked=len(taken.revoked))
        self._look_at_own()

    def _look_at_own(self) -> None:
        try:
            self._own.revocation()
        except Exception:  # noqa: BLE001 - as above
            note("fault", level=50, trace=True, task="own-certificate")

    def _failed(self, failure: str) -> None:
        if failure != self._failure:
            note("revocations-failed", level=30, why=failure)
        self._failure = failure
