"""Alice, Bob and a certificate authority in throw-away homes, made once for the tests of the engine."""

from dataclasses import dataclass
from pathlib import Path

from keyring.home import Home
from keyring.process import Outcome, run

ALWAYS = 1_600_000_000  # a second in 2020, when the keys were made
DAY = 86_400


@dataclass(frozen=True)
class Party:
    """A home with one key (Ed25519 sign and certify, cv25519 encrypt), unprotected."""

    home: Home
    fingerprint: str

    def make(self, *arguments: str, content: bytes = b"", faked_time: int | None = None) -> bytes:
        """What gpg makes of ``content`` with these arguments, in this party's name."""
        outcome = run(
            self.home,
            "-z",
            "0",
            "--local-user",
            f"{self.fingerprint}!",
            *arguments,
            stdin=content,
            faked_time=faked_time,
        )
        return succeeded(outcome).output

    def export(self) -> bytes:
        return succeeded(run(self.home, "--export", self.fingerprint)).output

    def add_subkey(self, algorithm: str, usage: str, expires: str = "0", faked_time: int | None = None) -> str:
        """The new subkey's fingerprint."""
        arguments = ("--passphrase", "", "--quick-add-key", self.fingerprint, algorithm, usage, expires)
        succeeded(run(self.home, *arguments, faked_time=faked_time))
        listing = succeeded(run(self.home, "--with-colons", "--list-keys", self.fingerprint)).output.decode()
        return [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")][-1]


def new_party(path: Path, user_id: str, *, usage: str = "sign,cert", expires: str = "0") -> Party:
    """A key made in 2020, so that signatures by faked clocks fall into its life; ``expires`` as gpg takes it."""
    home = Home.create(path, own_keys=True)
    arguments = ("--passphrase", "", "--quick-gen-key", user_id, "ed25519", usage, expires)
    made = succeeded(run(home, *arguments, faked_time=ALWAYS))
    party = Party(home, made.status.partition(b"KEY_CREATED P ")[2][:40].decode())
    if "sign" in usage:
        party.add_subkey("cv25519", "encr", faked_time=ALWAYS)
    return party


def certified(authority: Party, party: Party) -> bytes:
    """The party's key with the authority's certification."""
    succeeded(run(authority.home, "--import", stdin=party.export()))
    succeeded(run(authority.home, "--quick-sign-key", party.fingerprint))
    return succeeded(run(authority.home, "--export", party.fingerprint)).output


def small_home(path: Path, authority: Party, *keys: bytes) -> Home:
    """A home without secret keys, that trusts the authority and holds these keys."""
    home = Home.create(path, own_keys=False)
    for key in (authority.export(), *keys):
        succeeded(run(home, "--import", stdin=key))
    succeeded(run(home, "--import-ownertrust", stdin=f"{authority.fingerprint}:6:\n".encode()))
    succeeded(run(home, "--check-trustdb"))
    return home


def succeeded(outcome: Outcome) -> Outcome:
    assert outcome.exit_code == 0, outcome.log
    return outcome
