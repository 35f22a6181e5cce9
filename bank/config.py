"""bank.toml says how the bank is set up; every limit has its name here, and an unknown key is an error."""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from bank.errors import ConfigurationError
from protocol.errors import ProtocolError
from protocol.money import AmountError, minor_digits
from protocol.orders import Fingerprint
from protocol.stages import Stage
from protocol.transport import Address

FILE_NAME = "bank.toml"

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bounds of the server; see docs/architecture.md for what each protects."""

    connections: Count = 4096
    connections_per_address: Count = 4096
    handshake_seconds: Seconds = 10.0
    """From the opening of a connection to its first valid request."""
    frame_seconds: Seconds = 10.0
    """From the first byte of a message to its last."""
    idle_seconds: Seconds = 300.0
    send_seconds: Seconds = 10.0
    """How long an answer may wait for a reader."""
    frame_bytes: Annotated[int, Meta(ge=64 * 1024, le=1024 * 1024)] = 1024 * 1024
    """Largest message inside a session."""
    requests_in_flight: Count = 64
    """Requests of one session that are taken before the first is answered."""
    openings_at_once: Count = 4
    password_messages_at_once: Count = 2
    wait_seconds: Seconds = 5.0
    """How long an opening or a password message waits for its turn before it is answered with busy."""
    active_customers: Count = 256
    """Small homes and gpg workers kept at once."""
    queue: Count = 1024
    batch: Count = 256
    refusals_per_minute: Count = 60
    """Logged refusals of one customer."""
    nonces: Count = 100_000
    """Password messages remembered, so that none is taken twice."""
    stop_grace_seconds: Seconds = 15.0


class BankConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What bank.toml holds."""

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    fingerprint: Fingerprint
    listen: str = "127.0.0.1:7401"
    public_address: str | None = None
    """What letters name as the bank's address; ``listen`` if absent."""
    minimum_stage: Stage = Stage.CERTIFIED
    authority_address: str = "127.0.0.1:7402"
    authority_fingerprint: Fingerprint
    limits: Limits = Limits()

    @property
    def address(self) -> str:
        """Where customers reach the bank."""
        return self.public_address or self.listen


def load(home: Path) -> BankConfig:
    """Read bank.toml; ConfigurationError names the file, the key and what to do."""
    path = home / FILE_NAME
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no bank in {home}. Make one with `bank init`, or name its folder with --home or BANK_HOME."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from None
    return _checked(values, path)


def _checked(values: dict[str, Any], path: Path) -> BankConfig:
    try:
        config = msgspec.convert(values, BankConfig)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{path}: {_explained(str(error))} docs/architecture.md lists the keys.") from None
    if not config.name.isprintable():
        raise ConfigurationError(f"{path}: name has characters that cannot be shown; type it again.")
    try:
        minor_digits(config.currency)
    except AmountError as error:
        raise ConfigurationError(f"{path}: currency: {error}") from None
    for key in ("listen", "public_address", "authority_address"):
        try:
            Address.parse(getattr(config, key) or config.listen)
        except ProtocolError as error:
            raise ConfigurationError(f"{path}: {key}: {error}") from None
    return config


def _explained(complaint: str) -> str:
    """msgspec's complaint as a sentence that names the key and says what to do."""
    text, _, place = complaint.partition(" - at `$")
    place = place.strip(".`")
    if named := re.fullmatch("Object (contains unknown|missing required) field `(.*)`", text, re.DOTALL):
        key = f"{place}.{named[2]}" if place else named[2]
        if named[1].startswith("missing"):
            return f"the key {key} is missing; add it."
        return f"the key {key!a} is not known; correct its spelling or remove the line."
    if place == "minimum_stage":
        return f"minimum_stage is not one of {', '.join(Stage)}; write one of them."
    return f"{place or 'the file'} is not as it must be ({text.replace('`', '')}); correct that value."


def save(home: Path, config: BankConfig) -> None:
    """Write bank.toml (mode 0600) whole or not at all; only values that differ from their defaults among the limits."""
    path = home / FILE_NAME
    _checked(msgspec.to_builtins(config), path)
    lines = ["# The bank's set-up. Restart `bank serve` after a change.", ""]
    for field in msgspec.structs.fields(BankConfig):
        value = getattr(config, field.name)
        if field.name != "limits" and value is not None:
            lines.append(f"{field.name} = {_literal(value)}")
    defaults = Limits()
    lines += ["", "[limits]"]
    for field in msgspec.structs.fields(Limits):
        value = getattr(config.limits, field.name)
        prefix = "# " if value == getattr(defaults, field.name) else ""
        lines.append(f"{prefix}{field.name} = {_literal(value)}")
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w") as file:
            temporary.chmod(0o600)
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None


def _literal(value: object) -> str:
    """A TOML value; JSON's string form is TOML's basic string."""
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    return msgspec.json.encode(str(value)).decode()
