"""The authority, a second one and Alice, for tests of certifications: made once, copied for each test."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keyring import certification, keys, process
from keyring.certification import Certification, judged_home
from keyring.errors import NotCertified
from keyring.home import Home
from protocol.secret import Secret

PASSPHRASE = Secret(b"authority")
DIGEST = "0123456789abcdef" * 4
DAY = 86_400  # seconds
COMPLETE = ("number=1001", "role=customer", f"request={DIGEST}")


@dataclass(frozen=True)
class Party:
    home: Home
    fingerprint: str
    user_id: str

    def key(self) -> bytes:
        return keys.export(self.home, self.fingerprint)


class Scene:
    """Copies of the three homes for one test, and the few steps that the tests repeat."""

    def __init__(self, folder: Path, made: dict[str, Party]) -> None:
        self.folder = folder
        self.ca, self.other, self.alice = (self._copy(party, name) for name, party in made.items())
        self._judged = 0

    def _copy(self, party: Party, name: str) -> Party:
        path = self.folder / name
        shutil.copytree(party.home.path, path, ignore=shutil.ignore_patterns("S.*", ".#*", "*.lock"))
        return Party(Home.open(path), party.fingerprint, party.user_id)

    def certify(self, by: Party | None = None, **changed: Any) -> bytes:
        """Alice's key as certified by the authority, the honest way."""
        authority = by or self.ca
        # With clean: without it, a second import would drop the first certification from the authority's home.
        keys.import_key(authority.home, self.alice.key(), expected_fingerprint=None, clean=True)
        values: dict[str, Any] = {"number": "1001", "role": "customer", "request_digest": DIGEST, "days": 30}
        values |= {"passphrase": PASSPHRASE, "notations": {}} | changed
        certification.certify(authority.home, self.alice.fingerprint, self.alice.user_id, **values)
        return keys.export(authority.home, self.alice.fingerprint)

    def certify_oddly(self, *notations: str, at: int | None = None, expire: str = "30d", user_id: str = "") -> bytes:
        """Alice's key as certified by the authority without the checks of `certify`."""
        process.run(self.ca.home, "--import", stdin=self.alice.key())
        named = [text if "@" in text else text.replace("=", "@countersign.example=", 1) for text in notations]
        arguments = [f"--cert-notation={text}" for text in named]
        outcome = process.run(
            self.ca.home,
            *("--force-sign-key", "--default-cert-expire", expire, *arguments),
            *("--quick-sign-key", self.alice.fingerprint, user_id or self.alice.user_id),
            passphrase=PASSPHRASE,
            faked_time=at,
        )
        assert outcome.exit_code == 0, outcome.log
        return keys.export(self.ca.home, self.alice.fingerprint)

    def judge(self, offered: bytes, **changed: Any) -> tuple[Home, Certification, str]:
        self._judged += 1
        values: dict[str, Any] = {"ca_key": self.ca.key(), "ca_fingerprint": self.ca.fingerprint, "offered": offered}
        values |= {"expected_fingerprint": self.alice.fingerprint} | changed
        return judged_home(self.path_of_judgement, **values)

    def refuse(self, offered: bytes, rule: str, **changed: Any) -> None:
        """The key is refused by the rule, in a sentence, and no folder stays."""
        with pytest.raises(NotCertified) as caught:
            self.judge(offered, **changed)
        assert caught.value.rule == rule
        assert str(caught.value).endswith(".")
        assert not self.path_of_judgement.exists()

    @property
    def path_of_judgement(self) -> Path:
        return self.folder / f"judged{self._judged}"
