"""What the tests' banks have stored is shown to Sequoia after every test, and whatever it would refuse is noticed."""

import sqlite3
from contextlib import closing

import pytest

from protocol.stages import Stage
from tests.system.town import Stand, Town, standing
from tests.system.witness import require_second_opinion


def test_trial_34_every_order_and_head_that_was_stored_is_verified_by_sequoia(stand: Stand) -> None:
    alice = stand.ready("alice", Stage.SIGNED)
    alice.send_here(stage=Stage.SIGNED)
    stand.person("bob").send_here(to="1001", stage=Stage.CERTIFIED)
    alice.send_here(to="9999", stage=Stage.CERTIFIED, code=1)
    stand.stop()
    orders, heads = require_second_opinion(stand.home)
    assert orders == 3  # a refusal has its order and its head as well
    assert heads >= 4


def test_trial_34_every_stand_ends_with_that_look(town: Town, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr("tests.system.town.require_second_opinion", looked.append)
    (stand.folder / "other").mkdir()
    with standing(town, stand.folder / "other") as other:
        assert looked == []
    assert looked == [other.home]


@pytest.mark.parametrize("table", ["entry", "head"])
def test_an_order_or_head_that_does_not_verify_is_noticed(stand: Stand, table: str) -> None:
    stand.person("alice").send_here(stage=Stage.CERTIFIED)
    stand.stop()
    with closing(sqlite3.connect(stand.home / "ledger.sqlite")) as database, database:
        place = {"entry": "leaf", "head": "size"}[table]
        newest = f"SELECT max({place}) FROM {table}"
        (message,) = database.execute(f"SELECT message FROM {table} WHERE {place} = ({newest})").fetchone()
        changed = message[:-9] + bytes([message[-9] ^ 1]) + message[-8:]
        triggers = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in triggers:
            database.execute(f"DROP TRIGGER {name}")
        database.execute(f"UPDATE {table} SET message = ? WHERE {place} = ({newest})", (changed,))
        database.commit()
        with pytest.raises(AssertionError, match="Sequoia refuses"):
            require_second_opinion(stand.home)
        database.execute(f"UPDATE {table} SET message = ? WHERE {place} = ({newest})", (message,))
    require_second_opinion(stand.home)
