"""What is read out comes back exactly when typed in; a mistake is told by its place, not by the right word."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyring import readout
from keyring.errors import ReadoutError

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "readout.json").read_text())
WORDS = Path(readout.__file__).with_name("words.txt")
FINGERPRINTS = st.binary(min_size=20, max_size=20).map(lambda data: data.hex().upper())


def test_the_word_list_is_the_published_one() -> None:
    """Compared with two public copies when it was written; the digest keeps it so."""
    data = WORDS.read_bytes()
    assert hashlib.sha256(data).hexdigest() == "d31f6502333b1ee9ee85916ea0f7651c670a1d603754482d800d0334b8a0194e"
    rows = [line.split() for line in data.decode("ascii").splitlines()]
    assert [row[0] for row in rows] == [f"{byte:02X}" for byte in range(256)]
    assert len({word.lower() for row in rows for word in row[1:]}) == 512


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["fingerprint"])
def test_each_form_of_a_vector_is_written_and_read(vector: dict[str, str]) -> None:
    wanted = vector["fingerprint"]
    assert " ".join(readout.words(wanted)) == vector["words"]
    assert readout.hex_groups(wanted) == vector["hex"]
    assert readout.digits(wanted) == vector["digits"]
    assert {readout.parse(vector[form]) for form in ("words", "hex", "digits")} == {wanted}


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["mistake"].replace(" ", "-"))
def test_each_mistake_is_told_by_its_place_and_not_by_the_right_word(vector: dict[str, Any]) -> None:
    with pytest.raises(ReadoutError) as refused:
        readout.parse(vector["typed"])
    assert refused.value.position == vector["position"]
    typed = vector["typed"].lower().split()
    right = {word.lower() for good in VECTORS["good"] for word in good["words"].split()}
    assert not [word for word in right if word not in typed and word in str(refused.value).lower().split()]


@given(FINGERPRINTS, st.sampled_from([" ", "-", ", ", "\n", " - ", "\t"]), st.sampled_from([str.upper, str.lower]))
def test_words_come_back_in_any_case_and_spacing(fingerprint: str, between: str, case: object) -> None:
    typed = between.join(readout.words(fingerprint))
    assert readout.parse(str.upper(typed) if case is str.upper else typed.lower()) == fingerprint
    assert readout.parse("\n".join(readout.lines(fingerprint))) == fingerprint


@given(FINGERPRINTS)
def test_hex_and_digits_come_back_in_any_case_and_grouping(fingerprint: str) -> None:
    pairs = ":".join(fingerprint[place : place + 2] for place in range(0, 40, 2))
    forms = fingerprint, fingerprint.lower(), pairs, readout.hex_groups(fingerprint), readout.digits(fingerprint)
    assert {readout.parse(form) for form in forms} == {fingerprint}
    assert readout.parse("openpgp4fpr:" + fingerprint) == readout.parse("0x" + fingerprint) == fingerprint


@given(FINGERPRINTS, st.integers(0, 19), st.data())
def test_a_word_left_out_doubled_or_swapped_is_noticed_at_or_after_its_place(
    fingerprint: str, place: int, data: st.DataObject
) -> None:
    right = readout.words(fingerprint)
    spoilt = data.draw(
        st.sampled_from(
            [
                right[:place] + right[place + 1 :],
                right[: place + 1] + right[place:],
                (*right[: max(0, place - 1)], right[place], right[place - 1], *right[place + 1 :]) if place else (),
            ]
        )
    )
    with pytest.raises(ReadoutError) as refused:
        readout.from_words(" ".join(spoilt))
    if spoilt:
        assert refused.value.position is not None
        assert refused.value.position >= place


@given(st.text(max_size=200))
def test_anything_typed_is_read_or_refused_but_never_more(text: str) -> None:
    try:
        read = readout.parse(text)
    except ReadoutError as error:
        told = str(error)
    else:
        told = readout.hex_groups(read)
    assert told.isprintable()


def test_beginnings_of_four_letters_pass_where_they_fit_one_word_of_both_lists() -> None:
    fingerprint = VECTORS["good"][0]["fingerprint"]
    right = list(readout.words(fingerprint))
    assert readout.from_words(" ".join(["topm", "istan", "pluto", *right[3:]])) == fingerprint
    # 'rev' begins words of both lists; even four letters that fit one word of this list alone must not pass.
    with pytest.raises(ReadoutError, match="too short"):
        readout.from_words("reve " + " ".join(right[1:]))


@pytest.mark.parametrize("length", [0, 1, 16, 20, 33])
def test_bytes_of_any_length_come_back_from_words(length: int) -> None:
    data = random.Random(length).randbytes(length)
    if length:
        assert readout.decode(" ".join(readout.encode(data)), length) == data
    else:
        assert readout.encode(data) == ()


@pytest.mark.parametrize("wrong", ["", "abc", "e58294f2e9a227486e8b061b31cc528fd7fa3f19", "0" * 41, "0" * 39 + "\n"])
def test_only_forty_upper_case_hex_digits_are_put_into_words(wrong: str) -> None:
    for form in (readout.words, readout.lines, readout.hex_groups, readout.digits):
        with pytest.raises(ReadoutError):
            form(wrong)
