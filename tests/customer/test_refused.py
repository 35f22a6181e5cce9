"""What exactly the bank found broken is shown beside its code, to a person and to a script, proven or not."""

import json
import time
from pathlib import Path

import msgspec
from click.testing import CliRunner, Result

from bank.revocations import RevocationLists
from ca.bridge import open_root
from customer.cli import commands
from protocol import messages
from protocol.codes import Reason
from protocol.messages import Answer, SubmitOrder
from tests.customer.scene import Stand, serial_of


def called(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(commands, [*arguments, "--home", str(home)], prog_name="customer")


def send(home: Path, *more: str) -> Result:
    return called(home, "send", "--to", "1002", "--amount", "25.00", "--id", "rent-1", *more)


def test_a_refused_opening_names_the_rule(stand: Stand) -> None:
    template = stand.template
    with stand.customer() as customer:
        home = customer.folder
    root = open_root(template.authority.root, template.authority.fingerprint)
    crl = template.authority.crl(2, serial_of(template.certified["alice"]))
    with stand.bank.open_ledger() as ledger:
        RevocationLists(ledger, root).take(crl, int(time.time()))
    said = send(home)
    assert said.exit_code == 2
    assert "(this is not proven), code DS0C, rule not-revoked: " in said.stderr
    said = called(home, "balance", "--json")
    assert said.exit_code == 2
    facts = json.loads(said.stdout)
    assert (facts["status"], facts["proven"]) == ("refused", False)
    assert (facts["reason"], facts["rule"], facts["field"]) == ("DS0C", "not-revoked", "certificate")
    assert "rule not-revoked" in said.stderr
    (order,) = json.loads(called(home, "outbox", "--json").stdout)
    assert (order["state"], order["rule"]) == ("unsent", None)


def test_a_refused_order_names_the_rule_also_in_the_outbox(stand: Stand) -> None:
    def ended(request: msgspec.Struct, answer: Answer) -> Answer:
        if not isinstance(request, SubmitOrder):
            return answer
        time = "2026-01-31T09:30:00Z"
        reason = Reason.CERTIFICATE_INVALID
        return messages.refuse(reason, number=request.number, time=time, field="certificate", rule="not-expired")

    stand.faults.lie = ended
    with stand.customer() as customer:
        home = customer.folder
    said = send(home)
    assert said.exit_code == 1
    assert ["rule", "not-expired"] in [line.split() for line in said.stdout.splitlines()]
    another = send(home, "--id", "rent-2", "--json")
    assert another.exit_code == 1
    facts = json.loads(another.stdout)
    assert (facts["reason"], facts["rule"]) == ("DS0D", "not-expired")
    for order in json.loads(called(home, "outbox", "--json").stdout):
        assert (order["state"], order["reason"], order["rule"]) == ("refused", "DS0D", "not-expired")


def test_the_honest_twin_is_posted_and_breaks_no_rule(stand: Stand) -> None:
    with stand.customer() as customer:
        home = customer.folder
    said = send(home, "--json")
    assert said.exit_code == 0
    assert json.loads(said.stdout)["rule"] is None
    assert "rule" not in send(home).stdout
