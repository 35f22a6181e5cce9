"""A revocation list with tens of thousands of entries reaches everybody, and still stops whom it names."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec

from bank import config as bank_configuration
from customer import config
from tests.system.programs import Serving, run_here
from tests.system.test_evidence_cli import verify
from tests.system.town import Stand

ENTRIES = 30_000
"""A list of 1.5 MB: more than a frame inside a session takes."""


@contextmanager
def long_list(stand: Stand) -> Iterator[None]:
    """A copy of the authority that has revoked very many certificates, at a desk that bank and Alice ask."""
    ca = stand.folder / "ca"
    shutil.copytree(stand.town.ca, ca, ignore=shutil.ignore_patterns("S.*"))
    now = int(time.time())
    with closing(sqlite3.connect(ca / "ca.sqlite")) as database, database:
        database.executemany(
            "INSERT INTO certificates VALUES (?, ?, ?, 'customer', 'Some One', ?, ?, ?, x'', x'', x'', '', ?,"
            " 'superseded', '', 'operator')",
            (
                (f"7{number:039x}", f"{number:064x}", str(10**9 + number), f"{number:040X}", now, now + 9999, now)
                for number in range(ENTRIES)
            ),
        )
    run_here("ca", "crl", "--home", ca, "--passphrase-file", stand.town.passphrase)
    desk = Serving("ca", "--home", ca, "--listen", "127.0.0.1:0", log=stand.folder / "desk.log")
    try:
        address = desk.first_line.split()[-1]
        found = bank_configuration.load(stand.home)
        bank_configuration.save(stand.home, msgspec.structs.replace(found, authority_address=address))
        home = stand.person("alice").home
        kept = config.read(home)
        config.write(
            home,
            msgspec.structs.replace(kept, authority=msgspec.structs.replace(kept.authority, address=address)),
        )
        yield
        run_here("ca", "revoke", "1001", "--home", ca, "--reason", "superseded", "--operator", "operator",
                 "--passphrase-file", stand.town.passphrase)  # fmt: skip
        stand.bank("fetch")
    finally:
        desk.terminate()


def test_trial_50_a_list_of_thirty_thousand_is_taken_by_bank_and_customer_and_still_stops_one(stand: Stand) -> None:
    alice, folder = stand.person("alice"), stand.folder / "evidence"
    before = alice.here("status", "--json").json()
    assert before["customer"] == "1001"
    with long_list(stand):
        assert "revocation list is number 2" in stand.bank("fetch").out
        assert alice.here("fetch", "--json").json()["revocation_list"] == 2
        alice.send_here("--id", "rent")
        # Evidence carries the whole list.
        alice.run("evidence", "rent", "--out", folder)
        assert (folder / "revocations.crl").stat().st_size > 2**20
        own = alice.here("fingerprint", "--json").json()["fingerprint"]
        done = verify(folder, stand.town.authority, stand.town.letter("alice").bank_fingerprint, own)
        assert done.returncode == 0, done.stdout + done.stderr
    refused = alice.here("send", *alice.transfer(), "--id", "after", code=2)
    assert "DS0C" in refused.err
