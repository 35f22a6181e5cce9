"""One root for everything that stops the customer's program; what the bank decided is a value and no error."""

from protocol.messages import Refusal, sentence_of


class CustomerError(Exception):
    """Something on this machine is not as it must be; the text says what, and what to do next."""


class ConfigError(CustomerError):
    """The file customer.toml is missing or says something that cannot be used."""


class NotReady(CustomerError):
    """A step of the ceremony is missing; the text names its command."""


class StoreError(CustomerError):
    """The customer's own database cannot be used as it is."""


class NotSent(CustomerError):
    """Nothing was sent, so nothing happened."""


class NotProven(CustomerError):
    """The bank's answer does not prove what it says; it was kept, and nothing was believed."""


class AnotherLogShown(NotProven):
    """The bank's head is of another log than the one that is followed; customer/new_log.py asks why."""


class OutcomeUnknown(CustomerError):
    """The order ``identifier`` may have reached the bank, and no proven answer came back."""

    def __init__(self, identifier: str, sentence: str) -> None:
        super().__init__(sentence)
        self.identifier = identifier


class RefusedByBank(CustomerError):
    """The bank refused, and recorded nothing.

    ``proven`` tells whether the refusal came inside a session (or under the password), so that only the bank can have
    made it; otherwise it is what the server at that address said before.
    """

    def __init__(self, refusal: Refusal, *, proven: bool) -> None:
        super().__init__(sentence_of(refusal))
        self.refusal = refusal
        self.proven = proven
