"""A case is a message that is wrong in one way, with the rule that must refuse it; an honest twin has no rule."""

from collections.abc import Callable
from dataclasses import dataclass

from keyring.verdict import Expectation
from tests.hostile.cast import Cast

BANK = "bank's heads"
ANY = "any"
"""In place of a rule: chance decides which one refuses, since random bytes are read."""


@dataclass(frozen=True)
class Case:
    """``rule`` is the rule that refuses, several where gpg has a choice, None if the message opens.

    ``by`` is who is expected to have signed it; ``home`` is where it is judged: that of its door, or "crowd", where
    everybody's keys are known. ``sequoia`` says why we refuse what Sequoia accepts, "" if it refuses as well.
    """

    trial: int
    name: str
    rule: str | None
    make: Callable[[Cast], bytes]
    by: str = "alice"
    home: str = "alice"
    sequoia: str = ""

    def expected(self, cast: Cast) -> Expectation:
        return cast.by_bank if self.by == BANK else cast.by(self.by)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")
