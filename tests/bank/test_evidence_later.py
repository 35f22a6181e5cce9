"""Evidence stands for ever: whatever becomes of keys, certificates and clocks after the booking."""

import os
import shutil
import time
from pathlib import Path

from bank.revocations import RevocationLists
from ca import bridge
from keyring.home import Home
from protocol import canonical, evidence
from protocol.codes import Status
from protocol.stages import Stage
from tests.bank.counter import at_counter
from tests.bank.evidence_run import Verify, accepted
from tests.bank.evidence_world import DAY
from tests.bank.town import Town, certified_by, make_leaf


def renewed_by(
    authority: Home, town: Town, home: Home, fingerprint: str, number: str, role: str
) -> tuple[bytes, bytes]:
    """Both forms of a renewal: the same key with dates that count for a year and more."""
    key = certified_by(authority, home, fingerprint, number, role, days=500)
    return key, make_leaf(authority, town.root, home, fingerprint, number, role)


def clocks_ahead(folder: Path, seconds: int) -> str:
    """A path on which stock gpg lives that much later, unless a command tells it a time; openssl is told one always."""
    folder.mkdir()
    gpg = folder / "gpg"
    later = int(time.time()) + seconds
    asked = f"echo >>{folder}/asked"
    gpg.write_text(f'#!/bin/sh\n{asked}\nexec {shutil.which("gpg")} --faked-system-time {later} "$@"\n')
    gpg.chmod(0o700)
    return f"{folder}:{os.environ['PATH']}"


def test_trial_47_evidence_stands_a_year_later_after_renewal_and_revocation_of_both_parties(
    town: Town, verify: Verify, short_tmp: Path
) -> None:
    """All that can come after an order: the folder of the time, and those that the bank gives out a year later."""
    shutil.copytree(town.authority.path, short_tmp / "ca", ignore=shutil.ignore_patterns("S.*", "*.lock"))
    authority, year = Home.open(short_tmp / "ca"), 365 * DAY
    with at_counter(town, short_tmp) as counter:
        home, dossier = counter.home, counter.server.service.dossier
        with counter.session(town.alice, Stage.CERTIFIED) as talk:
            assert talk.pay("paid").status is Status.SETTLED
        then = dossier.files("1001", "paid")
        own = home.certificate_path.read_bytes()
        try:
            key, leaf = renewed_by(authority, town, town.alice.home, town.alice.fingerprint, "1001", "customer")
            bank = renewed_by(authority, town, home.gnupg, town.bank_fingerprint, "0000", "bank")
        finally:
            authority.stop()
        home.certified_key_path.write_bytes(bank[0])
        home.certificate_path.write_bytes(bank[1])
        with counter.session(town.alice, Stage.CERTIFIED, key=key, certificate_der=leaf) as talk:
            renewed = talk.pay("renewed", certificate=canonical.digest(leaf))
            assert renewed.status is Status.SETTLED
        revocations = town.crl(2, town.alice.certificate, leaf, own, bank[1])
        lists = RevocationLists(counter.ledger, bridge.open_root(town.root, town.authority_fingerprint))
        assert lists.take(revocations, int(counter.clock()))
        counter.clock.ahead = year
        later = [dossier.files("1001", identifier) for identifier in ("paid", "renewed")]
    folders = [then, *later]
    assert all(files is not None for files in folders)
    assert later[0] is not None
    assert later[0][evidence.CUSTOMER_CERTIFICATE] == town.alice.certificate
    assert later[0][evidence.REVOCATIONS] != revocations
    known = {"AUTHORITY": town.authority_fingerprint, "PATH": clocks_ahead(short_tmp / "later", year + DAY)}
    for files in folders:
        assert files is not None
        run = verify(files, **known)
        assert accepted(files, run), run.output
    assert (short_tmp / "later" / "asked").stat().st_size > 3 * 10
    # The same a year later with the list of today, and with the bank's key as it was certified for a month only.
    assert then is not None
    for name, data in ((evidence.REVOCATIONS, revocations), (evidence.BANK_KEY, then[evidence.BANK_KEY])):
        changed = {**later[0], name: data}
        assert not accepted(changed, verify(changed, **known))
