"""What the letter says stands in customer.toml, which is read strictly: an unknown key or a bare number is an error."""

from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from customer.errors import ConfigError
from protocol import settings
from protocol.errors import ProtocolError
from protocol.letter import Domain
from protocol.orders import ACCOUNT_NUMBER, Fingerprint
from protocol.stages import Stage
from protocol.transport import Address

FILE_NAME: Final = "customer.toml"

Seconds = Annotated[float, Meta(gt=0, le=3600)]


class Person(Struct, frozen=True, forbid_unknown_fields=True):
    """The customer: ``key`` is the fingerprint of the own key, empty until `customer init` has made it."""

    number: str
    name: str
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    key: Annotated[str, Meta(pattern=r"^([0-9A-F]{40})?\Z")] = ""
    stage: Stage = Stage.CERTIFIED


class Bank(Struct, frozen=True, forbid_unknown_fields=True):
    """The bank as the letter names it; the fingerprint is pinned. ``domain`` is that of the address in the user ID."""

    name: str
    address: str
    fingerprint: Fingerprint
    domain: Domain = ""


class Authority(Struct, frozen=True, forbid_unknown_fields=True):
    """The certificate authority's desk; the fingerprint is pinned."""

    address: str
    fingerprint: Fingerprint


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How long this program waits, in seconds: for a connection, for an answer to begin, for the rest of it."""

    connect_seconds: Seconds = 5.0
    answer_seconds: Seconds = 30.0
    frame_seconds: Seconds = 30.0


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of customer.toml."""

    customer: Person
    bank: Bank
    authority: Authority
    limits: Limits = Limits()


def read(folder: Path) -> Config:
    """The customer.toml of a home. Raises ConfigError, which names the file, the key and the remedy."""
    path = folder / FILE_NAME
    try:
        config = settings.read(path, Config)
    except settings.SettingsMissing:
        raise ConfigError(
            f"There is no {path}; begin with `customer init --letter FILE`, or name another home with --home."
        ) from None
    except settings.SettingsError as error:
        raise ConfigError(str(error)) from None
    _require_usable(config, path)
    return config


def write(folder: Path, config: Config) -> None:
    """Put the file in place whole or not at all (mode 0600). Raises ConfigError."""
    path = folder / FILE_NAME
    _require_usable(config, path)
    _require_currency(config, path)
    try:
        settings.write(path, render(config))
    except settings.SettingsError as error:
        raise ConfigError(str(error)) from None


def render(config: Config) -> str:
    """The file's text."""
    sections = []
    for name in config.__struct_fields__:
        section = getattr(config, name)
        lines = [f"{key} = {settings.literal(getattr(section, key))}" for key in section.__struct_fields__]
        sections.append("\n".join((f"[{name}]", *lines)) + "\n")
    return (
        "# Written by `customer init`. Both fingerprints are the letter's: change them only by a new letter.\n"
        "# `stage` is what `customer send` uses without --stage: password, session, signed or certified.\n\n"
        + "\n".join(sections)
    )


def _require_usable(config: Config, path: Path) -> None:
    """What the types alone do not say."""
    if not ACCOUNT_NUMBER.fullmatch(config.customer.number):
        raise ConfigError(f"{path}: customer.number is not 1 to 16 digits in quotes; copy it from the bank's letter.")
    for key, text in (
        ("customer.name", config.customer.name),
        ("bank.name", config.bank.name),
        ("bank.address", config.bank.address),
        ("authority.address", config.authority.address),
    ):
        if not text or not text.isprintable():
            raise ConfigError(f"{path}: {key} is empty or has characters that cannot be shown; type it again.")
    for key, text in (("bank.address", config.bank.address), ("authority.address", config.authority.address)):
        try:
            Address.parse(text)
        except ProtocolError as error:
            raise ConfigError(f"{path}: {key}: {error}") from None


def _require_currency(config: Config, path: Path) -> None:
    """Asked where the file is made and not at every start: the table of currencies takes its time."""
    from protocol.money import AmountError, minor_digits

    try:
        minor_digits(config.customer.currency)
    except AmountError as error:
        raise ConfigError(f"{path}: customer.currency: {error}") from None
