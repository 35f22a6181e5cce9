"""Configuration and databases are read as they were written, or refused with the file and the remedy."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import pytest

from ca.config import Configuration, Limits, checked_publish_url, read_configuration, write_configuration
from ca.decisions import AuthorityStore, Certificate, Confirmation, Drop, IssuedList, Reopening
from ca.errors import ConfigurationError, StoreError
from ca.messages import AuthorityKey, Certified, State
from ca.store import DeskStore, Filed

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
FILED = Filed("d" * 64, FINGERPRINT, "1001", "customer", "Alice", b"message", 100, State.WAITING)
CONFIRMATION = Confirmation("d" * 64, FINGERPRINT, "1001", "customer", "Alice", "operator", "called back", "1", 5)
CERTIFICATE = Certificate(
    "5e" * 20, "d" * 64, "1001", "customer", "Alice", FINGERPRINT, 5, 10, b"key", b"der", b"request"
)


@pytest.mark.parametrize("store", [DeskStore, AuthorityStore])
def test_database_of_another_version_or_program_is_refused(
    tmp_path: Path, store: type[DeskStore] | type[AuthorityStore]
) -> None:
    path = tmp_path / "store.sqlite"
    with pytest.raises(StoreError, match="missing"):
        store.open(path)
    store.create(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    store.open(path).close()
    with pytest.raises(StoreError, match="cannot be made"):
        store.create(path)
    other = AuthorityStore if store is DeskStore else DeskStore
    with pytest.raises(StoreError, match="not this database"):
        other.open(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(StoreError, match=r"version 1, .*ca init"):
        store.open(path)
    path.write_bytes(b"not a database, but some text that is long enough to be looked at" * 20)
    with pytest.raises(StoreError, match="cannot be"):
        store.open(path)


def test_desk_gives_back_what_it_took(tmp_path: Path) -> None:
    with closing(DeskStore.create(tmp_path / "desk.sqlite")) as store:
        with pytest.raises(StoreError, match="authority's key"):
            store.authority()
        with pytest.raises(StoreError, match="ca crl"):
            store.revocations()
        store.put_authority(AuthorityKey(key=b"key", root=b"root"))
        assert store.authority() == AuthorityKey(key=b"key", root=b"root")
        for crl in (b"1", b"2"):
            store.put_revocations(crl)
        assert store.revocations() == b"2"
        store.file_request(FILED, "host")
        store.file_request(replace(FILED, name="Bob"), "host")
        assert store.requests(State.WAITING) == store.requests_like("dddd") == (FILED,)
        assert (store.open_requests("host"), store.open_requests("other"), store.open_requests()) == (1, 0, 1)
        for number, notice in (("1001", b"1"), ("1002", b"2")):
            store.file_notice(notice.hex(), number, notice)
        store.drop_notices("1001")
        assert (store.notices("1001"), store.notices("1002"), store.notice_count()) == ((), (b"2",), 1)
        other = replace(FILED, digest="e" * 64)
        store.file_request(other, "")
        store.drop_request(other.digest)
        assert store.requests_of(FINGERPRINT) == (FILED,)
        store.mark(FILED.digest, State.ISSUED)
        assert store.requests(State.WAITING, State.LOCKED) == ()
        store.put_certificate(CERTIFICATE)
        store.put_certificate(replace(CERTIFICATE, key=b"renewed", expires=20))
        assert store.certificate(FINGERPRINT) == (Certified(certificate=b"der", key=b"renewed"), 20)
        assert store.bank() is None


@pytest.mark.parametrize("change", [{"digest": "\x1b[2J" + "d" * 60}, {"number": "\x1b[2J"}, {"number": ""}])
def test_request_that_nobody_can_name_is_not_shown(tmp_path: Path, change: dict[str, str]) -> None:
    with closing(DeskStore.create(tmp_path / "desk.sqlite")) as store:
        store.file_request(FILED, "host")
        assert store.requests(State.WAITING) == (FILED,)
        store.file_request(replace(FILED, **{"digest": "e" * 64, **change}), "host")  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="damaged"):
            store.requests(State.WAITING)


def test_decisions_are_kept_once(tmp_path: Path) -> None:
    with closing(AuthorityStore.create(tmp_path / "ca.sqlite")) as store:
        store.confirm(CONFIRMATION)
        with pytest.raises(StoreError):
            store.confirm(replace(CONFIRMATION, number="1002"))
        assert store.confirmation("d" * 64) == CONFIRMATION
        store.add_certificate(CERTIFICATE)
        with pytest.raises(StoreError):
            store.add_certificate(replace(CERTIFICATE, number="1002"))
        with pytest.raises(StoreError):  # another on the same request that does not say what it renews
            store.add_certificate(replace(CERTIFICATE, serial="6f" * 20))
        assert store.certificate("d" * 64) == CERTIFICATE
        renewal = replace(CERTIFICATE, serial="6f" * 20, renews=CERTIFICATE.serial, issued=7, expires=9)
        store.add_certificate(renewal)
        with pytest.raises(StoreError):
            store.add_certificate(replace(renewal, serial="7a" * 20))
        assert store.certificate("d" * 64) == renewal
        assert store.certificates() == (renewal, CERTIFICATE)


def test_revocation_is_recorded_once_and_stays(tmp_path: Path) -> None:
    with closing(AuthorityStore.create(tmp_path / "ca.sqlite")) as store:
        store.add_certificate(CERTIFICATE)
        for at, reason in ((6, "superseded"), (7, "cessation")):
            store.revoke(CERTIFICATE.serial, at=at, reason=reason, operator="operator", key=b"revoked")
        found = store.certificate("d" * 64)
        assert found == replace(CERTIFICATE, revoked_at=6, reason="superseded", revoked_by="operator", key=b"revoked")
        assert CERTIFICATE.is_live(6)
        assert not found.is_live(6)
        assert not CERTIFICATE.is_live(10)


def test_numbers_of_lists_are_used_once_and_the_root_is_kept(tmp_path: Path) -> None:
    with closing(AuthorityStore.create(tmp_path / "ca.sqlite")) as store:
        assert store.newest_list() is None
        for number in (2, 1):
            store.add_list(IssuedList(number, 5, 10, b"crl"))
        with pytest.raises(StoreError):
            store.add_list(IssuedList(2, 6, 11, b"other"))
        assert store.newest_list() == IssuedList(2, 5, 10, b"crl")
        with pytest.raises(StoreError, match="root"):
            store.root()
        store.put_root(b"root")
        assert store.root() == b"root"


def test_reopening_gives_the_tries_back_and_is_recorded(tmp_path: Path) -> None:
    with closing(AuthorityStore.create(tmp_path / "ca.sqlite")) as store:
        for _ in range(3):
            store.count_failure(FINGERPRINT, "1001")
        store.count_failure(FINGERPRINT, "1002")
        assert store.tries_left(FINGERPRINT, "1001") == 0
        reopening = Reopening(FINGERPRINT, "1001", "operator", "the line was bad", 5)
        store.reopen(reopening)
        assert store.tries_left(FINGERPRINT, "1001") == 3
        assert store.reopenings(FINGERPRINT, "1001") == (reopening,)
        assert (store.tries_left(FINGERPRINT, "1002"), store.reopenings(FINGERPRINT, "1002")) == (2, ())
        assert store.tries_left("F" * 40, "1002") == 3


def test_drop_takes_a_confirmation_back_and_is_recorded(tmp_path: Path) -> None:
    with closing(AuthorityStore.create(tmp_path / "ca.sqlite")) as store:
        for digest in ("d" * 64, "e" * 64):
            store.confirm(replace(CONFIRMATION, digest=digest))
        dropped = Drop("d" * 64, "1001", "confirmed", "operator", "the wrong Alice", 5)
        store.drop(dropped)
        assert store.drops() == (dropped,)
        assert (store.confirmation("d" * 64) is None, store.confirmation("e" * 64) is None) == (True, False)
        store.confirm(CONFIRMATION)


def test_exclusive_rolls_back_on_an_error(tmp_path: Path) -> None:
    with closing(AuthorityStore.create(tmp_path / "ca.sqlite")) as store:

        def fail() -> None:
            with store.exclusive():
                assert store.count_failure("a", "1") == 2
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert store.tries_left("a", "1") == 3


def test_tries_are_counted_for_operators_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ca.sqlite"
    AuthorityStore.create(path).close()
    barrier = Barrier(4)
    refused = []

    def operator() -> None:
        with closing(AuthorityStore.open(path)) as store:
            barrier.wait(10)
            with store.exclusive():
                if store.tries_left("a", "1"):
                    store.count_failure("a", "1")
                else:
                    refused.append(1)

    threads = [Thread(target=operator) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [1]


def test_configuration_is_read_as_written(tmp_path: Path) -> None:
    written = Configuration('A "quoted" name, Ünïcode', FINGERPRINT, "[::1]:7402")
    write_configuration(tmp_path, written)
    assert read_configuration(tmp_path) == written
    with (tmp_path / "ca.toml").open("a") as file:
        file.write("[limits]\nconnections = 3\n")
    assert read_configuration(tmp_path).limits == Limits(connections=3)


def test_address_of_the_published_list_is_read_as_written(tmp_path: Path) -> None:
    write_configuration(tmp_path, Configuration("A", FINGERPRINT, publish_url="https://ca.example/pki/"))
    assert read_configuration(tmp_path).crl_url == "https://ca.example/pki/revocations.crl"
    assert Configuration("A", FINGERPRINT).crl_url is None


@pytest.mark.parametrize(
    "url", ["ftp://ca.example", "https://ca.example/?a", "ca.example", "https://ca example/", "https://ca.example/\n"]
)
def test_address_that_certificates_cannot_name_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot stand in certificates"):
        checked_publish_url(url)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: text + 'colour = "red"\n', "the key 'colour' is not known"),
        (lambda text: text + "[limits]\nconections = 1\n", "the key 'limits.conections' is not known"),
        (lambda text: text + "[limits]\nconnections = 0\n", "limits.connections is not as it must be"),
        (lambda text: text.replace("name", "title", 1), "title"),
        (lambda text: text.replace(f'"{FINGERPRINT}"', "1"), "fingerprint must be written in quotes"),
        (lambda text: text.replace("7402", "port"), "the key address is wrong"),
        (lambda text: "\n".join(text.splitlines()[2:]), "the key name is missing"),
        (lambda _text: "= broken", "is not valid TOML"),
    ],
)
def test_configuration_error_names_the_key_and_the_file(
    tmp_path: Path, change: Callable[[str], str], named: str
) -> None:
    write_configuration(tmp_path, Configuration("Authority", FINGERPRINT))
    path = tmp_path / "ca.toml"
    path.write_text(change(path.read_text()))
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(tmp_path)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)


def test_missing_authority_is_said_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ca init"):
        read_configuration(tmp_path)
