"""One customer's folder, opened: what the letter said, what is remembered, the own keys, and the world outside."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from customer import config as configuration
from customer.config import Config
from customer.errors import CustomerError, NotReady
from customer.store import Fact, Store
from customer.wire import Watch, unwatched
from keyring.home import Home, require_private
from protocol.secret import Secret

KEYS_FOLDER: Final = "gnupg"
KEYLESS_FOLDER: Final = "views/keyless"


def _untold(sentence: str) -> None:
    """Nobody listens."""


def _no_password() -> Secret:
    raise NotReady("The stage password needs the agreed password; name the bank's letter with --letter FILE.")


@dataclass(frozen=True)
class World:
    """What is outside the program: time (Unix seconds), randomness, waiting, whoever watches the wire, and the person.

    ``tell`` gets a sentence that the person must see whatever was asked for.
    """

    clock: Callable[[], float] = time.time
    random: Callable[[int], bytes] = os.urandom
    sleep: Callable[[float], None] = time.sleep
    watch: Watch = unwatched
    tell: Callable[[str], None] = _untold


@dataclass(frozen=True)
class Secrets:
    """The own key's passphrase (None: the agent knows it or asks), and how to get the agreed password."""

    passphrase: Secret | None = None
    password: Callable[[], Secret] = _no_password


@dataclass(frozen=True)
class CustomerHome:
    """A customer's folder with its database open; close it."""

    folder: Path
    config: Config
    store: Store
    world: World = field(default_factory=World)
    secrets: Secrets = field(default_factory=Secrets)

    @classmethod
    def open(cls, folder: Path, world: World | None = None, secrets: Secrets | None = None) -> "CustomerHome":
        """The customer in ``folder``. Raises ConfigError, HomeError or StoreError, which name the next step."""
        config = configuration.read(folder)
        require_private(folder.resolve(), holds="transfers")
        return cls(folder, config, Store.open(folder), world or World(), secrets or Secrets())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()

    @property
    def number(self) -> str:
        """The customer number."""
        return self.config.customer.number

    @property
    def key(self) -> str:
        """The fingerprint of the own key in use: the one that `init` made, or the newest that took over from it.

        Raises NotReady before it is made.
        """
        found = self.store.text(Fact.KEY) or self.config.customer.key
        if not found:
            raise NotReady("There is no key yet; repeat `customer init`.")
        return found

    @property
    def own_keys(self) -> frozenset[str]:
        """The fingerprints of all keys that are or were in use here."""
        return self.store.certified_keys() | {self.config.customer.key, self.key}

    @property
    def registered_key(self) -> str:
        """The fingerprint of the key that the bank knows in the stages below certified, as far as is known here."""
        return self.store.text(Fact.REGISTERED_KEY) or self.key

    @property
    def keys(self) -> Home:
        """The GnuPG home with the own key."""
        return Home.open(self.folder / KEYS_FOLDER)

    @property
    def keyless(self) -> Home:
        """A GnuPG home without any secret key, for messages under the password."""
        return gnupg_home(self.folder / KEYLESS_FOLDER, own_keys=False)


def gnupg_home(path: Path, *, own_keys: bool) -> Home:
    """The GnuPG home at ``path``; where there is none it is made, whole or not at all. Raises HomeError."""
    if not path.exists():
        new = path.with_name(f"{path.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        Home.create(new, own_keys=own_keys).stop()
        new.rename(path)
    return Home.open(path)


def make_folder(folder: Path) -> None:
    """The folder of a customer, closed to others. Raises CustomerError; a folder with other things is left as it is."""
    ours = {KEYS_FOLDER, f"{KEYS_FOLDER}.new", f".{configuration.FILE_NAME}.new"}  # of an init that was interrupted
    try:
        if folder.is_dir() and not (folder / configuration.FILE_NAME).exists():
            others = sorted({each.name for each in folder.iterdir()} - ours)
            if others:
                raise CustomerError(
                    f"The folder {folder} holds other things already ({others[0]!a}); name a new one with --home."
                )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise CustomerError(
            f"The folder {folder} cannot be made ({error.strerror}); name another with --home."
        ) from None
