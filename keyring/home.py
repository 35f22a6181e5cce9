"""A GnuPG home belongs to one user, is closed to all others, and says in its own files how GnuPG must behave in it."""

import hashlib
import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from keyring import process
from keyring.errors import EngineError, HomeError

OLDEST_GNUPG: Final = (2, 2, 40)
SOCKET_PATH_LIMIT_BYTES: Final = 100  # sun_path has 108 bytes on Linux, 104 on other systems
STOP_TIMEOUT_SECONDS: Final = 5.0

# gpg-agent refuses to start if either name is too long; the extra and browser sockets are switched off.
_SOCKETS: Final = ("S.gpg-agent", "S.gpg-agent.ssh")
_LONGEST_SOCKET: Final = "S.gpg-agent.browser"

_GPG_CONF: Final = """\
# Written by Countersign; GnuPG in this home behaves as written here.
no-greeting
no-emit-version
no-comments
charset utf-8
# Only the certificate authority's key vouches for others, and nobody vouches through a third.
trust-model pgp
max-cert-depth 1
# Trust is checked when a home is made, never in passing.
no-auto-check-trustdb
# Nothing is fetched from anywhere.
no-auto-key-retrieve
no-auto-key-locate
disable-dirmngr
weak-digest SHA1
cert-digest-algo SHA256
personal-digest-preferences SHA256 SHA384 SHA512
personal-cipher-preferences AES256 AES192 AES
personal-compress-preferences Uncompressed
default-preference-list SHA256 SHA384 SHA512 AES256 AES192 AES Uncompressed
"""
_NO_OWN_KEYS: Final = """\
# No secret key lives here, so no agent is ever needed.
no-autostart
"""
_AGENT_CONF: Final = """\
# Written by Countersign.
# Many clients at once exhaust the fixed secure memory ("Cannot allocate memory").
auto-expand-secmem
extra-socket none
browser-socket none
disable-scdaemon
default-cache-ttl 600
max-cache-ttl 7200
"""


@dataclass(frozen=True)
class Home:
    """A folder with keys that has been looked at: it exists, it is ours, nobody else may enter."""

    path: Path

    @classmethod
    def create(cls, path: Path, *, own_keys: bool) -> "Home":
        """Make the folder (mode 0700) with gpg.conf and gpg-agent.conf.

        ``own_keys`` says whether secret keys will live in it; if not, no agent is ever started for it.
        Raises HomeError if the folder holds anything already or cannot be made.
        """
        path = _absolute(path)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise HomeError(f"The folder {path} is not empty; name a new one, or use the keys in it as they are.")
            path.chmod(0o700)
            (path / "gpg.conf").write_text(_GPG_CONF if own_keys else _GPG_CONF + _NO_OWN_KEYS)
            (path / "gpg-agent.conf").write_text(_AGENT_CONF)
        except OSError as error:
            raise HomeError(f"The folder {path} for keys could not be made: {error.strerror}.") from None
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "Home":
        """The home at ``path``. Raises HomeError if it is missing, not ours, or others may enter it."""
        path = _absolute(path)
        require_private(path, holds="keys")
        home = cls(path)
        home.ensure_sockets()
        return home

    def ensure_sockets(self) -> None:
        """Where the path is too long for a socket, lead gpg-agent to a short private folder; otherwise nothing.

        libassuan reads a file in the socket's place: ``%Assuan%``, then ``socket=PATH``. Raises HomeError if no short
        private folder can be had.
        """
        if not self._is_long():
            return
        short = _short_folder(self.path)
        try:
            for name in _SOCKETS:
                redirect, text = self.path / name, f"%Assuan%\nsocket={short / name}\n"
                if not redirect.is_file() or redirect.read_text() != text:
                    redirect.write_text(text)
        except OSError as error:
            raise HomeError(f"The folder {self.path} cannot be written to: {error.strerror}.") from None

    def stop(self) -> None:
        """End this home's agent if one runs, and remove the short folder of its sockets if one was made."""
        if not self.path.is_dir():
            return
        process.run_tool(self, "gpgconf", "--kill", "all")
        if self._is_long():
            _remove_short_folder(_short_folder(self.path))

    def _is_long(self) -> bool:
        return len(os.fsencode(self.path / _LONGEST_SOCKET)) > SOCKET_PATH_LIMIT_BYTES


def require_private(folder: Path, *, holds: str) -> None:
    """Raises HomeError unless the folder is there, is ours, and nobody else may enter it; ``holds``: what it is for."""
    try:
        found = folder.lstat()
    except OSError:
        raise HomeError(
            f"There is no folder {folder} for {holds}; make it first, or name another with --home."
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise HomeError(f"{folder} is not a folder; name the folder of the {holds} with --home.")
    if found.st_uid != os.getuid():
        raise HomeError(f"The folder {folder} belongs to another user; {holds} are used by their owner only.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise HomeError(
            f"Others may enter the folder {folder}, which holds {holds}; close it with: chmod 700 '{folder}'"
        )


@cache
def gnupg_version() -> tuple[int, int, int]:
    """The version of the gpg on the PATH. Raises HomeError if there is none or it does not say."""
    try:
        line = process.version_text()
    except EngineError as error:
        raise HomeError(str(error)) from None
    found = re.fullmatch(r"gpg \(GnuPG[^)]*\) (\d+)\.(\d+)\.(\d+).*", line)
    if found is None:
        raise HomeError("The gpg on the PATH does not say its version; install GnuPG 2.2.40 or later.")
    major, minor, patch = found.groups()
    return int(major), int(minor), int(patch)


def require_gnupg() -> None:
    """Raises HomeError, naming what to install, unless GnuPG is 2.2.40 or later."""
    version = gnupg_version()
    if version < OLDEST_GNUPG:
        raise HomeError(
            f"GnuPG {'.'.join(map(str, version))} is too old; install 2.2.40 or later (Debian: apt install gnupg)."
        )


def _absolute(path: Path) -> Path:
    """Without symbolic links, so that one home has one name."""
    if "\n" in str(path) or "\0" in str(path):
        raise HomeError("The name of the folder for keys contains a line break; name another with --home.")
    return path.expanduser().resolve()


def _short_folder(home: Path) -> Path:
    """``<tmp>/cs-<uid>/<digest of the home's path>``: made if need be, and no one else's at any level."""
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    for root in dict.fromkeys((Path(tempfile.gettempdir()).resolve(), Path("/tmp"))):  # noqa: S108 - private below
        folder = root / f"cs-{os.getuid()}" / digest
        if len(os.fsencode(folder / _LONGEST_SOCKET)) <= SOCKET_PATH_LIMIT_BYTES and _holds_still(root):
            for level in (folder.parent, folder):
                _make_private(level)
            return folder
    raise HomeError(
        f"The path {home} is too long for the socket of gpg-agent, and there is no short temporary folder to put it in;"
        " set TMPDIR to a short private folder, or move the keys to a shorter path."
    )


def _holds_still(root: Path) -> bool:
    """Whether nobody else can rename what we put into ``root``: sticky if others may write to it."""
    try:
        found = root.lstat()
    except OSError:
        return False
    shared = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
    return stat.S_ISDIR(found.st_mode) and found.st_uid in (0, os.getuid()) and not shared


def _make_private(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()  # not stat: a link laid by someone else is refused, not followed
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise HomeError(
            f"{folder}, where the socket of gpg-agent belongs, is not a private folder of ours; remove it,"
            " or set TMPDIR to a short private folder."
        )


def _remove_short_folder(folder: Path) -> None:
    """Wait until the agent has taken its sockets away, then remove the folder; its parent serves other homes."""
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while any((folder / name).exists() for name in _SOCKETS) and time.monotonic() < deadline:
        time.sleep(0.01)
    for name in _SOCKETS:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
