"""A key is given up with the certificate that was moved away, and with nothing else."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from customer.cli import commands
from customer.progress import revocation_folder
from keyring import process
from keyring.home import Home
from tests.customer.scene import Stand


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


def test_another_certificate_revokes_nothing(stand: Stand, short_tmp: Path) -> None:
    with stand.customer() as home, stand.customer("bob") as other:
        (foreign,) = revocation_folder(other.folder).glob("*.rev")
        junk = short_tmp / "junk"
        junk.write_bytes(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        for wrong in (foreign, junk):
            outcome = revoke(home.folder, short_tmp / "out", "--certificate", str(wrong))
            assert (outcome.exit_code, "not a revocation certificate" in outcome.output) == (2, True)
    assert not (short_tmp / "out").exists()
