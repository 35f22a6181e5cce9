"""The bank's letter to a new customer: the one document that carries trust from the bank to the customer's machine."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from protocol.errors import MalformedContent
from protocol.orders import ACCOUNT_NUMBER
from protocol.secret import Secret

PASSWORD_BYTES = 16
"""Random bytes that the bank draws for an agreed password: 128 bits, said as 16 words."""

CALLER_CODE_BYTES = 6
"""Random bytes of the code by which the authority's operator knows a caller: 48 bits, 6 words."""

DOMAIN_CHARACTERS = 64
DOMAIN_PATTERN = r"^((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9]))?\Z"
Domain = Annotated[str, Meta(pattern=DOMAIN_PATTERN, max_length=DOMAIN_CHARACTERS)]
"""The domain of a bank's mail addresses, in lower case ASCII; "" where it has none."""

_LABELS: Mapping[str, str] = {
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
    "domain": "Domain",
}
_OPTIONAL = frozenset({"domain"})
_LINE = re.compile(r"^ {0,4}(?P<label>[A-Z][A-Za-z' ]+): +(?P<value>\S.*?) *\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Letter:
    """What the letter says; fingerprints are 40 upper-case hex digits, words are separated by single spaces."""

    customer: str
    name: str
    currency: str
    bank: str
    bank_address: str
    bank_fingerprint: str
    authority_address: str
    authority_fingerprint: str
    password: str
    caller_code: str
    domain: str = ""

    def __repr__(self) -> str:
        return f"Letter(customer={self.customer!r}, …)"

    def render(self, bank_words: Sequence[str], authority_words: Sequence[str]) -> str:
        """The letter as text to print; ``…_words`` are the lines of the fingerprints read out."""

        def line(field: str, value: str | None = None) -> str:
            return f"  {_LABELS[field] + ':':<26}{value or getattr(self, field)}\n"

        def grouped(fingerprint: str, lines: Sequence[str]) -> str:
            groups = " ".join(fingerprint[i : i + 4] for i in range(0, 40, 4))
            return groups + "".join(f"\n{'':28}{words}" for words in lines)

        return (
            f"{self.bank} to {self.name}, customer number {self.customer}\n\n"
            "Keep this letter locked away. It is printed once. Whoever reads it can pose as you until your key is\n"
            "registered or certified.\n\n"
            + "".join(line(field) for field in ("customer", "name", "currency", "bank", "bank_address"))
            + (line("domain") if self.domain else "")
            + line("bank_fingerprint", grouped(self.bank_fingerprint, bank_words))
            + line("authority_address")
            + line("authority_fingerprint", grouped(self.authority_fingerprint, authority_words))
            + "\n  The password that we agree on, for the stage password and for `customer register`:\n\n"
            + line("password")
            + "\n  The code that tells the certificate authority's operator on the telephone who you are:\n\n"
            + line("caller_code")
            + "\nBegin with:  customer init --letter THIS-FILE\n"
        )


def parse(text: str) -> Letter:
    """Read a letter back; MalformedContent names the line that is missing or doubled."""
    found = [(match["label"], match["value"]) for match in _LINE.finditer(text)]
    values = {}
    for field, label in _LABELS.items():
        here = [value for name, value in found if name == label]
        if not here and field in _OPTIONAL:
            continue
        if len(here) != 1:
            how = "has no line" if not here else "has more than one line"
            raise MalformedContent(f"The letter {how} “{label}:”; use the file that `bank open-account` wrote.", field)
        values[field] = here[0]
    for field in ("bank_fingerprint", "authority_fingerprint"):
        values[field] = values[field].replace(" ", "").upper()
        if not re.fullmatch("[0-9A-F]{40}", values[field]):
            raise MalformedContent(f"The letter's line “{_LABELS[field]}:” is not 40 hex digits.", field)
    if not ACCOUNT_NUMBER.fullmatch(values["customer"]):
        raise MalformedContent("The letter's customer number is not 1 to 16 digits.", "customer")
    if not is_domain(values.get("domain", "")):
        raise MalformedContent("The letter's domain is not one such as bank.example.", "domain")
    return Letter(**values)


def read_out(text: str) -> Mapping[str, str]:
    """The words below each fingerprint of a letter, by the field's name; "" where they were left out."""
    found = {}
    for field in ("bank_fingerprint", "authority_fingerprint"):
        below = re.search(rf"^ {{0,4}}{_LABELS[field]}: .*((?:\n {{8,}}\S.*)*)", text, re.MULTILINE)
        found[field] = " ".join(below[1].split()) if below else ""
    return found


def is_domain(text: str) -> bool:
    """Whether this is the domain of a bank, or "" for none."""
    return re.fullmatch(DOMAIN_PATTERN, text) is not None and len(text) <= DOMAIN_CHARACTERS


def agreed_password(text: str) -> Secret:
    """The password's bytes from its words, however they are spaced, hyphenated or capitalised."""
    words = re.findall(r"[a-z]+", text.casefold())
    if not words:
        raise MalformedContent("The agreed password has no words in it; type it as the letter shows it.", "password")
    return Secret(" ".join(words).encode())
