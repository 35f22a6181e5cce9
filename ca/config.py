"""ca.toml says who the authority is, where its desk listens and what the desk bears; unknown keys are refused."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ca.documents import DOCUMENT_LIMIT_BYTES
from ca.errors import ConfigurationError
from protocol import settings
from protocol.errors import ProtocolError
from protocol.orders import Fingerprint
from protocol.transport import Address

CONFIGURATION_FILE = "ca.toml"
CRL_FILE = "revocations.crl"
"""Name of the revocation list in the published folder, and in the address that certificates give for it."""
DEFAULT_ADDRESS = "127.0.0.1:7402"

# What a certificate may give as an address, and so that the list's name still fits behind it.
PublishUrl = Annotated[str, Meta(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]{1,100}(/[A-Za-z0-9._~-]{1,20}){0,4}/?)?\Z")]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What the desk bears; every one of them may stand under ``[limits]`` in ca.toml.

    ``verifications`` is how many documents gpg looks at at once. Those a minute count for each IPv4 address or IPv6
    network; documents are what gpg has to look at. The others count what is kept or open.
    """

    document_bytes: Annotated[int, Meta(ge=4096, le=DOCUMENT_LIMIT_BYTES)] = DOCUMENT_LIMIT_BYTES
    connections: Count = 64
    connections_per_address: Count = 16
    questions_per_connection: Count = 64
    questions_per_minute: Count = 240
    documents_per_minute: Count = 60
    open_requests: Count = 1_000
    open_requests_per_address: Count = 50
    open_request_days: Count = 30
    notices: Count = 20_000
    notices_per_customer: Annotated[int, Meta(ge=1, le=32)] = 8
    verifications: Annotated[int, Meta(ge=1, le=64)] = 2
    idle_seconds: Count = 30
    frame_seconds: Count = 10


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    """``name`` of the authority, the ``fingerprint`` of its key, the ``address`` of its desk (host:port), limits.

    ``publish_url`` is where the folder that `ca publish` writes is served, "" for nowhere; ``overlap_days`` is how long
    a key that has vouched for a new one goes on counting.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    fingerprint: Fingerprint
    address: str = DEFAULT_ADDRESS
    publish_url: PublishUrl = ""
    overlap_days: Annotated[int, Meta(ge=1, le=30)] = 14
    limits: Limits = Limits()

    @property
    def desk(self) -> Address:
        """Where the desk listens."""
        return Address.parse(self.address)

    @property
    def crl_url(self) -> str | None:
        """Where the revocation list is published, as certificates say it; None where it is not."""
        return f"{self.publish_url.rstrip('/')}/{CRL_FILE}" if self.publish_url else None


def checked_publish_url(url: str) -> str:
    """``url``, if certificates can name it; else ConfigurationError."""
    try:
        return msgspec.convert(url, PublishUrl)
    except msgspec.ValidationError:
        raise ConfigurationError(
            f"{url[:100]!a} cannot stand in certificates; give an http or https address such as https://ca.example/pki"
        ) from None


def read_configuration(home: Path) -> Configuration:
    """The configuration of the authority in ``home``. Raises ConfigurationError naming the key and the file."""
    path = home / CONFIGURATION_FILE
    try:
        configuration = settings.read(path, Configuration)
    except settings.SettingsMissing:
        raise ConfigurationError(
            f"There is no certificate authority in {home}; make one with `ca init --name NAME`, or name its folder with"
            " --home."
        ) from None
    except settings.SettingsError as error:
        raise ConfigurationError(str(error)) from None
    try:
        Address.parse(configuration.address)
    except ProtocolError as error:
        raise ConfigurationError(f"{path}: the key address is wrong: {error}") from None
    return configuration


def write_configuration(home: Path, configuration: Configuration) -> None:
    """Write ca.toml for a new authority; the limits are left at their defaults and not written."""
    keys = ("name", "fingerprint", "address", *(("publish_url",) if configuration.publish_url else ()))
    lines = (
        "# The certificate authority. Limits of the desk may follow under [limits].\n",
        *(f"{key} = {settings.literal(getattr(configuration, key))}\n" for key in keys),
    )
    try:
        settings.write(home / CONFIGURATION_FILE, "".join(lines))
    except settings.SettingsError as error:
        raise ConfigurationError(str(error)) from None
