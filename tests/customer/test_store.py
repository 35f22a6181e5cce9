"""What the customer's database has said to keep is there after any end of the program."""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from customer.errors import NotProven, StoreError
from customer.store import FILE_NAME, Fact, KeptHead, State, Store, StoredOrder
from protocol.codes import Reason
from protocol.messages import refuse
from protocol.receipts import Receipt, TreeHead
from protocol.stages import Stage

RECEIPT = Receipt(consistency=None, duplicate=False, entry=b"entry", head=b"head", index=0, proof=())
TIME = "2026-01-31T09:30:00Z"


def head(size: int, *, root: str = "0", log: str = "a") -> KeptHead:
    return KeptHead(TreeHead(bank="A" * 40, log=log * 32, root=root * 64, size=size, time=TIME), b"message")


def order(identifier: str = "one") -> StoredOrder:
    return StoredOrder(identifier, Stage.SIGNED, State.SENDING, b"content", b"message")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


def reopened(store: Store) -> Store:
    store.close()
    return Store.open(store.path.parent)


def test_an_identifier_that_another_send_has_just_used_is_named(store: Store) -> None:
    store.put(order("rent-1"))
    with pytest.raises(StoreError, match=r"identifier rent-1.*customer outbox"):
        store.put(order("rent-1"))
    assert len(store.orders()) == 1


def test_an_order_is_kept_with_its_bytes(store: Store) -> None:
    store.put(order())
    with reopened(store) as again:
        assert again.find("one") == order()
        assert again.in_doubt() == (order(),)
        assert again.find("two") is None


def test_an_identifier_is_taken_once(store: Store) -> None:
    store.put(order())
    with pytest.raises(StoreError):
        store.put(order())


def test_what_is_final_stays_final(store: Store) -> None:
    store.put(order())
    store.settle("one", State.POSTED, RECEIPT, head(1))
    store.mark("one", State.UNKNOWN)
    store.refuse("one", refuse(Reason.BUSY, time=TIME))
    found = store.find("one")
    assert found is not None
    assert (found.state, found.receipt, found.refusal) == (State.POSTED, RECEIPT, None)
    assert not store.in_doubt()


def test_a_posted_order_without_a_receipt_cannot_be(store: Store) -> None:
    store.put(order())
    with pytest.raises(StoreError):
        store.mark("one", State.POSTED)


def test_receipt_and_head_are_kept_together_or_not_at_all(store: Store) -> None:
    store.put(order())
    store.keep_head(head(1))
    with pytest.raises(NotProven):
        store.settle("one", State.POSTED, RECEIPT, head(1, root="1"))
    found = store.find("one")
    assert found is not None
    assert (found.state, found.receipt) == (State.SENDING, None)


def test_the_newest_head_is_the_largest_of_the_log_that_is_followed(store: Store) -> None:
    for kept in (head(2), head(5), head(3), head(9, log="b")):
        store.keep_head(kept)
    assert store.newest_head() == head(5)


def test_the_floor_never_sinks(store: Store) -> None:
    assert store.floor() is Stage.PASSWORD
    store.raise_floor(Stage.SIGNED)
    store.raise_floor(Stage.SESSION)
    with reopened(store) as again:
        assert again.floor() is Stage.SIGNED


def test_the_database_is_closed_to_others_and_durable(store: Store) -> None:
    assert store.path.stat().st_mode & 0o077 == 0
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_database_of_another_version_is_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="schema 99"):
        Store.open(tmp_path)


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match=FILE_NAME):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match="cannot be used"):
        Store.open(tmp_path / "nowhere")


def test_facts_are_kept_together(store: Store) -> None:
    store.set_facts({Fact.REQUEST: b"1", Fact.REQUESTED: b"2"})
    store.set_facts({Fact.REQUEST: b"3"})
    with reopened(store) as again:
        assert (again.fact(Fact.REQUEST), again.fact(Fact.REQUESTED)) == (b"3", b"2")
        assert again.fact(Fact.REGISTERED) is None


def test_two_programs_may_make_the_database_at_once(tmp_path: Path) -> None:
    def use(name: str) -> None:
        with Store.open(tmp_path) as store:
            store.put(order(name))

    with ThreadPoolExecutor(4) as pool:
        for used in [pool.submit(use, f"order-{number}") for number in range(8)]:
            used.result()
    with Store.open(tmp_path) as store:
        assert len(store.orders()) == 8


def test_a_database_that_another_program_is_making_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself gives up at once here, whatever its timeout."""
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = threading.Timer(0.3, other.execute, ["COMMIT"])
        done.start()
        Store.open(tmp_path).close()
        done.join()


def test_a_home_that_may_not_be_written_is_not_called_a_full_disk(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store._connection.execute("PRAGMA query_only = 1")  # root may write everywhere, so SQLite is told to say so
        with pytest.raises(StoreError, match=r"may not write to .*owner and mode.*--home") as caught:
            store.set_facts({Fact.GIVEN_UP: b"now"})
        assert "disk" not in str(caught.value)
        store._connection.execute("PRAGMA query_only = 0")
        store._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StoreError, match="disk is full: make room"):
            store.set_facts({Fact.GIVEN_UP: bytes(1_000_000)})


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "may not write to"),
        (OSError(errno.EROFS, "Read-only file system"), "may not write to"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
    ],
)
def test_what_cannot_be_opened_names_its_own_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, remedy: str
) -> None:
    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match=remedy):
        Store.open(tmp_path)


def test_a_damaged_file_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="damaged"):
        Store.open(tmp_path)
