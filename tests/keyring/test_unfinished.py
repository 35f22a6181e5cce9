"""An init that was interrupted is begun anew, also while what it started has not quite ended."""

import shutil
from pathlib import Path

import pytest

from keyring import unfinished


@pytest.fixture
def interrupted(short_tmp: Path) -> Path:
    """A folder in which an init was interrupted."""
    folder = short_tmp / "party"
    (folder / "gnupg").mkdir(parents=True, mode=0o700)
    (folder / "gnupg" / "pubring.db").touch()
    (folder / unfinished.MARK).touch()
    return folder


def test_gpg_that_clears_up_while_its_home_is_removed_is_no_error(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree
    calls: list[Path] = []

    def disturbed(path: Path) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise FileNotFoundError(2, "No such file or directory", "gone meanwhile")
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", disturbed)
    unfinished.begin(interrupted, ("gnupg",))
    assert len(calls) == 2
    assert [each.name for each in interrupted.iterdir()] == [unfinished.MARK]


def test_home_that_cannot_be_removed_is_an_error(interrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(unfinished, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(shutil, "rmtree", refused)
    with pytest.raises(PermissionError):
        unfinished.begin(interrupted, ("gnupg",))
