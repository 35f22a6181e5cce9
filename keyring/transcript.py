"""What gpg wrote to its status pipe about one message is taken apart here, once, and judged elsewhere.

The status is bytes, split at line feeds only: user IDs and file names reach it escaped by gpg, and no other character
ends a line (GnuPG, doc/DETAILS, "Format of the --status-fd output").
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

_LINE: Final = re.compile(rb"\[GNUPG:\] ([A-Z][A-Z0-9_]*)(?: ([^\x00-\x1e\x7f]*))?")
VALIDSIG_SHAPE: Final = re.compile(
    rb"([0-9A-F]{40}) \d{4}-\d\d-\d\d (\d{1,12}) \d{1,12} 4 \d{1,3} \d{1,3} (\d{1,3})"
    rb" ([0-9A-F]{2}) ([0-9A-F]{40})"
)


class Line(NamedTuple):
    """One status line: its keyword and what follows the space after it."""

    keyword: str
    arguments: bytes


@dataclass(frozen=True)
class ValidSignature:
    """The fields of VALIDSIG that decide (DETAILS): fingerprints, creation, digest algorithm and signature class."""

    signing: str
    created: int
    digest: int
    kind: str
    primary: str


@dataclass(frozen=True)
class Transcript:
    """What gpg wrote about one message, counted and taken apart once for all rules.

    ``strangers`` are the lines that gpg cannot have written.
    """

    lines: tuple[Line, ...]
    strangers: tuple[bytes, ...]
    counts: Mapping[str, int]
    signatures: tuple[ValidSignature, ...]

    def count(self, *keywords: str) -> int:
        found = 0
        for keyword in keywords:
            found += self.counts.get(keyword, 0)
        return found

    def arguments(self, keyword: str) -> tuple[bytes, ...]:
        return tuple(line.arguments for line in self.lines if line.keyword == keyword)

    def trust(self) -> tuple[str, ...]:
        return tuple(line.keyword for line in self.lines if line.keyword.startswith("TRUST_"))


def read(status: bytes) -> Transcript:
    *complete, rest = status.split(b"\n")
    strangers = [rest] if rest else []  # cut off in the middle of a line
    lines = []
    counts: dict[str, int] = {}
    for line in complete:
        match = _LINE.fullmatch(line)
        if match is None:
            strangers.append(line)
            continue
        keyword = match[1].decode()
        lines.append(Line(keyword, match[2] or b""))
        counts[keyword] = counts.get(keyword, 0) + 1
    signatures = (_valid_signature(line.arguments) for line in lines if line.keyword == "VALIDSIG")
    return Transcript(tuple(lines), tuple(strangers), counts, tuple(found for found in signatures if found))


def _valid_signature(arguments: bytes) -> ValidSignature | None:
    match = VALIDSIG_SHAPE.fullmatch(arguments)  # None only if well_formed rejects as well
    if match is None:
        return None
    signing, created, digest, kind, primary = match.groups()
    return ValidSignature(signing.decode(), int(created), int(digest), kind.decode(), primary.decode())
