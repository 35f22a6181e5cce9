"""One root for everything that keys and GnuPG can get wrong; the docstrings are what the user is told by default."""


class KeyringError(Exception):
    """The keys could not be used as asked."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence or (type(self).__doc__ or "").partition("\n")[0])

    @property
    def sentence(self) -> str:
        """What is wrong and what to do next, for a person."""
        return str(self)


class HomeError(KeyringError):
    """The folder of keys is missing, not ours, or open to others; look at the path given with --home."""


class EngineError(KeyringError):
    """GnuPG failed, hung or died; nothing that it said was used. Try again, and look at gpg --version."""


class OutputTooLong(EngineError):
    """GnuPG gave out more than is taken, and was stopped; what it was given unpacks to too much."""


class PassphraseError(KeyringError):
    """The passphrase is wrong or was not given; try again."""


class UnsuitableKey(KeyringError):
    """The key is not one that can be used here; ask its owner for the one that was agreed."""


class NotCertified(KeyringError):
    """The certificate authority does not vouch for this key; ask its owner to have it certified.

    ``rule`` is the kebab-case name of the rule that the key or its certification breaks.
    """

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(sentence)
        self.rule = rule


class PacketError(KeyringError):
    """The message is not built as an OpenPGP message of ours must be; GnuPG was not asked to open it.

    ``rule`` is the kebab-case name of the rule that the message breaks.
    """

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(sentence)
        self.rule = rule


class ReadoutError(KeyringError):
    """What was typed is not a fingerprint; read it out again from the beginning.

    ``position`` counts the word, group or digit at fault from 1; None when it is the whole.
    """

    def __init__(self, sentence: str, position: int | None = None) -> None:
        super().__init__(sentence)
        self.position = position


class UserIdError(KeyringError):
    """The name cannot stand in a key; use letters, digits and simple punctuation."""
