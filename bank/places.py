"""A ledger lies in a file, or in a database of PostgreSQL whose password nobody is shown."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from bank.errors import ConfigurationError

_HOST = r"(?:[A-Za-z0-9._%-]*|\[[0-9A-Fa-f:.%]+\])(?::[0-9]{1,5})?"
_URL: Final = re.compile(
    rf"(?P<scheme>postgres(?:ql)?)://(?:(?P<user>[^\s/?#@:]*)(?P<password>:[^\s/?#@]*)?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<database>/[^\s/?#@:]*)?(?:\?(?P<options>[^\s#]*))?"
)
_SECRET: Final = re.compile("(?:ssl)?password|oauth_client_secret|scram_(?:client|server)_key", re.IGNORECASE)


UNREADABLE: Final = (
    "The ledger's URL cannot be read. Write it as postgresql://user@host/database, several hosts with commas between "
    "them, and characters such as / or @ in a password as %2F or %40."
)


@dataclass(frozen=True)
class Database:
    """A database of PostgreSQL at a libpq connection URI, and the folder where the newest head lies outside of it."""

    url: str
    folder: Path

    def __post_init__(self) -> None:
        """ConfigurationError if that is no such URI; the text does not repeat it, for there may be a password in it."""
        if not is_url(self.url):
            raise ConfigurationError(UNREADABLE)

    @property
    def shown(self) -> str:
        """The URL without a password."""
        return without_password(self.url)

    def __repr__(self) -> str:
        return f"Database({self.shown!r})"


Place = Path | Database
"""Where a ledger lies."""


def is_url(text: str) -> bool:
    """Whether a text has the form of a libpq connection URI."""
    return bool(_URL.fullmatch(text))


def without_password(url: str) -> str:
    """A connection URI without what it may hold of passwords; "" if it is none."""
    found = _URL.fullmatch(url)
    if not found:
        return ""
    user = f"{found['user']}@" if found["user"] else ""
    options = "&".join(each for each in (found["options"] or "").split("&") if not _is_secret(each))
    return f"{found['scheme']}://{user}{found['hosts']}{found['database'] or ''}{'?' if options else ''}{options}"


def has_password(url: str) -> bool:
    """Whether a connection URI holds a password."""
    found = _URL.fullmatch(url)
    return bool(found and (found["password"] or any(map(_is_secret, (found["options"] or "").split("&")))))


def _is_secret(option: str) -> bool:
    """libpq takes the names of options in percent-encoding, too."""
    return bool(_SECRET.fullmatch(unquote(option.partition("=")[0])))


def require_no_password(url: str) -> None:
    """ConfigurationError if a URL from the command line, which every user of the machine can see, holds a password."""
    if has_password(url):
        raise ConfigurationError(
            "A password on the command line can be read by every user of this machine: change it. Give the URL without "
            "it, and the password in ~/.pgpass or in the file that PGPASSFILE names; or the whole URL in BANK_LEDGER."
        )
