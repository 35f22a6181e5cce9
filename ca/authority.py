"""The authority is its folder: configuration, key, decisions, and the desk's database, which it does not believe."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ca import bridge, lists
from ca.bridge import AgentKey, Root
from ca.config import CONFIGURATION_FILE, Configuration, checked_publish_url, read_configuration, write_configuration
from ca.decisions import AuthorityStore, Certificate
from ca.documents import BANK
from ca.errors import ConfigurationError, RequestError
from ca.messages import AuthorityKey, State
from ca.requests import IDENTIFIER_DIGITS, Request, claimed_request, open_request
from ca.store import DeskStore, Filed
from keyring import keys, unfinished
from keyring.home import Home, require_private
from protocol.secret import Secret
from protocol.transport import Address

KEYS_FOLDER = "gnupg"
DESK_FILE, DECISIONS_FILE = "desk.sqlite", "ca.sqlite"
SHORTEST_PREFIX = 4
ROOT_SECONDS: Final = 3652 * 86_400
"""Ten years."""


@dataclass(frozen=True)
class Signing:
    """The authority's private key at work: in its home for OpenPGP, as ``key`` of the ``root`` for X.509."""

    home: Home
    key: AgentKey
    root: Root


@dataclass(frozen=True)
class Authority:
    """An authority that is ready: it has a key, and both databases are open."""

    path: Path
    configuration: Configuration
    desk: DeskStore
    decisions: AuthorityStore

    @staticmethod
    def require_new(path: Path, *, name: str, address: str, publish_url: str = "") -> str:
        """The user ID of an authority that can be made there; ConfigurationError and others say why it cannot."""
        Address.parse(address)
        checked_publish_url(publish_url)
        if (path / CONFIGURATION_FILE).exists():
            raise ConfigurationError(f"There is an authority in {path} already; name another folder with --home.")
        return keys.user_id(name, "CA")

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        name: str,
        address: str,
        passphrase: Secret,
        clock: Callable[[], float],
        publish_url: str = "",
    ) -> "Authority":
        """Make the key, its root certificate and first revocation list, and the folder around them.

        ``clock`` gives unix seconds. A failure leaves nothing behind, and after an interruption that left something the
        next call begins anew. Raises ConfigurationError.
        """
        user_id = cls.require_new(path, name=name, address=address, publish_url=publish_url)
        try:
            if not unfinished.is_free(path):
                raise ConfigurationError(f"The folder {path} is not empty; name a new one with --home.")
            unfinished.begin(path, (KEYS_FOLDER, DESK_FILE, DECISIONS_FILE))
        except OSError as error:
            raise ConfigurationError(f"The folder {path} cannot be made: {error.strerror}.") from None
        try:
            home = Home.create(path / KEYS_FOLDER, own_keys=True)
            try:
                fingerprint = keys.new_ca_key(home, user_id, passphrase)
                authority = cls(
                    path,
                    Configuration(name, fingerprint, address, publish_url),
                    DeskStore.create(path / DESK_FILE),
                    AuthorityStore.create(path / DECISIONS_FILE),
                )
                authority._begin(passphrase, int(clock()))
            finally:
                home.stop()  # or the agent would remember the passphrase
            write_configuration(path, authority.configuration)
            unfinished.finish(path)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return authority

    @classmethod
    def open(cls, path: Path) -> "Authority":
        """The authority in ``path``. Raises ConfigurationError, HomeError or StoreError."""
        configuration = read_configuration(path)
        require_private(path.resolve(), holds="decisions")
        desk = DeskStore.open(path / DESK_FILE)
        try:
            return cls(path, configuration, desk, AuthorityStore.open(path / DECISIONS_FILE))
        except BaseException:
            desk.close()
            raise

    def close(self) -> None:
        """Close the databases."""
        self.desk.close()
        self.decisions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def home(self) -> Home:
        """The GnuPG home with the authority's private key."""
        return Home.open(self.path / KEYS_FOLDER)

    @contextmanager
    def signing(self, passphrase: Secret) -> Iterator[Signing]:
        """The private key for as long as it is needed; its agent is ended then, and with it the passphrase."""
        home, fingerprint = self.home(), self.configuration.fingerprint
        try:
            with bridge.agent_key(home, fingerprint, passphrase) as key:
                yield Signing(home, key, bridge.open_root(self.decisions.root(), fingerprint))
        finally:
            home.stop()

    def public(self) -> AuthorityKey:
        """The authority's public key and root, from its own records."""
        return AuthorityKey(
            key=keys.export_minimal(self.home(), self.configuration.fingerprint), root=self.decisions.root()
        )

    def _begin(self, passphrase: Secret, at: int) -> None:
        configuration = self.configuration
        with bridge.agent_key(self.home(), configuration.fingerprint, passphrase) as key:
            # From the second in which the key was made, before which none of its certificates begins.
            root = bridge.make_root(key, name=configuration.name, not_before=key.created, not_after=at + ROOT_SECONDS)
            self.decisions.put_root(root)
            opened = bridge.open_root(root, configuration.fingerprint)
            first = lists.issue_list(self.decisions, key, opened, days=lists.DEFAULT_DAYS, at=at)
        self.desk.put_authority(self.public())
        self.desk.put_revocations(first.crl)

    def bank_keys(self, now: int) -> tuple[bytes, ...]:
        """The keys that this authority has certified for the role bank, by certificates that count."""
        return tuple(each.key for each in self.banks(now))

    def has_domain(self, request: Request, now: int) -> bool:
        """Whether a customer's request is for no mail address, or for one at a domain of a bank certified here."""
        content = request.content
        if content.role == BANK or not content.domain:
            return True
        return content.domain in {claimed_request(each.request).content.domain for each in self.banks(now)}

    def banks(self, now: int) -> tuple[Certificate, ...]:
        """The certificates for the role bank that count at ``now`` (unix seconds)."""
        return tuple(each for each in self.decisions.certificates() if each.role == BANK and each.is_live(now))

    def request(self, identifier: str) -> Request:
        """The verified request whose identifier is, or begins with, ``identifier``. Raises RequestError."""
        return self.believed(self.filed(identifier))

    def filed(self, identifier: str) -> Filed:
        """That request as the desk has it, unverified. Raises RequestError."""
        prefix = identifier.strip().lower()
        if len(prefix) < SHORTEST_PREFIX or not set(prefix) <= set("0123456789abcdef"):
            raise RequestError(
                f"{identifier[:40]!a} is not the identifier of a request; give {SHORTEST_PREFIX} to"
                f" {IDENTIFIER_DIGITS} of its hexadecimal digits, as `ca requests` shows them, or the customer number."
            )
        found = self.desk.requests_like(prefix)
        if not found:
            raise RequestError(
                f"There is no request {prefix} at the desk; `ca requests` lists what is there. One that waited for"
                f" {self.configuration.limits.open_request_days} days is forgotten: its applicant makes another."
            )
        if len(found) > 1:
            raise RequestError(f"{len(found)} requests begin with {prefix}; give more digits.")
        return found[0]

    def state(self, request: Request) -> State:
        """How far the request has come, by the authority's own records."""
        return self._state(request.digest, request.content.fingerprint, request.content.number)

    def tell(self, request: Request) -> None:
        """Have the desk say how far this request has come, and others of its key for its number, by the records."""
        whose = (request.content.fingerprint, request.content.number)
        others = {each.digest: each for each in self.desk.requests_of(whose[0]) if each.number == whose[1]}
        for digest in {request.digest, *others}:
            state, told = self._state(digest, *whose), others[digest].state if digest in others else None
            if state is not told and (state, told) != (State.WAITING, State.VOUCHED):
                self.desk.mark(digest, state)

    def _state(self, digest: str, fingerprint: str, number: str) -> State:
        if self.decisions.certificate(digest):
            return State.ISSUED
        if self.decisions.confirmation(digest):
            return State.CONFIRMED
        return State.WAITING if self.decisions.tries_left(fingerprint, number) else State.LOCKED

    def believed(self, filed: Filed) -> Request:
        """The request as its own signature tells it: the desk's word for what it is counts for nothing."""
        if claimed_request(filed.message).digest != filed.digest:
            raise RequestError(
                f"The request {filed.digest[:IDENTIFIER_DIGITS]} was altered at the desk after it had come in; nothing"
                " is certified on it. Look who has access to the desk, and have the applicant make a new request."
            )
        return open_request(filed.message)
