"""What the authority has issued is taken, and a key is renewed, by new dates or by another key: fetch, renew."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from customer.cli.common import asks_for_passphrase, open_home, with_no_passphrase, with_passphrase
from customer.errors import NotReady
from keyring.console import WAITS, json_text, with_home, with_json, with_mail, with_request_file
from keyring.printable import printable

if TYPE_CHECKING:
    from customer.ceremony import Fetched

_HOME = with_home("CUSTOMER_HOME")


@click.command(epilog="Example: customer fetch")
@_HOME
@with_mail(written_by="ca issue --out")
@with_json
@click.pass_context
def fetch(context: click.Context, home: Path, file: Path | None, as_json: bool) -> None:
    """Take your certificate, the bank's and the revocation list, and verify them.

    Each certificate has two forms, OpenPGP and X.509, for one and the same key. Exit code 4: there is none to take yet.
    """
    from customer import ceremony
    from customer.asking import example_transfer

    with open_home(home) as customer:
        fetched, number = ceremony.fetch(customer, file), customer.number
    if as_json:
        click.echo(json_text(_fetched_facts(fetched)))
    elif fetched.until is None:
        click.echo(ceremony.explain_state(fetched.state))
    else:
        click.echo(_fetched_text(fetched))
        if fetched.next_state is not None:
            click.echo(f"Your new key is not in use yet. {ceremony.explain_state(fetched.next_state)}")
        click.echo(f"Next: {example_transfer(number)}")
    context.exit(WAITS if fetched.until is None else 0)


@click.command(epilog="Example: customer renew")
@_HOME
@with_mail(written_by="ca renew --out")
@click.option("--new-key", is_flag=True, help="Make a new key pair, for which your present key vouches.")
@with_request_file
@with_passphrase
@with_no_passphrase
@with_json
@click.pass_context
def renew(
    context: click.Context,
    home: Path,
    file: Path | None,
    new_key: bool,
    out: Path | None,
    passphrase_file: Path | None,
    no_passphrase: bool,
    as_json: bool,
) -> None:
    """Take your renewed certificate: the same key with new dates, without a new call.

    The authority's operator renews it with `ca renew` before it ends. Nothing changes here until that is done.

    With --new-key another key pair is made, and your present key vouches for it, so that needs no call either. Once the
    authority has issued the certificate, `customer fetch` takes the new key into use; both count for some days.
    """
    from customer import ceremony

    if new_key:
        if file:
            raise click.UsageError(
                "Give --new-key or --in, not both: what is mailed to you is taken without --new-key."
            )
        _announce(home, out, passphrase_file, no_passphrase, as_json)
        return
    if out or passphrase_file or no_passphrase:
        raise click.UsageError("Give --out, --passphrase-file and --no-passphrase together with --new-key only.")
    with open_home(home) as customer:
        if ceremony.certified_until(customer) is None:
            raise NotReady("There is no certificate to renew yet; see `customer status`.")
        fetched, number = ceremony.fetch(customer, file), customer.number
    renewed = fetched.until is not None and (bool(fetched.taken_over) or fetched.until > (fetched.before or 0))
    if as_json:
        click.echo(json_text({"renewed": renewed} | _fetched_facts(fetched)))
    elif renewed:
        click.echo(f"Renewed. {_fetched_text(fetched)}")
    elif fetched.until is None:
        click.echo(ceremony.explain_state(fetched.state))
    else:
        click.echo(
            f"Not renewed yet. {_fetched_text(fetched)}\n"
            f"Next: ask the authority's operator to run `ca renew {number}`, then repeat: customer renew"
        )
    context.exit(WAITS if fetched.until is None else 0)


def _announce(home: Path, out: Path | None, passphrase_file: Path | None, no_passphrase: bool, as_json: bool) -> None:
    from customer import ceremony, rotation
    from customer.progress import revocation_folder

    ask = asks_for_passphrase(passphrase_file, no_passphrase=no_passphrase)
    with open_home(home, passphrase_file=passphrase_file) as customer:
        made = rotation.announce(customer, out, ask=ask)
        authority = customer.config.authority.address
    state = made.state
    if as_json:
        facts = {"request": state.identifier, "state": state.state.value, "sha256": made.digest}
        click.echo(json_text(facts | {"fingerprint": made.fingerprint}))
        return
    where = f"is in {out}; mail it to the authority" if out else f"is at the authority's desk ({printable(authority)})"
    click.echo(
        f"Your new key is {made.fingerprint}, and your present key vouches for it.\n"
        f"Request {printable(state.identifier)} {where}.\n{ceremony.explain_state(state.state)}\n\n"
        "Until then everything goes on with your present key.\n"
        f"Move the new revocation certificate, {made.fingerprint}.rev, out of {revocation_folder(home)} to a place "
        "apart.\n\nNext, once the authority has issued it: customer fetch"
    )


def _fetched_facts(fetched: "Fetched") -> dict[str, object]:
    return {
        "state": fetched.state.value,
        "certified_until": _time(fetched.until),
        "revocation_list": fetched.crl_number or None,
        "revocation_list_until": _time(fetched.crl_until),
        "new_key": fetched.taken_over or None,
        "new_key_state": fetched.next_state.value if fetched.next_state else None,
    }


def _fetched_text(fetched: "Fetched") -> str:
    first = ""
    if fetched.taken_over:
        first = (
            f"Your new key, {fetched.taken_over}, is in use from now on; the one before counts for some days still, so "
            "that what is under way goes through.\n"
        )
    elif fetched.until and fetched.until < (fetched.before or 0):
        first = (
            "WARNING: your certificate ends earlier than before. The authority does that when your key has vouched for "
            "a new one; if you made none, telephone it NOW.\n"
        )
    return first + (
        f"Your key is certified until {_time(fetched.until)}; the bank's is certified, too. Both forms of both were "
        f"verified.\nRevocation list {fetched.crl_number} counts until {_time(fetched.crl_until)}; neither is in it."
    )


def _time(seconds: int | None) -> str | None:
    from protocol.orders import format_time

    return format_time(seconds) if seconds else None
