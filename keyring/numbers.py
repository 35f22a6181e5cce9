"""The numbers of OpenPGP have their names here (RFC 4880, section 9 and 5; RFC 6637; GnuPG's own where it has any)."""

from collections.abc import Mapping
from datetime import UTC, datetime

PACKETS = {
    1: "public-key encrypted session key",
    2: "signature",
    3: "symmetric-key encrypted session key",
    4: "one-pass signature",
    5: "secret key",
    6: "public key",
    7: "secret subkey",
    8: "compressed data",
    9: "encrypted data",
    10: "marker",
    11: "literal data",
    12: "trust",
    13: "user ID",
    14: "public subkey",
    17: "user attribute",
    18: "encrypted and integrity-protected data",
    19: "modification detection code",
    20: "AEAD encrypted data",
    21: "padding",
}

PUBLIC_KEY = {
    1: "RSA",
    2: "RSA (encrypt only)",
    3: "RSA (sign only)",
    16: "Elgamal",
    17: "DSA",
    18: "ECDH",
    19: "ECDSA",
    22: "EdDSA",
    25: "X25519",
    26: "X448",
    27: "Ed25519",
    28: "Ed448",
}

CIPHERS = {
    0: "none",
    1: "IDEA",
    2: "3DES",
    3: "CAST5",
    4: "Blowfish",
    7: "AES-128",
    8: "AES-192",
    9: "AES-256",
    10: "Twofish",
    11: "Camellia-128",
    12: "Camellia-192",
    13: "Camellia-256",
}

DIGESTS = {
    1: "MD5",
    2: "SHA-1",
    3: "RIPEMD-160",
    8: "SHA-256",
    9: "SHA-384",
    10: "SHA-512",
    11: "SHA-224",
    12: "SHA3-256",
    14: "SHA3-512",
}

COMPRESSION = {0: "uncompressed", 1: "ZIP", 2: "ZLIB", 3: "BZIP2"}
AEAD = {1: "EAX", 2: "OCB", 3: "GCM"}
S2K = {0: "simple", 1: "salted", 3: "iterated and salted", 4: "Argon2"}

SIGNATURE_CLASSES = {
    0x00: "of binary data",
    0x01: "of text",
    0x02: "standing alone",
    0x10: "generic certification of a user ID",
    0x11: "persona certification of a user ID",
    0x12: "casual certification of a user ID",
    0x13: "positive certification of a user ID",
    0x16: "attestation of certifications",
    0x18: "binding of a subkey",
    0x19: "binding of a primary key by its subkey",
    0x1F: "directly on a key",
    0x20: "revocation of a key",
    0x28: "revocation of a subkey",
    0x30: "revocation of a certification",
    0x40: "timestamp",
    0x50: "third-party confirmation",
}

SUBPACKETS = {
    2: "signed at",
    3: "signature expires after",
    4: "exportable",
    5: "trust depth and amount",
    6: "regular expression",
    7: "revocable",
    9: "key expires after",
    11: "preferred ciphers",
    12: "revocation key",
    16: "issuer key ID",
    20: "notation",
    21: "preferred digests",
    22: "preferred compression",
    23: "key server preferences",
    24: "preferred key server",
    25: "primary user ID",
    26: "policy address",
    27: "key may",
    28: "signer's user ID",
    29: "reason for revocation",
    30: "features",
    31: "signature target",
    32: "embedded signature",
    33: "issuer fingerprint",
    34: "preferred AEAD",
    35: "intended recipient",
}

REVOCATION_REASONS = {
    0: "no reason given",
    1: "key is superseded",
    2: "key has been compromised",
    3: "key is no longer used",
    32: "user ID is no longer valid",
}

KEY_FLAGS = {
    0x01: "certify",
    0x02: "sign",
    0x04: "encrypt communications",
    0x08: "encrypt storage",
    0x10: "split",
    0x20: "authenticate",
    0x80: "shared",
}

CURVES = {
    bytes.fromhex("2a8648ce3d030107"): ("NIST P-256", 256),
    bytes.fromhex("2b81040022"): ("NIST P-384", 384),
    bytes.fromhex("2b81040023"): ("NIST P-521", 521),
    bytes.fromhex("2b8104000a"): ("secp256k1", 256),
    bytes.fromhex("2b2403030208010107"): ("brainpoolP256r1", 256),
    bytes.fromhex("2b240303020801010b"): ("brainpoolP384r1", 384),
    bytes.fromhex("2b240303020801010d"): ("brainpoolP512r1", 512),
    bytes.fromhex("2b06010401da470f01"): ("Ed25519", 255),
    bytes.fromhex("2b060104019755010501"): ("cv25519", 255),
    bytes.fromhex("2b6571"): ("Ed448", 448),
    bytes.fromhex("2b656f"): ("X448", 448),
}


def name(table: Mapping[int, str], number: int) -> str:
    """The name, or ``unknown (N)``."""
    return table.get(number) or f"unknown ({number})"


def date(seconds: int) -> str:
    """Unix seconds as ``2026-01-31 12:00:00 UTC``; a time that no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"{seconds} seconds after 1970"


def duration(seconds: int) -> str:
    """Seconds as days where they are whole days; OpenPGP writes 0 for "never"."""
    if seconds == 0:
        return "never"
    return f"{seconds // 86400} days" if seconds % 86400 == 0 else f"{seconds} seconds"
