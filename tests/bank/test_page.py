"""What an operator's programs are shown: figures for Prometheus, and whether the bank can post."""

import json
import re
import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bank.exposition import BankCollector, exposition
from bank.figures import FAILED, SEEN, Figures
from bank.health import Health
from bank.home import BankHome
from bank.page import LOOK_SECONDS, READ_SECONDS, open_page, show
from protocol.codes import Reason, Status
from protocol.stages import Stage
from protocol.transport import Address
from tests.bank.counter import Counter, entry_of, eventually
from tests.bank.town import DAY, Town, copied_bank
from tests.trials.load.bank_process import bank_process

HealthOf = Callable[..., Health]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def get(path: str, port: int, headers: Mapping[str, str] | None = None) -> tuple[int, str, bytes]:
    """Status, form and content of a page."""
    asked = urllib.request.Request(f"http://127.0.0.2:{port}{path}", headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - likewise
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


def figures(port: int) -> Samples:
    """Every number that is shown, by name and labels."""
    _, _, content = get("/metrics", port)
    return {
        (sample.name.removeprefix("countersign_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def page_of(parent: psutil.Process) -> int:
    """The port of the page, which listens on this machine only."""
    (port,) = {
        each.laddr.port
        for each in parent.net_connections()
        if each.status == psutil.CONN_LISTEN and each.laddr.ip == "127.0.0.2"
    }
    return int(port)


PAGE = "127.0.0.2:0"
ANSWER_SECONDS = 60
"""On a machine that does much else."""


@pytest.fixture
def bank(town: Town, short_tmp: Path) -> Iterator[tuple[Counter, psutil.Process]]:
    with bank_process(town, short_tmp, "--processes", "2", metrics=PAGE) as served:
        yield served


def test_figures_of_all_processes_are_added_up_and_outlive_a_process(
    bank: tuple[Counter, psutil.Process], town: Town
) -> None:
    counter, parent = bank
    port = page_of(parent)
    with ExitStack() as stack:
        talks = [stack.enter_context(counter.session(town.alice, Stage.SIGNED)) for _ in range(6)]
        for place, talk in enumerate(talks):
            assert talk.pay(f"pay-{place}").status is Status.SETTLED
        twice = counter.submission(town.alice, "twice", Stage.SIGNED)
        assert entry_of(talks[0].ask(twice)) == entry_of(talks[1].ask(twice))
        assert talks[0].pay("much", amount="99999999.00").reason is Reason.INSUFFICIENT_FUNDS
        reused = counter.submission(town.alice, "pay-1", Stage.SIGNED, amount="2.00")
        assert talks[0].refusal(reused)[0] is Reason.IDENTIFIER_REUSED
        assert counter.refusal(counter.opening(town.impostor, Stage.SIGNED).frame)[0] is Reason.SIGNATURE
        eventually(lambda: figures(port)["connections", ()] == len(talks), ANSWER_SECONDS)
        # What is counted or stored a moment after an answer is waited for: the newest head, and sessions.
        eventually(lambda: figures(port)["sessions", ()] == len(talks), ANSWER_SECONDS)
        eventually(lambda: figures(port)["log_entries_unsigned", ()] == 0, ANSWER_SECONDS)
        eventually(lambda: figures(port)["batch_orders_sum", ()] == 10, ANSWER_SECONDS)
        eventually(lambda: figures(port)["requests_refused_total", (("reason", "DU04"),)] == 1, ANSWER_SECONDS)
        shown = figures(port)
    for name, value in (
        ("transfers_posted_total", 7),
        ("payments_posted_total", 7),
        ("transfers_repeated_total", 1),
        ("batch_orders_sum", 10),
        ("posting_seconds_count", 10),
        ("posting_failures_total", 0),
        ("processes", 2),
        ("ledger_readable", 1),
        ("log_entries", 9),
        ("log_entries_unsigned", 0),
        ("revocation_list_number", 1),
    ):
        assert shown[name, ()] == value, name
    assert shown["transfers_refused_total", (("reason", "AM04"),)] == 1
    assert shown["requests_refused_total", (("reason", "DU04"),)] == 1
    assert shown["openings_refused_total", (("reason", "DS17"),)] == 1
    assert shown["sessions_opened_total", (("stage", "signed"),)] == 6
    assert shown["gpg_processes_started_total", ()] > 0
    assert 0 < shown["certificate_remaining_seconds", ()] <= 30 * 86_400
    assert 0 < shown["revocation_list_remaining_seconds", ()] <= 30 * 86_400
    assert shown["posting_seconds_bucket", (("le", "+Inf"),)] == 10
    eventually(lambda: figures(port)["connections", ()] == figures(port)["sessions", ()] == 0, ANSWER_SECONDS)
    for child in parent.children():
        if not child.name().startswith("gpg"):
            child.kill()
    eventually(lambda: get_is_possible(port) and figures(port)["processes_ended_total", ()] == 3, ANSWER_SECONDS)
    eventually(lambda: figures(port)["processes", ()] == 2, ANSWER_SECONDS)
    after = figures(port)
    assert after["transfers_posted_total", ()] == 7
    assert after["processes_ended_total", ()] == 3


def get_is_possible(port: int) -> bool:
    """False while the process of the page is being begun again."""
    try:
        return get("/health", port)[0] == 200
    except OSError:
        return False


def test_a_page_for_nobody_a_wrong_path_and_the_form_of_openmetrics(
    bank: tuple[Counter, psutil.Process],
) -> None:
    port = page_of(bank[1])
    assert get("/", port)[0] == 404
    status, form, content = get("/health", port)
    assert (status, form) == (200, "application/json")
    assert all(check["told"].endswith(".") for check in json.loads(content)["checks"])
    assert get("/metrics", port)[1].startswith("text/plain; version=0.0.4")
    with socket.create_connection(("127.0.0.2", port)) as slow:  # says nothing
        assert get("/health", port)[0] == 200
        assert slow.recv(1) == b""
    _, form, content = get("/metrics", port, {"Accept": "application/openmetrics-text; version=1.0.0"})
    assert form.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")


def test_who_asks_slowly_does_not_keep_the_others_waiting(bank: tuple[Counter, psutil.Process]) -> None:
    """Each byte comes in time, and the question never ends."""
    port = page_of(bank[1])
    with socket.create_connection(("127.0.0.2", port)) as slow:
        slow.sendall(b"GET /health HTTP/1.0\r\nX: ")
        begun, dripping = time.monotonic(), True
        slow.settimeout(READ_SECONDS / 10)
        while dripping and time.monotonic() < begun + 10 * READ_SECONDS:
            try:
                slow.sendall(b"x")
                dripping = slow.recv(1) != b""
            except TimeoutError:
                continue
            except OSError:
                dripping = False
    assert not dripping
    assert get("/health", port)[0] == 200


@pytest.mark.parametrize("sent", [b"GET /metrics HTTP/1.0\r\n\r\n", b"GET /met"])
def test_trial_44_who_goes_away_amid_a_question_leaves_no_trace_in_the_log(
    health_of: HealthOf, capsys: pytest.CaptureFixture[str], sent: bytes
) -> None:
    with open_page(Address("127.0.0.2", 0)) as sock:
        with socket.create_connection(sock.getsockname()) as gone:
            gone.sendall(sent)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with a reset
        looks = [False, True]
        show(sock, health_of(), lambda: looks.pop(0))
    assert capsys.readouterr() == ("", "")


def test_a_page_that_nobody_asks_waits(health_of: HealthOf) -> None:
    looks, begun = [False, False, True], time.monotonic()
    with open_page(Address("127.0.0.2", 0)) as sock:
        show(sock, health_of(), lambda: looks.pop(0))
    assert time.monotonic() - begun >= 2 * LOOK_SECONDS * 0.99


def test_no_figure_names_a_customer_or_an_amount(bank: tuple[Counter, psutil.Process], town: Town) -> None:
    counter, parent = bank
    with counter.session(town.alice, Stage.SIGNED) as talk:
        talk.pay("secret-identifier", amount="7654.32", description="secret")
    _, _, content = get("/metrics", page_of(parent))
    _, _, said = get("/health", page_of(parent))
    for shown in (content, said):
        assert b"countersign_" in content
        for secret in (b"1001", b"1002", b"7654", b"secret", b"Alice"):
            assert secret not in shown


def test_every_figure_has_a_help_and_a_name_by_the_conventions(health_of: HealthOf) -> None:
    content, _ = exposition(health_of(), "text/plain")
    lines = content.decode().splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert names == {line.split()[2] for line in lines if line.startswith("# HELP") and line.endswith(".")}
    counters = {line.split()[2] for line in lines if line.startswith("# TYPE") and line.endswith(" counter")}
    assert counters == {name for name in names if name.endswith("_total")}
    assert all(re.fullmatch("countersign_[a-z_]+", name) for name in names)
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    table = page.partition("| figure | kind | what it is |\n")[2].partition("\n\n")[0].splitlines()[1:]
    told = {line.split("`")[1].partition("{")[0]: tuple(line.strip("| ").split(" | ")[1:]) for line in table}
    helps = dict(line.split(" ", 3)[2:] for line in lines if line.startswith("# HELP"))
    kinds = dict(line.split(" ", 3)[2:] for line in lines if line.startswith("# TYPE"))
    assert told == {name: (kinds[name], helps[name]) for name in names}


@pytest.fixture
def health_of(town: Town, short_tmp: Path) -> Iterator[HealthOf]:
    """Health of a bank whose one process was seen at work just now; the clocks may be moved."""
    home = copied_bank(town, short_tmp)
    with home.open_ledger() as ledger:

        def made(**changes: Any) -> Health:
            figures = Figures(2)
            figures.tallies[0].put(SEEN, time.monotonic())
            return Health(**{"home": home, "ledger": ledger, "figures": figures, "serving": 1, **changes})

        yield made


def ill(health: Health) -> list[str]:
    """What is not well."""
    return [check.check for check in health.checks() if not check.healthy]


def test_a_bank_that_can_post_is_well(health_of: HealthOf) -> None:
    assert ill(health_of()) == []


def test_a_process_that_hangs_is_noticed(health_of: HealthOf) -> None:
    assert ill(health_of(monotonic=lambda: time.monotonic() + 60)) == ["processes"]


def test_a_posting_that_fails_is_noticed_until_it_works_again(health_of: HealthOf) -> None:
    health = health_of()
    health.figures.tallies[0].put(FAILED, time.monotonic())
    assert ill(health) == ["posting"]
    health.figures.tallies[0].put(FAILED, 0.0)
    assert ill(health) == []


@pytest.mark.parametrize(("days", "said"), [(0, []), (31, ["certificate", "revocation-list"])])
def test_what_has_ended_is_noticed(health_of: HealthOf, days: int, said: list[str]) -> None:
    assert ill(health_of(clock=lambda: time.time() + days * DAY)) == said


def test_entries_that_nobody_signs_are_noticed(health_of: HealthOf) -> None:
    health = health_of()
    with health.ledger.writing() as connection:
        for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE tbl_name = 'head'").all():
            if not name.startswith("sqlite_"):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
        connection.exec_driver_sql("DELETE FROM head")
    assert ill(health) == ["head"]


def test_a_ledger_that_cannot_be_read_is_noticed(health_of: HealthOf) -> None:
    health = health_of()
    for each in health.ledger.folder.glob("ledger.sqlite*"):
        each.write_bytes(b"not a database" * 100)
    assert ill(health) == ["ledger"]
    shown = {sample.name: sample.value for each in BankCollector(health).collect() for sample in each.samples}
    assert shown["countersign_ledger_readable"] == 0


@pytest.mark.parametrize(("missing", "said"), [(False, []), (True, ["certificate"])])
def test_a_bank_without_a_certificate_is_well_where_it_needs_none(
    health_of: HealthOf, missing: bool, said: list[str]
) -> None:
    health = health_of()
    if missing:
        health.home.certificate_path.unlink()
        assert ill(health) == []
        strict = msgspec.structs.replace(health.home.config, minimum_stage=Stage.CERTIFIED)
        health = health_of(home=BankHome(health.home.path, strict))
    assert ill(health) == said
