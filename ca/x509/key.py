"""GnuPG keeps the private key: for X.509 it signs ASN.1 structures and nothing else, inside gpg-agent."""

import hashlib
from types import TracebackType
from typing import NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding as paddings
from cryptography.hazmat.primitives.asymmetric import rsa

from ca.x509.errors import KeyUseError
from ca.x509.profile import fingerprint_of, suitable_key
from keyring import keys
from keyring.agent import Agent, RsaPublicKey
from keyring.home import Home
from protocol.secret import Secret

PINENTRY_TIMEOUT_SECONDS = 300.0
_SEQUENCE = b"\x30"


class AgentKey(rsa.RSAPrivateKey):
    """A private key for the builders of `cryptography` whose secret part stays in gpg-agent.

    It signs with PKCS #1 v1.5 and SHA-256 (RFC 8017, section 8.2), and only what begins as an ASN.1 SEQUENCE does. What
    OpenPGP hashes begins otherwise (our documents with ``{``, a certified key with 0x99), so no signature made here
    can be taken for one made there, nor the other way round. Everything else raises KeyUseError.
    """

    def __init__(self, agent: Agent, keygrip: str, public_key: rsa.RSAPublicKey, created: int) -> None:
        self._agent = agent
        self._keygrip = keygrip
        self._public_key = public_key
        self.created = created
        """When the OpenPGP key was made, unix seconds."""
        self.fingerprint = fingerprint_of(public_key, created)
        """The OpenPGP fingerprint, recomputed from the key."""

    def sign(self, data: bytes, padding: object, algorithm: object) -> bytes:
        """The signature over ``data``, as long as the modulus. Raises KeyUseError, PassphraseError, EngineError."""
        if not isinstance(padding, paddings.PKCS1v15) or not isinstance(algorithm, hashes.SHA256):
            raise KeyUseError("A key in GnuPG signs with PKCS #1 v1.5 and SHA-256 here; ask for these.")
        if not data.startswith(_SEQUENCE):
            raise KeyUseError("A key in GnuPG signs certificates, requests and revocation lists here, nothing else.")
        value = self._agent.sign(self._keygrip, hashlib.sha256(data).digest())
        signature = value.s.lstrip(b"\0").rjust(self.key_size // 8, b"\0")
        try:
            # A faulty signature is useless, and one made with a fault in the arithmetic could give the key away.
            self._public_key.verify(signature, data, paddings.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise KeyUseError("The signature from gpg-agent does not verify; it was thrown away. Try again.") from None
        return signature

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public_key

    def close(self) -> None:
        """Ends the connection to gpg-agent; what the agent has in its cache stays until ``Home.stop``."""
        self._agent.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AgentKey({self.fingerprint})"

    def decrypt(self, ciphertext: bytes, padding: object) -> NoReturn:
        raise KeyUseError("This key decrypts nothing.")

    def private_numbers(self) -> NoReturn:
        raise KeyUseError("The private key does not leave GnuPG.")

    def private_bytes(self, encoding: object, format: object, encryption_algorithm: object) -> NoReturn:  # noqa: A002
        raise KeyUseError("The private key does not leave GnuPG.")

    def __copy__(self) -> NoReturn:
        raise KeyUseError("A connection to gpg-agent is not copied; make another key with agent_key().")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__copy__()

    def __reduce__(self) -> NoReturn:
        self.__copy__()


def agent_key(home: Home, fingerprint: str, passphrase: Secret | None, *, ask: bool = False) -> AgentKey:
    """The primary key ``fingerprint`` of ``home``, ready to sign; close it when done.

    The passphrase is the one given, or with ``ask`` pinentry asks for it. Raises KeyUseError if the key that the agent
    has does not recompute to the fingerprint, ProfileError if it is not RSA of 3072 to 4096 bits, UnsuitableKey if it
    is not in the home, EngineError.
    """
    primary = keys.secret_key(home, fingerprint).primary
    agent = (
        Agent(home, ask=True, timeout_seconds=PINENTRY_TIMEOUT_SECONDS) if ask else Agent(home, passphrase=passphrase)
    )
    try:
        found = agent.readkey(primary.keygrip)
        if not isinstance(found, RsaPublicKey):
            raise KeyUseError(f"The key {fingerprint} is not RSA; certificates are made for RSA keys.")
        public_key = suitable_key(rsa.RSAPublicNumbers(found.exponent, found.modulus).public_key())
        key = AgentKey(agent, primary.keygrip, public_key, primary.created)
        if key.fingerprint != fingerprint:
            raise KeyUseError(
                f"gpg-agent has the key {key.fingerprint} under the name of {fingerprint}; make a new home."
            )
    except BaseException:
        agent.close()
        raise
    return key
