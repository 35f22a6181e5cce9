"""Trial 48: slips in the reading are told as what they are, and none of these answers helps anybody who guesses."""

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca import ceremony
from ca.authority import Authority
from ca.ceremony import CallerCode, Mistake
from ca.decisions import Confirmation
from ca.errors import CeremonyError
from ca.inventory import open_requests
from ca.messages import State
from keyring import readout
from keyring.errors import ReadoutError
from tests.ca.cast import CALL, CALL_BACK, Cast, confirm, file, send_notice
from tests.changes import with_last_byte_changed

EVERY_WORD = {word.lower() for byte in range(256) for word in readout.encode(bytes([byte, byte]))}
FINGERPRINTS = st.binary(min_size=20, max_size=20).map(lambda data: data.hex().upper())
SWAPS = {
    "words 1 and 3": [3, 2, 1, *range(4, 21)],
    "words 2 and 20": [1, 20, *range(3, 20), 2],
    "lines 2 and 4": [*range(1, 5), *range(13, 17), *range(9, 13), *range(5, 9), *range(17, 21)],
    "the last line first": [*range(17, 21), *range(1, 17)],
    "pairs backwards": [place for pair in range(10, 0, -1) for place in (2 * pair - 1, 2 * pair)],
}


def said(fingerprint: str, order: list[int]) -> str:
    words = readout.words(fingerprint)
    return " ".join(words[place - 1] for place in order)


def tries_left(authority: Authority) -> int:
    return open_requests(authority, int(time.time()))[0].tries_left


def differing(fingerprint: str) -> tuple[int, int]:
    """Two places of one list at which the words differ."""
    words = readout.words(fingerprint)
    return next(
        (one, other) for one in range(1, 19) for other in range(one + 2, 21, 2) if words[one - 1] != words[other - 1]
    )


def test_trial_48_right_words_in_any_other_order_are_told_as_swapped_and_are_no_try(
    authority: Authority, cast: Cast
) -> None:
    """However often; and nothing but the right order is confirmed."""
    identifier = file(authority, cast.alice.request())
    orders = [order for order in SWAPS.values() if said(cast.alice.fingerprint, order) != cast.alice.words]
    answers = [confirm(authority, identifier, said(cast.alice.fingerprint, order)) for order in orders]
    # One answer for all of them: no place, from which the order could be found out.
    (answer,) = {each for each in answers if isinstance(each, Mistake)}
    assert len(answers) == len(orders)
    assert "swapped" in answer.sentence
    assert "No try was used up" in answer.sentence
    assert (answer.tries_left, answer.counted) == (3, False)
    assert not EVERY_WORD & set(re.findall("[a-z]+", answer.sentence.lower()))
    assert tries_left(authority) == 3
    groups = readout.hex_groups(cast.alice.fingerprint).split()
    assert confirm(authority, identifier, " ".join(groups[5:] + groups[:5])) == answer
    assert isinstance(confirm(authority, identifier, cast.alice.words), Confirmation)


def test_trial_48_swapped_words_with_one_wrong_among_them_are_a_try(authority: Authority, cast: Cast) -> None:
    """Only who has all of the words hears that their order is wrong."""
    identifier = file(authority, cast.alice.request())
    wrong = with_last_byte_changed(bytes.fromhex(cast.alice.fingerprint)).hex().upper()
    answers = [confirm(authority, identifier, said(wrong, order)) for order in list(SWAPS.values())[2:5]]
    assert [(each.counted, each.tries_left) for each in answers if isinstance(each, Mistake)] == [
        (True, 2),
        (True, 1),
        (True, 0),
    ]
    assert not any("swapped" in each.sentence for each in answers if isinstance(each, Mistake))
    with pytest.raises(CeremonyError, match="locked"):
        confirm(authority, identifier, cast.alice.words)


def test_trial_48_words_swapped_on_purpose_do_not_have_a_guess_judged(authority: Authority, cast: Cast) -> None:
    """Who knows 19 words and swaps two neighbours hears the same of a right guess at the last as of a wrong one."""
    identifier = file(authority, cast.alice.request())
    order = [2, 1, *range(3, 21)]
    wrong = with_last_byte_changed(bytes.fromhex(cast.alice.fingerprint)).hex().upper()
    answers = set()
    for fingerprint in (wrong, cast.alice.fingerprint):
        with pytest.raises(ReadoutError, match="No try was used up") as refused:
            confirm(authority, identifier, said(fingerprint, order))
        answers.add(str(refused.value))
    assert len(answers) == 1
    assert tries_left(authority) == 3
    assert isinstance(confirm(authority, identifier, cast.alice.words), Confirmation)


@pytest.mark.parametrize("missing", [[7], [5, 6], [9, 10, 11, 12], [1, 20]])
def test_trial_48_words_left_out_are_told_as_that_whatever_the_request(
    authority: Authority, cast: Cast, missing: list[int]
) -> None:
    """The answer to Alice's words is the same for her own request and for another: it is made from the words alone."""
    heard = said(cast.alice.fingerprint, [place for place in range(1, 21) if place not in missing])
    answers = set()
    for applicant in (cast.alice, cast.bob):
        identifier = file(authority, applicant.request())
        with pytest.raises(ReadoutError, match=f"so {len(missing)} (is|are) missing.*No try") as refused:
            confirm(authority, identifier, heard)
        answers.add(str(refused.value))
    assert len(answers) == 1
    assert [row.tries_left for row in open_requests(authority, int(time.time()))] == [3, 3]


def test_trial_48_line_read_out_twice_in_place_of_another_is_no_try(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    twice = [*range(1, 9), *range(5, 9), *range(13, 21)]
    answer = confirm(authority, identifier, said(cast.alice.fingerprint, twice))
    assert isinstance(answer, Mistake)
    assert "Line 3 is the same as line 2, so it is doubled" in answer.sentence
    assert not answer.counted
    # The same answer to whoever has other words: it tells nothing of the request.
    assert confirm(authority, identifier, said(cast.bob.fingerprint, twice)) == answer
    assert tries_left(authority) == 3


@given(FINGERPRINTS, FINGERPRINTS, st.randoms(use_true_random=False))
def test_trial_48_no_answer_without_a_try_is_for_words_that_are_not_all_right(
    right: str, heard: str, source: random.Random
) -> None:
    """Any words whatever, shuffled or not: what is free is either all right, or nobody's fingerprint."""
    words = readout.words(heard)
    shuffled = [""] * 20
    shuffled[0::2], shuffled[1::2] = source.sample(words[0::2], 10), source.sample(words[1::2], 10)
    again = readout.from_words(" ".join(shuffled))
    assert "swapped" in ceremony.slip(again, heard)
    if not readout.same_words(heard, right):
        assert not ceremony.slip(heard, right) or readout.doubled_lines(heard)


def test_trial_48_line_that_is_twice_in_the_right_fingerprint_cannot_be_guessed_at_without_a_try() -> None:
    """Else whoever knows all but the end of such a fingerprint could try every end."""
    right = "E58294F2" * 2 + "E9A227486E8B061B31CC528F"
    assert not ceremony.slip(right[:-2] + "00", right)
    assert ceremony.slip(right[:-2] + "00", right[8:] + "D7FA3F19")


def test_trial_48_no_word_is_compared_before_the_caller_is_known(
    authority: Authority, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_notice(authority, cast.bank.notice(cast.alice))
    identifier = file(authority, cast.alice.request())
    waiting = ceremony.waiting_request(authority, identifier, int(time.time()))
    compared: list[str] = []
    parse = readout.parse

    def noting(text: str) -> str:
        compared.append(text)
        return parse(text)

    monkeypatch.setattr(readout, "parse", noting)
    wrong = confirm(authority, identifier, cast.alice.words, CallerCode(" ".join(readout.encode(b"guess!"))))
    assert isinstance(wrong, Mistake)
    assert wrong.sentence.startswith("The caller's code is not the one in the letter")
    assert not compared
    known = ceremony.identify(authority, waiting, CALL, clock=time.time)
    assert isinstance(known, ceremony.Known)
    assert not compared
    made = ceremony.confirm(authority, known, heard=cast.alice.words, operator="operator", clock=time.time)
    assert isinstance(made, Confirmation)
    assert compared


@pytest.mark.parametrize("typed", ["one two", " ".join(CALL.words.split()[:5]), f"{CALL.words} {CALL.words}"])
def test_trial_48_mistyped_code_has_a_sentence_of_its_own_and_is_no_try(
    authority: Authority, cast: Cast, typed: str
) -> None:
    send_notice(authority, cast.bank.notice(cast.alice))
    identifier = file(authority, cast.alice.request())
    with pytest.raises(ReadoutError, match=r"^The caller's code cannot be judged\. .*No try was used up"):
        confirm(authority, identifier, cast.alice.words, CallerCode(typed))
    assert tries_left(authority) == 3
    assert isinstance(confirm(authority, identifier, cast.alice.words, CALL), Confirmation)


def test_trial_48_caller_who_was_known_before_the_lock_confirms_nothing_after_it(
    authority: Authority, cast: Cast
) -> None:
    """Two operators at once: what one of them has locked, the other's call does not confirm."""
    identifier = file(authority, cast.alice.request())
    waiting = ceremony.waiting_request(authority, identifier, int(time.time()))
    known = ceremony.identify(authority, waiting, CALL_BACK, clock=time.time)
    assert isinstance(known, ceremony.Known)
    last = [confirm(authority, identifier, cast.bob.words) for _ in range(3)][-1]
    assert isinstance(last, Mistake)
    assert f'`ca reopen {identifier} --reason "…"`' in last.sentence
    with pytest.raises(CeremonyError, match="locked"):
        ceremony.confirm(authority, known, heard=cast.alice.words, operator="operator", clock=time.time)
    assert authority.state(waiting) is State.LOCKED
