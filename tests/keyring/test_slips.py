"""Words that are missing, doubled or swapped are named as that, from the typed words alone."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyring import readout
from keyring.errors import ReadoutError

FINGERPRINT = "E58294F2E9A227486E8B061B31CC528FD7FA3F19"
WORDS = readout.words(FINGERPRINT)
EVERY_WORD = {word.lower() for byte in range(256) for word in readout.encode(bytes([byte, byte]))}
FINGERPRINTS = st.binary(min_size=20, max_size=20).map(lambda data: data.hex().upper())


def at(*order: int) -> str:
    """The words at these places, from 1."""
    return " ".join(WORDS[place - 1] for place in order)


def without(*places: int) -> str:
    return at(*(place for place in range(1, 21) if place not in places))


def read(typed: str) -> ReadoutError:
    with pytest.raises(ReadoutError) as refused:
        readout.parse(typed)
    return refused.value


@pytest.mark.parametrize(
    ("typed", "told", "position"),
    [
        (without(5), "so 1 is missing; it is before or at word 5", 5),
        (without(20), "There are 19 words; 20 are needed, so 1 is missing", 20),
        (without(5, 6), "There are 18 words; 20 are needed, so 2 are missing", 19),
        (without(5, 14), "so 2 are missing; the first of them is before or at word 5", 5),
        (without(5, 6, 7, 8), "There are 16 words; 20 are needed, so 4 are missing", 17),
        (at(*range(1, 5), *range(4, 21)), "Word 5 is the same as word 4, so it is doubled.", 5),
        (at(1, 1, *range(2, 9), 8, *range(9, 21)), "Words 2 and 10 are each the same as the one before", 2),
        (at(*range(1, 9), *range(7, 21)), "Words 9 to 10 are the same as words 7 to 8, so they are doubled", 9),
        (at(*range(1, 9), *range(5, 21)), "Words 9 to 12 are the same as words 5 to 8, so they are doubled", 9),
        (at(*range(1, 6), *range(5, 20)), "Word 6 is the same as word 5, so it is doubled, and 1 is missing", 6),
        (at(1, 1, *range(2, 21), 3), "Word 2 is the same as word 1, so it is doubled, and 1 is too many besides", 2),
        (at(*range(1, 21), 5), "There are 21 words; 20 are needed, so 1 is too many", 21),
        (at(*range(1, 6), 7, 6, *range(8, 21)), "Words 6 and 7 seem to be swapped", 6),
        (at(*range(1, 4), 9, *range(5, 9), 4, *range(10, 21)), "Words 4 and 9 seem to be swapped", 4),
        (at(*range(1, 4), 5, *range(5, 21)), "Word 5 is the same as word 4", 5),
        (at(*range(1, 4), 9, *range(5, 21)), "Word 4, 'goldfish', cannot be in this place", 4),
        (at(*range(2, 21), 1), "From word 1 on words are missing, doubled or swapped", 1),
    ],
)
def test_each_slip_is_named(typed: str, told: str, position: int) -> None:
    refused = read(typed)
    assert told in str(refused)
    assert refused.position == position


def test_word_left_out_between_two_that_are_the_same_is_missing_and_nothing_is_doubled() -> None:
    words = readout.words("0001020102010201" + "AB" * 12)
    assert "so 1 is missing; it is before or at word 3" in str(read(" ".join(words[:2] + words[3:])))


@pytest.mark.parametrize(
    "typed", [at(3, 2, 1, *range(4, 21)), at(*range(1, 5), *range(13, 17), *range(5, 13), 17, 18, 19, 20)]
)
def test_words_that_could_be_a_fingerprint_are_taken_as_one(typed: str) -> None:
    """Swapped at an even distance, or by lines: whose they are only the request can tell."""
    assert readout.parse(typed) != FINGERPRINT
    assert readout.same_words(readout.parse(typed), FINGERPRINT)


@given(FINGERPRINTS, FINGERPRINTS, st.randoms(use_true_random=False))
def test_two_fingerprints_have_the_same_words_in_whatever_order_they_are_read(
    one: str, other: str, source: random.Random
) -> None:
    words = readout.words(one)
    odd, even = source.sample(words[0::2], 10), source.sample(words[1::2], 10)
    shuffled = readout.from_words(" ".join(word for pair in zip(odd, even, strict=True) for word in pair))
    assert readout.same_words(one, shuffled)
    assert readout.same_words(one, other) == (sorted(words) == sorted(readout.words(other)))


def test_words_of_the_two_lists_do_not_stand_for_each_other() -> None:
    """The same bytes at places of the other list are other words."""
    assert not readout.same_words("01" + "00" * 19, "0001" + "00" * 18)
    assert readout.same_words("0100" + "02" + "00" * 17, "0200" + "01" + "00" * 17)


@given(FINGERPRINTS)
def test_two_lines_that_are_the_same_are_found(fingerprint: str) -> None:
    lines = readout.lines(fingerprint)
    assert (readout.doubled_lines(fingerprint) is None) == (len(set(lines)) == 5)
    assert readout.doubled_lines(fingerprint[:16] + fingerprint[8:32]) in ((2, 3), (1, 2), (1, 3))


@given(FINGERPRINTS, st.integers(1, 20), st.booleans())
def test_what_is_said_of_a_slip_names_no_word_that_was_not_typed(fingerprint: str, place: int, doubled: bool) -> None:
    right = readout.words(fingerprint)
    typed = right[:place] + right[place - 1 :] if doubled else right[: place - 1] + right[place:]
    told = set(re.findall("[a-z]+", str(read(" ".join(typed))).lower()))
    assert told & EVERY_WORD <= {word.lower() for word in typed}


@pytest.mark.parametrize(
    ("typed", "have", "needed", "unit"),
    [
        ("", 0, 20, "words"),
        ("topmost Istanbul,\nPluto", 3, 20, "words"),
        (" ".join(WORDS), 20, 20, "words"),
        ("\n".join(readout.lines(FINGERPRINT)), 20, 20, "words"),
        ("E582 94F2", 8, 40, "digits"),
        ("0x" + FINGERPRINT, 40, 40, "digits"),
        ("openpgp4fpr:" + FINGERPRINT.lower(), 40, 40, "digits"),
        ("AB" * 20, 40, 40, "digits"),
        ("58754 38130 59810 10056 28299 01563 12748 21135", 8, 10, "groups"),
        (readout.digits(FINGERPRINT), 10, 10, "groups"),
    ],
)
def test_progress_of_whoever_types_in_several_lines(typed: str, have: int, needed: int, unit: str) -> None:
    so_far = readout.progress(typed)
    assert so_far == (have, needed, unit)
    assert so_far.is_complete == (have == needed)


@given(FINGERPRINTS)
def test_every_form_is_complete_when_its_last_part_is_there_and_not_before(fingerprint: str) -> None:
    for form in (" ".join(readout.words(fingerprint)), readout.hex_groups(fingerprint), readout.digits(fingerprint)):
        assert readout.progress(form).is_complete
        parts = form.split(" ")
        assert not any(readout.progress(" ".join(parts[:so_far])).is_complete for so_far in range(len(parts)))
