"""One root for everything that the two parties can get wrong on the wire."""


class ProtocolError(Exception):
    """The exchange cannot go on; the text is a sentence for the person who reads it."""


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol ourselves; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The other party broke the protocol; the connection is lost."""


class MalformedContent(ProtocolError):
    """Content that is not what its type says; answered with FF01.

    ``field`` is the path of the field at fault, ``""`` when it is the whole.
    """

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class ConnectionLost(ProtocolError):
    """The connection ended before the answer came; the outcome is not known from it."""
