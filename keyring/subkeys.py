"""Another home gets the subkeys of a key and never its primary, by GnuPG's own export and on no disk in clear."""

import hashlib
import re
from typing import Final

from keyring import keys, packets, process
from keyring.errors import EngineError, UnsuitableKey
from keyring.home import Home
from protocol.secret import Secret

_SECRET_KEY, _SECRET_SUBKEY = 5, 7
_NONE: Final = Secret(b"")
# What GnuPG writes in place of a secret that it leaves out (its doc/DETAILS, "GNU extensions to the S2K algorithm"):
# protected, by no cipher, S2K mode 101, no digest, "GNU", 1.
_LEFT_OUT: Final = re.compile(rb"[\xfe\xff]\x00\x65\x00GNU\x01\Z")


def primary_is_here(home: Home, fingerprint: str) -> bool:
    """Whether the secret of the primary key itself is in ``home``. UnsuitableKey if nothing of the key is."""
    return keys.secret_key(home, fingerprint).primary.secret is True


def export_subkeys(home: Home, fingerprint: str) -> Secret:
    """The secret subkeys of a key that is not protected in ``home``, with its public parts.

    Raises UnsuitableKey if it is not there, EngineError if gpg does not give out that, or more than that.
    """
    keys.secret_key(home, fingerprint)
    exported = process.run(home, "--export-secret-subkeys", keys.checked_fingerprint(fingerprint), passphrase=_NONE)
    if exported.exit_code != 0 or not exported.output:
        raise EngineError(f"GnuPG did not give out the subkeys of {fingerprint}; see them with `keyring list`.")
    _require_subkeys_only(exported.output, fingerprint)
    return Secret(exported.output)


def import_subkeys(home: Home, exported: Secret, *, expected_fingerprint: str) -> None:
    """Takes what :func:`export_subkeys` gave into ``home``, which has no keys yet.

    Raises UnsuitableKey, before gpg sees a byte, if it is another key or the primary's secret is among it; afterwards
    if a subkey that signs or one that decrypts is missing.
    """
    _require_subkeys_only(exported.reveal(), expected_fingerprint)
    process.run(home, "--import", stdin=exported.reveal(), passphrase=_NONE)
    found = keys.secret_keys(home)
    if [key.fingerprint for key in found] != [expected_fingerprint] or found[0].primary.secret:
        raise UnsuitableKey(f"GnuPG did not take the subkeys of {expected_fingerprint} as they are; try again.")
    usable = {use for part in found[0].subkeys if part.secret for use in part.capabilities}
    if not {"s", "e"} <= usable:
        raise UnsuitableKey(
            f"Of {expected_fingerprint} there is no secret subkey that signs, or none that decrypts; look at the key "
            "where its primary is, with `keyring show`."
        )


def _require_subkeys_only(exported: bytes, fingerprint: str) -> None:
    """Raises UnsuitableKey unless it is this key (RFC 4880, section 12.2), with the primary's secret left out."""
    found = packets.split(exported)
    primaries = [packet.body for packet in found if packet.tag == _SECRET_KEY]
    if len(primaries) != 1 or found[0].tag != _SECRET_KEY or all(packet.tag != _SECRET_SUBKEY for packet in found):
        raise UnsuitableKey("These are not the secret subkeys of one key; make them anew with `bank add-server`.")
    public = _LEFT_OUT.sub(b"", primaries[0])
    if public == primaries[0]:
        raise UnsuitableKey(
            "The secret of the primary key is among the keys, which no other machine is to have; nothing was taken. "
            "Make them anew with `bank add-server`."
        )
    made = hashlib.sha1(b"\x99" + len(public).to_bytes(2) + public, usedforsecurity=False).hexdigest().upper()
    if made != fingerprint:
        raise UnsuitableKey(f"These are subkeys of the key {made}, and not of {fingerprint}; ask for the right ones.")
