"""What is published needs nothing of ours to be used, and nothing of it is secret."""

import base64
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ca import webkeys
from ca.authority import Authority
from ca.config import CRL_FILE
from ca.decisions import Certificate
from ca.errors import ConfigurationError, StoreError
from ca.requests import claimed_request
from keyring.readout import hex_groups

KEYS, CERTIFICATES, NOTE = "keys", "certificates", "README.txt"
_OURS: Final = {KEYS: re.compile(r"[0-9A-F]{40}\.pgp"), CERTIFICATES: re.compile(r"[0-9a-f]{40}\.crt")}

_WITHOUT: Final = """\
There is no Web Key Directory: one is looked up by a mail address, and the user IDs of these keys are a name and a
number without one. So `gpg --locate-keys` finds nothing here; take a key by its fingerprint."""

_WITH: Final = """\
.well-known/openpgpkey is a Web Key Directory for {domains}. Once this folder is served at
https://openpgpkey.DOMAIN/ (or, if there is one domain only, at https://DOMAIN/), whoever has authority.pgp and trusts
it gets a key by its address alone:

  gpg --auto-key-locate wkd --locate-keys NUMBER@DOMAIN"""

_NOTE_TEXT: Final = """\
Certificates of {name}

Its OpenPGP key, and the key in its root certificate, have the fingerprint
  {fingerprint}
Believe nothing here before you have compared it with one that you got another way.

root.crt, root.pem     root certificate, DER and PEM
revocations.crl        revocation list, DER; it decides for both forms
authority.pgp          the authority's OpenPGP key
keys/FINGERPRINT.pgp   certified OpenPGP keys
certificates/SERIAL.crt  X.509 certificates for the same keys, DER

{directory}

  gpg --import authority.pgp keys/FINGERPRINT.pgp
  gpg --check-sigs FINGERPRINT
  openssl crl -inform DER -in revocations.crl -out revocations.pem
  openssl x509 -inform DER -in certificates/SERIAL.crt -out certificate.pem
  openssl verify -x509_strict -crl_check -CAfile root.pem -CRLfile revocations.pem certificate.pem
"""


@dataclass(frozen=True)
class Published:
    """The ``names`` of all files, and the ``domains`` that a Web Key Directory was written for."""

    names: tuple[str, ...]
    domains: tuple[str, ...]


def publish(authority: Authority, folder: Path, now: int) -> Published:
    """Write or renew the folder; ``now`` is in unix seconds. Raises ConfigurationError.

    Keys and certificates that have expired are taken away; revoked ones stay, with their revocation, until they expire.
    """
    entries = _entries(authority, now)
    domains = tuple(sorted({each.domain for each in entries}))
    files = _contents(authority, now, domains) | webkeys.files(entries)
    try:
        for each in _folders(folder, files):
            each.mkdir(parents=True, exist_ok=True)
            each.chmod(0o755)  # the web server is another user
        for name, data in files.items():
            temporary = folder / f"{name}.new"
            temporary.write_bytes(data)
            temporary.chmod(0o644)
            temporary.replace(folder / name)
        for old in _of_ours(folder):
            if str(old.relative_to(folder)) not in files:
                old.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written: {error.strerror}; name another folder with `ca publish DIR`."
        ) from None
    return Published(tuple(files), domains)


def pem(label: str, der: bytes) -> str:
    """DER in PEM's armour (RFC 7468)."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def _folders(folder: Path, files: Iterable[str]) -> list[Path]:
    """Every folder that a file needs, and those that are always there, outer ones first."""
    inner = {folder / KEYS, folder / CERTIFICATES, *((folder / name).parent for name in files)}
    return sorted({each for path in inner for each in (path, *path.parents) if each.is_relative_to(folder)})


def _of_ours(folder: Path) -> Iterator[Path]:
    """What an earlier publishing wrote, and nothing of others."""
    for part, form in _OURS.items():
        yield from (each for each in (folder / part).iterdir() if form.fullmatch(each.name))
    for each in (folder / webkeys.FOLDER).glob("**/hu/*"):
        if webkeys.FILE_NAME.fullmatch(each.name):
            yield each


def _entries(authority: Authority, now: int) -> tuple[webkeys.Entry, ...]:
    """A key for each address, what counts first: of a number with several keys gpg takes all, the revoked ones too."""
    newest = {each.fingerprint: each for each in _unexpired(authority, now)}
    ordered = sorted(newest.values(), key=lambda each: (not each.is_live(now), -each.issued))
    asked = [(each, claimed_request(each.request).content) for each in ordered]
    return tuple(webkeys.Entry(request.number, request.domain, each.key) for each, request in asked if request.domain)


def _unexpired(authority: Authority, now: int) -> list[Certificate]:
    """What has not expired, oldest first: of a renewed key the newest form is the one that stays."""
    return sorted(
        (each for each in authority.decisions.certificates() if now < each.expires), key=lambda each: each.issued
    )


def _contents(authority: Authority, now: int, domains: tuple[str, ...]) -> dict[str, bytes]:
    newest = authority.decisions.newest_list(now)
    if newest is None:
        raise StoreError("There is no revocation list to publish; make one with `ca crl`.")
    public = authority.public()
    configuration = authority.configuration
    note = _NOTE_TEXT.format(
        name=configuration.name,
        fingerprint=hex_groups(configuration.fingerprint),
        directory=_WITH.format(domains=", ".join(domains)) if domains else _WITHOUT,
    )
    files = {
        "root.crt": public.root,
        "root.pem": pem("CERTIFICATE", public.root).encode(),
        CRL_FILE: newest.crl,
        "authority.pgp": public.key,
        NOTE: note.encode(),
    }
    for each in _unexpired(authority, now):
        files[f"{KEYS}/{each.fingerprint}.pgp"] = each.key
        files[f"{CERTIFICATES}/{each.serial}.crt"] = each.der
    return files
