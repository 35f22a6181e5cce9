"""bank.toml says how the bank is set up; every limit has its name here, and an unknown key is an error."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from bank.errors import ConfigurationError
from bank.places import UNREADABLE, has_password, is_url
from protocol import settings
from protocol.errors import ProtocolError
from protocol.letter import Domain
from protocol.money import AmountError, minor_digits
from protocol.orders import Fingerprint
from protocol.stages import Stage
from protocol.transport import Address

FILE_NAME = "bank.toml"
METRICS_EXAMPLE = "127.0.0.1:9464"
"""Where an exporter of ours is looked for; written as a comment, so that it is switched on by taking away the mark."""

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bounds of the server; docs/configuration.md says what each protects."""

    connections: Count = 4096
    connections_per_address: Count = 1024
    """Of one IPv4 address or IPv6 network (/64): a quarter of all, so that it takes several to keep the others out."""
    handshake_seconds: Seconds = 10.0
    """Silence before a connection's first message and a session's first request; the first message may take as long."""
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
    password_messages_at_once: Count = 1
    """One, so that guessing leaves the other core of a small machine to everybody else."""
    wait_seconds: Seconds = 5.0
    """How long an opening or a password message waits for its turn before it is answered with busy."""
    active_customers: Count = 256
    """Small homes and gpg workers kept at once."""
    queue: Count = 1024
    """Orders between their arrival and their answer."""
    queue_per_customer: Count = 256
    batch: Count = 256
    refusals_per_minute: Count = 60
    """Logged refusals of one customer."""
    nonces: Count = 100_000
    """Password messages remembered, so that none is taken twice."""
    stop_grace_seconds: Seconds = 15.0
    revocation_seconds: Seconds = 60.0
    """How often the authority's desk is asked for its newest revocation list."""
    log_lines_per_minute: Count = 600
    """Lines of one event in the log of one process; the others are counted."""


class BankConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What bank.toml holds."""

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    fingerprint: Fingerprint
    listen: str = "127.0.0.1:7401"
    public_address: str | None = None
    """What letters name as the bank's address; ``listen`` if absent."""
    minimum_stage: Stage = Stage.CERTIFIED
    ledger: str = ""
    """The URL of the PostgreSQL database in which the ledger lies; a file in the bank's folder if empty."""
    domain: Domain = ""
    """Of the mail addresses in the customers' user IDs, by which a Web Key Directory finds their keys."""
    authority_address: str = "127.0.0.1:7402"
    authority_fingerprint: Fingerprint
    metrics: str = ""
    """Where `bank serve` shows /metrics and /health, on this machine only; "" for nowhere."""
    limits: Limits = Limits()

    @property
    def address(self) -> str:
        """Where customers reach the bank."""
        return self.public_address or self.listen


def load(home: Path) -> BankConfig:
    """Read bank.toml; ConfigurationError names the file, the key and what to do."""
    path = home / FILE_NAME
    try:
        config = settings.read(path, BankConfig)
    except settings.SettingsMissing:
        raise ConfigurationError(
            f"There is no bank in {home}. Make one with `bank init`, or name its folder with --home or BANK_HOME."
        ) from None
    except settings.SettingsError as error:
        raise ConfigurationError(f"{error} docs/configuration.md lists the keys.") from None
    _require_usable(config, path)
    return config


def _require_usable(config: BankConfig, path: Path) -> None:
    """What the types alone do not say."""
    if not config.name.isprintable():
        raise ConfigurationError(f"{path}: name has characters that cannot be shown; type it again.")
    try:
        minor_digits(config.currency)
    except AmountError as error:
        raise ConfigurationError(f"{path}: currency: {error}") from None
    if config.ledger and not is_url(config.ledger):
        raise ConfigurationError(f"{path}: ledger: {UNREADABLE}")
    if has_password(config.ledger) and path.exists() and path.stat().st_mode & 0o077:
        raise ConfigurationError(f"{path} holds a password and others may read it; run: chmod 600 {path}")
    for key in ("listen", "public_address", "authority_address", "metrics"):
        try:
            Address.parse(getattr(config, key) or config.listen)
        except ProtocolError as error:
            raise ConfigurationError(f"{path}: {key}: {error}") from None
    if config.metrics and not _is_this_machine(Address.parse(config.metrics).host):
        raise ConfigurationError(
            f"{path}: metrics: {config.metrics} can be reached from other machines; what is shown there is for the "
            f"operator alone. Write {METRICS_EXAMPLE}, and pass it on by a program that knows who asks."
        )


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def save(home: Path, config: BankConfig) -> None:
    """Write bank.toml (mode 0600) whole or not at all; limits that have their default value are commented out."""
    path = home / FILE_NAME
    _checked(config, path)
    lines = ["# The bank's set-up. Restart `bank serve` after a change.", ""]
    for field in msgspec.structs.fields(BankConfig):
        value = getattr(config, field.name)
        if field.name != "limits" and value not in (None, ""):
            lines.append(f"{field.name} = {settings.literal(value)}")
    if not config.metrics:
        lines.append(f"# metrics = {settings.literal(METRICS_EXAMPLE)}")
    defaults = Limits()
    lines += ["", "[limits]"]
    for field in msgspec.structs.fields(Limits):
        value = getattr(config.limits, field.name)
        prefix = "# " if value == getattr(defaults, field.name) else ""
        lines.append(f"{prefix}{field.name} = {settings.literal(value)}")
    try:
        settings.write(path, "\n".join(lines) + "\n")
    except settings.SettingsError as error:
        raise ConfigurationError(str(error)) from None


def set_ledger(home: Path, url: str) -> None:
    """Have bank.toml name the database of the ledger; everything else in it stays as the operator has written it."""
    path = home / FILE_NAME
    text = path.read_text("utf-8")
    line = f"ledger = {settings.literal(url)}\n"
    if re.search(r"^ledger\s*=", text, re.MULTILINE):
        text = re.sub(r"^ledger\s*=.*\n?", lambda _: line, text, count=1, flags=re.MULTILINE)
    else:
        text = re.sub(r"^(fingerprint\s*=.*\n)", lambda found: found[1] + line, text, count=1, flags=re.MULTILINE)
    expected = msgspec.structs.replace(load(home), ledger=url)
    try:
        settings.write(path, text)
    except settings.SettingsError as error:
        raise ConfigurationError(str(error)) from None
    if load(home) != expected:
        raise ConfigurationError(f"{path} could not be changed; write this line into it by hand: {line.strip()}")


def _checked(config: BankConfig, path: Path) -> None:
    """What is made here is held to the same rules as what is read."""
    try:
        msgspec.convert(msgspec.to_builtins(config), BankConfig)
    except msgspec.ValidationError as error:
        raise ConfigurationError(settings.explained(path, error)) from None
    _require_usable(config, path)
