"""A home is private, says how GnuPG behaves in it, works under a long path, and leaves nothing running."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyring import home as home_module
from keyring.errors import HomeError
from keyring.home import Home, gnupg_version, require_gnupg
from keyring.process import agent_socket, run, run_tool
from tests.conftest import gnupg_processes_below
from tests.keyring.parties import succeeded

LONG = "a-folder-with-a-long-name-" * 6


@pytest.fixture(autouse=True)
def fresh_version() -> Iterator[None]:
    gnupg_version.cache_clear()
    yield
    gnupg_version.cache_clear()


def new_key(home: Home) -> str:
    made = succeeded(run(home, "--passphrase", "", "--quick-gen-key", "Alice (1001)", "ed25519", "sign", "0"))
    return made.status.partition(b"KEY_CREATED P ")[2][:40].decode()


def test_a_new_home_is_private_and_configured(short_tmp: Path) -> None:
    home = Home.create(short_tmp / "deep" / "home", own_keys=True)
    assert home.path.stat().st_mode & 0o777 == 0o700
    conf = (home.path / "gpg.conf").read_text().splitlines()
    for line in ("trust-model pgp", "max-cert-depth 1", "no-auto-key-retrieve", "disable-dirmngr", "weak-digest SHA1"):
        assert line in conf
    assert "no-autostart" not in conf
    assert Home.open(home.path) == home


def test_gpg_accepts_every_line_of_the_configuration(short_tmp: Path) -> None:
    for own_keys in (True, False):
        home = Home.create(short_tmp / str(own_keys), own_keys=own_keys)
        assert "conf" not in run(home, "--list-keys").log
        assert run_tool(home, "gpgconf", "--check-options", "gpg-agent").exit_code == 0


def test_no_agent_starts_in_a_home_without_own_keys(short_tmp: Path) -> None:
    home = Home.create(short_tmp / "home", own_keys=False)
    assert run(home, "--passphrase", "", "--quick-gen-key", "Alice (1001)", "ed25519", "sign", "0").exit_code != 0
    assert gnupg_processes_below(home.path) == ()


def test_a_folder_in_use_is_not_taken_over(short_tmp: Path) -> None:
    (short_tmp / "pubring.kbx").touch()
    with pytest.raises(HomeError, match="not empty"):
        Home.create(short_tmp, own_keys=True)


def test_a_folder_that_others_may_enter_is_refused_with_the_command_that_closes_it(short_tmp: Path) -> None:
    home = Home.create(short_tmp / "home", own_keys=True)
    home.path.chmod(0o750)
    with pytest.raises(HomeError, match=rf"chmod 700 '{home.path}'"):
        Home.open(home.path)
    home.path.chmod(0o700)
    assert Home.open(home.path) == home


def test_what_is_not_a_folder_is_refused(short_tmp: Path) -> None:
    with pytest.raises(HomeError, match="no folder"):
        Home.open(short_tmp / "missing")
    (short_tmp / "file").touch()
    with pytest.raises(HomeError, match="not a folder"):
        Home.open(short_tmp / "file")


def test_the_home_of_another_user_is_refused(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.create(short_tmp / "home", own_keys=True)
    monkeypatch.setattr(os, "getuid", lambda: home.path.stat().st_uid + 1)
    with pytest.raises(HomeError, match="another user"):
        Home.open(home.path)


def test_stopping_ends_the_agent_and_is_harmless_without_one(short_tmp: Path) -> None:
    home = Home.create(short_tmp / "home", own_keys=True)
    home.stop()
    new_key(home)
    assert gnupg_processes_below(home.path) != ()
    home.stop()
    home.stop()
    for process in gnupg_processes_below(home.path):
        process.wait(timeout=5)
    Home(short_tmp / "never made").stop()


def test_a_home_under_a_long_path_signs_and_leaves_nothing_behind(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    home = Home.create(short_tmp / LONG / "home", own_keys=True)
    assert len(str(home.path)) > 130
    fingerprint = new_key(home)
    assert run(home, "--local-user", fingerprint, "--sign", stdin=b"order").output
    (short,) = (short_tmp / f"cs-{os.getuid()}").iterdir()
    assert short.stat().st_mode & 0o777 == 0o700
    assert (short / "S.gpg-agent").is_socket()
    assert agent_socket(home) == home.path / "S.gpg-agent"
    home.stop()
    for process in gnupg_processes_below(home.path):
        process.wait(timeout=5)
    assert not short.exists()
    assert run(home, "--local-user", fingerprint, "--sign", stdin=b"order").output, "it starts again"
    home.stop()
    assert not short.exists()


def test_a_home_moved_under_a_long_path_has_a_socket_of_its_own(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    first = Home.create(short_tmp / LONG / "first", own_keys=True)
    told = (first.path / "S.gpg-agent").read_text()
    second = Home.open(first.path.rename(short_tmp / LONG / "second"))
    assert (second.path / "S.gpg-agent").read_text() != told


@pytest.mark.parametrize("laid", ["link", "open"])
def test_a_short_folder_laid_by_someone_else_is_refused(
    laid: str, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    place = short_tmp / f"cs-{os.getuid()}"
    if laid == "link":
        (short_tmp / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(short_tmp / "elsewhere")
    else:
        place.mkdir()
        place.chmod(0o777)
    with pytest.raises(HomeError, match="not a private folder of ours"):
        Home.create(short_tmp / LONG / "home", own_keys=True)
    short = Home.create(short_tmp / "home", own_keys=True)  # needs no such folder
    assert Home.open(short.path) == short


def test_without_any_short_folder_the_error_says_what_to_do(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "_holds_still", lambda root: False)
    with pytest.raises(HomeError, match="set TMPDIR to a short private folder"):
        Home.create(short_tmp / LONG / "home", own_keys=True)


def test_a_temporary_folder_where_others_can_rename_is_not_used(short_tmp: Path) -> None:
    assert home_module._holds_still(short_tmp)
    short_tmp.chmod(0o777)
    assert not home_module._holds_still(short_tmp)
    short_tmp.chmod(0o1777)
    assert home_module._holds_still(short_tmp)


def test_a_temporary_folder_that_is_long_itself_falls_back_to_tmp(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short_tmp / LONG).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp / LONG))
    home = Home.create(short_tmp / LONG / "home", own_keys=True)
    assert (home.path / "S.gpg-agent").read_text().startswith(f"%Assuan%\nsocket=/tmp/cs-{os.getuid()}/")
    home.stop()


def gpg_that_says(folder: Path, text: str) -> str:
    folder.mkdir()
    (folder / "gpg").write_text(f"#!/bin/sh\necho '{text}'\n")
    (folder / "gpg").chmod(0o700)
    return str(folder)


@pytest.mark.parametrize(
    ("text", "match"),
    [("gpg (GnuPG) 2.2.39", "2.2.39 is too old; install 2.2.40"), ("gpg (GnuPG) 1.4.23", "too old"), ("?", "version")],
)
def test_an_unsuitable_gnupg_is_named(text: str, match: str, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", gpg_that_says(short_tmp / "bin", text))
    with pytest.raises(HomeError, match=match):
        require_gnupg()


@pytest.mark.parametrize("text", ["gpg (GnuPG) 2.2.40", "gpg (GnuPG) 2.4.7-unknown", "gpg (GnuPG/MacGPG2) 2.3.0"])
def test_a_suitable_gnupg_is_taken(text: str, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", gpg_that_says(short_tmp / "bin", text))
    require_gnupg()
    assert gnupg_version() >= (2, 2, 40)


def test_a_missing_gnupg_is_named(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(short_tmp))
    with pytest.raises(HomeError, match="install GnuPG"):
        require_gnupg()
