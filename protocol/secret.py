"""A secret never shows itself: not in a log, a traceback, an error or a copy on disk."""

import hmac
from typing import NoReturn, final


@final
class Secret:
    """Bytes that only :meth:`reveal` gives out: passwords, passphrases, session keys."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def reveal(self) -> bytes:
        """The bytes themselves; hold them for as short a time as possible."""
        return self._data

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._data, other._data)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not written out; pass it on in memory.")
