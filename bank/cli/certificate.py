"""The bank's certificate: asking for it, taking it from the desk or the mail, and taking a renewed one."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank.home import BankHome
from keyring.console import WAITS, json_text, with_home, with_json, with_mail, with_request_file
from keyring.printable import counted
from protocol.orders import format_time

if TYPE_CHECKING:
    from ca.applicant import Desk, Proven
    from ca.messages import RequestState


@click.command(epilog="Example: bank request --out request.pgp")
@with_home("BANK_HOME")
@with_request_file
@with_json
def request(home: Path, out: Path | None, as_json: bool) -> None:
    """Ask the certificate authority for the bank's certificate.

    Repeating it with the same key is harmless.
    """
    from bank import ceremony
    from ca.applicant import explain
    from ca.messages import State

    bank = BankHome.open(home)
    made = ceremony.request(bank, _desk(bank), out, time.time)
    identifier, state = made.state.identifier, made.state.state
    if as_json:
        facts = {"request": identifier, "state": state.value, "sha256": made.digest, "file": str(out) if out else None}
        click.echo(json_text({**facts, "fingerprint": bank.config.fingerprint}))
        return
    if out and state is not State.REVOKED:
        click.echo(f"Request {identifier} is in {out}; send it to the authority.")
    elif state in (State.WAITING, State.CONFIRMED, State.LOCKED):
        click.echo(f"Request {identifier} is at the authority's desk, {bank.config.authority_address}.")
    if state is not State.WAITING:
        click.echo(explain(state, "bank"))
        return
    if made.digest:
        click.echo(f"SHA-256 of the request, which the certificate will name:\n  {made.digest}")
    click.echo("Next: telephone the authority and read out what `bank fingerprint` shows; then `bank fetch`.")


@click.command(epilog="Example: bank fetch")
@with_home("BANK_HOME")
@with_mail(written_by="ca issue --out")
@with_json
@click.pass_context
def fetch(context: click.Context, home: Path, file: Path | None, as_json: bool) -> None:
    """Take the bank's certificate from the authority's desk, and hand in what waits for it.

    Also the newest revocation list. A running server takes over both at once. All of it is verified against the
    authority's fingerprint that was given at `bank init`. Exit code 4: there is no certificate to take yet.
    """
    from bank.ceremony import day

    bank = BankHome.open(home)
    _, found = _taken(context, bank, file, as_json=as_json)
    notices = _hand_in_notices(bank, file)
    if as_json:
        click.echo(json_text(_facts(found) | notices))
        return
    click.echo(f"The bank's certificate is here, valid until {day(found.certificate.not_after)}.")
    _tell_what_came_with_it(found, notices)
    click.echo("Next: nothing; the server that runs has it" if bank.is_serving() else "Next: bank serve")


@click.command(epilog="Example: bank renew")
@with_home("BANK_HOME")
@with_mail(written_by="ca renew --out")
@with_json
@click.pass_context
def renew(context: click.Context, home: Path, file: Path | None, as_json: bool) -> None:
    """Take the bank's renewed certificate: the same key with new dates, without a new call.

    The authority's operator renews it with `ca renew 0000` before it ends. A running server takes it over at once;
    nothing changes until then.
    """
    from bank.ceremony import day
    from ca.documents import BANK_NUMBER

    bank = BankHome.open(home)
    if bank.certified() is None:
        raise click.ClickException("There is no certificate to renew yet; see `bank status`.")
    before, found = _taken(context, bank, file, as_json=as_json)
    until, renewed = found.certificate.not_after, found.certificate.digest != before
    notices = _hand_in_notices(bank, file)
    if as_json:
        click.echo(json_text({"renewed": renewed} | _facts(found) | notices))
        return
    click.echo(f"{'Renewed' if renewed else 'Not renewed yet'}. The bank's certificate is valid until {day(until)}.")
    _tell_what_came_with_it(found, notices)
    if not renewed:
        click.echo(
            f"Next: ask the authority's operator to run `ca renew {BANK_NUMBER}`, then repeat: bank renew\n"
            "(What a `bank fetch` has brought already is not brought again.)"
        )


def _taken(context: click.Context, bank: BankHome, file: Path | None, *, as_json: bool) -> "tuple[str | None, Proven]":
    """The digest of the certificate before, and the one that is handed out; where none is, the command ends here."""
    from bank.ceremony import Mail, take_certificate
    from ca.messages import RequestState
    from protocol import canonical

    before = bank.certified()
    with bank.open_ledger() as ledger:
        found = take_certificate(bank, ledger, Mail(file) if file else _desk(bank))
    if isinstance(found, RequestState):
        _tell_that_it_waits(found, as_json=as_json)
        context.exit(WAITS)
    return canonical.digest(before.certificate) if before else None, found


def _tell_that_it_waits(found: "RequestState", *, as_json: bool) -> None:
    from ca.applicant import explain

    if as_json:
        click.echo(json_text({"state": found.state.value, "request": found.identifier, "certified_until": None}))
    else:
        click.echo(explain(found.state, "bank"))


def _facts(found: "Proven") -> dict[str, object]:
    certificate = found.certificate
    until = format_time(certificate.not_after)
    return {"state": "issued", "certified_until": until, "revocation_list": certificate.crl_number}


def _hand_in_notices(bank: BankHome, file: Path | None) -> dict[str, int]:
    """How many the desk has taken, and how many still wait; who has everything by mail may have no way to the desk."""
    from bank.letters import deliver_notices, waiting_notices

    handed_in = 0 if file else deliver_notices(bank, _desk(bank))
    return {"notices_handed_in": handed_in, "notices_waiting": waiting_notices(bank)}


def _tell_what_came_with_it(found: "Proven", notices: dict[str, int]) -> None:
    click.echo(f"The newest revocation list is number {found.certificate.crl_number}.")
    if count := notices["notices_handed_in"]:
        click.echo(f"Handed in at the desk: {counted(count, 'account notice')}.")
    if count := notices["notices_waiting"]:
        waiting = counted(count, "account notice")
        click.echo(f"Waiting still: {waiting}; `bank fetch` without --in hands in what waits.")


def _desk(bank: BankHome) -> "Desk":
    from ca.applicant import Desk
    from protocol.transport import Address

    return Desk(Address.parse(bank.config.authority_address))


def add_to(group: click.Group) -> None:
    """Make the commands known."""
    for command in (request, fetch, renew):
        group.add_command(command)
