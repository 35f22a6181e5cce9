"""What people type, read out or copy is understood as one thing or refused, in whatever script they type it."""

from keyring import keys, readout
from protocol import letter
from protocol.letter import CALLER_CODE_BYTES
from tests.fuzz.properties import attempt, parts, text_of

_LINES = ("absurd       adroitness",)


def fingerprints(data: bytes) -> None:
    """A fingerprint in words, hex or digits; read out in each of these ways it is the same again."""
    found = attempt(readout.parse, text_of(data))
    if found is None:
        return
    assert readout.parse(" ".join(readout.words(found))) == found
    assert readout.parse(readout.hex_groups(found)) == found
    assert readout.parse(readout.digits(found)) == found
    assert readout.from_words("\n".join(readout.lines(found))) == found
    assert keys.checked_fingerprint(found) == found


def spoken_words(data: bytes) -> None:
    """The caller's code and whatever else is said in words; a mistake is named by its place."""
    text = text_of(data)
    found = attempt(readout.decode, text, CALLER_CODE_BYTES)
    if found is not None:
        assert readout.decode(" ".join(readout.encode(found)), CALLER_CODE_BYTES) == found


def agreed_passwords(data: bytes) -> None:
    """However the words are spaced, the secret is the same."""
    found = attempt(letter.agreed_password, text_of(data))
    if found is not None:
        assert letter.agreed_password(found.reveal().decode()) == found


def letters(data: bytes) -> None:
    """A letter that can be read says the same once it is printed anew."""
    found = attempt(letter.parse, text_of(data))
    if found is not None:
        again = attempt(letter.parse, found.render(_LINES, _LINES))
        assert again is None or again == found


def user_ids(data: bytes) -> None:
    """Name and number for a user ID: one line that can be shown and means itself."""
    name, number = map(text_of, parts(data, 2))
    found = attempt(keys.user_id, name, number)
    if found is not None:
        assert found.isprintable()
        assert "[GNUPG:]" not in found
        attempt(keys.checked_user_id, found)
