"""Setting the bank up: its key, its certificate, and where the set-up stands."""

import time
from pathlib import Path

import click

from bank.config import BankConfig
from bank.config import load as load_config
from bank.config import save as save_config
from bank.errors import ConfigurationError
from bank.home import BankHome
from keyring.console import json_text, with_home, with_json, with_readout
from protocol.stages import Stage


@click.command(epilog='Example: bank init --name "First Bank" --currency EUR --authority-fingerprint "aardvark …"')
@with_home("BANK_HOME")
@click.option("--name", required=True, help="The bank's name, in its key and its letters.")
@click.option(
    "--currency", required=True, metavar="CODE", help="ISO 4217 code; the bank keeps accounts in this one only."
)
@click.option(
    "--authority", default="127.0.0.1:7402", show_default=True, metavar="HOST:PORT", help="The authority's desk."
)
@click.option(
    "--authority-fingerprint",
    required=True,
    metavar="WORDS|HEX",
    help="The authority's fingerprint as its operator read it out, as 20 words or 40 hex digits.",
)
@click.option(
    "--listen",
    default="127.0.0.1:7401",
    show_default=True,
    metavar="HOST:PORT",
    help="Where `bank serve` takes connections.",
)
@click.option("--public-address", metavar="HOST:PORT", help="Where customers reach the bank, if not at --listen.")
@click.option(
    "--domain",
    default="",
    metavar="DOMAIN",
    help="Put addresses NUMBER@DOMAIN into the keys' user IDs, for a Web Key Directory. Default: none.",
)
@click.option(
    "--ledger",
    default="",
    metavar="URL",
    help="Keep the ledger in this empty PostgreSQL database, postgresql://…, not in a file. A password does not belong "
    "here, where others see it: set BANK_LEDGER, or use a password file.",
)
@click.option(
    "--minimum-stage",
    type=click.Choice([stage.value for stage in Stage]),
    default=Stage.CERTIFIED.value,
    show_default=True,
    help="The lowest stage that the bank accepts.",
)
@with_json
def init(
    home: Path,
    name: str,
    currency: str,
    authority: str,
    authority_fingerprint: str,
    listen: str,
    public_address: str | None,
    domain: str,
    ledger: str,
    minimum_stage: str,
    as_json: bool,
) -> None:
    """Make a bank: its key pair, its configuration and an empty ledger.

    The key has no passphrase, since the server signs unattended; the folder is closed to other users instead.
    """
    from bank.places import require_no_password
    from bank.storage import Ledger, require_free
    from ca.documents import BANK_NUMBER
    from keyring import keys, readout, unfinished
    from keyring.home import Home, require_gnupg
    from protocol.letter import is_domain

    if (home / "bank.toml").exists():
        raise ConfigurationError(f"There is a bank in {home} already; it is never made anew over the old one.")
    if not unfinished.is_free(home):
        raise ConfigurationError(f"The folder {home} is not empty; name a new one, so that nothing in it is lost.")
    require_gnupg()
    authority_hex = readout.parse(authority_fingerprint)
    if not is_domain(domain):
        raise ConfigurationError(f"{domain[:80]!a} is not a domain; give one in lower case such as bank.example.")
    require_no_password(ledger)
    user_id = keys.user_id(name, BANK_NUMBER, domain)
    settings = BankConfig(
        name=name,
        currency=currency,
        fingerprint="0" * 40,
        listen=listen,
        public_address=public_address,
        domain=domain,
        ledger=ledger,
        minimum_stage=Stage(minimum_stage),
        authority_address=authority,
        authority_fingerprint=authority_hex,
    )
    unfinished.begin(home, ("gnupg", "ledger.sqlite"))
    # A wrong setting is found before a key is made; an interrupted init is begun anew, since bank.toml comes last.
    save_config(home, settings)
    (home / "bank.toml").unlink()
    require_free(BankHome(home, settings).ledger_place)
    gnupg = Home.create(home / "gnupg", own_keys=True)
    try:
        key = keys.new_bank_key(gnupg, user_id)
        import msgspec

        settings = msgspec.structs.replace(settings, fingerprint=key.primary)
        Ledger.create(
            BankHome(home, settings).ledger_place,
            bank_fingerprint=key.primary,
            currency=currency,
            opened_at=int(time.time()),
        ).close()
        save_config(home, settings)
        unfinished.finish(home)
    finally:
        gnupg.stop()
    if as_json:
        facts = {"bank": name, "home": str(home), "currency": currency, "minimum_stage": minimum_stage}
        click.echo(json_text({**facts, **_fingerprint_facts(key.primary), "next": "bank request"}))
        return
    click.echo(f"The bank {name} is made in {home}. Its fingerprint:\n")
    _print_fingerprint(key.primary)
    click.echo("\nNext: bank request")


@click.command(epilog="Example: bank fingerprint --json")
@with_home("BANK_HOME")
@with_json
@with_readout
@click.option("--authority", is_flag=True, help="Show the authority's fingerprint as it was given at `bank init`.")
def fingerprint(home: Path, as_json: bool, digits: bool, qr: bool, qr_file: Path | None, authority: bool) -> None:
    """Show the bank's fingerprint, to be read out on the telephone, and the SHA-256 of its request, if there is one."""
    from bank.ceremony import kept_request
    from keyring import readout

    bank = BankHome(home, load_config(home))
    shown = bank.config.authority_fingerprint if authority else bank.config.fingerprint
    asked = None if authority else kept_request(bank)
    if qr_file:
        readout.write_qr(shown, qr_file)
    if as_json:
        request = {"request": asked.state.identifier, "sha256": asked.digest} if asked else {}
        click.echo(json_text({**_fingerprint_facts(shown), **request}))
        return
    if qr:
        click.echo(f"{readout.qr_text(shown)}\n")
    if digits:
        click.echo(readout.digits(shown))
        return
    _print_fingerprint(shown)
    if asked:
        click.echo(f"\nSHA-256 of the request {asked.state.identifier}:\n  {asked.digest}")


def _fingerprint_facts(fingerprint: str) -> dict[str, object]:
    from keyring import readout

    words, digits = readout.words(fingerprint), readout.digits(fingerprint)
    return {"fingerprint": fingerprint, "words": words, "digits": digits}


def _print_fingerprint(fingerprint: str) -> None:
    from keyring import readout

    for line in readout.lines(fingerprint):
        click.echo(f"  {line}")
    click.echo(f"\n  {readout.hex_groups(fingerprint)}")


@click.command(epilog="Example: bank status")
@with_home("BANK_HOME")
@with_json
def status(home: Path, as_json: bool) -> None:
    """Say how the bank is set up, where its certificate stands, and what to do next."""
    from bank import accounts
    from bank.ceremony import standing
    from bank.heads import newest_head
    from keyring.advisories import told
    from keyring.home import gnupg_version
    from protocol import canonical
    from protocol.receipts import TreeHead

    bank = BankHome.open(home)
    with bank.open_ledger() as ledger:
        count = len(accounts.every(ledger)) - 1  # the bank's own account is not a customer's
        with ledger.reading() as connection:
            newest = newest_head(connection)
        found = standing(bank, ledger, time.time())
        warnings = (*found.warnings, *ledger.warnings())
    try:
        has_primary = bank.has_primary()
    finally:
        bank.release()
    head = canonical.decode_signed(TreeHead, newest.content) if newest else None
    report = {
        "bank": bank.config.name,
        "home": str(home),
        "ledger": str(ledger),
        "fingerprint": bank.config.fingerprint,
        "primary_key": "here" if has_primary else "elsewhere",
        "currency": bank.config.currency,
        "minimum_stage": bank.config.minimum_stage.value,
        "listen": bank.config.listen,
        "certificate": found.certificate,
        "request": found.request or None,
        "revocation_list": found.revocation_list,
        "serving": bank.is_serving(),
        "accounts": count,
        "log": ledger.log,
        "log_entries": head.size if head else 0,
        "newest_head": head.time if head else None,
        "gnupg": told(gnupg_version()),
        "next": found.next_step,
    }
    if as_json:
        click.echo(json_text({**report, "warnings": warnings}))
        return
    for name, value in report.items():
        shown = ("yes" if value else "no") if isinstance(value, bool) else value or "none"
        click.echo(f"{name.replace('_', ' '):<17}{shown}")
    for warning in warnings:
        click.echo(f"\nWarning: {warning}")


def add_to(group: click.Group) -> None:
    """Make the commands known."""
    for command in (init, fingerprint, status):
        group.add_command(command)
