"""The four stages are ordered, and each is a choice of a few parts; nothing else says what a stage is."""

from enum import StrEnum


class Stage(StrEnum):
    """One way to bank; later stages are stronger.

    ==========  ==========================  ====================================  =======================
    stage       bytes are protected by      the speaker is known by               an order carries
    ==========  ==========================  ====================================  =======================
    PASSWORD    the agreed password         knowing the password                  its content
    SESSION     a session key               the registered key signs the opening  its content
    SIGNED      a session key               as SESSION                            a signature over it
    CERTIFIED   a session key               a key that the CA certified           that, and a certificate
    ==========  ==========================  ====================================  =======================
    """

    PASSWORD = "password"  # noqa: S105 - the name of a stage
    SESSION = "session"
    SIGNED = "signed"
    CERTIFIED = "certified"

    @property
    def rank(self) -> int:
        """1 to 4; a floor or a minimum compares ranks."""
        return tuple(Stage).index(self) + 1

    @property
    def has_session(self) -> bool:
        """Whether a session key protects the bytes."""
        return self is not Stage.PASSWORD

    @property
    def orders_are_signed(self) -> bool:
        """Whether an order is an OpenPGP message signed by the debtor."""
        return self in (Stage.SIGNED, Stage.CERTIFIED)

    @property
    def is_certified(self) -> bool:
        """Whether the CA vouches for both parties and the order names the certificate."""
        return self is Stage.CERTIFIED


OPERATOR = "operator"
"""What a log entry names in place of a stage when the bank's operator made the posting (deposit, withdrawal)."""
