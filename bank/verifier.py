"""Signatures are verified by the customer's own gpg, one group of messages at a time, and no thread waits for it."""

import asyncio
from collections.abc import Sequence
from weakref import WeakValueDictionary

from bank.identities import Identities, Identity
from bank.loop import Loop
from keyring.asked import Asked
from keyring.home import Home
from keyring.opened import Opened
from keyring.verdict import Rejected
from keyring.worker import GROUP


class Verifier:
    """Asks in the loop where a gpg is at hand, else apart: both find the same."""

    def __init__(self, identities: Identities, loop: Loop) -> None:
        self._identities = identities
        self._loop = loop
        # Others than those that read the ledger, so that a slow ledger does not keep orders waiting for a gpg.
        self._apart = loop.further("gpg")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open_all(self, identity: Identity, messages: Sequence[bytes]) -> list[Opened | Rejected]:
        """What each message says, if its customer signed it; as :meth:`Identities.open_all`."""
        turn = self._turns.get(identity.slot)
        if turn is None:
            turn = self._turns[identity.slot] = asyncio.Lock()
        answers: list[Opened | Rejected] = []
        async with turn:  # sessions of one customer wait here, and not in threads
            for start in range(0, len(messages), GROUP):
                answers += await self._opened(identity, messages[start : start + GROUP])
        return answers

    async def _opened(self, identity: Identity, group: Sequence[bytes]) -> list[Opened | Rejected]:
        asked = self._identities.ask(identity, group)
        answers = await self._heard(identity, *asked) if asked else None
        if answers is None:
            answers = await self._apart(self._identities.open_all, identity, group)
        return answers

    async def _heard(self, identity: Identity, asked: Asked, home: Home) -> list[Opened | Rejected] | None:
        deadline = self._loop.asyncio.time() + asked.timeout_seconds
        try:
            while not asked.is_over and await self._loop.readable(asked.descriptor, deadline):
                asked.hear()
        finally:
            answers = self._identities.heard(identity, asked, home)
            if asked.is_reliable:
                asked.end()
            else:
                self._loop.aside(asked.end)  # the end of a process may take its time
        return answers
