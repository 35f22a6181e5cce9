"""Plays a customer whose machine loses its power at one step of `customer send`: a SIGKILL, with no chance to tidy up.

Usage: python dying_customer.py STEP HOME LETTER STAGE IDENTIFIER. Ends like `customer send` if it has fewer steps.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from customer.home import CustomerHome, Secrets, World
from customer.sending import Wish, send
from customer.store import Store
from protocol import letter
from protocol.stages import Stage


class Executioner:
    """Counts the steps, and strikes at the one that was named."""

    def __init__(self, at: int) -> None:
        self._left = at

    def step(self, _: object = None) -> None:
        """One thing has been done or is about to be done."""
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, writing: Callable[[Store], Any]) -> Callable[[Store], Any]:
        """Each write to the database is two steps: before it is on the disk, and after."""

        @contextmanager
        def written(store: Store) -> Iterator[Any]:
            self.step()
            with writing(store) as database:
                yield database
            self.step()

        return written


def main() -> None:
    """Send one transfer, and perhaps die of it."""
    step, home, paper, stage, identifier = sys.argv[1:]
    executioner = Executioner(int(step))
    password = letter.agreed_password(letter.parse(Path(paper).read_text()).password)
    wish = Wish(
        creditor="1002", amount="0.01", description="", currency="EUR", stage=Stage(stage), identifier=identifier
    )
    world = World(watch=executioner.step)
    with CustomerHome.open(Path(home), world, Secrets(None, lambda: password)) as customer:
        setattr(Store, "_writing", executioner.around(Store._writing))  # noqa: B010 - its type is not ours to keep
        outcome = send(customer, wish)
    sys.exit(0 if outcome.posted else 1)


if __name__ == "__main__":
    main()
