"""A key is registered once, for the customer whose number its user ID bears, after GnuPG has looked at it."""

import tempfile
from pathlib import Path

from keyring.certification import registered_home
from keyring.errors import UnsuitableKey
from keyring.keys import public_key, public_key_fingerprint, without_address


def examine(key: bytes, number: str) -> str:
    """The fingerprint of a public key that may be registered for a customer number.

    Raises a KeyringError whose sentence says what is wrong with it: not one RSA key, or another customer's user ID.
    """
    fingerprint = public_key_fingerprint(key)
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        home = registered_home(Path(folder) / "k", key=key, expected_fingerprint=fingerprint)
        user_ids = [each.text for each in public_key(home, fingerprint).user_ids]
    if len(user_ids) != 1 or not without_address(user_ids[0]).endswith(f" ({number})"):
        raise UnsuitableKey(
            f"The key's user ID does not end with the customer number ({number}); make one with `customer init`."
        )
    return fingerprint
