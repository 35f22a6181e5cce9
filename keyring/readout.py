"""A fingerprint is read out and typed in again, never compared by eye; a mistake is named by its place alone.

Words are those of the PGP word list, one a byte: places 1, 3, 5 and so on from the list of two syllables, the
others from the list of three, so that a word left out, doubled or swapped is noticed (`keyring.slips`).
"""

import io
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from keyring import slips
from keyring.errors import ReadoutError

if TYPE_CHECKING:
    import segno

__all__ = [
    *("Progress", "decode", "digits", "doubled_lines", "encode", "from_words", "hex_groups", "lines", "parse"),
    *("progress", "qr_text", "same_words", "words", "write_qr"),
]

FINGERPRINT = re.compile(r"[0-9A-F]{40}")
FINGERPRINT_BYTES = 20
MAX_TYPED_CHARACTERS = 2_000
QR_FILES = (".png", ".svg")
SHORTEST_PREFIX = 4
"""Letters from which the beginning of a word is taken for the word, if no other of all 512 begins so."""

_Parts = TypeVar("_Parts", str, bytes, tuple[str, ...])
_SEPARATORS = re.compile(r"[\s,;.:\-]+")
_FOREWORD = re.compile(r"^\s*(openpgp4fpr:|0x)", re.IGNORECASE)


def words(fingerprint: str) -> tuple[str, ...]:
    """The 20 words of a fingerprint (40 upper-case hex digits)."""
    return encode(_bytes_of(fingerprint))


def lines(fingerprint: str) -> tuple[str, ...]:
    """The words in 5 lines of 4, in columns."""
    return tuple("".join(f"{word:<13}" for word in four).rstrip() for four in _in_parts(words(fingerprint), 4))


def hex_groups(fingerprint: str) -> str:
    """The fingerprint in ten groups of four: ``DCA3 38D9 ...``."""
    _bytes_of(fingerprint)
    return " ".join(_in_parts(fingerprint, 4))


def digits(fingerprint: str) -> str:
    """The fingerprint in ten groups of five decimal digits, each standing for two bytes (00000 to 65535)."""
    return " ".join(f"{int.from_bytes(pair, 'big'):05d}" for pair in _in_parts(_bytes_of(fingerprint), 2))


def qr_text(fingerprint: str) -> str:
    """A QR code of ``OPENPGP4FPR:`` and the fingerprint, of block characters, for a dark terminal."""
    out = io.StringIO()
    _qr(fingerprint).terminal(out, compact=True)
    return out.getvalue().rstrip("\n")


def write_qr(fingerprint: str, path: Path) -> None:
    """The same code as a picture; the name ends in .png or .svg. Raises ReadoutError."""
    if path.suffix.lower() not in QR_FILES:
        raise ReadoutError(f"{path} does not end in {' or '.join(QR_FILES)}; name the picture so.")
    try:
        _qr(fingerprint).save(str(path), kind=path.suffix[1:].lower(), scale=8)
    except OSError as error:
        raise ReadoutError(f"{path} cannot be written: {error.strerror}.") from None


def parse(text: str) -> str:
    """What a person typed, as words, hex or decimal groups, with any case and spacing: the 40 hex digits.

    Raises ReadoutError, which names the place of the first mistake.
    """
    typed = _FOREWORD.sub("", _typed(text))
    if _looks_like_words(typed):
        return from_words(typed)
    typed = _SEPARATORS.sub("", typed).upper()
    for place, character in enumerate(typed, start=1):
        if character not in "0123456789ABCDEF":
            raise ReadoutError(f"Digit {place} (without spaces) is not hexadecimal; check it and type again.", place)
    if re.fullmatch("[0-9]{50}", typed):
        return _from_digits(typed)
    if len(typed) != 40:
        raise ReadoutError(f"There are {len(typed)} digits; a fingerprint has 40 hexadecimal or 50 decimal ones.")
    return typed


class Progress(NamedTuple):
    """How much of a fingerprint has been typed: ``have`` of ``needed``, in words, digits or groups."""

    have: int
    needed: int
    unit: str

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is waited for; it may still be wrong."""
        return self.have >= self.needed


def progress(text: str) -> Progress:
    """How far somebody has come who types a fingerprint in several lines, in any form that :func:`parse` takes."""
    typed = _FOREWORD.sub("", text)
    tokens = [token for token in _SEPARATORS.split(typed) if token]
    if _looks_like_words(typed):
        return Progress(len(tokens), FINGERPRINT_BYTES, "words")
    if all(re.fullmatch("[0-9]{5}", token) for token in tokens):
        return Progress(len(tokens), FINGERPRINT_BYTES // 2, "groups")
    return Progress(len("".join(tokens)), 2 * FINGERPRINT_BYTES, "digits")


def same_words(one: str, other: str) -> bool:
    """Whether two fingerprints have the same words, in whatever order; groups of hexadecimal digits likewise."""
    one_bytes, other_bytes = _bytes_of(one), _bytes_of(other)
    return all(sorted(one_bytes[side::2]) == sorted(other_bytes[side::2]) for side in (0, 1))


def doubled_lines(fingerprint: str) -> tuple[int, int] | None:
    """The first two of the five lines of words (from 1) that are the same, None if all differ."""
    return slips.doubled_lines(_bytes_of(fingerprint))


def from_words(text: str) -> str:
    """20 words in any case, with spaces, hyphens or commas between: the 40 hex digits. Raises ReadoutError."""
    return decode(text, FINGERPRINT_BYTES).hex().upper()


def encode(data: bytes) -> tuple[str, ...]:
    """One word for each byte, from the two lists in turn."""
    lists = _word_lists()
    return tuple(lists.by_place(place)[byte] for place, byte in enumerate(data, start=1))


def decode(text: str, length: int) -> bytes:
    """The ``length`` bytes that the words stand for; 4 letters or more pass for a word if only one begins so.

    Raises ReadoutError naming the place of the first word that cannot be right, never the right word.
    """
    typed = [word.lower() for word in _SEPARATORS.split(_typed(text)) if word]
    if not typed:
        raise ReadoutError(f"Nothing was typed; {length} words are needed.")
    lists = _word_lists()
    meant = [lists.find(word, place) for place, word in enumerate(typed, start=1)]
    sides = [0 if word in lists.indexes[0] else 1 for word in meant]
    slip = slips.find(meant, sides, length)
    if slip:
        raise ReadoutError(slip.sentence, slip.position)
    return bytes(lists.indexes[side][word] for word, side in zip(meant, sides, strict=True))


class _WordLists(NamedTuple):
    """Both lists by byte, and for each the byte of a word in lower case; first the list of places 1, 3, 5."""

    lists: tuple[tuple[str, ...], tuple[str, ...]]
    indexes: tuple[dict[str, int], dict[str, int]]

    @staticmethod
    def side(place: int) -> int:
        return (place - 1) % 2

    def by_place(self, place: int) -> tuple[str, ...]:
        return self.lists[self.side(place)]

    def find(self, typed: str, place: int) -> str:
        """The word meant. Beginnings are sought in both lists, else a missing word could go unnoticed."""
        every = [*self.indexes[0], *self.indexes[1]]
        if typed in every:
            return typed
        found = [word for word in every if word.startswith(typed)]
        if not found:
            _unreadable(place, f"{_shown(typed)} is not in the word list")
        if len(typed) < SHORTEST_PREFIX or len(found) > 1:
            _unreadable(place, f"{_shown(typed)} is too short to tell which word is meant")
        return found[0]


@cache
def _word_lists() -> _WordLists:
    """words.txt: a line a byte, ``00 aardvark adroitness``."""
    rows = [line.split() for line in Path(__file__).with_name("words.txt").read_text("ascii").splitlines()]
    lists = tuple(row[1] for row in rows), tuple(row[2] for row in rows)
    index = [{word.lower(): byte for byte, word in enumerate(side)} for side in lists]
    return _WordLists(lists, (index[0], index[1]))


def _from_digits(typed: str) -> str:
    numbers = [int(group) for group in _in_parts(typed, 5)]
    for place, number in enumerate(numbers, start=1):
        if number > 0xFFFF:
            raise ReadoutError(f"Group {place} cannot be right: it is above 65535. Check it and type again.", place)
    return "".join(f"{number:04X}" for number in numbers)


def _looks_like_words(typed: str) -> bool:
    """Hex and decimal groups have digits in at least half of them; 40 hexadecimal digits are hex whatever they are."""
    tokens = [token for token in _SEPARATORS.split(typed) if token]
    with_digit = sum(1 for token in tokens if re.search("[0-9]", token))
    return 2 * with_digit < max(1, len(tokens)) and not re.fullmatch("[0-9A-Fa-f]{40}", "".join(tokens))


def _typed(text: str) -> str:
    if len(text) > MAX_TYPED_CHARACTERS:
        raise ReadoutError(f"More than {MAX_TYPED_CHARACTERS} characters were typed; a fingerprint is much shorter.")
    return text


def _bytes_of(fingerprint: str) -> bytes:
    if not FINGERPRINT.fullmatch(fingerprint):
        raise ReadoutError("A fingerprint is 40 hexadecimal digits in upper case without spaces; this is not one.")
    return bytes.fromhex(fingerprint)


def _qr(fingerprint: str) -> "segno.QRCode":
    """OPENPGP4FPR: in capitals, as readers of such codes expect; that is also the shortest way to write it in one."""
    import segno  # only those who ask for a code wait for it

    _bytes_of(fingerprint)
    return segno.make_qr(f"OPENPGP4FPR:{fingerprint}", error="m")


def _in_parts(sequence: _Parts, size: int) -> list[_Parts]:
    return [sequence[start : start + size] for start in range(0, len(sequence), size)]


def _shown(word: str) -> str:
    """What was typed, cut short and with control characters escaped, for a message."""
    return ascii(word if len(word) <= 20 else word[:20] + "...")


def _unreadable(place: int, what: str) -> NoReturn:
    raise ReadoutError(f"Word {place} is not understood: {what}. Ask for it again.", place)
