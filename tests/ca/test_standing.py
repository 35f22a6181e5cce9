"""The authority's state names what is due first, with the command, and what is published works without us."""

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ca import ceremony, dropping, issuing, revoking
from ca.authority import Authority
from ca.errors import ConfigurationError
from ca.publishing import publish
from ca.standing import standing
from keyring.home import Home
from tests.ca.cast import PASSPHRASE, Cast, confirm, file, issue, issued_to

DAY = 86_400


def test_status_counts_and_says_that_nothing_is_due(settled: Authority) -> None:
    found = standing(settled, int(time.time()))
    assert found.certificates == {"valid": 2}
    assert found.requests == {}
    assert (found.crl_number, found.crl_days_left in (29, 30)) == (1, True)
    assert found.expires_next.startswith("bank 0000, ")
    assert found.warnings == ()
    assert "nothing" in found.next_step


def test_status_names_the_request_that_is_next(settled: Authority, cast: Cast) -> None:
    now = int(time.time())
    identifier = file(settled, cast.bob.request())
    assert standing(settled, now).next_step == f"ca confirm {identifier}"
    confirm(settled, identifier, cast.bob.words)
    found = standing(settled, now)
    assert (found.requests, found.next_step) == ({"confirmed": 1}, f"ca issue {identifier}")
    issue(settled, identifier)
    assert "nothing" in standing(settled, int(time.time())).next_step


def test_status_names_what_reopens_a_locked_request(settled: Authority, cast: Cast) -> None:
    now, identifier = int(time.time()), file(settled, cast.bob.request())
    for _ in range(3):
        confirm(settled, identifier, cast.alice.words)
    found = standing(settled, now)
    assert (found.requests, found.next_step) == ({"locked": 1}, f'ca reopen {identifier} --reason "…"')
    assert f"`ca reopen {identifier}" in found.warnings[0]
    assert f"`ca drop {identifier}" in found.warnings[0]
    other = file(settled, cast.impostor.request())
    assert standing(settled, now).next_step == f"ca confirm {other}", "others do not wait for it"
    dropping.drop_request(settled, settled.filed(other), reason="not ours", operator="operator", clock=time.time)
    ceremony.reopen(settled, identifier, reason="the line was bad", operator="operator", clock=time.time)
    found = standing(settled, now)
    assert (found.next_step, found.warnings) == (f"ca confirm {identifier}", ())


@pytest.mark.parametrize(
    ("days", "warned"), [(22, ""), (23, "is good until"), (29, "is good until"), (31, "orders are refused until")]
)
def test_status_warns_a_week_before_the_list_runs_out(settled: Authority, days: int, warned: str) -> None:
    first = settled.decisions.newest_list()
    assert first
    found = standing(settled, first.at + days * DAY + 1)
    assert len(found.warnings) == bool(warned)
    assert all(warned in each and "`ca crl`" in each for each in found.warnings)
    assert (found.next_step == "ca crl") == bool(warned)


def test_status_names_what_expires_soon_until_it_is_renewed(settled: Authority, cast: Cast) -> None:
    newest, alice = settled.decisions.newest_list(), issued_to(settled, cast.alice)
    assert newest
    later = replace(newest, number=9, next_update=alice.expires + 90 * DAY)
    settled.decisions.add_list(later)
    soon = alice.expires - 13 * DAY
    found = standing(settled, soon)
    assert found.certificates == {"expires soon": 2}
    assert found.next_step == "ca renew 0000"
    assert any("ca renew 1001" in each for each in found.warnings)
    issuing.renew(settled, alice, days=400, passphrase=PASSPHRASE, clock=time.time)
    assert not any("1001" in each for each in standing(settled, soon).warnings)


def test_status_sees_that_the_desk_lacks_the_newest_list(settled: Authority) -> None:
    old = settled.desk.revocations()
    revoking.issue_list(settled, days=30, passphrase=PASSPHRASE, clock=time.time)
    assert standing(settled, int(time.time())).warnings == ()
    settled.desk.put_revocations(old)
    assert standing(settled, int(time.time())).next_step == "ca crl"


def test_published_folder_serves_openssl_and_gpg(settled: Authority, cast: Cast, short_tmp: Path) -> None:
    folder = short_tmp / "public"
    alice = issued_to(settled, cast.alice)
    mask = os.umask(0o077)  # as the program sets it
    try:
        names = publish(settled, folder, int(time.time())).names
    finally:
        os.umask(mask)
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(names) == written
    assert f"keys/{cast.alice.fingerprint}.pgp" in names
    assert all(path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644) for path in folder.rglob("*"))
    # The commands of the note, as somebody types them who has nothing of ours.
    commands = [line.strip() for line in (folder / "README.txt").read_text().splitlines() if line.startswith("  ")]
    home = Home.create(short_tmp / "gpg", own_keys=False)
    try:
        for command in commands[1:]:
            ready = command.replace("FINGERPRINT", cast.alice.fingerprint).replace("SERIAL", alice.serial)
            ready = ready.replace("gpg ", f"gpg --homedir {home.path} --batch ", 1)
            outcome = subprocess.run(ready.split(), cwd=folder, capture_output=True, text=True, check=False)
            assert outcome.returncode == 0, (ready, outcome.stderr)
            if "--check-sigs" in ready:
                assert "Authority (CA)" in outcome.stdout
    finally:
        home.stop()


def test_publishing_again_takes_away_what_expired_and_nothing_of_others(
    settled: Authority, cast: Cast, short_tmp: Path
) -> None:
    folder = short_tmp / "public"
    publish(settled, folder, int(time.time()))
    (folder / "keys" / "index.html").write_text("mine")
    alice = issued_to(settled, cast.alice)
    revoking.revoke(settled, alice, reason="superseded", operator="operator", passphrase=PASSPHRASE, clock=time.time)
    publish(settled, folder, int(time.time()))
    key = folder / "keys" / f"{cast.alice.fingerprint}.pgp"
    assert key.read_bytes() == issued_to(settled, cast.alice).key != alice.key
    assert (folder / "revocations.crl").read_bytes() == settled.desk.revocations()
    publish(settled, folder, alice.expires + 1)
    assert not key.exists()
    assert not (folder / "certificates" / f"{alice.serial}.crt").exists()
    assert (folder / "keys" / "index.html").exists()


def test_folder_that_cannot_be_written_is_said(settled: Authority, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="ca publish DIR"):
        publish(settled, tmp_path / "file", int(time.time()))
