"""Keys that are costly to make are made once for all tests of the keyring, and copied for each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyring import keys
from keyring.home import Home
from keyring.worker import Worker
from tests.keyring.cast import Cast
from tests.keyring.parties import certified, new_party, small_home
from tests.keyring.scene import PASSPHRASE, Party, Scene


@pytest.fixture(scope="session")
def scene_parties(make_short_tmp: Callable[[], Path]) -> Iterator[dict[str, Party]]:
    """The authority, another one, and Alice, each with its own home; no test changes these."""
    folder = make_short_tmp()
    homes = {name: Home.create(folder / name, own_keys=True) for name in ("ca", "other", "alice")}
    alice = keys.user_id("Alice", "1001")
    yield {
        "ca": Party(homes["ca"], keys.new_ca_key(homes["ca"], "Authority", PASSPHRASE), "Authority"),
        "other": Party(homes["other"], keys.new_ca_key(homes["other"], "Authority", PASSPHRASE), "Authority"),
        "alice": Party(homes["alice"], keys.new_customer_key(homes["alice"], alice, None), alice),
    }
    for home in homes.values():
        home.stop()


@pytest.fixture
def scene(short_tmp: Path, scene_parties: dict[str, Party]) -> Scene:
    return Scene(short_tmp, scene_parties)


@pytest.fixture(scope="module")
def cast(make_short_tmp: Callable[[], Path]) -> Iterator[Cast]:
    root = make_short_tmp()
    authority = new_party(root / "ca", "Authority", usage="cert")
    alice = new_party(root / "alice", "Alice (1001)")
    bob = new_party(root / "bob", "Bob (1002)")
    key = certified(authority, alice)
    late_subkey = alice.add_subkey("ed25519", "sign")
    judges = small_home(root / "judges", authority, key, alice.export(), bob.export())
    yield Cast(authority, alice, bob, late_subkey, judges)
    for party in (authority, alice, bob):
        party.home.stop()


@pytest.fixture
def worker(cast: Cast) -> Iterator[Worker]:
    with Worker(cast.judges) as one:
        yield one
