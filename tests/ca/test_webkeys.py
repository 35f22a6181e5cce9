"""Stock gpg finds the published keys by their mail addresses and counts them as certified."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ca import revoking, webkeys
from ca.authority import Authority
from ca.decisions import Confirmation
from ca.errors import CeremonyError, IssuingError
from ca.publishing import publish
from ca.webkeys import Entry, files, hashed
from keyring import keys
from keyring.home import Home
from tests.ca.cast import PASSPHRASE, Applicant, Cast, certify, confirm, file, issue, issued_to, opened

DOMAIN, SECONDS = "bank.example", 60


def test_names_of_files_are_those_of_the_draft() -> None:
    assert hashed("Joe.Doe") == hashed("joe.doe") == "iy9q119eutrkn8s1mk4r39qejnbu3n5q"
    assert webkeys.FILE_NAME.fullmatch(hashed("1001"))


def test_both_methods_for_one_domain_and_the_advanced_one_for_several() -> None:
    one = files([Entry("1001", DOMAIN, b"new"), Entry("1001", DOMAIN, b"old")])
    name = hashed("1001")
    assert one == {
        f".well-known/openpgpkey/{DOMAIN}/policy": b"",
        f".well-known/openpgpkey/{DOMAIN}/hu/{name}": b"newold",
        ".well-known/openpgpkey/policy": b"",
        f".well-known/openpgpkey/hu/{name}": b"newold",
    }
    two = files([Entry("1001", DOMAIN, b"a"), Entry("1001", "other.example", b"b")])
    assert two[f".well-known/openpgpkey/{DOMAIN}/hu/{name}"] == b"a"
    assert two[f".well-known/openpgpkey/other.example/hu/{name}"] == b"b"
    assert len(two) == 4, "in the direct method the two would be one file"
    assert files([]) == {}


@pytest.fixture(scope="module")
def alice(make_short_tmp: Callable[[], Path]) -> Iterator[Applicant]:
    made = Applicant.make(make_short_tmp() / "alice", "customer", "1001", "Alice", DOMAIN)
    yield made
    made.home.stop()


@pytest.fixture(scope="module")
def with_domain(cast: Cast, alice: Applicant, make_short_tmp: Callable[[], Path]) -> Iterator[Path]:
    """The folder of an authority that has certified a bank with a domain, and Alice under an address there."""
    root = make_short_tmp()
    bank = Applicant.make(root / "bank", "bank", "0000", "Example Bank", DOMAIN)
    with opened(cast.folder, root / "ca") as authority:
        certify(authority, bank)
        certify(authority, alice)
    yield root / "ca"
    bank.home.stop()


@pytest.fixture
def authority(with_domain: Path, short_tmp: Path) -> Iterator[Authority]:
    with opened(with_domain, short_tmp / "ca") as authority:
        yield authority


@contextmanager
def trusting(folder: Path, authority: Authority) -> Iterator[Path]:
    """A stock GnuPG home that knows the authority's published key, and trusts it."""
    folder.mkdir(mode=0o700)
    fingerprint = authority.configuration.fingerprint
    gpg(folder, "--import", stdin=authority.public().key)
    gpg(folder, "--import-ownertrust", stdin=f"{fingerprint}:6:\n".encode())
    try:
        yield folder
    finally:
        subprocess.run(("gpgconf", "--homedir", str(folder), "--kill", "all"), check=True, capture_output=True)


def gpg(home: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ("gpg", "--homedir", str(home), "--batch", "--no-auto-check-trustdb", *arguments),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )


@contextmanager
def answering(home: Path, answer: Callable[[str], bytes | None]) -> Iterator[None]:
    """In the place of dirmngr, which would go to the network: gpg is given what ``answer`` has for an address."""
    where = ("gpgconf", "--homedir", str(home), "--list-dirs", "dirmngr-socket")
    path = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    talk(connection)

        def talk(connection: socket.socket) -> None:
            connection.sendall(b"OK\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    connection.sendall(reply(line.decode().split()))

        def reply(words: list[str]) -> bytes:
            if words[0] == "GETINFO":
                return b"D 2.2.40\nOK\n"
            if words[0] != "WKD_GET":
                return b"OK\n"
            data = answer(words[-1])
            if data is None:
                return b"ERR 167772218 No data\n"
            escaped = [b"%%%02X" % byte for byte in data]
            lines = [b"D " + b"".join(escaped[at : at + 300]) + b"\n" for at in range(0, len(escaped), 300)]
            return b"".join(lines) + b"OK\n"

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink(missing_ok=True)


def located(home: Path, address: str) -> list[list[str]]:
    """The records of `gpg --locate-keys`."""
    done = gpg(home, "--with-colons", "--auto-key-locate", "clear,nodefault,wkd", "--locate-keys", address)
    gpg(home, "--check-trustdb")
    if done.returncode != 0:
        return []
    return [line.split(":") for line in gpg(home, "--with-colons", "--list-keys", address).stdout.decode().split("\n")]


def served(folder: Path, method: str) -> Callable[[str], bytes | None]:
    """What a web server hands out for an address by one of the two methods."""

    def answer(address: str) -> bytes | None:
        local, _, domain = address.partition("@")
        part = Path(domain) if method == "advanced" else Path()
        path = folder / ".well-known" / "openpgpkey" / part / "hu" / hashed(local)
        return path.read_bytes() if path.exists() else None

    return answer


@pytest.mark.parametrize("method", ["advanced", "direct"])
def test_gpg_locates_a_key_by_its_address_and_counts_it_as_certified(
    authority: Authority, alice: Applicant, short_tmp: Path, method: str
) -> None:
    folder = short_tmp / "public"
    published = publish(authority, folder, int(time.time()))
    assert published.domains == (DOMAIN,)
    with trusting(short_tmp / "gnupg", authority) as home, answering(home, served(folder, method)):
        found = located(home, f"1001@{DOMAIN}")
        assert next(row[9] for row in found if row[0] == "fpr") == alice.fingerprint
        assert [(row[1], row[9]) for row in found if row[0] == "uid"] == [("f", f"Alice (1001) <1001@{DOMAIN}>")]
        assert located(home, f"1002@{DOMAIN}") == []


def test_gpg_locates_a_revoked_key_and_does_not_count_it(
    authority: Authority, alice: Applicant, short_tmp: Path
) -> None:
    while time.time() < issued_to(authority, alice).issued + 1:  # within one second the certification would win
        time.sleep(0.05)
    revoking.revoke(
        authority,
        issued_to(authority, alice),
        reason="superseded",
        operator="operator",
        passphrase=PASSPHRASE,
        clock=time.time,
    )
    publish(authority, short_tmp / "public", int(time.time()))
    with trusting(short_tmp / "gnupg", authority) as home, answering(home, served(short_tmp / "public", "advanced")):
        assert [row[1] for row in located(home, f"1001@{DOMAIN}") if row[0] == "uid"] == ["-"]


def test_gpg_names_the_files_as_we_do(authority: Authority, alice: Applicant, short_tmp: Path) -> None:
    with trusting(short_tmp / "gnupg", authority) as home:
        gpg(home, "--import", stdin=issued_to(authority, alice).key)
        shown = gpg(home, "--with-wkd-hash", "--list-keys", alice.fingerprint).stdout.decode()
    assert f" {hashed('1001')}@{DOMAIN}\n" in shown


def test_without_a_domain_there_is_no_directory(cast: Cast, short_tmp: Path) -> None:
    with opened(cast.with_bank, short_tmp / "ca") as authority:
        published = publish(authority, short_tmp / "public", int(time.time()))
    assert published.domains == ()
    assert not (short_tmp / "public" / ".well-known").exists()
    assert "no Web Key Directory" in (short_tmp / "public" / "README.txt").read_text()


def test_what_expired_is_taken_away_and_files_of_others_stay(
    authority: Authority, alice: Applicant, short_tmp: Path
) -> None:
    folder = short_tmp / "public"
    publish(authority, folder, int(time.time()))
    own, others = folder / ".well-known/openpgpkey/hu" / hashed("1001"), folder / ".well-known/openpgpkey/hu/mine"
    others.write_text("mine")
    assert own.exists()
    publish(authority, folder, issued_to(authority, alice).expires + 1)
    assert not own.exists()
    assert others.exists()


def test_trial_48_address_at_another_domain_than_the_banks_is_not_confirmed(
    authority: Authority, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer of this bank who asks to be certified under a stranger's mail address."""
    home = Home.create(short_tmp / "bob", own_keys=True)
    fingerprint = keys.new_customer_key(home, keys.user_id("Bob", "1002", "other.example"), None)
    bob = Applicant(home, fingerprint, "customer", "1002", "Bob", "other.example")
    with pytest.raises(CeremonyError, match=r"no bank that is certified now has that domain.*`ca list`"):
        confirm(authority, file(authority, bob.request()), bob.words)
    # Nor is it issued, however it came to be confirmed: a key that vouches for another needs no call.
    identifier = file(authority, bob.request())
    with monkeypatch.context() as patch:
        patch.setattr(Authority, "has_domain", lambda *_: True)
        assert isinstance(confirm(authority, identifier, bob.words), Confirmation)
    with pytest.raises(IssuingError, match="no certified bank has that domain"):
        issue(authority, identifier)
    home.stop()
