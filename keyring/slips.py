"""Words that were left out, doubled or swapped are found by looking at what was typed, and at nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

LINE_WORDS = 4
"""Words in a line, as they are shown to be read out."""


@dataclass(frozen=True)
class Slip:
    """What happened in the reading, and at which word it shows, counted from 1."""

    sentence: str
    position: int


def find(words: Sequence[str], sides: Sequence[int], length: int) -> Slip | None:
    """What is wrong with ``words``, of which ``length`` are needed; None if they could be right.

    ``sides`` has for each word the list that it is from: 0 for places 1, 3, 5 and so on, 1 for the others. Since
    neighbours are from different lists, a word that stands beside itself is doubled, and one word that is left out
    shows at its place; where two or four are left out, their number tells.
    """
    strays = [place for place, side in enumerate(sides, start=1) if side != (place - 1) % 2]
    if len(words) == length and not strays:
        return None
    if len(words) < length:
        return _too_few(len(words), length, strays)
    # Not before that: where the word between two that are the same is left out, they stand side by side, too.
    doubled = [place for place in range(2, len(words) + 1) if words[place - 1] == words[place - 2]]
    if doubled:
        return _doubled(doubled, len(words) - len(doubled) - length)
    if len(words) > length:
        return _too_many(words, sides, length)
    return _misplaced(words, strays)


def doubled_lines(data: bytes) -> tuple[int, int] | None:
    """The first two of the lines (from 1) in which the words of a fingerprint are read out that are the same."""
    lines = [data[start : start + LINE_WORDS] for start in range(0, len(data), LINE_WORDS)]
    for later, line in enumerate(lines):
        if line in lines[:later]:
            return lines.index(line) + 1, later + 1
    return None


def _doubled(places: list[int], excess: int) -> Slip:
    told = f"Word {places[0]} is the same as word {places[0] - 1}, so it is doubled"
    if len(places) > 1:
        told = f"Words {_listed(places)} are each the same as the one before, so they are doubled"
    if excess < 0:
        told += f", and {_counted(-excess)} missing"
    if excess > 0:
        told += f", and {_counted(excess)} too many besides"
    return Slip(f"{told}.", places[0])


def _too_many(words: Sequence[str], sides: Sequence[int], length: int) -> Slip:
    excess = len(words) - length
    for start in range(len(words) - 2 * excess + 1):
        middle, end = start + excess, start + 2 * excess
        rest = [*sides[:middle], *sides[end:]]
        if list(words[start:middle]) == list(words[middle:end]) and all(
            side == place % 2 for place, side in enumerate(rest)
        ):
            return Slip(
                f"Words {middle + 1} to {end} are the same as words {start + 1} to {middle}, so they are doubled.",
                middle + 1,
            )
    return Slip(f"There are {len(words)} words; {length} are needed, so {_counted(excess)} too many.", length + 1)


def _too_few(said: int, length: int, strays: list[int]) -> Slip:
    told = f"There are {said} words; {length} are needed, so {_counted(length - said)} missing"
    if not strays:
        return Slip(f"{told}.", said + 1)
    which = "it is" if length - said == 1 else "the first of them is"
    return Slip(f"{told}; {which} before or at word {strays[0]}.", strays[0])


def _misplaced(words: Sequence[str], strays: list[int]) -> Slip:
    first = strays[0]
    if len(strays) == 1:
        told = f"Word {first}, {words[first - 1]!a}, cannot be in this place; another was read out or typed for it."
    elif len(strays) == 2 and (strays[1] - first) % 2:
        told = f"Words {first} and {strays[1]} seem to be swapped."
    else:
        told = f"From word {first} on words are missing, doubled or swapped; {words[first - 1]!a} is out of place."
    return Slip(told, first)


def _counted(number: int) -> str:
    return "1 is" if number == 1 else f"{number} are"


def _listed(places: list[int]) -> str:
    return f"{', '.join(map(str, places[:-1]))} and {places[-1]}"
