"""A new server gets the bank's subkeys and no more, only for the key that it made, and only from the bank it named."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import pytest

from bank import accounts, ceremony, joining
from bank import config as configuration
from bank.doctor import examine
from bank.errors import ConfigurationError, GrantRefused
from bank.granting import ServerGrant, ServerKeys, make_grant
from bank.heads import FILE_NAME as NEWEST_HEAD
from bank.heads import newest_head
from bank.home import LEDGER_FILE, BankHome
from bank.letters import open_account
from bank.machine import Machine
from bank.storage import Ledger
from ca.applicant import Desk
from ca.documents import claimed_content
from ca.errors import NoticeError
from ca.notices import make_notice, open_notice
from keyring import keys, messages, packets, process, readout
from keyring.certification import registered_home
from keyring.errors import UnsuitableKey
from keyring.home import Home
from keyring.opened import Opened
from keyring.signature import HeadSigner
from keyring.subkeys import export_subkeys, import_subkeys
from keyring.verdict import Sealed
from keyring.worker import open_once
from protocol import canonical
from protocol.orders import format_time
from protocol.secret import Secret
from protocol.transport import Address
from tests.bank.counter import eventually
from tests.bank.town import Town, copied_bank
from tests.conftest import gnupg_processes_below

NONE = Secret(b"")
PASSWORD = "of-the-database"
SECRET_SUBKEY = 7
"""RFC 4880, section 4.3; such a packet of ours ends with 32 bytes of secret and two of a checksum."""


@dataclass(frozen=True)
class Place:
    """A bank with its primary key, and two new servers that have made their requests."""

    folder: Path
    bank: BankHome
    first: joining.Request
    second: joining.Request

    def request(self, name: str) -> Path:
        return self.folder / f"{name}.request"

    def grant(self, name: str = "first", *, fingerprint: str = "") -> Path:
        """What `bank add-server` writes for a request; ``fingerprint`` is what was typed."""
        typed = fingerprint or getattr(self, name).fingerprint
        scratch = self.folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        return self.write(make_grant(self.bank, self.request(name), typed, scratch))

    def write(self, message: bytes) -> Path:
        path = self.folder / "grant.pgp"
        path.write_bytes(message)
        return path

    def take(self, grant: Path, name: str = "first", *, bank: str = "", **changes: str) -> BankHome:
        return joining.take(self.folder / name, grant, bank or self.bank.config.fingerprint, **changes)

    def sealed(self, key: bytes, signed: bytes, name: str = "first") -> Path:
        """A grant put together by hand, sealed to a server's key."""
        request: joining.Request = getattr(self, name)
        view = registered_home(self.folder / "view", key=request.key, expected_fingerprint=request.fingerprint)
        grant = canonical.encode(ServerGrant(key=key, signed=signed))
        return self.write(messages.seal(view, request.fingerprint, grant))

    def content(self, grant: Path, name: str = "first") -> ServerGrant:
        """What is in a grant, as the server sees it whom it is for."""
        opened = open_once(Home.open(self.folder / name / joining.FOLDER), grant.read_bytes(), Sealed())
        assert isinstance(opened, Opened)
        return canonical.decode_signed(ServerGrant, opened.content)


@pytest.fixture(scope="module")
def requested(make_short_tmp: Callable[[], Path]) -> tuple[Path, joining.Request, joining.Request]:
    """The folders of two new servers, which no test changes."""
    folder = make_short_tmp()
    first, second = (joining.begin(folder / name) for name in ("first", "second"))
    return folder, first, second


@pytest.fixture
def place(
    bank_town: Town, short_tmp: Path, requested: tuple[Path, joining.Request, joining.Request], database_url: str
) -> Place:
    """The bank's ledger lies in a database, and is empty."""
    folder, first, second = requested
    bank = copied_bank(bank_town, short_tmp, ledger=database_url.replace("postgres@", f"postgres:{PASSWORD}@"))
    (bank.path / NEWEST_HEAD).unlink()  # of the ledger in a file
    Ledger.create(bank.ledger_place, bank_fingerprint=bank.config.fingerprint, currency=bank.config.currency).close()
    for name, request in (("first", first), ("second", second)):
        shutil.copytree(folder / name, short_tmp / name, ignore=shutil.ignore_patterns("S.*"))
        (short_tmp / f"{name}.request").write_bytes(request.key)
    return Place(short_tmp, bank, first, second)


def test_a_new_server_has_the_subkeys_and_of_the_primary_key_only_the_name(place: Place) -> None:
    """It signs heads that the bank believes, opens what is sealed to the bank, and has the bank's settings."""
    server = place.take(place.grant(), listen="127.0.0.1:7999")
    assert not server.has_primary()
    assert place.bank.has_primary()
    listed = process.run(server.gnupg, "--list-secret-keys").output.decode()
    assert "sec#" in listed
    assert len(list((server.path / "gnupg" / "private-keys-v1.d").iterdir())) == 2
    with server.signer() as signer:
        head = signer.sign(b"a head", signer.earliest)
    assert place.bank.verify(head) == server.verify(head) == b"a head"
    opened = open_once(server.gnupg, messages.seal(place.bank.gnupg, server.config.fingerprint, b"session"), Sealed())
    assert isinstance(opened, Opened)
    assert opened.content == b"session"
    assert server.config.listen == "127.0.0.1:7999"
    assert server.config.authority_fingerprint == place.bank.config.authority_fingerprint
    assert server.authority() == place.bank.authority()
    assert server.certified() == place.bank.certified()
    assert not (server.path / joining.FOLDER).exists()


def test_a_new_server_has_the_newest_head_and_not_the_password_of_the_ledger(place: Place) -> None:
    """It is given where the ledger lies, and what that must contain; a password is its operator's task."""
    with place.bank.open_ledger() as ledger, place.bank.signer() as signer:
        with place.bank.open_posting(ledger, signer, time.time):
            pass  # signs the head of the empty log
        with ledger.reading() as connection:
            newest = newest_head(connection)
    assert newest is not None
    server = place.take(place.grant())
    assert (server.path / NEWEST_HEAD).read_bytes() == newest.message
    assert PASSWORD in place.bank.config.ledger
    assert PASSWORD not in (server.path / "bank.toml").read_text()
    with server.open_ledger() as ledger:
        assert ledger.bank == server.config.fingerprint


def test_trial_24_a_bank_whose_ledger_is_a_file_gets_no_second_server(place: Place, bank_town: Town) -> None:
    (place.folder / "file").mkdir()
    alone = copied_bank(bank_town, place.folder / "file")
    with pytest.raises(ConfigurationError, match=r"no other machine can reach.*migrate-ledger"):
        make_grant(alone, place.request("first"), place.first.fingerprint, place.folder)


def test_a_server_that_was_added_is_told_what_is_to_be_done_elsewhere(place: Place) -> None:
    """No certificate can be asked for here, and others may back the same ledger up."""
    with (
        place.bank.open_ledger() as ledger,
        place.bank.signer() as signer,
        place.bank.open_posting(ledger, signer, time.time) as posting,
    ):
        now = format_time(time.time())
        posting.submit(accounts.deposit(ledger, "1001", "1.00", "-", identifier="x", created=now)).result()
    for path in (place.bank.certificate_path, place.bank.certified_key_path):
        path.unlink()
    server = place.take(place.grant())
    for home, must, step in ((server, False, ceremony.REQUEST_ELSEWHERE), (place.bank, True, ceremony.REQUEST)):
        with home.open_ledger() as ledger:
            assert ceremony.standing(home, ledger, time.time()).next_step == step
        assert [each.must for each in examine(home, Machine()) if each.check == "backup"] == [must]


def test_what_the_primary_key_signs_is_refused_on_a_server_that_was_added(place: Place) -> None:
    """Account notices and requests; a thief of such a server cannot have the authority certify anybody."""
    server = place.take(place.grant())
    shutil.copy(place.bank.path / LEDGER_FILE, server.path)
    desk = Desk(Address.parse("127.0.0.1:1"))
    for home in (server, place.bank):
        with home.open_ledger() as ledger:
            for act in (
                lambda at=home, book=ledger: open_account(at, book, number="77", name="Carol"),
                lambda at=home: ceremony.request(at, desk, place.folder / "request.pgp"),
                lambda at=home: make_grant(at, place.request("second"), place.second.fingerprint, place.folder / "x"),
            ):
                if home is place.bank:
                    assert act()
                else:
                    with pytest.raises(ConfigurationError, match=r"not its primary key.*run it where the primary key"):
                        act()


def test_trial_30_an_account_notice_by_a_servers_subkey_is_not_believed(place: Place, bank_town: Town) -> None:
    """By the authority: a thief of a server, who can sign heads, names no customer and no caller's code."""
    fingerprint, authority = place.bank.config.fingerprint, bank_town.authority_fingerprint
    code = " ".join(readout.encode(b"caller"))
    honest = make_notice(place.bank.gnupg, fingerprint, customer="77", name="Carol", caller_code=code, clock=time.time)
    server = place.take(place.grant())
    with server.signer() as signer:
        forged = signer.sign(claimed_content(honest, NoticeError), int(time.time()))
    keyed = {"ca_key": keys.export(bank_town.authority, authority), "bank_key": server.public_key()}
    with pytest.raises(NoticeError, match="signature does not count"):
        open_notice(forged, ca_fingerprint=authority, **keyed)
    assert open_notice(honest, ca_fingerprint=authority, **keyed).customer == "77"


def test_no_agent_goes_on_with_the_key_for_joining(place: Place) -> None:
    joining.begin(place.folder / "first")
    eventually(lambda: not gnupg_processes_below(place.folder / "first"))


def test_a_request_is_the_same_until_the_grant_is_taken(place: Place) -> None:
    assert joining.begin(place.folder / "first") == place.first
    with pytest.raises(ConfigurationError, match="not empty"):
        joining.begin(place.bank.gnupg.path)
    with pytest.raises(ConfigurationError, match="already"):
        joining.begin(place.bank.path)


def test_trial_24_only_the_key_whose_fingerprint_was_typed_gets_a_grant(place: Place) -> None:
    """Who swaps the request on its way gets nothing."""
    place.request("first").write_bytes(place.second.key)
    with pytest.raises(GrantRefused, match="not the fingerprint of the key"):
        place.grant("first")
    place.request("first").write_bytes(place.bank.certificate_path.read_bytes())
    with pytest.raises(GrantRefused, match="not a server's request"):
        place.grant("first")
    place.request("first").write_bytes(place.first.key)
    assert place.grant("first").exists()


def test_trial_24_a_grant_opens_nowhere_else(place: Place) -> None:
    grant = place.grant("first")
    with pytest.raises(GrantRefused, match="does not open here"):
        place.take(grant, "second")
    assert not (place.folder / "second" / "gnupg").exists()
    assert not place.take(grant, "first").has_primary()


def test_trial_28_a_grant_that_was_changed_on_its_way_is_refused(place: Place) -> None:
    """A bit anywhere; nothing is made of it, and the honest one is taken afterwards."""
    grant = place.grant()
    honest = grant.read_bytes()
    for at in (0, 3, 40, len(honest) // 2, len(honest) - 1):
        changed = bytearray(honest)
        changed[at] ^= 1
        with pytest.raises(GrantRefused):
            place.take(place.write(bytes(changed)))
    for cut in (b"", honest[:-1], honest + b"\x00"):
        with pytest.raises(GrantRefused):
            place.take(place.write(cut))
    assert not (place.folder / "first" / "gnupg").exists()
    assert not place.take(place.write(honest)).has_primary()


def test_trial_30_a_grant_of_another_bank_is_refused(place: Place) -> None:
    """Whoever has the request can seal something to it: what counts is the fingerprint that was typed."""
    grant = place.grant()
    with pytest.raises(GrantRefused, match="not from the bank whose fingerprint was typed"):
        place.take(grant, bank=place.second.fingerprint)
    other = Home.create(place.folder / "other", own_keys=True)
    stranger = keys.new_customer_key(other, "Example Bank (0000)", None)
    forged = messages.sign(other, stranger, b"{}")
    for key in (keys.export_minimal(other, stranger), place.content(grant).key):
        shutil.rmtree(place.folder / "view", ignore_errors=True)
        with pytest.raises(GrantRefused):
            place.take(place.sealed(key, forged))
    other.stop()
    assert not place.take(place.grant()).has_primary()


def test_trial_30_a_grant_counts_only_if_the_primary_key_itself_has_signed_it(place: Place) -> None:
    """A server that was stolen has the subkeys, and cannot make another server believe it."""
    grant = place.grant()
    content = place.content(grant)
    view = registered_home(
        place.folder / "bank-view", key=content.key, expected_fingerprint=place.bank.config.fingerprint
    )
    signed = process.run(view, "--decrypt", stdin=content.signed).output
    with HeadSigner.for_home(place.bank.gnupg, place.bank.config.fingerprint) as signer:
        by_subkey = signer.sign(signed, signer.earliest)
    with pytest.raises(GrantRefused, match=r"signature on the grant .* does not count"):
        place.take(place.sealed(content.key, by_subkey))
    shutil.rmtree(place.folder / "view")
    by_primary = messages.sign(place.bank.gnupg, place.bank.config.fingerprint, signed)
    assert not place.take(place.sealed(content.key, by_primary)).has_primary()


def test_trial_24_a_grant_that_its_server_passes_on_is_refused(place: Place) -> None:
    """The first server seals what it got to the second one's key."""
    content = place.content(place.grant("first"))
    with pytest.raises(GrantRefused, match="made for another server and passed on"):
        place.take(place.sealed(content.key, content.signed, "second"), "second")
    assert not place.take(place.grant("second"), "second").has_primary()


def test_trial_24_a_grant_is_taken_once_and_never_over_a_bank(place: Place) -> None:
    grant = place.grant()
    server = place.take(grant)
    with pytest.raises(ConfigurationError, match="already"):
        place.take(grant)
    (server.path / "bank.toml").unlink()
    with pytest.raises(ConfigurationError, match="no joining has begun"):
        place.take(grant)
    with pytest.raises(ConfigurationError, match="already"):
        joining.take(place.bank.path, grant, place.bank.config.fingerprint)


def test_a_grant_whose_taking_was_interrupted_is_taken_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until bank.toml is there it is no bank's home, and what is half there is made anew."""
    grant = place.grant()
    with monkeypatch.context() as broken:
        broken.setattr(configuration, "save", Mock(side_effect=OSError("no space left")))
        with pytest.raises(OSError, match="no space"):
            place.take(grant)
    with pytest.raises(ConfigurationError, match="no bank in"):
        BankHome.open(place.folder / "first")
    assert not place.take(grant).has_primary()


def test_the_settings_of_another_bank_are_refused(place: Place) -> None:
    content = place.content(place.grant())
    opened = process.run(place.bank.gnupg, "--decrypt", stdin=content.signed).output
    found = canonical.decode_signed(ServerKeys, opened)
    assert repr(found) == "ServerKeys(…)"
    wrong = opened.replace(
        f'"fingerprint":"{found.bank}"'.encode(), f'"fingerprint":"{place.first.fingerprint}"'.encode()
    )
    assert wrong != opened
    signed = messages.sign(place.bank.gnupg, place.bank.config.fingerprint, wrong)
    with pytest.raises(GrantRefused, match="settings of another bank"):
        place.take(place.sealed(content.key, signed))


def test_subkeys_are_taken_only_without_the_primary_key_and_only_of_the_right_one(place: Place) -> None:
    """Judged before gpg sees a byte of it."""
    home, fingerprint = place.bank.gnupg, place.bank.config.fingerprint
    whole = process.run(home, "--export-secret-keys", fingerprint, passphrase=NONE).output
    honest = export_subkeys(home, fingerprint)
    empty = Home.create(place.folder / "empty", own_keys=True)
    try:
        with pytest.raises(UnsuitableKey, match="secret of the primary key is among"):
            import_subkeys(empty, Secret(whole), expected_fingerprint=fingerprint)
        with pytest.raises(UnsuitableKey, match="and not of"):
            import_subkeys(empty, honest, expected_fingerprint=place.first.fingerprint)
        with pytest.raises(UnsuitableKey, match="not the secret subkeys"):
            import_subkeys(empty, Secret(keys.export(home, fingerprint)), expected_fingerprint=fingerprint)
        assert keys.secret_keys(empty) == ()
        import_subkeys(empty, honest, expected_fingerprint=fingerprint)
        assert [key.fingerprint for key in keys.secret_keys(empty)] == [fingerprint]
    finally:
        empty.stop()


def test_no_file_has_the_secret_in_clear_but_gpgs_own(place: Place) -> None:
    """Of the two secrets, after both ends are done; and what cannot be taken says nothing of them."""
    exported = export_subkeys(place.bank.gnupg, place.bank.config.fingerprint).reveal()
    secrets = [packet.body[-34:-2] for packet in packets.split(exported) if packet.tag == SECRET_SUBKEY]
    assert len(secrets) == 2
    place.take(place.grant())
    files = [path for path in place.folder.rglob("*") if path.is_file() and path.parent.name != "private-keys-v1.d"]
    assert any(path.name == "grant.pgp" for path in files)
    for path in files:
        found = path.read_bytes()
        assert not any(secret in found or secret.hex().encode() in found.lower() for secret in secrets), path
