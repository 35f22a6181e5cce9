"""The keyring commands show keys and messages as they are, and leave every byte of the home as it was."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import segno
from click.testing import CliRunner, Result

from keyring import process, readout
from keyring.cli import commands
from keyring.colons import parse
from keyring.explain import explain
from keyring.home import Home
from protocol.secret import Secret
from tests.keyring.crafted import CraftedKey, notation, packet

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "packets.json").read_text())
NO_PASSPHRASE = Secret(b"")
HOSTILE_NAME = b"Mallory \x1b[2J\n[GNUPG:] \xe2\x80\xae \x85"


def gpg(home: Home, *arguments: str, stdin: bytes = b"") -> bytes:
    outcome = process.run(home, *arguments, stdin=stdin, passphrase=NO_PASSPHRASE)
    assert outcome.exit_code == 0, outcome.log
    return outcome.output


def fingerprint_of(home: Home, name: str) -> str:
    return parse(gpg(home, "--with-colons", "--list-keys", name))[0].fingerprint


@pytest.fixture(scope="module")
def party(make_short_tmp: Callable[[], Path]) -> Path:
    """A party's folder: its home has the CA (own key), Alice, certified by it, and Mallory, who names himself badly."""
    folder = make_short_tmp()
    home, elsewhere = Home.create(folder / "gnupg", own_keys=True), Home.create(folder / "alice", own_keys=True)
    gpg(home, "--quick-gen-key", "The CA", "ed25519", "cert", "0")
    gpg(elsewhere, "--quick-gen-key", "Alice (1001)", "ed25519", "sign,cert", "1y")
    alice = fingerprint_of(elsewhere, "Alice")
    gpg(elsewhere, "--quick-add-key", alice, "cv25519", "encr", "1y")
    gpg(home, "--import", stdin=gpg(elsewhere, "--export", alice))
    gpg(home, "--cert-notation", "number@countersign.example=1001", "--quick-sign-key", alice)
    gpg(home, "--import", stdin=CraftedKey.new().certificate(HOSTILE_NAME, claimed_issuer=fingerprint_of(home, "CA")))
    gpg(home, "--check-trustdb")
    (folder / "signed").write_bytes(gpg(elsewhere, "-z", "0", "--sign", stdin=b'{"type":"order"}'))
    home.stop()
    elsewhere.stop()
    return folder


def keyring(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(commands, arguments, input=stdin)


def printed(*arguments: str, stdin: bytes | None = None) -> str:
    result = keyring(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.output


def json_of(*arguments: str, stdin: bytes | None = None) -> Any:
    return json.loads(printed(*arguments, "--json", stdin=stdin))


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, sha256(path.read_bytes()).hexdigest()) for path in files} | {
        str(path): (0, "") for path in folder.rglob("*") if not path.is_file()
    }


def test_list_shows_every_key_with_its_validity_and_whether_its_secret_is_here(party: Path) -> None:
    home = ("--home", str(party))
    ca, alice, mallory = json_of("list", *home)
    assert (ca["user_ids"], alice["user_ids"]) == (["The CA"], ["Alice (1001)"])
    assert [key["validity"].partition(":")[0] for key in (ca, alice, mallory)] == ["ultimate", "full", "unknown"]
    assert [key["secret"] for key in (ca, alice, mallory)] == [True, False, False]
    assert [part["algorithm"] for part in (alice, *alice["subkeys"])] == ["ed25519", "cv25519"]
    table = printed("list", *home)
    assert readout.hex_groups(alice["fingerprint"])[-19:] in table
    assert "Alice (1001)" in table


def test_a_home_is_taken_as_given_or_below_a_partys_folder_or_from_the_environment(
    party: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = printed("list", "--home", str(party))
    assert printed("list", "--home", str(party / "gnupg")) == expected
    monkeypatch.setenv("GNUPGHOME", str(party / "gnupg"))
    assert printed("list") == expected


def test_show_tells_who_certified_a_key(party: Path) -> None:
    home = ("--home", str(party))
    shown = json_of("show", "alice", *home)
    own, by_ca = shown["names"][0]["vouchers"]
    assert (own["own"], by_ca["own"]) == (True, False)
    assert by_ca["certifier"] == json_of("list", *home)[0]["fingerprint"]
    assert (by_ca["user_id"], by_ca["check"], by_ca["revocation"]) == ("The CA", "good", False)
    assert by_ca["notations"] == [["number@countersign.example", "1001"]]
    text = printed("show", shown["fingerprint"], *home)
    for expected in ("sign, certify", "full: certified", "number@countersign.example = 1001", "in words", "The CA"):
        assert expected in text
    assert all(line in text for line in readout.lines(shown["fingerprint"]))


def test_show_believes_no_claim_of_who_signed(party: Path) -> None:
    """Mallory's own signature says that the CA made it."""
    shown = json_of("show", "Mallory", "--home", str(party))
    (own,) = shown["names"][0]["vouchers"]
    assert own["own"]
    assert own["check"].startswith("BAD")


def test_show_tells_of_revoked_and_expired_certifications_and_of_a_revoked_key(short_tmp: Path) -> None:
    home = Home.create(short_tmp / "home", own_keys=True)
    gpg(home, "--faked-system-time", "20240101T000000", "--quick-gen-key", "The CA", "ed25519", "cert", "0")
    gpg(home, "--faked-system-time", "20240101T000000", "--quick-gen-key", "Bob", "ed25519", "sign,cert", "0")
    bob = fingerprint_of(home, "Bob")
    sign = ("-u", "The CA", "--default-cert-expire", "1d", "--quick-sign-key", bob)
    gpg(home, "--faked-system-time", "20240102T000000", *sign)
    before = json_of("show", "Bob", "--home", str(home.path))
    assert [(voucher["own"], voucher["expired"]) for voucher in before["names"][0]["vouchers"]] == [
        (True, False),
        (False, True),
    ]
    assert "EXPIRED on 2024-01-03" in printed("show", "Bob", "--home", str(home.path))

    gpg(home, "-u", "The CA", "--quick-revoke-sig", bob, "The CA")
    revocation = (home.path / "openpgp-revocs.d" / f"{bob}.rev").read_bytes().replace(b":-----BEGIN", b"-----BEGIN")
    gpg(home, "--import", stdin=revocation)
    home.stop()
    after = json_of("show", "Bob", "--home", str(home.path))
    assert (before["revoked"], after["revoked"], after["usable"]) == (False, True, [])
    assert [voucher["revocation"] for voucher in after["names"][0]["vouchers"]].count(True) == 1
    assert "certification revoked by" in printed("show", "Bob", "--home", str(home.path))


def test_no_control_character_of_a_stranger_reaches_the_terminal(party: Path) -> None:
    for arguments in (("list",), ("show", "Mallory"), ("show", "nobody \x1b[2J \u202e"), ("list", "--json")):
        result = keyring(*arguments, "--home", str(party))
        text = result.output.replace("\n", "")
        assert text.isprintable(), ascii(text)
    assert "\\x1b[2J\\n[GNUPG:]" in printed("show", "Mallory", "--home", str(party))
    hostile = packet(13, HOSTILE_NAME) + packet(11, b"b\x06\x1b[2J\r\n\0\0\0\0\x1b]0;owned\x07")
    assert printed("packets", "-", stdin=hostile).replace("\n", "").isprintable()


def test_a_fingerprint_is_shown_in_forms_that_lead_back_to_it(party: Path) -> None:
    home = ("--home", str(party))
    wanted = json_of("list", *home)[1]["fingerprint"]
    words, _, spaced = printed("fingerprint", "Alice (1001)", *home).strip().rpartition("\n\n")
    assert len(words.splitlines()) == 5
    digits = printed("fingerprint", wanted[-16:], "--digits", *home)
    assert {readout.parse(form) for form in (words, spaced, digits)} == {wanted}
    # and each form names the key
    for form in (words, spaced, digits, "0x" + wanted[-8:]):
        assert json_of("fingerprint", form, *home)["fingerprint"] == wanted


def test_a_fingerprint_is_shown_as_a_qr_code(party: Path, short_tmp: Path) -> None:
    home = ("--home", str(party))
    wanted, other = (each["fingerprint"] for each in json_of("list", *home)[:2])
    text = printed("fingerprint", wanted, "--qr", *home).split("\n\n")[0]
    assert text == readout.qr_text(wanted) != readout.qr_text(other)
    # Each character shows two dots of a column, light on dark, and 4 dots of quiet around.
    shown = _dots(text)
    expected = [list(map(bool, row)) for row in segno.make_qr(f"OPENPGP4FPR:{wanted}", error="m").matrix_iter(border=4)]
    assert shown[: len(expected)] == expected
    for name, beginning in (("code.png", b"\x89PNG\r\n"), ("code.svg", b"<?xml")):
        printed("fingerprint", wanted, "--qr-file", str(short_tmp / name), *home)
        assert (short_tmp / name).read_bytes().startswith(beginning)
    for name in ("code.txt", "missing/code.png"):
        result = keyring("fingerprint", wanted, "--qr-file", str(short_tmp / name), *home)
        assert (result.exit_code, name in result.output.replace("\n", "")) == (1, True)


def _dots(text: str) -> list[list[bool]]:
    """The rows of a code in block characters: True where it is dark."""
    halves = (" ▄", " ▀")
    return [[character in dark for character in line] for line in text.splitlines() for dark in halves]


def test_no_command_changes_the_home_or_starts_anything(party: Path) -> None:
    before = contents(party)
    for arguments in (("list",), ("show", "alice"), ("fingerprint", "alice"), ("show", "nobody")):
        keyring(*arguments, "--home", str(party))
    assert contents(party) == before
    assert not (party / "gnupg" / "S.gpg-agent").exists()


def test_a_home_without_keys_is_told_and_stays_empty(short_tmp: Path) -> None:
    for home in (short_tmp, short_tmp / "missing"):
        result = keyring("list", "--home", str(home))
        assert result.exit_code == 1
        assert "--home" in result.stderr
        assert not result.stdout
    assert list(short_tmp.iterdir()) == []


def test_a_home_without_a_trust_database_is_listed_and_gets_none(party: Path, short_tmp: Path) -> None:
    (short_tmp / "pubring.kbx").write_bytes((party / "gnupg" / "pubring.kbx").read_bytes())
    assert {key["validity"].partition(":")[0] for key in json_of("list", "--home", str(short_tmp))} == {"unknown"}
    assert [path.name for path in short_tmp.iterdir()] == ["pubring.kbx"]


@pytest.mark.parametrize("wanted", ["", "a", "Bob", "0" * 40, "DEADBEEF"])
def test_a_key_that_is_not_one_of_the_home_is_told(party: Path, wanted: str) -> None:
    result = keyring("show", wanted, "--home", str(party))
    assert result.exit_code == 1
    assert "match" in result.stderr


def test_wrong_usage_is_told_apart() -> None:
    assert keyring("show").exit_code == 2
    assert keyring("packets", "no-such-file").exit_code == 2


def test_packets_explains_a_signed_message(party: Path) -> None:
    one_pass, literal, signature = json_of("packets", str(party / "signed"))
    assert [found["tag"] for found in (one_pass, literal, signature)] == [4, 11, 2]
    assert literal["fields"]["begins"] == '{"type":"order"}'
    assert literal["fields"]["SHA-256"] == sha256(b'{"type":"order"}').hexdigest()
    alice = json_of("list", "--home", str(party))[1]["fingerprint"]
    assert f"issuer fingerprint: {alice}" in signature["fields"]["signed details"]
    text = printed("packets", str(party / "signed"))
    assert all(found["sentence"] in text for found in (one_pass, literal, signature))


def test_packets_explains_keys_and_certifications_also_in_armour(party: Path) -> None:
    home = Home.open(party / "gnupg")
    binary, armour = gpg(home, "--export", "Alice"), gpg(home, "--armor", "--export", "Alice")
    explained = json_of("packets", "-", stdin=binary)
    assert json_of("packets", "-", stdin=armour) == explained
    known = json_of("list", "--home", str(party))[1]
    keys = [found["fields"]["fingerprint"] for found in explained if found["tag"] in (6, 14)]
    assert keys == [known["fingerprint"], *(subkey["fingerprint"] for subkey in known["subkeys"])]
    details = [detail for found in explained for detail in found["fields"].get("signed details", ())]
    assert "notation: number@countersign.example = 1001" in details


def test_packets_shows_nothing_secret_of_a_secret_key(party: Path) -> None:
    home = Home.open(party / "gnupg")
    secret = gpg(home, "--export-secret-keys", "The CA")
    home.stop()
    (found, *_) = json_of("packets", "-", stdin=secret)
    assert found["tag"] == 5
    assert found["fields"]["fingerprint"] == json_of("list", "--home", str(party))[0]["fingerprint"]
    assert set(found["fields"]) <= {"version", "created", "algorithm", "curve", "bits", "fingerprint"} | {
        "protected by a passphrase"
    }


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"].replace(" ", "-"))
def test_packets_explains_or_refuses_every_vector_in_a_sentence(vector: dict[str, str]) -> None:
    result = keyring("packets", "-", stdin=bytes.fromhex(vector["message"]))
    assert result.exit_code in (0, 1)
    assert isinstance(result.exception, SystemExit | None)
    assert result.stderr.startswith("Error: ") == (result.exit_code == 1)


def test_a_bomb_of_compressed_packets_is_left_alone() -> None:
    import zlib

    bomb = packet(11, b"b\0\0\0\0\0" + bytes(50 << 20))
    (found,) = explain(packet(8, b"\x02" + zlib.compress(bomb, 9)))
    assert "inflates to more than" in found.sentence
    nested = packet(11, b"b\0\0\0\0\0x")
    for _ in range(64):
        nested = packet(8, b"\x02" + zlib.compress(nested))
    depth, inside = 0, explain(nested)
    while inside:
        depth, inside = depth + 1, inside[0].inside
    assert depth == 5


def test_every_command_has_help_with_an_example() -> None:
    for name in commands.commands:
        assert f"Example: {'gpg' if name == 'packets' else 'keyring ' + name}" in printed(name, "--help")


def test_notations_that_are_not_text_are_shown_as_hex() -> None:
    crafted = CraftedKey.new().certificate(b"Bob", hashed=notation(b"a@b", b"x").replace(b"\x80\0\0\0", bytes(4)))
    assert "notation: a@b = 78" in explain(crafted)[2].fields["signed details"]  # type: ignore[operator]
