"""An amount is read in one way only, and what is written is read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import Reason
from protocol.limits import AMOUNT_MINOR
from protocol.money import AmountError, format_amount, minor_digits, parse_amount

CURRENCIES = st.sampled_from(["EUR", "JPY", "BHD", "CHF"])


@given(st.integers(1, AMOUNT_MINOR), CURRENCIES)
def test_what_is_written_is_read_back(minor: int, currency: str) -> None:
    assert parse_amount(format_amount(minor, currency), currency) == minor
    assert format_amount(-minor, currency) == "-" + format_amount(minor, currency)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("25.00", "EUR", 2500),
        ("25", "EUR", 2500),
        ("25.5", "EUR", 2550),
        ("0.01", "EUR", 1),
        ("25", "JPY", 25),
        ("1.234", "BHD", 1234),
    ],
)
def test_amounts(text: str, currency: str, minor: int) -> None:
    assert parse_amount(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency", "reason"),
    [
        ("0", "EUR", Reason.AMOUNT_ZERO),
        ("0.00", "EUR", Reason.AMOUNT_ZERO),
        ("10000000000000.01", "EUR", Reason.AMOUNT_TOO_LARGE),
        (str(2**63 - 1), "EUR", Reason.AMOUNT_TOO_LARGE),
        (str(2**63), "JPY", Reason.AMOUNT_TOO_LARGE),
        ("9" * 40, "EUR", Reason.AMOUNT_TOO_LARGE),
        ("25.5", "JPY", Reason.AMOUNT_INVALID),
        ("25.001", "EUR", Reason.AMOUNT_INVALID),
        ("25.000", "EUR", Reason.AMOUNT_INVALID),
        *(
            (text, "EUR", Reason.AMOUNT_INVALID)
            for text in ("", "-1", "+1", "1e3", "1,5", "1 000", "0x1", "nan", "inf")
        ),
        *(
            (text, "EUR", Reason.AMOUNT_INVALID)
            for text in ("01", ".5", "5.", "1_000", "٢٥", " 1", "1\n", "1.\u0665", "--1")
        ),
        *(("1", currency, Reason.CURRENCY) for currency in ("", "eur", "EURO", "XAU", "ZZZ", "EU", "978")),
    ],
)
def test_trial_06_what_is_no_amount_has_its_reason(text: str, currency: str, reason: Reason) -> None:
    with pytest.raises(AmountError) as caught:
        parse_amount(text, currency)
    assert caught.value.reason == reason
    assert str(caught.value).endswith(".")


@given(st.text(max_size=40))
def test_any_text_is_an_amount_or_a_reason(text: str) -> None:
    try:
        minor = parse_amount(text, "EUR")
    except AmountError:
        return
    assert 0 < minor <= AMOUNT_MINOR


def test_decimals_are_those_of_the_currency() -> None:
    assert [minor_digits(currency) for currency in ("EUR", "JPY", "BHD")] == [2, 0, 3]
