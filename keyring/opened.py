"""What GnuPG found in a message counts only together with the verdict that accepted it."""

from dataclasses import dataclass

from keyring.verdict import Accepted


@dataclass(frozen=True)
class Opened:
    """The content of a message whose verdict accepted."""

    content: bytes
    verdict: Accepted
