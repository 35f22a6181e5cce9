"""Stock gpg by subprocess, for a client that was written from docs/protocol.md alone: what it accepts is read there."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

NOTATION = "@countersign.example"


class Refused(Exception):
    """What came is not what the specification allows; nothing of it is used."""


@dataclass(frozen=True)
class Home:
    """A GnuPG home; ``keys`` of other people and one's own."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> "Home":
        path.mkdir(mode=0o700)
        return cls(path)

    def gpg(self, *arguments: str, data: bytes = b"", passphrase: str | None = None) -> tuple[bytes, list[str]]:
        """gpg's output and its status lines; what they mean is for the caller to say, whatever the exit code."""
        with tempfile.TemporaryDirectory() as folder:
            status = Path(folder) / "status"
            extra = []
            if passphrase is not None:
                secret = Path(folder) / "passphrase"
                secret.touch(mode=0o600)
                secret.write_text(passphrase)
                extra = ["--pinentry-mode", "loopback", "--passphrase-file", str(secret)]
            done = subprocess.run(
                [
                    *("gpg", "--homedir", str(self.path), "--batch", "--no-tty", "--quiet", "--trust-model", "pgp"),
                    *("--max-cert-depth", "1", "--no-auto-key-retrieve", "--disable-dirmngr", "--status-file"),
                    *(str(status), *extra, *arguments),
                ],
                input=data,
                capture_output=True,
                timeout=60,
                check=False,
            )
            lines = status.read_bytes().split(b"\n") if status.exists() else []
        return done.stdout, [line[9:].decode("utf-8", "replace") for line in lines if line.startswith(b"[GNUPG:] ")]

    def stop(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.path), "--kill", "all"], check=False, capture_output=True)

    def new_key(self, user_id: str) -> str:
        """A customer's key: RSA-3072 and an encryption subkey; its fingerprint."""
        _, status = self.gpg("--quick-generate-key", user_id, "rsa3072", "sign,cert", "never", passphrase="")
        (fingerprint,) = (line.split()[2] for line in status if line.startswith("KEY_CREATED"))
        self.gpg("--quick-add-key", fingerprint, "cv25519", "encr", "never", passphrase="")
        return fingerprint

    def take(self, key: bytes, fingerprint: str) -> None:
        """Import one public key, which must have the pinned fingerprint."""
        found = [line for line in self.gpg("--import", data=key)[1] if line.startswith("IMPORT_OK")]
        if [line.split()[2] for line in found] != [fingerprint]:
            raise Refused(f"not one key with the fingerprint {fingerprint}")

    def trust(self, fingerprint: str) -> None:
        """Let the authority's key vouch for others."""
        self.gpg("--import-ownertrust", data=f"{fingerprint}:6:\n".encode())
        self.gpg("--check-trustdb")

    def minimal(self, fingerprint: str) -> bytes:
        return self.gpg("--export-options", "export-minimal", "--export", fingerprint)[0]

    # Messages, as the document's command lines make them

    def sign(self, fingerprint: str, content: bytes) -> bytes:
        arguments = ("-z", "0", "--no-armor", "--digest-algo", "SHA256", "--local-user", f"{fingerprint}!", "--sign")
        return self.gpg(*arguments, data=content, passphrase="")[0]

    def seal(self, fingerprint: str, content: bytes) -> bytes:
        arguments = ("-z", "0", "--no-armor", "--trust-model", "always", "--recipient", fingerprint, "--encrypt")
        return self.gpg(*arguments, data=content)[0]

    def seal_with_password(self, password: str, content: bytes) -> bytes:
        arguments = ("--s2k-mode", "3", "--s2k-digest-algo", "SHA256", "--s2k-count", "65536", "--s2k-cipher-algo")
        return self.gpg(
            *("-z", "0", "--no-armor", *arguments, "AES256", "--cipher-algo", "AES256", "--symmetric"),
            data=content,
            passphrase=password,
        )[0]

    def open_with_password(self, password: str, message: bytes) -> bytes:
        """The content, if it is under the password and nothing else; this home must have no secret keys."""
        found = packets(message)
        if [tag for tag, _ in found] != [3, 18] or len(found[0][1]) != 13 or found[0][1][2] != 3:
            raise Refused("not a password message")
        content, status = self.gpg("--decrypt", data=message, passphrase=password)
        words = [line.split()[0] for line in status]
        wanted = ("NEED_PASSPHRASE_SYM", "DECRYPTION_OKAY", "GOODMDC", "PLAINTEXT")
        if any(words.count(word) != 1 for word in wanted) or {"ENC_TO", "NEWSIG"} & set(words):
            raise Refused("the message does not open with the password alone")
        return content

    def open_signed_by_bank(self, bank: str, message: bytes, *, certified: bool) -> bytes:
        """The content of what a signing subkey of the bank's key signed."""
        found = packets(message)
        if [tag for tag, _ in found] != [4, 11, 2]:
            raise Refused("not a signed message")
        literal, signature = found[1][1], found[2][1]
        if literal[:1] != b"b" or literal[2 : 2 + literal[1]] == b"_CONSOLE" or signature[:2] != b"\x04\x00":
            raise Refused("not a signed message of our kind")
        content, status = self.gpg("--decrypt", data=message)
        words = [line.split()[0] for line in status]
        bad = {"BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "KEYREVOKED", "NODATA", "FAILURE", "ENC_TO"}
        if any(words.count(word) != 1 for word in ("NEWSIG", "GOODSIG", "VALIDSIG", "PLAINTEXT")) or bad & set(words):
            raise Refused("the bank's signature is not good")
        if certified and "TRUST_FULLY" not in words:
            raise Refused("nobody vouches for the bank's key")
        fields = next(line.split() for line in status if line.startswith("VALIDSIG "))
        signer, digest, kind, primary = fields[1], fields[8], fields[9], fields[10]
        if (
            primary != bank
            or signer not in self.signing_subkeys(bank)
            or kind != "00"
            or digest not in ("8", "9", "10")
        ):
            raise Refused("another key has signed")
        return content

    def signing_subkeys(self, fingerprint: str) -> set[str]:
        listing = self.gpg("--with-colons", "--list-keys", fingerprint)[0].decode()
        found, signs = set(), False
        for fields in (line.split(":") for line in listing.split("\n")):
            if fields[0] in ("pub", "sub"):
                signs = fields[0] == "sub" and "s" in fields[11] and fields[1] not in ("r", "e", "i", "d")
            elif fields[0] == "fpr" and signs:
                found.add(fields[9])
        return found

    def certified_for(self, fingerprint: str, authority: str) -> tuple[str, str]:
        """Number and role in the authority's valid certification of a key in this home, which gpg fully trusts."""
        listing = self.gpg(
            *("--with-colons", "--list-options", "show-sig-subpackets=20", "--check-sigs", fingerprint),
        )[0].decode()
        said: dict[str, str] = {}
        ours = trusted = False
        for fields in (line.split(":") for line in listing.split("\n")):
            if fields[0] == "uid":
                trusted, ours = fields[1] == "f", False
            elif fields[0] == "rev" and fields[4] == authority[-16:]:
                raise Refused("the certification is revoked")
            elif fields[0] == "sig":
                ours = fields[1] == "!" and fields[4] == authority[-16:] and fields[12] == authority and fields[6] != ""
            elif fields[0] == "spk" and ours and trusted:
                if not int(fields[2]) & 1:
                    raise Refused("a notation that the authority did not sign")
                data = re.sub(rb"%([0-9A-Fa-f]{2})", lambda hit: bytes.fromhex(hit[1].decode()), fields[4].encode())
                length = int.from_bytes(data[4:6], "big")
                name = data[8 : 8 + length].decode()
                if said.setdefault(name, data[8 + length :].decode()) != data[8 + length :].decode():
                    raise Refused("two certifications that differ")
        if not {f"number{NOTATION}", f"role{NOTATION}", f"request{NOTATION}"} <= said.keys():
            raise Refused("the authority has not certified this key")
        return said[f"number{NOTATION}"], said[f"role{NOTATION}"]


def packets(message: bytes) -> list[tuple[int, bytes]]:
    """Tags and bodies of the packets (RFC 4880, section 4.2); every byte belongs to one."""
    found, at = [], 0
    try:
        while at < len(message):
            first, at = message[at], at + 1
            if first & 0xC0 == 0xC0:
                tag, body, more = first & 0x3F, b"", True
                while more:
                    length, at, more = _new_length(message, at)
                    body, at = body + _take(message, at, length), at + length
            elif first & 0x80 and first & 3 != 3:
                width = 1 << (first & 3)
                length, tag = int.from_bytes(_take(message, at, width), "big"), first >> 2 & 15
                body, at = _take(message, at + width, length), at + width + length
            else:
                raise Refused("not a packet of definite length")
            found.append((tag, body))
    except IndexError:
        raise Refused("cut short") from None
    return found


def _new_length(message: bytes, at: int) -> tuple[int, int, bool]:
    first = message[at]
    if first < 192:
        return first, at + 1, False
    if first < 224:
        return (first - 192 << 8) + message[at + 1] + 192, at + 2, False
    if first < 255:
        return 1 << (first & 31), at + 1, True
    return int.from_bytes(_take(message, at + 1, 4), "big"), at + 5, False


def _take(message: bytes, at: int, length: int) -> bytes:
    if at + length > len(message):
        raise Refused("cut short")
    return message[at : at + length]
