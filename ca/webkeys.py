"""A Web Key Directory is files alone: any web server for the domain hands keys out to `gpg --locate-keys`.

draft-koch-openpgp-webkey-service, section 3.1: the name of a file is the SHA-1 of the mail address before the @, in
lower case, in the alphabet z-base-32. The advanced method asks https://openpgpkey.DOMAIN/, the direct one https://DOMAIN/.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

FOLDER: Final = ".well-known/openpgpkey"
POLICY: Final = "policy"
FILE_NAME: Final = re.compile(r"[ybndrfg8ejkmcpqxot1uwisza345h769]{32}")
_ALPHABET: Final = "ybndrfg8ejkmcpqxot1uwisza345h769"


@dataclass(frozen=True)
class Entry:
    """A key, binary, under the address ``local``@``domain``."""

    local: str
    domain: str
    key: bytes


def files(entries: Iterable[Entry]) -> dict[str, bytes]:
    """The files of the directory by their paths; of one address all keys are in one file, in their order.

    The direct method has one directory for a whole web server, so it is there only if there is just one domain.
    """
    found: dict[str, bytes] = {}
    entries = tuple(entries)
    domains = {each.domain for each in entries}
    for each in entries:
        for folder in folders(domains, each.domain):
            found[f"{folder}/{POLICY}"] = b""  # it must be there, and has nothing to say
            name = f"{folder}/hu/{hashed(each.local)}"
            found[name] = found.get(name, b"") + each.key
    return found


def folders(domains: Iterable[str], domain: str) -> tuple[str, ...]:
    """Where the files of a domain lie, if these are all domains."""
    advanced = f"{FOLDER}/{domain}"
    return (advanced, FOLDER) if set(domains) == {domain} else (advanced,)


def hashed(local: str) -> str:
    """What stands before the @, as the file is named: 32 characters of z-base-32."""
    number = int.from_bytes(hashlib.sha1(local.lower().encode(), usedforsecurity=False).digest())
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(155, -1, -5))
