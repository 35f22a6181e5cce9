"""Money is an integer of minor units inside and a decimal string outside; there is no float anywhere."""

import re
from functools import cache

from protocol.codes import Reason
from protocol.limits import AMOUNT_MINOR

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,6}))?", re.ASCII)


class AmountError(ValueError):
    """An amount that cannot be booked; ``reason`` is its ISO 20022 code."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@cache
def minor_digits(currency: str) -> int:
    """Decimal places of a currency (ISO 4217 table A.1): 2 for EUR, 0 for JPY.

    Raises AmountError (AM03) for a code that ISO 4217 does not list or that has no minor unit (XAU).
    """
    from iso4217 import Currency  # its table is XML: read only when money is handled

    try:
        digits = Currency(currency).exponent
    except ValueError:
        digits = None
    if digits is None or not re.fullmatch("[A-Z]{3}", currency):
        raise AmountError(Reason.CURRENCY, f"{currency[:8]!r} is not a currency code of ISO 4217 such as EUR.")
    return int(digits)


def parse_amount(text: str, currency: str) -> int:
    """Minor units of a decimal string such as ``25.00``; "25" and "25.0" are accepted too.

    Raises AmountError: AM01 zero, AM02 above the limit, AM03 currency, AM12 anything else (sign, exponent,
    grouping, too many decimals).
    """
    digits = minor_digits(currency)
    match = _DECIMAL.fullmatch(text)
    if match is None:
        if re.fullmatch(r"[1-9][0-9]{18,}(\.[0-9]+)?", text, re.ASCII):
            raise AmountError(Reason.AMOUNT_TOO_LARGE, f"The amount is above the limit of {limit(currency)}.")
        raise AmountError(
            Reason.AMOUNT_INVALID, f"The amount {text[:40]!r} is not a positive decimal number such as 25.00."
        )
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > digits:
        raise AmountError(
            Reason.AMOUNT_INVALID,
            f"The amount {text!r} has more than {digits} decimals, which {currency} does not have.",
        )
    minor = int(whole + fraction.ljust(digits, "0"))
    if minor == 0:
        raise AmountError(Reason.AMOUNT_ZERO, "The amount is zero; there is nothing to transfer.")
    if minor > AMOUNT_MINOR:
        raise AmountError(Reason.AMOUNT_TOO_LARGE, f"The amount is above the limit of {limit(currency)}.")
    return minor


def format_amount(minor: int, currency: str) -> str:
    """The decimal string of minor units: 2500 in EUR is ``25.00``."""
    digits = minor_digits(currency)
    sign, number = ("-", -minor) if minor < 0 else ("", minor)
    if digits == 0:
        return f"{sign}{number}"
    whole, fraction = divmod(number, 10**digits)
    return f"{sign}{whole}.{fraction:0{digits}d}"


def limit(currency: str) -> str:
    """The largest single amount, with its currency, for a person."""
    return f"{format_amount(AMOUNT_MINOR, currency)} {currency}"
