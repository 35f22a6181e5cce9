"""X.509 certificates such as an authority would never issue for this holder, or that another one issued."""

import time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ca import bridge
from ca.bridge import AgentKey, Holder, Root, agent_key
from ca.x509.leaf import leaf_extensions
from ca.x509.profile import leaf_names, utc
from tests.bank.town import DAY, DAYS, PASSPHRASE, REQUEST, Person, Town


def forged(town: Town, person: Person, *, issuer: Person | None = None, **changes: Any) -> bytes:
    """A certificate of the person's key, honest but for what is changed; by the authority, or by a person as one.

    ``number``, ``role``, ``request``; ``begins`` and ``ends`` in seconds from now; ``issuer_name``.
    """
    root = bridge.open_root(town.root, town.authority_fingerprint)
    with agent_key(person.home, person.fingerprint, None) as own:
        if issuer is None:
            with agent_key(town.authority, town.authority_fingerprint, PASSPHRASE) as key:
                return _leaf(key, root, own, person, **changes)
        with agent_key(issuer.home, issuer.fingerprint, None) as key:
            return _leaf(key, rival_root(key), own, person, **changes)


def rival_root(key: AgentKey) -> Root:
    """A root with which somebody sets up as an authority."""
    der = bridge.make_root(key, name="Authority", not_before=key.created, not_after=key.created + 3650 * DAY)
    return bridge.open_root(der, key.fingerprint)


def below_an_intermediate(town: Town, person: Person, middle: Person) -> tuple[bytes, bytes]:
    """The person's certificate by ``middle``, and the certificate that makes ``middle`` an authority below the root."""
    root = bridge.open_root(town.root, town.authority_fingerprint)
    with (
        agent_key(town.authority, town.authority_fingerprint, PASSPHRASE) as key,
        agent_key(middle.home, middle.fingerprint, None) as between,
        agent_key(person.home, person.fingerprint, None) as own,
    ):
        made = rival_root(between)
        builder = _builder(made.certificate.subject, root.certificate.subject, between.public_key(), 0, DAYS * DAY)
        for extension in made.certificate.extensions:
            if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
                builder = builder.add_extension(extension.value, extension.critical)
        intermediate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        return _leaf(between, made, own, person), intermediate


def self_signed(person: Person) -> bytes:
    """A certificate that the holder issued to itself, under the holder's own name."""
    with agent_key(person.home, person.fingerprint, None) as own:
        name = Holder("customer", person.number, "Alice").subject
        return _leaf(own, rival_root(own), own, person, issuer_name=name)


def _leaf(key: AgentKey, root: Root, own: AgentKey, person: Person, **changes: Any) -> bytes:
    holder = Holder(changes.get("role", "customer"), changes.get("number", person.number), "Alice")
    names = leaf_names(own.fingerprint, holder, changes.get("request", REQUEST))
    builder = _builder(
        holder.subject,
        changes.get("issuer_name", root.certificate.subject),
        own.public_key(),
        changes.get("begins", -60),
        changes.get("ends", DAYS * DAY),
    )
    for extension, critical in leaf_extensions(root, own.public_key(), holder.role, names, own.created):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: rsa.RSAPublicKey, begins: int, ends: int
) -> x509.CertificateBuilder:
    now = int(time.time())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc(now + begins))
        .not_valid_after(utc(now + ends))
    )
