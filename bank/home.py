"""The bank's folder: GnuPG home, bank.toml, ledger, certificates; this module knows where each lies and opens it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Final

from bank import config as configuration
from bank.config import BankConfig
from bank.customers import Customers
from bank.errors import ConfigurationError
from bank.identities import Authority
from bank.places import Database, Place
from bank.posting import Posting
from bank.refusals import RefusalLimiter
from bank.storage import Ledger
from ca.messages import Certified
from keyring import keys, signature, subkeys
from keyring.colons import KeyPart
from keyring.home import Home, require_private
from keyring.verdict import Rejected, SignedByBank
from keyring.worker import open_once

LEDGER_FILE: Final = "ledger.sqlite"
LEDGER_ENVIRONMENT: Final = "BANK_LEDGER"


@dataclass(frozen=True)
class BankHome:
    """Where the bank's things lie. Opening one reads bank.toml only; the rest is opened when it is asked for."""

    path: Path
    config: BankConfig

    @classmethod
    def open(cls, path: Path) -> "BankHome":
        """The bank in a folder; ConfigurationError if there is none, HomeError if others may enter it."""
        config = configuration.load(path)
        require_private(path.resolve(), holds="accounts")
        return cls(path, config)

    @cached_property
    def gnupg(self) -> Home:
        """The home with the bank's secret keys."""
        return Home.open(self.path / "gnupg")

    @property
    def ledger_place(self) -> Place:
        """The database: where the environment says, else bank.toml, else a file in the folder."""
        url = os.environ.get(LEDGER_ENVIRONMENT) or self.config.ledger
        return Database(url, self.path) if url else self.path / LEDGER_FILE

    @property
    def certified_key_path(self) -> Path:
        """The bank's key as the CA certified it."""
        return self.path / "certificate.pgp"

    @property
    def certificate_path(self) -> Path:
        """The bank's X.509 certificate, DER."""
        return self.path / "certificate.crt"

    @property
    def authority_path(self) -> Path:
        """The CA's public key."""
        return self.path / "authority.pgp"

    @property
    def root_path(self) -> Path:
        """The CA's X.509 root certificate, DER."""
        return self.path / "authority.crt"

    @property
    def request_path(self) -> Path:
        """The newest request for a certificate."""
        return self.path / "request.pgp"

    @property
    def request_state_path(self) -> Path:
        """What the desk last said of that request."""
        return self.path / "request.state"

    def is_serving(self) -> bool:
        """Whether a server runs in this folder: it holds a lock for as long as it lives."""
        try:
            with self.lock_path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While the block lasts no server runs in this folder; ConfigurationError if one does."""
        with self.lock_path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(
                    f"Another `bank serve` is running in {self.path}; stop that one first."
                ) from None
            yield

    def release(self) -> None:
        """End the agent that a command has used, unless a server in this folder uses it too."""
        if not self.is_serving():
            self.gnupg.stop()

    @property
    def lock_path(self) -> Path:
        """What a server locks, so that there is one in this folder."""
        return self.path / "serve.lock"

    def open_ledger(self, *, upgrade: bool = True) -> Ledger:
        """The ledger; LedgerError if it is not this bank's, or Outgrown if it is older and not to be upgraded."""
        ledger = Ledger.open(self.ledger_place, upgrade=upgrade)
        for key, held in (("fingerprint", ledger.bank), ("currency", ledger.currency)):
            if held != (said := getattr(self.config, key)):
                ledger.close()
                raise ConfigurationError(
                    f"{self.path / configuration.FILE_NAME}: {key} is {said}, and that of the ledger {ledger} is "
                    f"{held}; correct the file, or put the right ledger back."
                )
        return ledger

    def open_posting(
        self,
        ledger: Ledger,
        signer: signature.HeadSigner,
        clock: Callable[[], float],
        refusals: RefusalLimiter | None = None,
    ) -> Posting:
        """The posting of this bank, which checks the newest head before it begins."""
        return Posting(
            ledger,
            signer,
            verify_head=self.verify,
            clock=clock,
            random=os.urandom,
            queue_limit=self.config.limits.queue,
            batch_limit=self.config.limits.batch,
            refusals=refusals,
        )

    def has_primary(self) -> bool:
        """Whether the bank's primary key itself is here; a server that was added has the subkeys only."""
        return subkeys.primary_is_here(self.gnupg, self.config.fingerprint)

    def require_primary(self, command: str) -> None:
        """ConfigurationError where only the subkeys are: what the primary key signs is signed elsewhere."""
        if not self.has_primary():
            raise ConfigurationError(
                f"This server has the bank's subkeys and not its primary key, which `{command}` signs with; run it "
                "where the primary key is, such as the folder that `bank init` made."
            )

    def signer(self) -> signature.HeadSigner:
        """What signs heads and receipts; close it after use."""
        return signature.HeadSigner.for_home(self.gnupg, self.config.fingerprint)

    def customers(self, ledger: Ledger) -> Customers:
        """The customers in a ledger."""
        return Customers(ledger)

    def public_key(self) -> bytes:
        """The bank's public key, with the CA's certification once it has been fetched."""
        if self.certified_key_path.exists():
            return self.certified_key_path.read_bytes()
        return keys.export_minimal(self.gnupg, self.config.fingerprint)

    def authority(self) -> Authority | None:
        """The CA's key and root, once they have been fetched."""
        if not (self.authority_path.exists() and self.root_path.exists()):
            return None
        return Authority(
            self.config.authority_fingerprint, self.authority_path.read_bytes(), self.root_path.read_bytes()
        )

    def certified(self) -> Certified | None:
        """The bank's own certificate in both forms, once it has been fetched."""
        if not (self.certified_key_path.exists() and self.certificate_path.exists()):
            return None
        return Certified(certificate=self.certificate_path.read_bytes(), key=self.certified_key_path.read_bytes())

    @cached_property
    def signing_subkeys(self) -> frozenset[str]:
        """Fingerprints of the bank's signing subkeys."""
        key = keys.public_key(self.gnupg, self.config.fingerprint)
        return frozenset(part.fingerprint for part in key.subkeys if _signs(part))

    def verify(self, message: bytes) -> bytes | None:
        """The content of a message that this bank signed, else None."""
        expected = SignedByBank(self.config.fingerprint, self.signing_subkeys, certified=False)
        # The bank believes itself whatever its clock says: one that was ahead for a while has dated some of them so.
        opened = open_once(self.gnupg, message, expected, clock=lambda: inf)
        return None if isinstance(opened, Rejected) else opened.content


def _signs(part: KeyPart) -> bool:
    return "s" in part.capabilities
