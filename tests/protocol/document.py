"""The tables, sections and examples of docs/protocol.md, as the tests read them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
Rows = list[tuple[str, ...]]


def tables(text: str, *header: str) -> Rows:
    """The rows of all tables with this header, cells without the backquotes around them."""
    found: Rows = []
    lines = text.split("\n")
    for place, line in enumerate(lines):
        if cells(line) != header:
            continue
        for row in lines[place + 2 :]:
            if not row.startswith("|"):
                break
            found.append(cells(row))
    return found


def cells(line: str) -> tuple[str, ...]:
    if not line.startswith("|"):
        return ()
    return tuple(cell.strip().strip("`") for cell in line.strip().strip("|").split("|"))


def sections(text: str) -> dict[str, str]:
    """What stands under each heading of the fourth level, by the message's name."""
    parts = re.split(r"^#{2,4} (.*)$", text, flags=re.MULTILINE)
    marks = re.findall(r"^(#{2,4}) ", text, flags=re.MULTILINE)
    return {
        title.strip("`"): body
        for mark, title, body in zip(marks, parts[1::2], parts[2::2], strict=True)
        if mark == "####"
    }


def example(section: str) -> bytes | None:
    found = re.search(r"^```json\n(.*?)\n```$", section, re.MULTILINE | re.DOTALL)
    return found[1].replace("\n", "").encode() if found else None


def differences(what: str, said: Iterable[object], true: Iterable[object]) -> Iterator[str]:
    written, coded = [str(each) for each in said], [str(each) for each in true]
    yield from (f"{what}: {each} is in the code and not in the document" for each in coded if each not in written)
    yield from (f"{what}: {each} is in the document and not in the code" for each in written if each not in coded)
    yield from (f"{what}: {each} is there twice" for each in sorted(set(written)) if written.count(each) > 1)
