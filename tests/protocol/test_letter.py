"""A letter that was rendered is read back as it was, and nothing foreign in it is taken for a line of ours."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import MalformedContent
from protocol.letter import CALLER_CODE_BYTES, PASSWORD_BYTES, Letter, agreed_password, parse
from protocol.orders import ACCOUNT_NUMBER

LETTER = Letter(
    customer="0042",
    name="Alice O'Hara-Zoë",
    currency="EUR",
    bank="First Bank",
    bank_address="bank.example:7401",
    bank_fingerprint="0123456789ABCDEF0123456789ABCDEF01234567",
    authority_address="[2001:db8::1]:7402",
    authority_fingerprint="89ABCDEF0123456789ABCDEF0123456789ABCDEF",
    password="aardvark adroitness absurd adviser",
    caller_code="accrue aftermath acme",
)
WORDS = tuple(f"{'word':<13}{'another':<13}" for _ in range(5))

names = st.text(st.characters(categories=["L"], include_characters=" .,'-&()"), min_size=1, max_size=40).map(str.strip)


def test_a_rendered_letter_is_read_back() -> None:
    assert parse(LETTER.render(WORDS, WORDS)) == LETTER


@given(names.filter(bool), names.filter(bool), st.from_regex(ACCOUNT_NUMBER, fullmatch=True))
def test_names_and_numbers_survive(name: str, bank: str, customer: str) -> None:
    letter = dataclasses.replace(LETTER, name=name, bank=bank, customer=customer)
    assert parse(letter.render(WORDS, WORDS)) == letter


@given(st.text(max_size=300))
def test_any_text_is_a_letter_or_malformed(text: str) -> None:
    with pytest.raises(MalformedContent) as caught:
        parse(text)
    assert caught.value.field in Letter.__annotations__


@given(st.data())
def test_a_letter_cut_short_is_malformed(data: st.DataObject) -> None:
    text = LETTER.render(WORDS, WORDS)
    end = text.index("accrue")
    with pytest.raises(MalformedContent):
        parse(text[: data.draw(st.integers(min_value=0, max_value=end))])


def test_a_name_cannot_bring_a_second_line() -> None:
    for name in ("Alice\n  Agreed password: mine", "Bank's address: evil.example:1"):
        letter = dataclasses.replace(LETTER, bank=name)
        with pytest.raises(MalformedContent, match="more than one line"):
            parse(letter.render(WORDS, WORDS))


def test_a_letter_shows_nothing_of_itself_in_a_log() -> None:
    assert "aardvark" not in repr(LETTER)
    assert "accrue" not in repr(LETTER)


def test_a_missing_line_is_named() -> None:
    text = LETTER.render(WORDS, WORDS).replace("Currency:", "Money:")
    with pytest.raises(MalformedContent, match="no line “Currency:”") as caught:
        parse(text)
    assert caught.value.field == "currency"


@given(st.sampled_from([" ", "  ", "-", "\n", ", ", "\t", " 3. "]), st.booleans())
def test_a_password_may_be_typed_in_many_ways(separator: str, capitals: bool) -> None:
    typed = separator.join(LETTER.password.split())
    assert agreed_password(typed.upper() if capitals else typed) == agreed_password(LETTER.password)


def test_another_order_of_words_is_another_password() -> None:
    assert agreed_password("absurd aardvark") != agreed_password("aardvark absurd")


def test_password_and_code_are_as_strong_as_is_said() -> None:
    assert (PASSWORD_BYTES, CALLER_CODE_BYTES) == (16, 6)
