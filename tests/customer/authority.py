"""An authority in a test's hands: it certifies a key in both forms, and issues a revocation list of any date."""

import time
from dataclasses import dataclass
from pathlib import Path

from ca.bridge import Revocation, agent_key, make_crl, make_leaf, make_request, make_root, open_request, open_root
from ca.messages import AuthorityKey, Certified
from keyring import certification, keys
from keyring.home import Home
from protocol.secret import Secret

PASSPHRASE = Secret(b"a passphrase for tests")
DAYS = 90
LIST_DAYS = 30
DAY = 86400


@dataclass(frozen=True)
class Authority:
    """Its GnuPG home, fingerprint and root certificate."""

    home: Home
    fingerprint: str
    root: bytes

    @classmethod
    def make(cls, home: Home, fingerprint: str) -> "Authority":
        now = int(time.time())
        with agent_key(home, fingerprint, PASSPHRASE) as key:
            root = make_root(key, name="Authority", not_before=now - DAY, not_after=now + 3650 * DAY)
        return cls(home, fingerprint, root)

    @property
    def public(self) -> AuthorityKey:
        return AuthorityKey(key=keys.export(self.home, self.fingerprint), root=self.root)

    def certify(
        self, holder: Home, number: str, role: str, days: int = DAYS, *, fingerprint: str = "", succeeds: str = ""
    ) -> Certified:
        """Both forms for the one secret key in a home, without any ceremony; with the same key again, a renewal.

        Where there are several, ``fingerprint`` tells which one; ``succeeds`` is that of the key before it.
        """
        (key,) = (each for each in keys.secret_keys(holder) if not fingerprint or each.fingerprint == fingerprint)
        name = key.user_ids[0].text
        public = keys.export_minimal(holder, key.fingerprint)
        keys.import_key(self.home, public, expected_fingerprint=key.fingerprint)
        certification.certify(
            self.home,
            key.fingerprint,
            name,
            number=number,
            role=role,
            request_digest="0" * 64,
            days=days,
            passphrase=PASSPHRASE,
            notations={"succeeds": succeeds} if succeeds else {},
            certifier=self.fingerprint,
        )
        made = certification.read_certification(self.home, key.fingerprint, self.fingerprint)
        holder_name = name.removesuffix(f" ({number})")
        with agent_key(holder, key.fingerprint, Secret(b"")) as own:
            request = make_request(own, role=role, number=number, name=holder_name)
        opened = open_request(request, fingerprint=key.fingerprint, role=role, number=number, name=holder_name)
        with agent_key(self.home, self.fingerprint, PASSPHRASE) as ours:
            leaf = make_leaf(ours, open_root(self.root, self.fingerprint), opened, made, crl_url=None)
        return Certified(certificate=leaf, key=keys.export(self.home, key.fingerprint))

    def crl(self, number: int, *revoked: int, at: int | None = None, days: int = LIST_DAYS) -> bytes:
        """A revocation list with these serial numbers, made now or at another time (Unix seconds)."""
        made = int(time.time()) if at is None else at
        with agent_key(self.home, self.fingerprint, PASSPHRASE) as key:
            root = open_root(self.root, self.fingerprint)
            entries = [Revocation(serial, made) for serial in revoked]
            return make_crl(key, root, number=number, at=made, next_update=made + days * DAY, revoked=entries)


def copied(authority: Authority, folder: Path) -> Authority:
    """The authority with a copy of its home, which a test may change."""
    import shutil

    shutil.copytree(authority.home.path, folder, ignore=shutil.ignore_patterns("S.*"))
    return Authority(Home.open(folder), authority.fingerprint, authority.root)
