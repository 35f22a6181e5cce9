"""From the letter on: init, register, request; how things stand, and giving a key up: fingerprint, revoke, status."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from customer.cli.common import (
    asks_for_passphrase,
    open_home,
    pairs,
    read_letter,
    table,
    with_letter,
    with_no_passphrase,
    with_passphrase,
)
from customer.errors import CustomerError, NotReady
from keyring.console import (
    is_terminal,
    json_text,
    read_passphrase,
    with_home,
    with_json,
    with_readout,
    with_request_file,
)
from keyring.printable import printable

if TYPE_CHECKING:
    from protocol.letter import Letter

_HOME = with_home("CUSTOMER_HOME")
_GIVEN = (
    ("number", "Customer number"),
    ("name", "Your name, as the bank knows it"),
    ("currency", "Currency of the account, such as EUR"),
    ("bank", "The bank's name"),
    ("bank_address", "The bank's address (host:port)"),
    ("bank_fingerprint", "The bank's fingerprint (20 words, or 40 hex digits)"),
    ("authority", "The authority's address (host:port)"),
    ("authority_fingerprint", "The authority's fingerprint (20 words, or 40 hex digits)"),
)


@click.command(epilog="Example: customer init --letter alice-letter.txt")
@_HOME
@click.option("--letter", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The bank's letter.")
@click.option("--number", metavar="DIGITS", help="Customer number (instead of --letter; what is missing is asked for).")
@click.option("--name", help="Your name, as the bank knows it.")
@click.option("--currency", metavar="CODE", help="Currency of the account.")
@click.option("--bank", metavar="NAME", help="The bank's name.")
@click.option("--bank-address", metavar="HOST:PORT", help="Where the bank is reached.")
@click.option("--bank-fingerprint", metavar="WORDS|HEX", help="From the letter, never from the network.")
@click.option("--authority", metavar="HOST:PORT", help="The authority's desk.")
@click.option("--authority-fingerprint", metavar="WORDS|HEX", help="From the letter, never from the network.")
@click.option("--domain", metavar="DOMAIN", help="The bank's domain, if its letter names one.")
@with_passphrase
@with_no_passphrase
def init(
    home: Path, letter: Path | None, passphrase_file: Path | None, no_passphrase: bool, **given: str | None
) -> None:
    """Make your key pair and pin the fingerprints in the bank's letter.

    Without --passphrase-file or --no-passphrase, GnuPG asks for a passphrase. Repeating an interrupted init goes on
    where it stopped; a key that is there is never replaced.
    """
    from customer import ceremony
    from customer.progress import revocation_folder
    from keyring import readout
    from keyring.home import require_gnupg

    if letter and any(given.values()):
        raise click.UsageError("Give --letter or the single values, not both: the letter has all of them.")
    ask = asks_for_passphrase(passphrase_file, no_passphrase=no_passphrase)
    require_gnupg()
    wanted = ceremony.from_letter(read_letter(letter) if letter else _typed_letter(given))
    passphrase = read_passphrase(passphrase_file) if passphrase_file else None
    made = ceremony.init(home, wanted, passphrase, ask=ask)
    key = made.customer.key
    click.echo(f"Customer {made.customer.number} of {printable(made.bank.name)} is set up in {home}.\n")
    click.echo("The fingerprint of your key:\n")
    click.echo(_read_out(key))
    click.echo(
        f"\nThe bank's and the authority's fingerprints are pinned: {readout.hex_groups(made.bank.fingerprint)} and "
        f"{readout.hex_groups(made.authority.fingerprint)}."
    )
    click.echo(
        f"\nMove the revocation certificate out of {revocation_folder(home)} to a place apart, such as a stick in a "
        "drawer: with it the key can be declared invalid even when the key is lost."
    )
    click.echo("\nNext: customer request   (or, for the lower stages: customer register --letter FILE)")


@click.command(epilog="Example: customer register --letter alice-letter.txt")
@_HOME
@with_letter
def register(home: Path, letter: Path | None) -> None:
    """Register your key at the bank under the agreed password, for the stages below certified.

    The bank's key comes back and must have the pinned fingerprint. Repeating it with the same key changes nothing.
    """
    from customer import ceremony
    from customer.asking import example_transfer

    with open_home(home, letter=letter) as customer:
        ceremony.register(customer)
        bank, number = printable(customer.config.bank.name), customer.number
    click.echo(f"Your key is registered, and the key of {bank} has the pinned fingerprint.")
    click.echo(f"Next: {example_transfer(number, ' --stage signed')}")


@click.command(epilog="Example: customer request --out request.pgp")
@_HOME
@with_request_file
@with_passphrase
@with_json
def request(home: Path, out: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Ask the certificate authority to certify your key: one request for both forms, OpenPGP and X.509."""
    from ca.messages import State
    from customer import ceremony

    with open_home(home, passphrase_file=passphrase_file) as customer:
        made = ceremony.request(customer, out)
        key, authority = customer.key, customer.config.authority.address
    answer = made.state
    if as_json:
        facts = {"request": answer.identifier, "state": answer.state.value, "sha256": made.digest, "fingerprint": key}
        click.echo(json_text(facts))
        return
    explained = ceremony.explain_state(answer.state)
    if answer.state not in (State.WAITING, State.CONFIRMED, State.LOCKED):
        click.echo(explained)
        return
    where = f"is in {out}; mail it to the authority" if out else f"is at the authority's desk ({printable(authority)})"
    click.echo(f"Request {printable(answer.identifier)} {where}.\n{explained}")
    if answer.state is not State.WAITING:
        return
    click.echo()
    click.echo(
        "On the telephone: say your customer number and the caller's code from the bank's letter, then read out:\n"
    )
    click.echo(_read_out(key))
    if made.digest:
        click.echo(f"\nSHA-256 of the request, which the certificate will name:\n  {made.digest}")
    click.echo("\nNext, once the authority has issued it: customer fetch")


@click.command(epilog="Example: customer revoke --certificate /media/stick/my-key.rev")
@_HOME
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The revocation certificate that you moved away; default: the one that still lies beside the key.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("revoked.pgp"),
    show_default=True,
    metavar="FILE",
    help="Where the revoked public key is written.",
)
@with_json
def revoke(home: Path, certificate: Path | None, out: Path, as_json: bool) -> None:
    """Give your key up for ever, when it is lost or stolen; the private key is not needed.

    This makes your public key as revoked by yourself, for everybody who uses OpenPGP, and hands it in at the
    authority's desk. At the bank the authority's revocation list counts: telephone the authority.
    """
    from customer import revoking

    with open_home(home) as customer:
        made, number = revoking.revoke(customer, certificate, out), customer.number
    command = f"ca revoke {number} --reason key-compromise"
    if as_json:
        facts = {"file": str(made.file), "fingerprint": made.fingerprint, "tell_the_authority": command}
        click.echo(json_text({**facts, "at_the_desk": not made.not_handed_in, "why_not": made.not_handed_in}))
        return
    desk = (
        f"The desk did not take it. {printable(made.not_handed_in)}\nMail the file to the authority instead."
        if made.not_handed_in
        else "It is at the authority's desk, too, where its operator sees it."
    )
    click.echo(
        f"Your public key, revoked by yourself, is in {made.file}. Give it to those who have your key; it cannot be "
        f"taken back.\n{desk}\n\n"
        "The bank still takes orders under your key. Telephone the authority NOW: its operator stops them with\n\n"
        f"  {command}\n\n"
        "A new key begins with: customer init --home NEW-FOLDER --letter FILE"
    )


@click.command(epilog="Example: customer fingerprint --bank")
@_HOME
@click.option("--bank", "whose", flag_value="bank", help="The bank's fingerprint, as pinned from the letter.")
@click.option("--new", "whose", flag_value="new", help="Of your new key that is not in use yet.")
@click.option(
    "--authority",
    "--ca",
    "whose",
    flag_value="authority",
    help="The authority's fingerprint, as pinned from the letter.",
)
@with_readout
@with_json
def fingerprint(home: Path, whose: str | None, digits: bool, qr: bool, qr_file: Path | None, as_json: bool) -> None:
    """Show a fingerprint as 20 words, to be read out, and as hex; of your own key also the SHA-256 of its request."""
    from customer import rotation
    from customer.store import Fact
    from keyring import readout

    with open_home(home) as customer:
        request, digest = "", ""
        if whose == "new":
            new = rotation.pending(customer)
            if new is None:
                raise NotReady("There is no new key; make one with `customer renew --new-key`.")
            value, request, digest = new.fingerprint, new.request, new.digest
        elif whose is None:
            value = customer.key
            request, digest = (customer.store.text(name) for name in (Fact.REQUEST, Fact.REQUEST_DIGEST))
        else:
            pinned = {"bank": customer.config.bank.fingerprint, "authority": customer.config.authority.fingerprint}
            value = pinned[whose]
    if qr_file:
        readout.write_qr(value, qr_file)
    if as_json:
        words = list(readout.words(value))
        facts = {"whose": whose or "own", "fingerprint": value, "words": words, "digits": readout.digits(value)}
        click.echo(json_text(facts | ({"request": request, "sha256": digest} if digest else {})))
        return
    if qr:
        click.echo(f"{readout.qr_text(value)}\n")
    if digits:
        click.echo(readout.digits(value))
        return
    click.echo(_read_out(value))
    if digest:
        click.echo(f"\nSHA-256 of the request {printable(request)}:\n  {digest}")


@click.command(epilog="Example: customer status")
@_HOME
@with_json
def status(home: Path, as_json: bool) -> None:
    """Show what was done, what is next, who acts, and with which command."""
    from customer import progress
    from keyring.advisories import told
    from keyring.home import gnupg_version

    gnupg = told(gnupg_version())
    if not progress.begun(home):
        found, number, floor = progress.BEGINNING, None, None
    else:
        with open_home(home) as customer:
            found, number, floor = progress.progress(customer), customer.number, customer.store.floor().value
    if as_json:
        steps = [{"step": step.name, "done": step.done, "detail": step.detail} for step in found.steps]
        then = {"who": found.next.who, "what": found.next.what, "command": found.next.command}
        click.echo(
            json_text(
                {
                    "customer": number,
                    "floor": floor,
                    "steps": steps,
                    "next": then,
                    "warnings": list(found.warnings),
                    "gnupg": gnupg,
                }
            )
        )
        return
    rows = [("done" if step.done else "open", step.name, step.detail) for step in found.steps]
    click.echo(table(rows, ("", "step", "detail")))
    for warning in found.warnings:
        click.echo(f"\nWarning: {printable(warning)}")
    click.echo()
    then_rows = [("next", found.next.what), ("who acts", found.next.who), ("command", found.next.command)]
    click.echo(pairs([*then_rows, ("gnupg", gnupg)]))


def _typed_letter(given: dict[str, str | None]) -> "Letter":
    """What the letter says, from options and questions."""
    from keyring.errors import ReadoutError
    from keyring.readout import parse
    from protocol.letter import Letter, is_domain

    values = {}
    for name, question in _GIVEN:
        value = given[name]
        if value is None:
            if not is_terminal():
                raise click.UsageError(
                    f"Give --letter FILE, or all single values: --{name.replace('_', '-')} is missing."
                )
            value = click.prompt(question)
        try:
            values[name] = parse(value) if name.endswith("fingerprint") else value.strip()
        except ReadoutError as error:
            raise CustomerError(f"{question.split(' (')[0]}: {error}") from None
    domain = given["domain"] or ""
    if not is_domain(domain):
        raise CustomerError(f"{domain[:80]!a} is not a domain; copy it from the bank's letter, such as bank.example.")
    return Letter(
        customer=values["number"],
        name=values["name"],
        currency=values["currency"],
        bank=values["bank"],
        bank_address=values["bank_address"],
        bank_fingerprint=values["bank_fingerprint"],
        authority_address=values["authority"],
        authority_fingerprint=values["authority_fingerprint"],
        password="",
        caller_code="",
        domain=domain,
    )


def _read_out(value: str) -> str:
    from keyring import readout

    lines = "\n".join(f"  {line}" for line in readout.lines(value))
    return f"{lines}\n\n  {readout.hex_groups(value)}"
