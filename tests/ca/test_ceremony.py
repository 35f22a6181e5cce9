"""What is heard decides: each mistake on the telephone costs a try, and only what was confirmed is certified."""

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from ca import ceremony, inventory, issuing
from ca.authority import DECISIONS_FILE, Authority
from ca.ceremony import CalledBack, CallerCode, Mistake
from ca.decisions import Confirmation
from ca.errors import CeremonyError, IssuingError, NoticeError, RequestError
from ca.messages import State
from keyring import certification, readout
from keyring.errors import PassphraseError, ReadoutError
from protocol.secret import Secret
from tests.ca.cast import CALL, CALL_BACK, PASSPHRASE, Cast, certify, confirm, file, issue, opened, send_notice


def swapped(words: str, first: int, second: int) -> str:
    """The words at two places (from 1) exchanged."""
    parts = words.split()
    parts[first - 1], parts[second - 1] = parts[second - 1], parts[first - 1]
    return " ".join(parts)


def altered(fingerprint: str, word: int) -> str:
    """Another fingerprint, that differs from this one at one word (from 1) and nowhere else."""
    data = bytearray.fromhex(fingerprint)
    data[word - 1] ^= 1
    return data.hex().upper()


def test_whole_ceremony_by_the_code_in_the_letter(authority: Authority, cast: Cast) -> None:
    alice = cast.alice
    send_notice(authority, cast.bank.notice(alice))
    identifier = file(authority, alice.request())
    assert [row.state for row in inventory.open_requests(authority, int(time.time()))] == ["waiting for the call"]
    assert isinstance(confirm(authority, identifier, alice.words.upper(), CALL), Confirmation)
    made = issue(authority, identifier)
    assert (made.number, made.role, made.name, made.fingerprint) == ("1001", "customer", "Alice", alice.fingerprint)
    assert authority.desk.certificate(alice.fingerprint) == (made.certified, made.expires)
    assert not inventory.open_requests(authority, int(time.time()))


def test_certificate_says_who_confirmed_what_and_how(authority: Authority, cast: Cast, short_tmp: Path) -> None:
    identifier = file(authority, cast.alice.request())
    confirmation = confirm(authority, identifier, cast.alice.words)
    assert isinstance(confirmation, Confirmation)
    assert confirmation.dialled == CALL_BACK.dialled
    made = issue(authority, identifier, days=10)
    fingerprint = authority.configuration.fingerprint
    _, said, _ = certification.judged_home(
        short_tmp / "judged",
        ca_key=authority.desk.authority().key,
        ca_fingerprint=fingerprint,
        offered=made.key,
        expected_fingerprint=cast.alice.fingerprint,
    )
    assert (said.number, said.role, said.user_id) == ("1001", "customer", "Alice (1001)")
    assert said.request_digest.startswith(identifier)
    assert (said.confirmed_by, said.reached_by) == ("operator", "called back")
    assert said.confirmed_at.endswith("Z")
    assert 0 <= said.expires - made.issued - 10 * 86_400 <= 60, "from the issue on, wherever it begins"
    assert b"1234" not in made.key, "the number dialled is nobody's business"


@pytest.mark.parametrize("form", ["words", "hex", "groups", "decimal"])
def test_fingerprint_is_taken_in_every_form(authority: Authority, cast: Cast, form: str) -> None:
    fingerprint = cast.alice.fingerprint
    heard = {
        "words": cast.alice.words.replace(" ", " - "),
        "hex": fingerprint.lower(),
        "groups": readout.hex_groups(fingerprint),
        "decimal": readout.digits(fingerprint),
    }
    assert isinstance(confirm(authority, file(authority, cast.alice.request()), heard[form]), Confirmation)


@pytest.mark.parametrize("word", [1, 7, 20])
def test_mistake_names_the_place_and_not_the_word(authority: Authority, cast: Cast, word: int) -> None:
    identifier = file(authority, cast.alice.request())
    result = confirm(authority, identifier, altered(cast.alice.fingerprint, word))
    assert isinstance(result, Mistake)
    assert result.tries_left == 2
    assert result.sentence.startswith(f"Word {word} (in group {(word + 1) // 2} of")
    every_word = {word.lower() for byte in range(256) for word in readout.encode(bytes([byte, byte]))}
    assert not every_word & set(re.findall("[a-z]+", result.sentence.lower()))
    assert cast.alice.fingerprint not in result.sentence


def test_words_dropped_doubled_or_swapped_are_recognised_and_cost_no_try(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    words = cast.alice.words.split()
    # Two neighbours which do not come to stand beside their like when they are swapped.
    one = next(at for at in range(2, 19) if words[at - 2] != words[at] and words[at - 1] != words[at + 1])
    for heard, told in (
        (" ".join(words[:4] + words[5:]), "so 1 is missing; it is before or at word 5"),
        (" ".join(words[:4] + words[3:]), "Word 5 is the same as word 4, so it is doubled"),
        (swapped(cast.alice.words, one, one + 1), f"Words {one} and {one + 1} seem to be swapped"),
    ):
        with pytest.raises(ReadoutError, match=f"{told}.*No try was used up"):
            confirm(authority, identifier, heard)
    assert inventory.open_requests(authority, 0)[0].tries_left == 3


def test_request_is_locked_after_three_mistakes(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    left = [confirm(authority, identifier, cast.bob.words) for _ in range(3)]
    assert [each.tries_left for each in left if isinstance(each, Mistake)] == [2, 1, 0]
    with pytest.raises(CeremonyError, match=r"locked.*ca reopen"):
        confirm(authority, identifier, cast.alice.words)
    with pytest.raises(IssuingError, match=r"locked.*ca reopen"):
        issue(authority, identifier)
    assert authority.desk.requests_of(cast.alice.fingerprint)[0].state is State.LOCKED
    # A new request of the same key does not begin anew, also where the desk has forgotten the one before.
    assert file(authority, cast.alice.request(lambda: time.time() + 5)) == identifier
    authority.desk.drop_request(authority.request(identifier).digest)
    again = file(authority, cast.alice.request(lambda: time.time() + 5))
    assert again != identifier
    assert authority.desk.requests_of(cast.alice.fingerprint)[0].state is State.WAITING
    with pytest.raises(CeremonyError, match=f"ca reopen {again}"):
        confirm(authority, again, cast.alice.words)
    assert authority.desk.requests_of(cast.alice.fingerprint)[0].state is State.LOCKED, "as its owner is told now"
    # Another key of the same number, and another number's, have their own tries.
    other = file(authority, cast.impostor.request())
    assert isinstance(confirm(authority, other, cast.alice.words), Mistake)


def test_locked_request_is_reopened_with_a_reason_that_is_recorded(authority: Authority, cast: Cast) -> None:
    def reopen(reason: str) -> None:
        ceremony.reopen(authority, identifier, reason=reason, operator="operator", clock=time.time)

    identifier = file(authority, cast.alice.request())
    with pytest.raises(CeremonyError, match="not locked but waiting"):
        reopen("the line was bad")
    for _ in range(3):
        confirm(authority, identifier, cast.bob.words)
    with pytest.raises(CeremonyError, match=f"ca reopen {identifier}"):
        confirm(authority, identifier, cast.alice.words)
    with pytest.raises(CeremonyError, match="The reason is recorded"):
        reopen(" ")
    reopen("the line was bad")
    assert authority.desk.requests_of(cast.alice.fingerprint)[0].state is State.WAITING
    assert isinstance(confirm(authority, identifier, cast.bob.words), Mistake)
    assert isinstance(confirm(authority, identifier, cast.alice.words), Confirmation)
    made = issue(authority, identifier)
    assert "by operator: the line was bad" in inventory.described(authority, made, 0)["reopened"]


def test_wrong_code_costs_a_try_and_the_words_are_not_looked_at(authority: Authority, cast: Cast) -> None:
    send_notice(authority, cast.bank.notice(cast.alice))
    identifier = file(authority, cast.alice.request())
    wrong = CallerCode(" ".join(readout.encode(b"guess!")))
    result = confirm(authority, identifier, cast.alice.words, wrong)
    assert isinstance(result, Mistake)
    assert "code" in result.sentence
    assert result.tries_left == 2
    with pytest.raises(ReadoutError):  # five words are no code at all
        confirm(authority, identifier, cast.alice.words, CallerCode(" ".join(CALL.words.split()[:5])))
    assert isinstance(confirm(authority, identifier, cast.alice.words, CALL), Confirmation)


def test_code_counts_only_by_a_notice_that_the_certified_bank_signed(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    with pytest.raises(CeremonyError, match="no notice"):
        confirm(authority, identifier, cast.alice.words, CALL)
    certify(authority, cast.bob)  # a certified customer is not the bank
    forged = cast.bob.notice(cast.alice)
    with pytest.raises(NoticeError):
        confirm(authority, identifier, cast.alice.words, CALL, forged)
    send_notice(authority, forged)
    with pytest.raises(NoticeError):
        confirm(authority, identifier, cast.alice.words, CALL)
    assert authority.decisions.tries_left(cast.alice.fingerprint, "1001") == 3
    send_notice(authority, cast.bank.notice(cast.alice))
    assert isinstance(confirm(authority, identifier, cast.alice.words, CALL), Confirmation)


def test_newest_notice_counts_and_it_may_come_by_mail(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    code = " ".join(readout.encode(b"older!"))
    send_notice(authority, cast.bank.notice(cast.alice))
    send_notice(authority, cast.bank.notice(cast.alice, code=code, at=time.time() - 86_400))
    assert isinstance(confirm(authority, identifier, cast.alice.words, CallerCode(code)), Mistake)
    mailed = cast.bank.notice(cast.alice)
    assert isinstance(confirm(authority, identifier, cast.alice.words, CALL, mailed), Confirmation)


def test_name_in_the_notice_must_be_the_requests(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    with pytest.raises(CeremonyError, match="another name"):
        confirm(authority, identifier, cast.alice.words, CALL, cast.bank.notice(cast.alice, name="Alicia"))
    with pytest.raises(CeremonyError, match="no notice"):
        confirm(authority, identifier, cast.alice.words, CALL, cast.bank.notice(cast.bob))


def test_bank_is_called_back_and_has_no_code(cast: Cast, short_tmp: Path) -> None:
    with opened(cast.folder, short_tmp / "ca") as authority:
        identifier = file(authority, cast.bank.request())
        with pytest.raises(CeremonyError, match="has no code"):
            confirm(authority, identifier, cast.bank.words, CALL)
        assert isinstance(confirm(authority, identifier, cast.bank.words), Confirmation)
        assert issue(authority, identifier).role == "bank"


def test_no_code_is_checked_before_a_bank_is_certified(cast: Cast, short_tmp: Path) -> None:
    with opened(cast.folder, short_tmp / "ca") as authority:
        identifier = file(authority, cast.alice.request())
        with pytest.raises(CeremonyError, match="certify the bank first"):
            confirm(authority, identifier, cast.alice.words, CALL, cast.bank.notice(cast.alice))


def test_records_of_the_operator_must_be_readable(authority: Authority, cast: Cast) -> None:
    identifier = file(authority, cast.alice.request())
    with pytest.raises(CeremonyError, match="number dialled"):
        confirm(authority, identifier, cast.alice.words, CalledBack("1\n2"))


def test_number_whose_certificate_has_ended_is_told_to_ask_again(authority: Authority, cast: Cast) -> None:
    certify(authority, cast.alice)
    later = int(time.time()) + 91 * 86_400
    with pytest.raises(CeremonyError, match=r"ended on .*`customer request`"):
        ceremony.waiting_request(authority, "1001", later)


def test_every_state_says_what_to_do_next(authority: Authority, cast: Cast) -> None:
    with pytest.raises(RequestError, match="no request"):
        authority.request("abcdef")
    with pytest.raises(RequestError, match="hexadecimal"):
        authority.request("xyz")
    identifier = file(authority, cast.alice.request())
    with pytest.raises(IssuingError, match=f"ca confirm {identifier}"):
        issue(authority, identifier)
    confirm(authority, identifier[:6], cast.alice.words)
    with pytest.raises(CeremonyError, match=f"ca issue {identifier}"):
        confirm(authority, identifier, cast.alice.words)
    first = issue(authority, identifier)
    with pytest.raises(CeremonyError, match="issued already"):
        confirm(authority, identifier, cast.alice.words)
    # As after a crash between the two databases: the list tells, and issuing again mends it.
    authority.desk.mark(first.digest, State.CONFIRMED)
    assert [row.state for row in inventory.open_requests(authority, 0)] == ["issued, but not at the desk: issue again"]
    assert issue(authority, identifier) == first
    assert not inventory.open_requests(authority, 0)


def test_wrong_passphrase_issues_nothing_also_after_the_right_one(authority: Authority, cast: Cast) -> None:
    certify(authority, cast.bob)  # the agent could have kept the passphrase
    identifier = file(authority, cast.alice.request())
    confirm(authority, identifier, cast.alice.words)
    with pytest.raises(PassphraseError):
        issuing.issue(authority, identifier, days=90, passphrase=Secret(b"wrong"), clock=time.time)
    assert len(authority.decisions.certificates()) == 2
    assert issuing.issue(authority, identifier, days=90, passphrase=PASSPHRASE, clock=time.time).number == "1001"


def test_expired_certificate_may_be_replaced_by_another_key(authority: Authority, cast: Cast) -> None:
    certify(authority, cast.impostor)
    with closing(sqlite3.connect(authority.path / DECISIONS_FILE)) as connection, connection:
        connection.execute("UPDATE certificates SET expires = 1 WHERE number = '1001'")
    assert certify(authority, cast.alice).fingerprint == cast.alice.fingerprint
    assert [(row.number, row.state) for row in inventory.certificates(authority, int(time.time()))] == [
        ("0000", "valid"),
        ("1001", "valid"),
        ("1001", "expired"),
    ]


def test_list_shows_another_key_for_the_same_number(authority: Authority, cast: Cast) -> None:
    file(authority, cast.alice.request())
    file(authority, cast.bob.request())
    now = int(time.time())
    assert not any("another key" in row.state for row in inventory.open_requests(authority, now))
    file(authority, cast.impostor.request())
    assert [row.number for row in inventory.open_requests(authority, now) if "another key" in row.state] == ["1001"] * 2
