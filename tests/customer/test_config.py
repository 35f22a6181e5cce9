"""customer.toml and the letter are read strictly, and every complaint names the place and the remedy."""

from dataclasses import asdict
from pathlib import Path

import pytest

from customer import ceremony, config
from customer.cli.common import read_letter
from customer.errors import ConfigError, CustomerError
from keyring import readout
from protocol.errors import MalformedContent
from protocol.letter import Letter
from protocol.stages import Stage

LETTER = Letter(
    customer="0017",
    name='Ål "A" \\ Ice',
    currency="EUR",
    bank="Example Bank",
    bank_address="127.0.0.1:7401",
    bank_fingerprint="AB" * 20,
    authority_address="[::1]:7402",
    authority_fingerprint="CD" * 20,
    password="one two",
    caller_code="three four",
)


def written(folder: Path) -> Path:
    config.write(folder, ceremony.from_letter(LETTER))
    return folder / config.FILE_NAME


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = config.read(tmp_path)
    assert found == ceremony.from_letter(LETTER)
    assert found.customer.number == "0017"
    assert found.customer.stage is Stage.CERTIFIED
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [config.FILE_NAME]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('number = "0017"', "number = 17", 'customer.number must be written in quotes, such as number = "0017"'),
        ('number = "0017"', 'number = "17a"', "not 1 to 16 digits"),
        ('number = "0017"', "", "customer.number is missing"),
        ('number = "0017"', 'numbr = "0017"', "'customer.numbr' is not known; correct its spelling"),
        ("[limits]", "[limit]\nx = 1\n[limits]", "'limit' is not known"),
        ('stage = "certified"', 'stage = "certifed"', "one of password, session, signed, certified"),
        ('address = "127.0.0.1:7401"', 'address = "127.0.0.1"', "bank.address: .*host:port"),
        ('address = "[::1]:7402"', 'address = "desk:99999"', "authority.address: .*host:port"),
        ("AB" * 20, "ab" * 20, "bank.fingerprint"),
        ('currency = "EUR"', 'currency = "euro"', "customer.currency"),
        ("connect_seconds = 5.0", "connect_seconds = 0", "limits.connect_seconds"),
        ("connect_seconds = 5.0", 'connect_seconds = "5"', "limits.connect_seconds"),
        ("[bank]", "[bank", "is not valid TOML"),
        ('name = "Example Bank"', 'name = "Ex\\u202eample"', "bank.name"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_remedy(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = written(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=said) as error:
        config.read(tmp_path)
    assert str(path) in str(error.value)


def test_a_missing_file_names_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="customer init --letter"):
        config.read(tmp_path)


def letter_text() -> str:
    return LETTER.render(readout.lines(LETTER.bank_fingerprint), readout.lines(LETTER.authority_fingerprint))


def test_a_letter_is_read_as_it_was_printed(tmp_path: Path) -> None:
    path = tmp_path / "letter"
    path.write_text(letter_text())
    assert read_letter(path) == LETTER


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Bank's fingerprint:", "Fingerprint of the bank:", "no line “Bank's fingerprint:”"),
        ("  Currency:", "  Currency:   USD\n  Currency:", "more than one line “Currency:”"),
        ("ABAB ABAB", "ABAB ABA", "“Bank's fingerprint:” is not 40 hex digits"),
        ("0017", "17x", "customer number is not 1 to 16 digits"),
        ("Agreed password:", "Password:", "no line “Agreed password:”"),
    ],
)
def test_a_mistake_in_a_letter_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "letter"
    path.write_text(letter_text().replace(old, new))
    with pytest.raises(MalformedContent, match=said):
        read_letter(path)


@pytest.mark.parametrize("whose", ["bank", "authority"])
def test_a_letter_whose_digits_are_not_its_words_is_refused(tmp_path: Path, whose: str) -> None:
    other = Letter(**(asdict(LETTER) | {f"{whose}_fingerprint": "EF" * 20}))
    path = tmp_path / "letter"
    path.write_text(other.render(readout.lines(LETTER.bank_fingerprint), readout.lines(LETTER.authority_fingerprint)))
    with pytest.raises(CustomerError, match=f"the words of the {whose}'s fingerprint"):
        read_letter(path)
    path.write_text(other.render((), ()))
    assert read_letter(path) == other


def test_a_letter_that_is_no_text_or_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CustomerError, match="cannot be read"):
        read_letter(tmp_path / "nowhere")
    (tmp_path / "picture").write_bytes(b"\xff\xd8")
    with pytest.raises(CustomerError, match="not a text"):
        read_letter(tmp_path / "picture")
