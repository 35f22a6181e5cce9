"""What the letter says stands in customer.toml, which is read strictly: an unknown key or a bare number is an error."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from customer.errors import ConfigError
from protocol.errors import ProtocolError
from protocol.orders import ACCOUNT_NUMBER, Fingerprint
from protocol.stages import Stage
from protocol.transport import Address

FILE_NAME: Final = "customer.toml"
_SIZE_LIMIT_BYTES: Final = 64 * 1024

Seconds = Annotated[float, Meta(gt=0, le=3600)]


class Person(Struct, frozen=True, forbid_unknown_fields=True):
    """The customer: ``key`` is the fingerprint of the own key, empty until `customer init` has made it."""

    number: str
    name: str
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    key: Annotated[str, Meta(pattern="^([0-9A-F]{40})?$")] = ""
    stage: Stage = Stage.CERTIFIED


class Bank(Struct, frozen=True, forbid_unknown_fields=True):
    """The bank as the letter names it; the fingerprint is pinned."""

    name: str
    address: str
    fingerprint: Fingerprint


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
        data = path.read_bytes()
        config = msgspec.convert(tomllib.loads(data[:_SIZE_LIMIT_BYTES].decode()), Config)
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {path}; begin with `customer init --letter FILE`, or name another home with --home."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML ({error}); correct that place in the file.") from None
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(path, str(error))) from None
    _require_usable(config, path)
    return config


def write(folder: Path, config: Config) -> None:
    """Put the file in place whole or not at all (mode 0600). Raises ConfigError."""
    path, new = folder / FILE_NAME, folder / f".{FILE_NAME}.new"
    _require_usable(config, path)
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(render(config))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None


def render(config: Config) -> str:
    """The file's text."""
    sections = []
    for name in config.__struct_fields__:
        section = getattr(config, name)
        lines = [f"{key} = {_toml(getattr(section, key))}" for key in section.__struct_fields__]
        sections.append("\n".join((f"[{name}]", *lines)) + "\n")
    return (
        "# Written by `customer init`. Both fingerprints are the letter's: change them only by a new letter.\n"
        "# `stage` is what `customer send` uses without --stage: password, session, signed or certified.\n\n"
        + "\n".join(sections)
    )


def _toml(value: str | float) -> str:
    # A JSON string without control characters is a TOML basic string (TOML 1.0, section String).
    return json.dumps(str(value), ensure_ascii=False) if isinstance(value, str) else repr(value)


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


def _explain(path: Path, text: str) -> str:
    """The decoder's complaint as file, key and remedy."""
    match = re.search(r" - at `\$\.?([^`]*)`$", text)
    place = match[1] if match else ""
    plain = re.sub(r" - at `[^`]*`$", "", text)
    if named := re.search(r"contains unknown field `([^`]*)`", plain):
        key = ".".join(part for part in (place, named[1]) if part)
        return f"{path}: the key {key!a} is not known; correct its spelling or remove the line."
    if named := re.search(r"missing required field `([^`]*)`", plain):
        key = ".".join(part for part in (place, named[1]) if part)
        return f"{path}: the key {key} is missing; copy it from the bank's letter."
    if "Expected `str`" in plain:
        return f'{path}: {place} must be written in quotes, such as {place.rpartition(".")[2]} = "0017".'
    if place == "customer.stage":
        return f"{path}: customer.stage must be one of {', '.join(Stage)}."
    return f"{path}: {place or 'the file'} cannot be used ({plain}); correct that value."
