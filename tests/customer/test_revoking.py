"""A key is given up with the certificate that was moved away, and with nothing else."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from customer.cli import commands
from customer.progress import progress, revocation_folder
from keyring import process
from keyring.home import Home
from protocol.transport import Address
from tests.customer.desk import DeskStandIn, newcomer
from tests.customer.scene import Stand, Template


def revoke(home: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(commands, ["revoke", "--home", str(home), "--out", str(out), *more])


def validity(key: bytes, folder: Path) -> str:
    """How stock gpg lists the one key."""
    home = Home.create(folder, own_keys=False)
    process.run(home, "--import", stdin=key)
    (line,) = [
        line for line in process.run(home, "--with-colons", "--list-keys").output.split(b"\n") if line[:4] == b"pub:"
    ]
    return line.split(b":")[1].decode()


@pytest.mark.parametrize("lost", ["private key", "whole GnuPG home"])
def test_a_key_is_revoked_without_its_private_part(stand: Stand, short_tmp: Path, lost: str) -> None:
    with stand.customer() as home:
        folder, key = home.folder, home.key
    moved = short_tmp / "stick.rev"
    (revocation_folder(folder) / f"{key}.rev").rename(moved)
    shutil.rmtree(folder / "gnupg" / "private-keys-v1.d" if lost == "private key" else folder / "gnupg")
    out = short_tmp / "revoked.pgp"
    missing = revoke(folder, out)
    assert (missing.exit_code, "--certificate" in missing.output) == (2, True)
    done = revoke(folder, out, "--certificate", str(moved), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["tell_the_authority"] == "ca revoke 1001 --reason key-compromise"
    assert validity(out.read_bytes(), short_tmp / "look") == "r"
    assert "ca revoke 1001" in revoke(folder, out, "--certificate", str(moved)).output


def test_the_revoked_key_is_handed_in_at_the_desk_and_status_says_who_acts(
    desk: tuple[DeskStandIn, Address], bank_template: Template, short_tmp: Path
) -> None:
    stand_in, address = desk
    out = short_tmp / "revoked.pgp"
    with newcomer(bank_template, short_tmp / "alice", address) as home:
        done = revoke(home.folder, out, "--json")
        assert json.loads(done.output)["at_the_desk"] is True, done.output
        assert stand_in.given_up == [out.read_bytes()]
        assert "at the authority's desk" in revoke(home.folder, out).output
        said = progress(home).next
        assert (said.who, "ca revoke 1001" in said.what) == ("the authority, then you", True)


def test_without_a_desk_the_revoked_key_is_in_a_file_to_be_mailed(stand: Stand, short_tmp: Path) -> None:
    out = short_tmp / "revoked.pgp"
    with stand.customer() as home:
        done = revoke(home.folder, out)
    assert done.exit_code == 0, done.output
    assert "Mail the file" in done.output
    assert out.exists()


def test_another_certificate_revokes_nothing(stand: Stand, short_tmp: Path) -> None:
    with stand.customer() as home, stand.customer("bob") as other:
        (foreign,) = revocation_folder(other.folder).glob("*.rev")
        junk = short_tmp / "junk"
        junk.write_bytes(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        for wrong in (foreign, junk):
            outcome = revoke(home.folder, short_tmp / "out", "--certificate", str(wrong))
            assert (outcome.exit_code, "not a revocation certificate" in outcome.output) == (2, True)
    assert not (short_tmp / "out").exists()
