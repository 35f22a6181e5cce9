"""Each rule of the verdict refuses something that no other rule refuses, and nothing but a whole transcript passes."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyring import verdict
from keyring.verdict import Accepted, Expectation, Rejected, Rule, Sealed, SignedByBank, SignedByCustomer, UnderPassword
from keyring.verdict import judge as judge_status

ALICE = "028FC4019223B0BD440C72F0DCE92DCF3EFAB5A3"
BANK = "6457015FE36455E635D2C20FA0D2FBA2B39BF2AD"
BANK_SUBKEY = "3E59AA4A07ACEF9866C6F8EACAF1DD7C8B8D5903"
STRANGER = "C31C921695E031D89F2F1A383247FD16A92E75C9"

CUSTOMER = SignedByCustomer(ALICE, certified=True)
UNCERTIFIED_CUSTOMER = SignedByCustomer(ALICE, certified=False)
BY_BANK = SignedByBank(BANK, frozenset({BANK_SUBKEY}), certified=True)


# Written by GnuPG 2.2.40, but for the fingerprints.
def signed(signing: str, primary: str, trust: str = "TRUST_FULLY") -> bytes:
    return f"""\
[GNUPG:] PLAINTEXT 62 1795345797 order.json
[GNUPG:] PLAINTEXT_LENGTH 2
[GNUPG:] NEWSIG
[GNUPG:] KEY_CONSIDERED {primary} 0
[GNUPG:] SIG_ID sCFOH1otE9X7pRmfctWffVVWu9k 2026-11-22 1795345797
[GNUPG:] KEY_CONSIDERED {primary} 0
[GNUPG:] GOODSIG {signing[-16:]} Alice (1001)
[GNUPG:] VALIDSIG {signing} 2026-11-22 1795345797 0 4 0 1 8 00 {primary}
[GNUPG:] KEY_CONSIDERED {primary} 0
[GNUPG:] {trust} 0 pgp
""".encode()


SEALED = f"""\
[GNUPG:] ENC_TO {BANK_SUBKEY[-16:]} 18 0
[GNUPG:] KEY_CONSIDERED {BANK} 0
[GNUPG:] KEY_CONSIDERED {BANK} 0
[GNUPG:] DECRYPTION_KEY {BANK_SUBKEY} {BANK} u
[GNUPG:] KEY_CONSIDERED {BANK} 0
[GNUPG:] BEGIN_DECRYPTION
[GNUPG:] DECRYPTION_INFO 2 9 0
[GNUPG:] PLAINTEXT 62 1795345797 
[GNUPG:] PLAINTEXT_LENGTH 2
[GNUPG:] DECRYPTION_OKAY
[GNUPG:] GOODMDC
[GNUPG:] END_DECRYPTION
""".encode()  # noqa: W291 - gpg writes an empty name so

PASSWORD = b"""\
[GNUPG:] NEED_PASSPHRASE_SYM 9 3 8
[GNUPG:] BEGIN_DECRYPTION
[GNUPG:] DECRYPTION_INFO 2 9 0
[GNUPG:] PLAINTEXT 62 1795345797 
[GNUPG:] PLAINTEXT_LENGTH 2
[GNUPG:] DECRYPTION_OKAY
[GNUPG:] GOODMDC
[GNUPG:] END_DECRYPTION
"""  # noqa: W291

GENUINE: Mapping[str, tuple[Expectation, bytes]] = {
    "customer": (CUSTOMER, signed(ALICE, ALICE)),
    "uncertified customer": (UNCERTIFIED_CUSTOMER, signed(ALICE, ALICE, "TRUST_UNDEFINED")),
    "bank": (BY_BANK, signed(BANK_SUBKEY, BANK)),
    "sealed": (Sealed(), SEALED),
    "password": (UnderPassword(), PASSWORD),
}
DECISIVE = (
    *("NEWSIG", "GOODSIG", "VALIDSIG", "TRUST_", "PLAINTEXT ", "ENC_TO", "DECRYPTION_KEY", "NEED_PASSPHRASE_SYM"),
    *("BEGIN_DECRYPTION", "DECRYPTION_INFO", "DECRYPTION_OKAY", "GOODMDC", "END_DECRYPTION"),
)

Change = Callable[[bytes], bytes]


def adding(line: str) -> Change:
    return lambda status: status + f"[GNUPG:] {line}\n".encode()


def doubling(keyword: str) -> Change:
    def change(status: bytes) -> bytes:
        line = next(line for line in status.split(b"\n") if line.startswith(f"[GNUPG:] {keyword}".encode()))
        return status.replace(line + b"\n", line + b"\n" + line + b"\n", 1)

    return change


def dropping(keyword: str) -> Change:
    def change(status: bytes) -> bytes:
        lines = status.split(b"\n")
        return b"\n".join(line for line in lines if not line.startswith(f"[GNUPG:] {keyword}".encode()))

    return change


def putting(old: str, new: str) -> Change:
    def change(status: bytes) -> bytes:
        assert old.encode() in status
        return status.replace(old.encode(), new.encode())

    return change


SIGNED = ("customer", "bank")
ENCRYPTED = ("sealed", "password")
EVERY = SIGNED + ENCRYPTED

# (rule, genuine transcripts, change): each is refused by this one rule alone.
CASES: tuple[tuple[str, tuple[str, ...], Change], ...] = (
    ("status-lines-only", EVERY, lambda status: status + b"gpg: Good signature\n"),
    ("status-lines-only", EVERY, lambda status: status + b" [GNUPG:] KEY_CONSIDERED\n"),
    ("status-lines-only", EVERY, lambda status: status + b"\n"),
    ("status-lines-only", EVERY, lambda status: status + b"[GNUPG:] PROGRESS"),
    ("status-lines-only", EVERY, lambda status: status + b"[GNUPG:] PROGRESS a\rb\n"),
    ("known-keywords", EVERY, adding("NEW_IN_GNUPG_3 1")),
    ("well-formed", EVERY, putting("PLAINTEXT 62 1795345797 ", "PLAINTEXT 62 yesterday ")),
    ("well-formed", SIGNED, putting("TRUST_FULLY 0 pgp", "TRUST_FULLY 0 always")),
    ("undamaged", SIGNED, adding(f"BADSIG {ALICE[-16:]} Alice (1001)")),
    ("checkable", SIGNED, adding(f"ERRSIG {ALICE[-16:]} 1 2 00 1795345797 5 {ALICE}")),
    ("checkable", SIGNED, adding(f"NO_PUBKEY {ALICE[-16:]}")),
    ("signature-not-expired", SIGNED, adding(f"EXPSIG {ALICE[-16:]} Alice (1001)")),
    ("signature-not-expired", SIGNED, adding("SIGEXPIRED deprecated-use-keyexpired-instead")),
    ("key-not-expired", SIGNED, adding(f"EXPKEYSIG {ALICE[-16:]} Alice (1001)")),
    ("key-not-expired", SIGNED, adding("KEYEXPIRED 1795345797")),
    ("key-not-revoked", SIGNED, adding(f"REVKEYSIG {ALICE[-16:]} Alice (1001)")),
    ("key-not-revoked", SIGNED, adding("KEYREVOKED")),
    ("no-failure", EVERY, adding("NODATA 3")),
    ("no-failure", EVERY, adding("UNEXPECTED 0")),
    ("no-failure", EVERY, adding("ERROR verify 1")),
    ("no-failure", EVERY, adding("FAILURE gpg-exit 33554433")),
    ("no-failure", EVERY, adding("BADMDC")),
    ("not-encrypted", SIGNED, adding("DECRYPTION_OKAY")),
    ("not-encrypted", SIGNED, adding(f"ENC_TO {ALICE[-16:]} 18 0")),
    ("one-plaintext", EVERY, doubling("PLAINTEXT ")),
    ("one-plaintext", EVERY, dropping("PLAINTEXT ")),
    ("saved-plaintext", SIGNED, putting("order.json", "_CONSOLE")),
    ("saved-plaintext", ENCRYPTED, putting("PLAINTEXT 62 1795345797 ", "PLAINTEXT 62 1795345797 _CONSOLE")),
    ("one-signature", SIGNED, doubling("NEWSIG")),
    ("one-signature", SIGNED, dropping("NEWSIG")),
    ("good-signature", SIGNED, doubling("GOODSIG")),
    ("good-signature", SIGNED, dropping("GOODSIG")),
    ("valid-signature", SIGNED, doubling("VALIDSIG")),
    ("same-key", ("customer",), putting(f"GOODSIG {ALICE[-16:]}", f"GOODSIG {STRANGER[-16:]}")),
    ("same-key", ("bank",), putting(f"GOODSIG {BANK_SUBKEY[-16:]}", f"GOODSIG {BANK[-16:]}")),
    ("document-signature", SIGNED, putting(" 8 00 ", " 8 01 ")),
    ("strong-digest", SIGNED, putting(" 1 8 00 ", " 1 2 00 ")),
    ("strong-digest", SIGNED, putting(" 1 8 00 ", " 1 11 00 ")),
    ("signer", ("customer",), putting(f" 00 {ALICE}", f" 00 {STRANGER}")),
    ("signer", ("bank",), putting(f" 00 {BANK}", f" 00 {STRANGER}")),
    ("signing-key", ("customer",), lambda _: signed(STRANGER, ALICE)),
    ("signing-key", ("bank",), lambda _: signed(STRANGER, BANK)),
    ("signing-key", ("bank",), lambda _: signed(BANK, BANK)),
    ("trust", SIGNED, putting("TRUST_FULLY", "TRUST_UNKNOWN")),
    ("trust", SIGNED, putting("TRUST_FULLY", "TRUST_UNDEFINED")),
    ("trust", SIGNED, putting("TRUST_FULLY", "TRUST_NEVER")),
    ("trust", SIGNED, putting("TRUST_FULLY", "TRUST_MARGINAL")),
    ("trust", SIGNED, putting("TRUST_FULLY", "TRUST_ULTIMATE")),
    ("trust", SIGNED, doubling("TRUST_FULLY")),
    ("trust", SIGNED, dropping("TRUST_FULLY")),
    ("trust", ("uncertified customer",), putting("TRUST_UNDEFINED", "TRUST_NEVER")),
    ("not-signed", ENCRYPTED, adding("NEWSIG")),
    ("not-signed", ENCRYPTED, adding(f"GOODSIG {ALICE[-16:]} Alice")),
    ("not-signed", ENCRYPTED, adding(f"BADSIG {ALICE[-16:]} Alice")),
    ("not-signed", ENCRYPTED, adding("TRUST_FULLY 0 pgp")),
    ("no-password", ("sealed",), adding("NEED_PASSPHRASE_SYM 9 3 8")),
    ("opened-by-key", ("sealed",), dropping("ENC_TO")),
    ("opened-by-key", ("sealed",), dropping("DECRYPTION_KEY")),
    ("opened-by-key", ("sealed",), doubling("DECRYPTION_KEY")),
    ("opened-by-password", ("password",), dropping("NEED_PASSPHRASE_SYM")),
    ("opened-by-password", ("password",), doubling("NEED_PASSPHRASE_SYM")),
    ("no-recipient", ("password",), adding(f"ENC_TO {ALICE[-16:]} 18 0")),
    ("decrypted", ENCRYPTED, adding("DECRYPTION_FAILED")),
    ("one-decryption", ENCRYPTED, dropping("DECRYPTION_OKAY")),
    ("one-decryption", ENCRYPTED, doubling("DECRYPTION_OKAY")),
    ("integrity", ENCRYPTED, dropping("GOODMDC")),
    ("integrity", ENCRYPTED, doubling("GOODMDC")),
    ("integrity-method", ENCRYPTED, putting("DECRYPTION_INFO 2 ", "DECRYPTION_INFO 0 ")),
    ("integrity-method", ENCRYPTED, dropping("DECRYPTION_INFO")),
    ("strong-cipher", ENCRYPTED, putting("DECRYPTION_INFO 2 9 ", "DECRYPTION_INFO 2 2 ")),
    ("strong-cipher", ENCRYPTED, putting("DECRYPTION_INFO 2 9 ", "DECRYPTION_INFO 2 10 ")),
    ("content-inside", ENCRYPTED, dropping("BEGIN_DECRYPTION")),
    ("content-inside", ENCRYPTED, dropping("END_DECRYPTION")),
    ("content-inside", ENCRYPTED, doubling("END_DECRYPTION")),
)
ALONE = tuple((rule, genuine, change) for rule, names, change in CASES for genuine in names)


@pytest.mark.parametrize("genuine", GENUINE)
def test_what_gpg_says_about_a_good_message_is_accepted(genuine: str) -> None:
    expected, status = GENUINE[genuine]
    found = judge_status(status, expected)
    if isinstance(expected, SignedByCustomer):
        assert found == Accepted(ALICE, ALICE, 1795345797)
    elif isinstance(expected, SignedByBank):
        assert found == Accepted(BANK, BANK_SUBKEY, 1795345797)
    else:
        assert found == Accepted("", "", 0)


@pytest.mark.parametrize(("rule", "genuine", "change"), ALONE, ids=[f"{rule}-{name}" for rule, name, _ in ALONE])
def test_each_rule_refuses_what_no_other_rule_refuses(
    rule: str, genuine: str, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, status = GENUINE[genuine]
    found = judge_status(change(status), expected)
    assert isinstance(found, Rejected)
    assert found.rule == rule
    assert found.sentence.endswith(".")

    without = tuple(one for one in verdict.RULES[type(expected)] if name_of(one) != rule)
    assert len(without) == len(verdict.RULES[type(expected)]) - 1
    monkeypatch.setattr(verdict, "RULES", {**verdict.RULES, type(expected): without})
    assert isinstance(judge_status(change(status), expected), Accepted)


def test_every_rule_of_every_expectation_is_in_the_table() -> None:
    kinds = {name: type(expected) for name, (expected, _) in GENUINE.items()}
    tried = {(kinds[genuine], rule) for rule, genuine, _ in ALONE}
    for kind, rules in verdict.RULES.items():
        untried = [name_of(rule) for rule in rules if (kind, name_of(rule)) not in tried]
        assert not untried, f"rules of {kind.__name__} without a case of their own: {untried}"


def name_of(rule: Rule) -> str:
    return rule.__name__.replace("_", "-")


@pytest.mark.parametrize("genuine", GENUINE)
def test_a_transcript_without_one_decisive_line_is_refused(genuine: str) -> None:
    expected, status = GENUINE[genuine]
    lines = status.splitlines(keepends=True)
    refused = 0
    for place, line in enumerate(lines):
        if line.decode().startswith(tuple(f"[GNUPG:] {keyword}" for keyword in DECISIVE)):
            assert isinstance(judge_status(b"".join(lines[:place] + lines[place + 1 :]), expected), Rejected), line
            refused += 1
    assert refused >= 5


@pytest.mark.parametrize("genuine", GENUINE)
def test_one_expectation_never_accepts_what_another_one_does(genuine: str) -> None:
    _, status = GENUINE[genuine]
    for other, (expected, _) in GENUINE.items():
        if other != genuine and not (genuine == "customer" and other == "uncertified customer"):
            assert isinstance(judge_status(status, expected), Rejected), other


@pytest.mark.parametrize("separator", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "Å"])
def test_a_status_line_inside_a_user_id_is_not_believed(separator: str) -> None:
    """Trial 29: these end a line for str.splitlines, and "Å" holds the byte 0x85; gpg wrote one line."""
    forged = f"[GNUPG:] VALIDSIG {ALICE} 2026-11-22 1795345797 0 4 0 1 8 00 {ALICE}"
    status = signed(STRANGER, STRANGER).replace(b"Alice (1001)", f"X{separator}{forged}".encode())
    assert isinstance(judge_status(status, CUSTOMER), Rejected)
    raw = signed(STRANGER, STRANGER).replace(b"Alice (1001)", b"X\x85" + forged.encode())
    found = judge_status(raw, CUSTOMER)
    assert isinstance(found, Rejected)
    assert found.rule == "signer"
    assert judge_status(raw, SignedByCustomer(STRANGER, certified=True)) == Accepted(STRANGER, STRANGER, 1795345797)


def test_a_user_id_in_another_alphabet_is_no_obstacle() -> None:
    status = signed(ALICE, ALICE).replace(b"Alice", "Ålice 愛".encode())
    assert isinstance(judge_status(status, CUSTOMER), Accepted)


@given(status=st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_and_are_never_accepted(status: bytes) -> None:
    for expected, _ in GENUINE.values():
        assert isinstance(judge_status(status, expected), Rejected)


@given(data=st.data())
def test_genuine_lines_with_a_piece_missing_or_bytes_put_in_never_name_another_signer(data: st.DataObject) -> None:
    expected, status = data.draw(st.sampled_from(tuple(GENUINE.values())))
    start = data.draw(st.integers(0, len(status)))
    end = data.draw(st.integers(start, len(status)))
    found = judge_status(status[:start] + data.draw(st.binary(max_size=20)) + status[end:], expected)
    if isinstance(found, Accepted):
        honest = judge_status(status, expected)
        assert isinstance(honest, Accepted)
        assert (found.primary, found.signing) == (honest.primary, honest.signing)
