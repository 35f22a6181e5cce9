"""A file of payments is read whole: every line that cannot be sent is named, and nothing is guessed."""

from pathlib import Path

import pytest

from customer.errors import CustomerError
from customer.payments import FILE_BYTES, BadPayments, Payments, parse, read
from protocol.limits import AMOUNT_MINOR, PAYMENTS_IN_ORDER
from protocol.orders import Payment

HEADER = "to,amount,description\n"


def parsed(text: str | bytes) -> Payments:
    data = text.encode() if isinstance(text, str) else text
    return parse(data, "payments.csv", currency="EUR", own_number="1001")


def complaints(text: str | bytes) -> list[str]:
    """What must be corrected, as it is shown."""
    with pytest.raises(BadPayments) as caught:
        parsed(text)
    assert "Nothing was signed" in str(caught.value)
    return [*caught.value.sentences, *map(str, caught.value.lines)]


def test_the_payments_of_a_file_in_their_order() -> None:
    found = parsed(HEADER + '1002,25.00,rent\n0003,17.5,"rent, ""March"""\n1002,1,\n')
    assert found.payments == (
        Payment("25.00", "1002", "rent"),
        Payment("17.50", "0003", 'rent, "March"'),
        Payment("1.00", "1002", ""),
    )
    assert (found.sum, found.repeated) == ("43.50", ())


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + "1002,25.00,März\n",
        HEADER.replace("\n", "\r\n") + "1002,25.00,März\r\n",
        HEADER + "\n1002,25.00,März\n\n\n",
        HEADER + "1002,25.00,März",
        "description,to,amount\nMärz,1002,25\n",
        " to , amount , description \n 1002 , 25.0 ,März\n",
    ],
    ids=["byte order mark", "CRLF", "empty lines", "no line feed at the end", "another order of columns", "spaces"],
)
def test_spellings_of_spreadsheets_are_read_alike(text: str) -> None:
    assert parsed(text).payments == (Payment("25.00", "1002", "März"),)


def test_the_same_payment_twice_is_sent_twice_and_pointed_out() -> None:
    found = parsed(HEADER + "1002,5,a\n1003,5,a\n1002,5.00,a\n1002,5,b\n1003,5,a\n1002,5,a\n")
    assert len(found.payments) == 6
    assert found.repeated == ((2, 4, 7), (3, 6))


def test_every_bad_line_is_named_with_number_field_and_remedy() -> None:
    found = complaints(
        HEADER
        + "1002,10,rent\n"  # line 2 is good
        + "1001,1,own\n"
        + "x,0,\u202e\n"
        + "1002,-5,rent\n"
        + "1002,1.005,rent\n"
        + "1002,5,rent,March\n"
        + '1002,1,"two\nlines"\n'
        + f"1002,1,{'x' * 141}\n"
        + ",,\n"
        + "1002,10000000000000.01,rent\n"
    )
    assert [each.split(":")[0] for each in found] == [
        "Line 3, to",
        *("Line 4, to", "Line 4, amount", "Line 4, description"),
        *("Line 5, amount", "Line 6, amount", "Line 7", "Line 8, description", "Line 10, description"),
        *("Line 11, to", "Line 11, amount", "Line 12, amount"),
    ]
    for words in (
        "own number",
        "1 to 16 digits",
        "is zero",
        "U+202E",
        "such as 25.00",
        "quotation marks",
        "at most 140",
    ):
        assert any(words in each for each in found), words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line must be to,amount,description"),
        (HEADER, "no payment below"),
        ("1002,5,rent\n", "must name the columns"),
        ("to;amount;description\n1002;5;rent\n", "separated by commas"),
        ("to,amount\n1002,5\n", "must name the columns"),
        ("to,to,amount,description\n1,1,5,x\n", "must name the columns"),
        ("to,amount,description,colour\n1,5,x,red\n", "must name the columns"),
        (HEADER + '1002,5,"rent\n1003,5,x\n', "Line 2: It is not CSV"),
        (HEADER + '1002,5,"rent"x\n', "Line 2: It is not CSV"),
        (HEADER.encode() + b"1002,5,x\n1002,5,caf\xe9\n", "Line 3: It is not UTF-8"),
        (HEADER.encode("utf-16"), "Line 1: It is not UTF-8"),
        (HEADER + "1002,5,x\0\n", "Line 2"),
        (HEADER + f"1002,{AMOUNT_MINOR // 100},x\n1002,0.01,x\n", "more than the limit"),
        (HEADER + "1002,5,x\n" * (PAYMENTS_IN_ORDER + 1), f"at most {PAYMENTS_IN_ORDER}"),
        (HEADER + " " * FILE_BYTES, "split it"),
    ],
)
def test_a_file_that_cannot_be_sent_says_why(text: str | bytes, words: str) -> None:
    assert any(words in each for each in complaints(text))


def test_the_most_payments_are_possible() -> None:
    assert len(parsed(HEADER + "1002,5,x\n" * PAYMENTS_IN_ORDER).payments) == PAYMENTS_IN_ORDER


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CustomerError, match=r"payments\.csv cannot be read"):
        read(tmp_path / "payments.csv", currency="EUR", own_number="1001")
    (tmp_path / "payments.csv").write_text(HEADER + "1002,5,x\n")
    assert read(tmp_path / "payments.csv", currency="EUR", own_number="1001").sum == "5.00"
