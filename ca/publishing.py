"""What is published needs nothing of ours to be used, and nothing of it is secret."""

import base64
import re
import textwrap
from pathlib import Path
from typing import Final

from ca.authority import Authority
from ca.config import CRL_FILE
from ca.errors import ConfigurationError, StoreError
from keyring.readout import hex_groups

KEYS, CERTIFICATES, NOTE = "keys", "certificates", "README.txt"
_OURS: Final = {KEYS: re.compile(r"[0-9A-F]{40}\.pgp"), CERTIFICATES: re.compile(r"[0-9a-f]{40}\.crt")}

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

There is no Web Key Directory: one is looked up by an e-mail address, and the user IDs of these keys are a name and a
customer number without one. So `gpg --locate-keys` finds nothing here; take a key by its fingerprint.

  gpg --import authority.pgp keys/FINGERPRINT.pgp
  gpg --check-sigs FINGERPRINT
  openssl crl -inform DER -in revocations.crl -out revocations.pem
  openssl x509 -inform DER -in certificates/SERIAL.crt -out certificate.pem
  openssl verify -x509_strict -crl_check -CAfile root.pem -CRLfile revocations.pem certificate.pem
"""


def publish(authority: Authority, folder: Path, now: int) -> tuple[str, ...]:
    """Write or renew the folder; the names of all its files. ``now`` is in unix seconds. Raises ConfigurationError.

    Keys and certificates that have expired are taken away; revoked ones stay, with their revocation, until they expire.
    """
    files = _contents(authority, now)
    try:
        for each in (folder, folder / KEYS, folder / CERTIFICATES):
            each.mkdir(parents=True, exist_ok=True)
            each.chmod(0o755)  # the web server is another user
        for name, data in files.items():
            temporary = folder / f"{name}.new"
            temporary.write_bytes(data)
            temporary.chmod(0o644)
            temporary.replace(folder / name)
        for part, form in _OURS.items():
            for old in (folder / part).iterdir():
                if form.fullmatch(old.name) and f"{part}/{old.name}" not in files:
                    old.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written: {error.strerror}; name another folder with `ca publish DIR`."
        ) from None
    return tuple(files)


def pem(label: str, der: bytes) -> str:
    """DER in PEM's armour (RFC 7468)."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def _contents(authority: Authority, now: int) -> dict[str, bytes]:
    newest = authority.decisions.newest_list(now)
    if newest is None:
        raise StoreError("There is no revocation list to publish; make one with `ca crl`.")
    public = authority.public()
    configuration = authority.configuration
    note = _NOTE_TEXT.format(name=configuration.name, fingerprint=hex_groups(configuration.fingerprint))
    files = {
        "root.crt": public.root,
        "root.pem": pem("CERTIFICATE", public.root).encode(),
        CRL_FILE: newest.crl,
        "authority.pgp": public.key,
        NOTE: note.encode(),
    }
    # Of a renewed key the newest form is the one that stays.
    for each in sorted(authority.decisions.certificates(), key=lambda each: each.issued):
        if now < each.expires:
            files[f"{KEYS}/{each.fingerprint}.pgp"] = each.key
            files[f"{CERTIFICATES}/{each.serial}.crt"] = each.der
    return files
