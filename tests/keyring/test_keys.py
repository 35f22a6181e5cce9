"""A key is made and taken in exactly as agreed, and what gpg or python-gnupg could misread never reaches them."""

import logging
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyring import keys, packets, process
from keyring.errors import KeyringError, PassphraseError, UnsuitableKey, UserIdError
from keyring.home import Home
from protocol.secret import Secret

PASSPHRASE = Secret("p\u00e4ss %41: word".encode())
CUSTOMER = "Zo\u00eb O'Neil & Co. (0042)"


@pytest.fixture(scope="module")
def folder(make_short_tmp: Callable[[], Path]) -> Path:
    return make_short_tmp()


@pytest.fixture(scope="module")
def customer(folder: Path) -> Iterator[tuple[Home, str]]:
    home = Home.create(folder / "customer", own_keys=True)
    yield home, keys.new_customer_key(home, CUSTOMER, PASSPHRASE)
    home.stop()


@pytest.fixture(scope="module")
def bank(folder: Path) -> Iterator[tuple[Home, keys.BankKey]]:
    home = Home.create(folder / "bank", own_keys=True)
    yield home, keys.new_bank_key(home, "Our Bank (bank)")
    home.stop()


@pytest.fixture(scope="module")
def ca(folder: Path) -> Iterator[tuple[Home, str]]:
    home = Home.create(folder / "ca", own_keys=True)
    yield home, keys.new_ca_key(home, "Authority", PASSPHRASE)
    home.stop()


@pytest.fixture
def empty(short_tmp: Path) -> Home:
    return Home.create(short_tmp / "empty", own_keys=False)


def shape(home: Home, fingerprint: str) -> list[tuple[str, str, int | None]]:
    key = keys.secret_key(home, fingerprint)
    return [(keys.algorithm_name(part), part.capabilities, part.expires) for part in key.parts]


def signs(home: Home, fingerprint: str, passphrase: Secret | None) -> bool:
    outcome = process.run(home, "--local-user", f"{fingerprint}!", "--sign", stdin=b"x", passphrase=passphrase)
    return b" SIG_CREATED " in outcome.status


def test_customer_key_is_as_agreed_and_protected(customer: tuple[Home, str]) -> None:
    home, fingerprint = customer
    assert shape(home, fingerprint) == [("rsa3072", "sc", None), ("cv25519", "e", None)]
    assert [each.text for each in keys.secret_key(home, fingerprint).user_ids] == [CUSTOMER]
    home.stop()  # the agent remembers passphrases
    assert not signs(home, fingerprint, None)
    assert not signs(home, fingerprint, Secret(b"wrong"))
    assert signs(home, fingerprint, PASSPHRASE)
    assert (home.path / "openpgp-revocs.d" / f"{fingerprint}.rev").is_file()


def test_bank_key_is_as_agreed_and_needs_no_passphrase(bank: tuple[Home, keys.BankKey]) -> None:
    home, key = bank
    assert shape(home, key.primary) == [("rsa3072", "sc", None), ("cv25519", "e", None), ("ed25519", "s", None)]
    assert [part.fingerprint for part in keys.secret_key(home, key.primary).subkeys] == [key.encryption, key.signing]
    home.stop()
    assert signs(home, key.primary, None)
    assert signs(home, key.signing, None)


def test_authority_key_certifies_only(ca: tuple[Home, str]) -> None:
    home, fingerprint = ca
    assert shape(home, fingerprint) == [("rsa3072", "c", None)]
    assert not signs(home, fingerprint, PASSPHRASE)


def test_passphrase_is_on_no_command_line_in_no_file_and_in_no_log(
    short_tmp: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    real: Any = subprocess.Popen.__init__

    def watching(self: Any, command: Any, *rest: Any, **options: Any) -> None:
        commands.append(repr(command))
        real(self, command, *rest, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", watching)
    secret = "unmistakable-passphrase"
    home = Home.create(short_tmp / "k", own_keys=True)
    with caplog.at_level(logging.DEBUG):
        keys.new_ca_key(home, "Authority", Secret(secret.encode()))
    home.stop()
    assert any("--gen-key" in command for command in commands)
    assert secret not in "".join(commands) + caplog.text
    files = [path for path in short_tmp.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert not [path for path in files if path.suffix == ".key" and stat.S_IMODE(path.stat().st_mode) & 0o077]


@pytest.mark.parametrize(
    "passphrase", [b"", b" x", b"x ", b"x\ny", b"\xff", b"\x85".decode("latin-1").encode(), b"x" * 256]
)
def test_passphrase_that_gpg_could_misread_is_refused(short_tmp: Path, passphrase: bytes) -> None:
    home = Home.create(short_tmp / "k", own_keys=True)
    with pytest.raises(PassphraseError):
        keys.new_ca_key(home, "Authority", Secret(passphrase))
    assert keys.secret_keys(home) == ()


def test_authority_key_of_another_size_is_refused(empty: Home) -> None:
    with pytest.raises(UnsuitableKey, match="2048"):
        keys.new_ca_key(empty, "Authority", PASSPHRASE, bits=2048)


def test_pinentry_that_cannot_ask_is_no_key(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "ttyname", lambda _: "/dev/null")
    home = Home.create(short_tmp / "k", own_keys=True)
    with (home.path / "gpg-agent.conf").open("a") as file:
        file.write("pinentry-program /bin/false\n")
    with pytest.raises(PassphraseError):
        keys.new_customer_key(home, CUSTOMER, None, ask=True)
    home.stop()


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("Alice", "1001", "Alice (1001)"),
        ("A", "1", "A (1)"),
        ("Zoe\u0308 O'Neil-Smith, Jr. & Co.", "0042", "Zo\u00eb O'Neil-Smith, Jr. & Co. (0042)"),
        ("\u0410\u043b\u0438\u0441\u0430", "a-1", "\u0410\u043b\u0438\u0441\u0430 (a-1)"),
        ("\u0905\u0932\u093f\u0938", "7", "\u0905\u0932\u093f\u0938 (7)"),
        ("\u5f35\u4e09", "x", "\u5f35\u4e09 (x)"),
    ],
)
def test_name_of_any_script_makes_a_user_id(name: str, number: str, expected: str) -> None:
    assert keys.user_id(name, number) == expected


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("A\nName-Email: x", "U+000A"),
        ("A\r", "U+000D"),
        ("A\x85[GNUPG:] VALIDSIG", "U+0085"),
        ("A\u2028B", "U+2028 LINE SEPARATOR"),
        ("A\u202eB", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("A\u200bB", "U+200B ZERO WIDTH SPACE"),
        ("A\u3164B", "U+3164 HANGUL FILLER"),
        ("A\ufe0fB", "U+FE0F VARIATION SELECTOR-16"),
        ("A\u00a0B", "U+00A0 NO-BREAK SPACE"),
        ("A <a@b>", "U+003C LESS-THAN SIGN"),
        ("A@B", "U+0040 COMMERCIAL AT"),
        ("A%no-protection", "U+0025 PERCENT SIGN"),
        ("A:B", "U+003A COLON"),
        ("A\\B", "U+005C REVERSE SOLIDUS"),
        ("A\udc85B", "U+DC85"),
        ("A\0B", "U+0000"),
    ],
)
def test_character_that_could_be_misread_is_named(name: str, shown: str) -> None:
    with pytest.raises(UserIdError) as caught:
        keys.user_id(name, "1001")
    assert shown in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (" Alice", "1"),
        ("", "1"),
        ("-x", "1"),
        ("(x", "1"),
        ("1x", "1"),
        ("x" * 61, "1"),
        ("Alice", ""),
        ("Alice", "1\n"),
    ],
)
def test_name_or_number_of_another_form_is_refused(name: str, number: str) -> None:
    with pytest.raises(UserIdError):
        keys.user_id(name, number)


@pytest.mark.parametrize("text", ["Alic", "Alice ", "Zoe\u0308 (1)", "x" * 65])
def test_user_id_of_another_form_makes_no_key(empty: Home, text: str) -> None:
    with pytest.raises(UserIdError):
        keys.new_customer_key(empty, text, None)


def test_exported_key_is_read_and_imported(customer: tuple[Home, str], empty: Home) -> None:
    home, fingerprint = customer
    data = keys.export(home, fingerprint)
    assert keys.import_key(empty, data, expected_fingerprint=fingerprint) == fingerprint
    read = keys.public_key(empty, fingerprint)
    assert ([each.text for each in read.user_ids], keys.algorithm_name(read.primary)) == ([CUSTOMER], "rsa3072")
    assert [(keys.algorithm_name(sub), sub.capabilities) for sub in read.subkeys] == [("cv25519", "e")]
    assert read.primary.created == keys.secret_key(home, fingerprint).primary.created
    assert keys.export(empty, fingerprint) == data
    assert not list(empty.path.glob("S.*")), "an agent was started in a home without secret keys"


def test_home_and_its_configuration_are_left_as_they_were(customer: tuple[Home, str], empty: Home) -> None:
    before = {name: (empty.path / name).read_bytes() for name in ("gpg.conf", "gpg-agent.conf")}
    keys.import_key(empty, keys.export(*customer), expected_fingerprint=customer[1])
    assert {name: (empty.path / name).read_bytes() for name in before} == before


def test_trusted_authority_is_ultimately_trusted(ca: tuple[Home, str], empty: Home) -> None:
    keys.import_key(empty, keys.export(*ca), expected_fingerprint=ca[1])
    assert keys.public_key(empty, ca[1]).primary.owner_trust != "u"
    keys.trust_ca(empty, ca[1])
    assert keys.public_key(empty, ca[1]).primary.owner_trust == "u"


def test_authority_that_is_not_there_is_not_trusted(empty: Home) -> None:
    with pytest.raises(UnsuitableKey):
        keys.trust_ca(empty, "A" * 40)


@pytest.mark.parametrize("fingerprint", ["", "A" * 39, "a" * 40, "A" * 40 + "\n", "--version", "0x" + "A" * 38])
def test_fingerprint_of_another_form_never_reaches_gpg(empty: Home, fingerprint: str) -> None:
    for use in (keys.export, keys.export_minimal, keys.trust_ca, keys.public_key, keys.secret_key):
        with pytest.raises(UnsuitableKey, match="not a fingerprint"):
            use(empty, fingerprint)


def test_key_that_is_not_there_is_not_exported(empty: Home) -> None:
    with pytest.raises(UnsuitableKey, match="is not in"):
        keys.export(empty, "A" * 40)


def test_key_other_than_the_expected_one_is_refused(
    customer: tuple[Home, str], ca: tuple[Home, str], empty: Home
) -> None:
    with pytest.raises(UnsuitableKey, match="was expected"):
        keys.import_key(empty, keys.export(*customer), expected_fingerprint=ca[1])
    with pytest.raises(UnsuitableKey, match="not a fingerprint"):
        keys.import_key(empty, keys.export(*customer), expected_fingerprint="")
    assert keys.import_key(empty, keys.export(*customer), expected_fingerprint=customer[1]) == customer[1]


def test_two_keys_at_once_are_refused(customer: tuple[Home, str], ca: tuple[Home, str], empty: Home) -> None:
    with pytest.raises(UnsuitableKey, match="exactly one"):
        keys.import_key(empty, keys.export(*customer) + keys.export(*ca), expected_fingerprint=customer[1])


def test_secret_key_is_refused(bank: tuple[Home, keys.BankKey], empty: Home) -> None:
    data = process.run(bank[0], "--export-secret-keys", bank[1].primary).output
    assert data
    with pytest.raises(UnsuitableKey, match="secret key"):
        keys.import_key(empty, data, expected_fingerprint=bank[1].primary)


def test_data_that_is_no_key_is_refused(customer: tuple[Home, str], empty: Home) -> None:
    data = keys.export(*customer)
    user_id = packets.split(data)[1]
    for wrong in (b"", b"\xff" * 100, data[:-1], data[user_id.offset :], b"\xd1\x00" + data, data + b"\xd1\x00"):
        with pytest.raises(KeyringError):
            keys.import_key(empty, wrong, expected_fingerprint=None)
    with pytest.raises(UnsuitableKey, match="at most 32768"):
        keys.import_key(empty, data + bytes(32 * 1024), expected_fingerprint=None)
    bare = data[: user_id.offset]
    with pytest.raises(UnsuitableKey):
        keys.import_key(empty, bare, expected_fingerprint=None)


def foreign_key(folder: Path, user_id: str, algorithm: str) -> tuple[Home, bytes]:
    home = Home.create(folder / "foreign", own_keys=True)
    arguments = ("--passphrase", "", "--pinentry-mode", "loopback", "--quick-gen-key", user_id, algorithm)
    process.run(home, *arguments, "sign,cert", "0")
    return home, keys.export(home, keys.secret_keys(home)[0].fingerprint)


@pytest.mark.parametrize("algorithm", ["rsa2048", "ed25519"])
def test_primary_key_that_is_too_short_or_of_another_kind_is_refused(
    short_tmp: Path, empty: Home, algorithm: str
) -> None:
    _, data = foreign_key(short_tmp, "Alice (1001)", algorithm)
    with pytest.raises(UnsuitableKey, match=algorithm):
        keys.import_key(empty, data, expected_fingerprint=None)
    assert process.run(empty, "--with-colons", "--list-keys").output.count(b"pub:") == 0


def test_user_ids_of_another_form_are_refused(short_tmp: Path, empty: Home) -> None:
    home, data = foreign_key(short_tmp, "Alice <alice@bank.example>", "rsa3072")
    with pytest.raises(UserIdError, match="LESS-THAN"):
        keys.import_key(empty, data, expected_fingerprint=None)
    fingerprint = keys.secret_keys(home)[0].fingerprint
    process.run(home, "--quick-add-uid", fingerprint, "Bob (1002)")
    with pytest.raises(UnsuitableKey, match="2 user IDs"):
        keys.import_key(empty, keys.export(home, fingerprint), expected_fingerprint=fingerprint)
    assert process.run(empty, "--with-colons", "--list-keys").output.count(b"pub:") == 0
    data = keys.export(home, fingerprint)
    assert keys.import_key(empty, data, expected_fingerprint=None, several_user_ids=True) == fingerprint


def test_revoked_key_is_refused(short_tmp: Path, empty: Home) -> None:
    home, _ = foreign_key(short_tmp, "Alice (1001)", "rsa3072")
    fingerprint = keys.secret_keys(home)[0].fingerprint
    certificate = (home.path / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text().replace("\n:-----", "\n-----")
    process.run(home, "--import", stdin=certificate.encode())
    with pytest.raises(UnsuitableKey, match="revoked"):
        keys.import_key(empty, keys.export(home, fingerprint), expected_fingerprint=fingerprint)
