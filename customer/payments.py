"""A file of payments is read whole, and every line that cannot be sent is named before anything is signed."""

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from customer.errors import CustomerError
from customer.wishes import flaws
from keyring.printable import printable
from protocol.limits import AMOUNT_MINOR, PAYMENTS_IN_ORDER
from protocol.money import format_amount, limit, parse_amount
from protocol.orders import Payment

COLUMNS: Final = ("to", "amount", "description")
FILE_BYTES: Final = 2 * 1024 * 1024
"""Longest file that is read: twice what an order with the most and longest payments can be."""


@dataclass(frozen=True)
class BadLine:
    """Something to correct: the number of the line in the file, the column ("" for the whole line), and a sentence."""

    line: int
    field: str
    sentence: str

    def __str__(self) -> str:
        return f"Line {self.line}{', ' + self.field if self.field else ''}: {self.sentence}"


class BadPayments(CustomerError):
    """The file cannot be sent; ``sentences`` (about the whole) and ``lines`` are all that must be corrected."""

    def __init__(self, name: str, sentences: tuple[str, ...], lines: tuple[BadLine, ...]) -> None:
        count = len(sentences) + len(lines)
        super().__init__(f"{name} cannot be sent as it is ({count} to correct, see above). Nothing was signed or sent.")
        self.sentences = sentences
        self.lines = lines


@dataclass(frozen=True)
class Payments:
    """The payments of a file, their sum, and the lines that repeat another one, in groups."""

    payments: tuple[Payment, ...]
    sum: str
    repeated: tuple[tuple[int, ...], ...]


def read(path: Path, *, currency: str, own_number: str) -> Payments:
    """The payments of a CSV file. Raises CustomerError; BadPayments names every line that must be corrected."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise CustomerError(f"The file {path} cannot be read: {error.strerror}.") from None
    return parse(data, str(path), currency=currency, own_number=own_number)


def parse(data: bytes, name: str, *, currency: str, own_number: str) -> Payments:
    """The payments in the bytes of a file; errors as for :func:`read`."""
    if len(data) > FILE_BYTES:
        raise BadPayments(name, (f"The file has more than {FILE_BYTES} bytes; split it.",), ())
    rows = _rows(data, name)
    if not rows:
        raise BadPayments(name, (f"The file is empty; its first line must be {','.join(COLUMNS)}.",), ())
    columns = _columns(name, *rows[0])
    found, bad = [], []
    for line, row in rows[1 : PAYMENTS_IN_ORDER + 1]:  # what is beyond has to go into another file
        if len(row) != len(columns):
            bad.append(BadLine(line, "", f"It has {len(row)} fields instead of {len(columns)}. {_QUOTES}"))
            continue
        cells = dict(zip(columns, row, strict=True))
        to, amount, description = cells["to"].strip(), cells["amount"].strip(), cells["description"]
        wrong = [BadLine(line, each.field, each.sentence) for each in flaws(to, amount, description, currency)]
        if to == own_number:
            wrong.append(BadLine(line, "to", "This is your own number; name another recipient, or drop the line."))
        bad += wrong
        if not wrong:
            minor = parse_amount(amount, currency)
            found.append((line, Payment(format_amount(minor, currency), to, description), minor))
    whole = _whole(len(rows) - 1, sum(minor for *_, minor in found), currency)
    if bad or whole:
        raise BadPayments(name, whole, tuple(bad))
    total = format_amount(sum(minor for *_, minor in found), currency)
    return Payments(tuple(payment for _, payment, _ in found), total, _repeated(found))


_QUOTES: Final = 'A text with commas or quotation marks stands in quotation marks: "rent, March".'


def _rows(data: bytes, name: str) -> list[tuple[int, list[str]]]:
    """The rows with the number of the line in which each begins; empty lines are none."""
    try:
        text = data.decode("utf-8-sig")  # spreadsheets put a byte order mark before it
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadPayments(name, (), (BadLine(line, "", "It is not UTF-8; save the file as UTF-8."),)) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, line = [], 1
    try:
        for row in reader:
            if row:
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        raise BadPayments(name, (), (BadLine(line, "", f"It is not CSV ({error}). {_QUOTES}"),)) from None
    return rows


def _columns(name: str, line: int, header: list[str]) -> list[str]:
    """The columns by the first line, in any order, each once."""
    columns = [cell.strip() for cell in header]
    if sorted(columns) != sorted(COLUMNS):
        shown = printable(",".join(columns))[:80]
        sentence = f"The first line must name the columns {','.join(COLUMNS)}, separated by commas; it says: {shown}"
        raise BadPayments(name, (), (BadLine(line, "", sentence),))
    return columns


def _whole(count: int, total_minor: int, currency: str) -> tuple[str, ...]:
    """What is wrong with the file beyond single lines."""
    found = []
    if count == 0:
        found.append("There is no payment below the first line; add a line for each.")
    if count > PAYMENTS_IN_ORDER:
        found.append(
            f"There are {count} payments; an order has at most {PAYMENTS_IN_ORDER}. Split the file and send the parts "
            "one after another."
        )
    if total_minor > AMOUNT_MINOR:
        found.append(f"The payments add up to more than the limit of {limit(currency)}; split the file.")
    return tuple(found)


def _repeated(found: list[tuple[int, Payment, int]]) -> tuple[tuple[int, ...], ...]:
    lines: defaultdict[Payment, list[int]] = defaultdict(list)
    for line, payment, _ in found:
        lines[payment].append(line)
    return tuple(tuple(each) for each in lines.values() if len(each) > 1)
