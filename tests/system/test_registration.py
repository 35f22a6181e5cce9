"""The password of the letter registers one key, once; from then on the key speaks, and nothing replaces it."""

import shutil

from protocol.stages import Stage
from tests.system.town import Person, Stand


def second_key(stand: Stand) -> Person:
    """Alice on another machine, with the same letter and a key of its own."""
    original = stand.person("alice")
    home = stand.folder / "second"
    second = Person("second", original.number, home, original.letter)
    second.here("init", "--letter", original.letter, "--no-passphrase")
    second.set(address=f"127.0.0.1:{stand.port}")
    return second


def test_registration_carries_the_stage_password_into_the_next_ones(stand: Stand) -> None:
    alice = stand.person("alice")
    alice.send(stage=Stage.PASSWORD)
    done = alice.run("register", "--letter", alice.letter)
    assert "registered" in done.out
    alice.send(stage=Stage.SESSION)
    alice.send(stage=Stage.SIGNED)
    assert stand.balance("1001") == 1000_00 - 3 * 25_00
    assert [each.stage for each in stand.entries() if each.debtor == "1001"] == ["password", "session", "signed"]


def test_trial_36_registering_the_same_key_again_changes_nothing(stand: Stand) -> None:
    alice = stand.person("alice")
    for _ in range(2):
        alice.run("register", "--letter", alice.letter)
    alice.send(stage=Stage.SIGNED)
    alice.run("register", "--letter", alice.letter)
    alice.send(stage=Stage.SIGNED)
    assert stand.balance("1001") == 1000_00 - 2 * 25_00


def test_trial_36_another_key_is_never_registered_in_its_place(stand: Stand) -> None:
    alice, second = stand.ready("alice", Stage.SESSION), second_key(stand)
    done = second.run("register", "--letter", second.letter, code=2)
    assert "code registration" in done.err
    shutil.copytree(alice.home / "views" / "registered", second.home / "views" / "registered")
    assert "code DS17" in second.send(stage=Stage.SESSION, code=2).err
    assert stand.balance("1001") == 1000_00
    alice.send(stage=Stage.SESSION)
    assert stand.balance("1001") == 1000_00 - 25_00


def test_the_first_key_to_come_is_taken_whichever_it_is(stand: Stand) -> None:
    second = second_key(stand)
    second.run("register", "--letter", second.letter)
    second.send(stage=Stage.SESSION)
    assert stand.balance("1001") == 1000_00 - 25_00


def test_trial_36_no_key_is_registered_where_only_certificates_count(stand: Stand) -> None:
    alice = stand.person("alice")
    stand.restart(minimum=Stage.CERTIFIED)
    done = alice.run("register", "--letter", alice.letter, code=2)
    assert "code stage" in done.err
    stand.restart(minimum=Stage.SIGNED)
    # Registration is the way into the stage signed: that the password alone is too little there does not stop it.
    alice.run("register", "--letter", alice.letter)
    alice.send(stage=Stage.SIGNED)


def test_trial_36_after_registration_the_password_moves_no_money(stand: Stand) -> None:
    alice = stand.person("alice")
    alice.send_here(stage=Stage.PASSWORD)
    alice.here("register", "--letter", alice.letter)
    balance = stand.balance("1001")
    assert "weaker stage" in alice.send(stage=Stage.PASSWORD, code=2).err
    alice.forget_floor()
    done = alice.send("--json", stage=Stage.PASSWORD, code=1)
    assert done.json()["reason"] == "stage"
    for question in ("balance", "statement"):
        done = alice.here(question, "--stage", "password", "--letter", alice.letter, code=2)
        assert "code stage" in done.err
    assert stand.balance("1001") == balance


def test_a_letter_for_another_number_registers_nothing(stand: Stand) -> None:
    alice, bob = stand.person("alice"), stand.person("bob")
    done = alice.run("register", "--letter", bob.letter, code=2)
    assert "customer 1002" in done.err
    alice.run("register", "--letter", alice.letter)
