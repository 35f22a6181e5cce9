"""Known holes of GnuPG are told by its version alone; a distribution may have mended one under the same number.

Source: the announcements of gnupg.org and the CVE records named below.
"""

from dataclasses import dataclass
from typing import Final

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Advisory:
    """A hole, what it lets happen, and the first version of each branch without it (a branch left out has none)."""

    name: str
    what: str
    mended: tuple[Version, ...]

    def is_open_in(self, version: Version) -> bool:
        """Whether a version has the hole, as its authors released it."""
        for first in self.mended:
            if version[:2] == first[:2]:
                return version < first
        return version < max(self.mended)


ADVISORIES: Final = (
    Advisory("CVE-2022-34903", "notation data could forge status lines", ((2, 2, 36), (2, 3, 7))),
    Advisory(
        "CVE-2025-30258",
        "a crafted subkey stops other signatures in the same home from being verified",
        ((2, 4, 8), (2, 5, 5)),
    ),
    Advisory("CVE-2025-68973", "armoured input could write outside a buffer", ((2, 2, 51), (2, 4, 9), (2, 5, 16))),
)


def open_advisories(version: Version) -> tuple[Advisory, ...]:
    """Those that a version of GnuPG does not mend."""
    return tuple(each for each in ADVISORIES if each.is_open_in(version))


def told(version: Version) -> str:
    """A version as `status` shows it, with the names of its holes."""
    number = ".".join(map(str, version))
    names = ", ".join(each.name for each in open_advisories(version))
    return f"{number} (known holes, unless your system's package mends them: {names})" if names else number
