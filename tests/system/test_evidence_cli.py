"""Customer and bank write the same kind of folder; whoever has it can check it with stock gpg against any change."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from protocol.evidence import INSTRUCTIONS, ORDER, ORDER_CONTENT, RECEIPT, commands
from protocol.stages import Stage
from tests.system.town import Stand

SECONDS = 60
OLD, NEW = b'"amount":"25.00"', b'"amount":"99.00"'


def verify(folder: Path, authority: str, bank: str, customer: str) -> subprocess.CompletedProcess[str]:
    """Carry out the folder's own commands, as somebody would who knows the fingerprints from elsewhere."""
    script = "\n".join(commands((folder / INSTRUCTIONS).read_text()))
    environment = {**os.environ, "AUTHORITY": authority, "BANK": bank, "CUSTOMER": customer}
    return subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def sums(folder: Path) -> dict[str, str]:
    """What sha256sum says of each file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


class Folders:
    """The evidence of one transfer, from the customer and from the bank."""

    def __init__(self, stand: Stand, stage: Stage) -> None:
        alice = stand.ready("alice", stage)
        alice.send_here("--id", "rent", stage=stage)
        self.customers, self.banks = stand.folder / "from-customer", stand.folder / "from-bank"
        chosen = ("--stage", stage.value, "--letter", alice.letter)
        alice.run("evidence", "rent", "--out", self.customers, *chosen)
        stand.bank("evidence", "rent", "--debtor", "1001", "--out", self.banks)
        own = alice.here("fingerprint", "--json").json()["fingerprint"]
        self.outside = (stand.town.authority, stand.town.letter("alice").bank_fingerprint, own)


@pytest.mark.parametrize("stage", list(Stage))
def test_customer_and_bank_write_the_same_kind_of_folder_and_stock_gpg_accepts_both(stand: Stand, stage: Stage) -> None:
    folders = Folders(stand, stage)
    ours, banks = sums(folders.customers), sums(folders.banks)
    assert ours.keys() == banks.keys()
    # A receipt is signed anew for each who asks, and the head is the newest; all else is the same to the byte.
    assert {name for name in ours if ours[name] != banks[name]} <= {RECEIPT, "head.pgp"}
    order = folders.customers / (ORDER if stage.orders_are_signed else ORDER_CONTENT)
    assert OLD in order.read_bytes()
    for folder in (folders.customers, folders.banks):
        done = verify(folder, *folders.outside)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("ok:") >= 3
    # The same folder, somebody else's fingerprints: what proves anything is outside of it.
    wrong = verify(folders.customers, *["0" * 40] * 3)
    assert wrong.returncode != 0


@pytest.mark.parametrize("stage", [Stage.SESSION, Stage.CERTIFIED])
def test_trial_47_no_file_of_the_folder_can_be_changed(stand: Stand, stage: Stage) -> None:
    folders = Folders(stand, stage)
    good, copy = sums(folders.customers), stand.folder / "tampered"
    for name in good:
        shutil.copytree(folders.customers, copy)
        path = copy / name
        data = path.read_bytes()
        middle = len(data) // 2
        changed = (
            data.replace(OLD, NEW) if OLD in data else data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        )
        assert changed != data
        path.write_bytes(changed)
        assert {each for each, found in sums(copy).items() if found != good[each]} == {name}
        if name != INSTRUCTIONS:  # which cannot judge itself; all folders of a kind have the same, so its sum is known
            done = verify(copy, *folders.outside)
            assert done.returncode != 0, f"{name}: {done.stdout}"
        shutil.rmtree(copy)
    # The honest twin: a copy that nobody touched.
    shutil.copytree(folders.customers, copy)
    assert verify(copy, *folders.outside).returncode == 0


def test_a_transfer_that_is_not_there_has_no_evidence(stand: Stand) -> None:
    alice, out = stand.person("alice"), stand.folder / "out"
    assert "customer outbox" in alice.run("evidence", "nothing", "--out", out, code=2).err
    assert "bank transfers" in stand.bank("evidence", "nothing", "--debtor", "1001", "--out", out, code=1).err
    assert not out.exists()
    alice.send_here("--id", "rent")
    out.mkdir()
    (out / "mine").touch()
    assert "not empty" in alice.run("evidence", "rent", "--out", out, code=2).err
    assert [path.name for path in out.iterdir()] == ["mine"]
