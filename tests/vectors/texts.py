"""The vectors of what people read and type: letters, agreed passwords and amounts, each with what must come of it."""

from collections.abc import Callable
from typing import Any

LETTER = """\
First Bank to Alice, customer number 1001

Keep this letter locked away. It is printed once. Whoever reads it can pose as you until your key is
registered or certified.

  Customer number:          1001
  Name:                     Alice
  Currency:                 EUR
  Bank:                     First Bank
  Bank's address:           127.0.0.1:7401
  Bank's fingerprint:       0123 4567 89AB CDEF 0123 4567 89AB CDEF 0123 4567
                            absurd       ...
  Authority's address:      [::1]:7402
  Authority's fingerprint:  89AB CDEF 0123 4567 89AB CDEF 0123 4567 89AB CDEF

  The password that we agree on, for the stage password and for `customer register`:

  Agreed password:          aardvark adroitness absurd adviser

  The code that tells the certificate authority's operator on the telephone who you are:

  Caller's code:            accrue aftermath acme aggregate adrift alkali

Begin with:  customer init --letter THIS-FILE
"""
FIELDS = {
    "customer": "1001",
    "name": "Alice",
    "currency": "EUR",
    "bank": "First Bank",
    "bank_address": "127.0.0.1:7401",
    "bank_fingerprint": "0123456789ABCDEF0123456789ABCDEF01234567",
    "authority_address": "[::1]:7402",
    "authority_fingerprint": "89ABCDEF0123456789ABCDEF0123456789ABCDEF",
    "password": "aardvark adroitness absurd adviser",
    "caller_code": "accrue aftermath acme aggregate adrift alkali",
}
LABELS = {
    "customer": "Customer number",
    "name": "Name",
    "currency": "Currency",
    "bank": "Bank",
    "bank_address": "Bank's address",
    "bank_fingerprint": "Bank's fingerprint",
    "authority_address": "Authority's address",
    "authority_fingerprint": "Authority's fingerprint",
    "password": "Agreed password",
    "caller_code": "Caller's code",
}


def letter_vectors() -> list[dict[str, Any]]:
    """``field`` is the field at fault, null where the letter can be read; then ``fields`` is what it says."""

    def valid(name: str, text: str, **changed: str) -> dict[str, Any]:
        return {"name": name, "text": text, "fields": {**FIELDS, **changed}, "field": None}

    def invalid(name: str, field: str, text: str) -> dict[str, Any]:
        return {"name": name, "text": text, "fields": None, "field": field}

    def edited(change: Callable[[str], str], field: str) -> str:
        mark = f"  {LABELS[field]}:"
        return "\n".join(change(line) if line.startswith(mark) else line for line in LETTER.split("\n"))

    def with_domain(domain: str) -> str:
        return edited(lambda line: f"{line}\n  Domain: {domain}", "bank")

    malformed = ("example", "Bank.example", "bank.example.", "-a.example", "b@nk.example", f"{'a.' * 32}example")
    lines = LETTER.split("\n")
    return [
        valid("as printed", LETTER),
        valid("line ends of another system", LETTER.replace("\n", "\r\n")),
        valid("spaces at the ends of lines", LETTER.replace("\n", "   \n")),
        valid("lines in another order", "\n".join(reversed(lines))),
        valid("nothing but the lines", "\n".join(line for line in lines if line[:2] == "  " and ":  " in line)),
        valid(
            "fingerprint in lower case, without spaces",
            edited(lambda _: f"Bank's fingerprint: {FIELDS['bank_fingerprint'].lower()}", "bank_fingerprint"),
        ),
        valid("with a domain", with_domain("bank.example"), domain="bank.example"),
        invalid("with two domains", "domain", with_domain("a.example\n  Domain: b.example")),
        *(invalid(f"domain {wrong}", "domain", with_domain(wrong)) for wrong in malformed),
        valid("number with leading zeros", LETTER.replace("1001", "0001001"), customer="0001001"),
        *(invalid(f"without the line {LABELS[field]}", field, edited(lambda _: "", field)) for field in FIELDS),
        *(
            invalid(f"with two lines {LABELS[field]}", field, edited(lambda line: f"{line}\n{line}", field))
            for field in FIELDS
        ),
        invalid(
            "fingerprint with a digit too few", "bank_fingerprint", edited(lambda line: line[:-1], "bank_fingerprint")
        ),
        invalid(
            "fingerprint with the letter O",
            "authority_fingerprint",
            edited(lambda line: line.replace("0123", "O123"), "authority_fingerprint"),
        ),
        invalid("number of 17 digits", "customer", LETTER.replace("1001", "1" * 17)),
        invalid("number with a letter", "customer", LETTER.replace("1001", "100l")),
        invalid("line without a value", "currency", edited(lambda line: line.replace("EUR", ""), "currency")),
        invalid("nothing", "customer", ""),
    ]


def password_vectors() -> list[dict[str, Any]]:
    """``bytes`` is what serves as the passphrase, as text; null where there is no word."""
    agreed = "aardvark adroitness absurd adviser"
    same = (
        agreed,
        agreed.upper(),
        "Aardvark-Adroitness-Absurd-Adviser",
        "  aardvark   adroitness\tabsurd\nadviser  ",
        "aardvark, adroitness; absurd. adviser!",
        "1. aardvark 2. adroitness 3. absurd 4. adviser",
    )
    other = (
        ("aardvarkadroitness absurd adviser", "aardvarkadroitness absurd adviser"),
        ("adroitness aardvark absurd adviser", "adroitness aardvark absurd adviser"),
        ("", None),
        (" 12 - 34 ", None),
    )
    return [{"typed": typed, "bytes": agreed} for typed in same] + [
        {"typed": typed, "bytes": found} for typed, found in other
    ]


def amount_vectors() -> list[dict[str, Any]]:
    """``minor`` is the number of minor units, or null with the ``reason`` of the refusal."""
    good = (
        ("25.00", "EUR", 2500),
        ("25.0", "EUR", 2500),
        ("25.5", "EUR", 2550),
        ("25", "EUR", 2500),
        ("0.01", "EUR", 1),
        ("0.10", "EUR", 10),
        ("2500", "JPY", 2500),
        ("1.234", "KWD", 1234),
        ("1.2345", "CLF", 12345),
        ("10000000000000.00", "EUR", 10**15),
        ("1000000000000000", "JPY", 10**15),
    )
    bad = (
        ("0.00", "EUR", "AM01"),
        ("0", "EUR", "AM01"),
        ("0", "JPY", "AM01"),
        ("10000000000000.01", "EUR", "AM02"),
        ("1000000000000001", "JPY", "AM02"),
        ("9223372036854775807", "EUR", "AM02"),
        ("9223372036854775808", "JPY", "AM02"),
        ("1" + "0" * 39, "EUR", "AM02"),
        ("25.00", "XXX", "AM03"),
        ("25.00", "XAU", "AM03"),
        ("25.00", "eur", "AM03"),
        ("25.00", "", "AM03"),
        ("25.00", "ABC", "AM03"),
        ("", "EUR", "AM12"),
        ("-1.00", "EUR", "AM12"),
        ("+1.00", "EUR", "AM12"),
        ("1e3", "EUR", "AM12"),
        ("1,00", "EUR", "AM12"),
        ("1.000,00", "EUR", "AM12"),
        ("1 000.00", "EUR", "AM12"),
        (" 1.00", "EUR", "AM12"),
        ("1.00\n", "EUR", "AM12"),
        ("01.00", "EUR", "AM12"),
        (".50", "EUR", "AM12"),
        ("1.", "EUR", "AM12"),
        ("1.001", "EUR", "AM12"),
        ("1.000", "EUR", "AM12"),
        ("1.0", "JPY", "AM12"),
        ("0x10", "EUR", "AM12"),
        ("NaN", "EUR", "AM12"),
        ("Infinity", "EUR", "AM12"),
        ("\u0661\u0662", "EUR", "AM12"),
        ("1.00 EUR", "EUR", "AM12"),
    )
    return [{"text": text, "currency": currency, "minor": minor, "reason": None} for text, currency, minor in good] + [
        {"text": text, "currency": currency, "minor": None, "reason": reason} for text, currency, reason in bad
    ]
