"""Two servers on one PostgreSQL are one bank: what one of them knows counts at the other, and either may be killed."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from bank import config
from bank.home import BankHome
from ca.messages import AuthorityKey, State
from keyring import keys
from protocol import evidence
from protocol.codes import Reason
from protocol.messages import AskBalance, Balance, Refusal
from protocol.stages import Stage
from tests.bank.counter import Counter, entry_of, served
from tests.bank.desks import Desk, opened
from tests.bank.town import Town, copied_bank
from tests.system.town import Person
from tests.trials.eight import Eight
from tests.trials.failover.moving import move_ledger
from tests.trials.failover.several import PROGRESS_SECONDS, Several, several

REVOCATION_SECONDS = 0.5
NOBODY = "127.0.0.1:1"


@pytest.mark.timeout(300)
def test_trial_24_two_servers_on_one_ledger_with_a_kill_of_either(
    eight: Eight, short_tmp: Path, database_url: str
) -> None:
    """Customers of the one that is left notice nothing; those of the other go on when it is back, or at that one."""
    with several(eight, short_tmp, database_url, {}) as bank:
        work = bank.workload(random.SystemRandom().randrange(2**32))

        def kill_either() -> None:
            bank.both_answer(work)
            for killed, left in (bank.stands, bank.stands[::-1]):
                killed.kill()
                bank.answered_at(work, left)
                killed.start()
            bank.both_answer(work)

        history = work.run(kill_either)
        bank.require_sound(work, history)
        # The same order at the other server: the same entry, whichever decided it.
        alice = bank.first.person("2001")
        alice.here("send", "--to", "2002", "--amount", "0.01", "--description", "", "--id", "at-both")
        first = alice.here("verify", "at-both", "--json").json()
        alice.forget_receipt("at-both")
        alice.set(address=f"127.0.0.1:{bank.second.port}")
        bank.first.kill()
        (found,) = alice.resume()
        assert found["status"] == "posted"
        assert alice.here("verify", "at-both", "--json").json()[0]["entry"] == first[0]["entry"]
        assert bank.second.postings("2001", "at-both") == 1
        _require_stock_gpg_to_agree(bank, alice)


def _require_stock_gpg_to_agree(bank: Several, alice: Person) -> None:
    """The evidence that the second server gives, with its own signature, by the commands that come with it."""
    folder, home = bank.second.folder / "evidence", bank.second.folder / "nobody"
    bank.second.bank("evidence", "at-both", "--debtor", alice.number, "--out", folder)
    home.mkdir(mode=0o700)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with alice.opened() as customer:
        known = {"BANK": BankHome.open(bank.second.home).config.fingerprint, "CUSTOMER": customer.key}
    done = subprocess.run(
        ["sh", "-e", "-c", "".join(evidence.commands(files[evidence.INSTRUCTIONS].decode()))],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **known},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    passed = tuple(line for line in done.stdout.decode().splitlines() if line.startswith("ok:"))
    assert done.returncode == 0, done.stderr.decode()
    assert passed == evidence.require_folder(files).passed_lines()


@contextmanager
def two(town: Town, folder: Path, url: str) -> Iterator[tuple[Counter, Counter, Desk]]:
    """Two servers that serve; the first is handed the authority's lists, the second has no way to the authority."""
    authority = AuthorityKey(key=keys.export(town.authority, town.authority_fingerprint), root=town.root)
    desk = Desk(authority, State.UNKNOWN, town.crl(1))
    with ExitStack() as stack:
        address = stack.enter_context(opened(desk))
        limits = {"revocation_seconds": REVOCATION_SECONDS}
        first = copied_bank(town, folder, authority_address=str(address), limits=limits)
        move_ledger(first.path, url)
        path = folder / "second" / "bank"
        shutil.copytree(first.path, path, ignore=shutil.ignore_patterns("S.*", "*.lock"))
        config.save(path, msgspec.structs.replace(config.load(path), authority_address=NOBODY))
        counters = [stack.enter_context(served(town, BankHome.open(each))) for each in (first.path, path)]
        yield counters[0], counters[1], desk


def test_trial_50_a_revocation_that_one_server_takes_in_is_obeyed_by_the_other(
    bank_town: Town, short_tmp: Path, database_url: str
) -> None:
    """In open sessions, without a restart, and although the other server has no way to the authority."""
    alice, bob = bank_town.alice, bank_town.bob
    with (
        two(bank_town, short_tmp, database_url) as (_, second, desk),
        second.session(alice, Stage.CERTIFIED) as talk,
        second.session(bob, Stage.CERTIFIED) as honest,
    ):
        assert talk.pay("before", amount="0.01").reason is None
        desk.crl = bank_town.crl(2, alice.certificate)
        begun, paid = time.monotonic(), 0
        while True:
            asked = time.monotonic()
            answer = talk.ask(second.submission(alice, f"after-{paid}", Stage.CERTIFIED, amount="0.01"))
            if getattr(answer, "reason", None) is Reason.CERTIFICATE_REVOKED:
                break
            assert entry_of(answer).reason is None
            paid += 1
            assert asked < begun + PROGRESS_SECONDS, "it is not obeyed"
            time.sleep(REVOCATION_SECONDS / 10)
        assert desk.asked
        assert isinstance(honest.ask(AskBalance(number=1)), Balance)
        assert honest.pay("honest", creditor="1001", amount="0.01").stage == "certified"


def test_what_one_server_knows_of_a_customer_counts_at_the_other(
    bank_town: Town, short_tmp: Path, database_url: str
) -> None:
    """Nonces of password messages, floors, registered keys and identifiers."""
    alice = bank_town.alice
    with two(bank_town, short_tmp, database_url) as (first, second, _):
        balance = AskBalance(number=3)
        frame = first.password_frame(alice, balance)
        assert isinstance(first.opened(alice, first.say(frame)), Balance)
        assert second.refusal(frame) == (Reason.MALFORMED, "nonce")
        assert isinstance(second.ask(alice, balance), Balance)
        order = first.submission(alice, "once", Stage.SIGNED, amount="1.00")
        with first.session(alice, Stage.SIGNED) as talk:
            entry = entry_of(talk.ask(order))
        with second.session(alice, Stage.SIGNED) as talk:
            assert entry_of(talk.ask(order)).reference == entry.reference
            assert talk.pay("twice", amount="1.00").reason is None
        too_low = second.ask(alice, balance)
        assert isinstance(too_low, Refusal)
        assert too_low.reason is Reason.STAGE_TOO_LOW
        assert first.balance("1001") == second.balance("1001")
