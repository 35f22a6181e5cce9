"""A customer changes the key while banking goes on: what is under way goes through, what was done stays provable."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from customer import config
from tests.system.programs import Serving, run_here
from tests.system.test_evidence_cli import verify
from tests.system.town import Person, Stand


@contextmanager
def desk_of_ones_own(stand: Stand, *people: Person) -> Iterator[Path]:
    """A copy of the town's authority with a desk, which these people ask from now on; the folder of the authority."""
    folder = stand.folder / "ca"
    shutil.copytree(stand.town.ca, folder, ignore=shutil.ignore_patterns("S.*"))
    desk = Serving("ca", "--home", folder, "--listen", "127.0.0.1:0", log=stand.folder / "ca.log")
    try:
        address = desk.first_line.split()[-1]
        for person in people:
            found = config.read(person.home)
            authority = msgspec.structs.replace(found.authority, address=address)
            config.write(person.home, msgspec.structs.replace(found, authority=authority))
        yield folder
    finally:
        desk.terminate()


def issue(stand: Stand, folder: Path, request: str) -> None:
    given = ("--home", folder, "--passphrase-file", stand.town.passphrase, "--operator", "operator")
    run_here("ca", "issue", request, *given)


def status(person: Person) -> tuple[str, str]:
    """Who acts next, and with which command."""
    then = person.here("status", "--json").json()["next"]
    return then["who"], then["command"]


def test_trial_13_retries_and_evidence_survive_a_change_of_the_key(stand: Stand) -> None:
    alice = stand.person("alice")
    first = alice.here("fingerprint", "--json").json()["fingerprint"]
    alice.send_here("--id", "before")
    entries = stand.entries()
    with desk_of_ones_own(stand, alice) as authority:
        made = alice.here("renew", "--new-key", "--no-passphrase", "--json").json()
        again = alice.here("renew", "--new-key", "--no-passphrase", "--json").json()
        assert again == made  # repeated, it goes on with the same key and request
        assert made["state"] == "vouched"
        assert status(alice) == ("the authority, then you", "customer fetch")
        assert "Your new key is not in use yet" in alice.here("fetch").out
        assert alice.here("fingerprint", "--json").json()["fingerprint"] == first
        stand.kill()
        alice.send_here("--id", "on-the-way", code=2)  # written down under the present key, and not sent
        mark_in_doubt(alice, "on-the-way")
        issue(stand, authority, made["request"])
        fetched = alice.here("fetch", "--json").json()
        assert fetched["new_key"] == made["fingerprint"] == alice.here("fingerprint", "--json").json()["fingerprint"]
        stand.start()
        # The bytes of that time, under the certificate of that time.
        (resumed,) = alice.resume()
        assert (resumed["transfer_identifier"], resumed["status"]) == ("on-the-way", "posted")
        alice.send_here("--id", "after")
        assert "before" in alice.send_here("--id", "before").out  # the same entry, proved against a current head
        assert [each.transfer_identifier for each in stand.entries() if each not in entries] in (
            ["after", "on-the-way"],
            ["on-the-way", "after"],
        )
        assert stand.balance("1002") == 1000_00 + 3 * 25_00
        stand.require_order()
        for identifier, key in (("before", first), ("on-the-way", first), ("after", made["fingerprint"])):
            folder = stand.folder / f"evidence-{identifier}"
            alice.here("evidence", identifier, "--out", folder)
            outside = (stand.town.authority, stand.town.letter("alice").bank_fingerprint, key)
            done = verify(folder, *outside)
            assert done.returncode == 0, done.stdout + done.stderr
        assert status(alice)[1].startswith("customer send")


def mark_in_doubt(person: Person, identifier: str) -> None:
    """As if the program had been killed while it sent."""
    from customer.store import State

    with person.opened() as home:
        home.store.mark(identifier, State.UNKNOWN)
