"""From a request to a certificate: looking, confirming on the telephone, reopening, issuing."""

import time
from pathlib import Path
from typing import IO, Any

import click

from ca import ceremony, choosing, inventory, issuing, mail
from ca.authority import Authority
from ca.ceremony import CalledBack, Caller, CallerCode, Mistake
from ca.cli.options import (
    DAYS,
    ask,
    home_option,
    in_full,
    operator_option,
    passphrase_from,
    passphrase_option,
    read_line,
    table,
    user,
)
from ca.decisions import Confirmation
from ca.documents import CUSTOMER, DOCUMENT_LIMIT_BYTES
from ca.errors import CaError
from ca.messages import State
from ca.requests import Request
from ca.vouching import OVERLAP_DAYS_LIMIT
from keyring import readout
from keyring.console import json_text, read_caller_code, with_json
from protocol.orders import format_time


@click.command()
@click.option(
    "--take", type=click.File("rb"), help="First take in a request, or a revoked key, that came by mail, as a file."
)
@with_json
@home_option
def requests(take: IO[bytes] | None, as_json: bool, home: Path) -> None:
    """List the requests that are not issued yet, and what each of them waits for.

    \b
    Example:  ca requests
              ca requests --take request-from-alice
    """
    with Authority.open(home) as authority:
        if take:
            taken = mail.take(authority, take.read(DOCUMENT_LIMIT_BYTES + 1), clock=time.time)
            if not as_json:
                click.echo(f"{mail.told(taken)}\n")
        rows = inventory.open_requests(authority, int(time.time()))
    if as_json:
        click.echo(json_text([row.as_dict() for row in rows]))
    elif not rows:
        click.echo("No request waits. Applicants make theirs with `customer request` or `bank request`.")
    else:
        click.echo(table([row.as_row() for row in rows]))
        click.echo(
            "\nNext: `ca confirm REQUEST` with the applicant on the telephone; what is confirmed: `ca issue REQUEST`."
        )


@click.command()
@click.argument("request")
@click.option("--words", help="The fingerprint as heard: 20 words. Without --words and --hex it is asked for.")
@click.option("--hex", "hexadecimal", help="The fingerprint as heard, in hexadecimal.")
@click.option(
    "--caller-code", help="The code from the letter, as the caller said it; other users of this machine see it in `ps`."
)
@click.option(
    "--caller-code-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="File whose first line is the code, - for standard input; for scripts. Otherwise the code is asked for.",
)
@click.option("--called-back", metavar="NUMBER", help="The number on file that you dialled.")
@click.option("--operator", help="Who confirms; it stands in the certificate. Default: your user name.")
@click.option("--notice", type=click.File("rb"), help="The bank's account notice, if it came as a file.")
@with_json
@home_option
def confirm(
    request: str,
    words: str | None,
    hexadecimal: str | None,
    caller_code: str | None,
    caller_code_file: Path | None,
    called_back: str | None,
    operator: str | None,
    notice: IO[bytes] | None,
    as_json: bool,
    home: Path,
) -> None:
    """Confirm REQUEST (its customer number, or its identifier) with its applicant on the telephone.

    First comes who is calling: known by the code from the bank's letter, or because you called back at the number on
    file. Then type the words or the hexadecimal digits as you hear them, in one line or in several; four letters of a
    word are enough where no other begins so. What is right is shown nowhere. After three mistakes the request is
    locked.

    \b
    Example:  ca confirm 3f9a
              ca confirm 3f9a --called-back "+49 30 1234"
    """
    if words and hexadecimal:
        raise click.UsageError("Give the fingerprint once: --words or --hex.")
    if sum(map(bool, (caller_code, caller_code_file, called_back))) > 1:
        raise click.UsageError("Give one of --caller-code, --caller-code-file and --called-back.")
    if caller_code_file:
        caller_code = read_caller_code(caller_code_file).reveal().decode(errors="replace")
    mailed = notice.read(DOCUMENT_LIMIT_BYTES + 1) if notice else None
    operator = operator or user()
    with Authority.open(home) as authority:
        waiting = ceremony.waiting_request(authority, request, int(time.time()))
        facts = _facts(waiting)
        if not as_json:
            address = f" <{facts['address']}>" if facts["address"] else ""
            whose = f"the {facts['role']} {facts['number']}, {facts['name']}{address}"
            click.echo(f"Request {waiting.identifier}: {whose}.\nIts SHA-256 is {waiting.digest}.")
        caller = _caller(facts["role"], caller_code, called_back)
        known = ceremony.identify(authority, waiting, caller, notice=mailed, clock=time.time)
        result: Confirmation | Mistake
        if isinstance(known, Mistake):
            result = known
        else:
            heard = words or hexadecimal or _heard()
            result = ceremony.confirm(authority, known, heard=heard, operator=operator, clock=time.time)
    if as_json:
        click.echo(json_text({**facts, **_outcome(result)}))
    if isinstance(result, Mistake):
        raise CaError(f"Not confirmed. {result.sentence}")
    if not as_json:
        click.echo(f"Confirmed. Next: ca issue {waiting.identifier}")


@click.command()
@click.argument("request")
@click.option("--reason", required=True, help="Why the mistakes do not count against the request; it is recorded.")
@operator_option
@with_json
@home_option
def reopen(request: str, reason: str, operator: str | None, as_json: bool, home: Path) -> None:
    """Give a REQUEST that is locked after three mistakes its tries again.

    \b
    Example:  ca reopen 3f9a --reason "the line was bad"
    """
    with Authority.open(home) as authority:
        found = choosing.request(authority, request, int(time.time()), State.LOCKED)
        made = ceremony.reopen(authority, found.digest, reason=reason, operator=operator or user(), clock=time.time)
    if as_json:
        records = {"operator": made.operator, "reason": made.reason, "reopened": format_time(made.at)}
        click.echo(json_text({**_facts(found), **records}))
    else:
        click.echo(f"Reopened. Next: ca confirm {found.identifier}")


@click.command()
@click.argument("request")
@click.option(
    "--days", type=click.IntRange(1, issuing.DAYS_LIMIT), default=issuing.DEFAULT_DAYS, show_default=True, help=DAYS
)
@click.option(
    "--out",
    type=click.File("wb", lazy=True),
    help="Also write it to a file, with all that its owner needs, to be mailed.",
)
@click.option(
    "--overlap-days",
    type=click.IntRange(1, OVERLAP_DAYS_LIMIT),
    help="How long the key that vouches for this one goes on counting; default: overlap_days in ca.toml, which is 14.",
)
@operator_option
@passphrase_option
@with_json
@home_option
def issue(
    request: str,
    days: int,
    out: IO[bytes] | None,
    overlap_days: int | None,
    operator: str | None,
    passphrase_file: Path | None,
    as_json: bool,
    home: Path,
) -> None:
    """Certify the key of a confirmed REQUEST, in OpenPGP and in X.509, and put both out at the desk.

    A request that the customer's key before vouches for needs no confirmation; both keys count for some days. Issuing
    again what is issued puts the same certificate out again.

    \b
    Example:  ca issue 3f9a --days 90
    """
    with Authority.open(home) as authority:
        issuing.require_issuable(authority, request, int(time.time()))
        passphrase = passphrase_from(passphrase_file)
        made = issuing.issue(
            authority,
            request,
            days=days,
            passphrase=passphrase,
            clock=time.time,
            operator=operator or user(),
            overlap_days=overlap_days or authority.configuration.overlap_days,
        )
        before = inventory.last_of(authority, made.succeeds)
        described = in_full(authority, made, int(time.time()))
        if out:
            out.write(issuing.for_mail(authority, made, int(time.time())))
    overlap_ends = format_time(before.ends) if before else ""
    if as_json:
        click.echo(json_text({**described, "overlap_ends": overlap_ends}))
        return
    click.echo(
        f"Certified until {format_time(made.expires)}: the {made.role} {made.number}, {made.name}.\n"
        f"The certificate lies at the desk; its owner takes it with: {made.role} fetch"
    )
    if before:
        click.echo(f"The key before, {before.fingerprint}, vouched for it; it counts beside it until {overlap_ends}.")


def _facts(request: Request) -> dict[str, Any]:
    """Which request it is, for scripts; its fingerprint is for its owner to say."""
    content = request.content
    return {
        "request": request.identifier,
        "sha256": request.digest,
        "role": content.role,
        "number": content.number,
        "name": content.name,
        "address": f"{content.number}@{content.domain}" if content.domain else "",
    }


def _outcome(result: Confirmation | Mistake) -> dict[str, Any]:
    """What came of a confirmation, with the same keys whatever came."""
    made = result if isinstance(result, Confirmation) else None
    mistake = result if isinstance(result, Mistake) else None
    return {
        "confirmed": made is not None,
        "operator": made.operator if made else "",
        "reached_by": made.reached_by if made else "",
        "dialled": made.dialled if made else "",
        "confirmed_at": format_time(made.at) if made else "",
        "mistake": mistake.sentence if mistake else "",
        "counted": mistake is not None and mistake.counted,
        "tries_left": mistake.tries_left if mistake else None,
    }


def _caller(role: str, caller_code: str | None, called_back: str | None) -> Caller:
    """How the caller is known, asked for where no option tells."""
    if caller_code:
        return CallerCode(caller_code)
    if not called_back and role == CUSTOMER:
        code = ask("The caller's code from the letter (leave empty if you called back)", optional=True)
        if code.strip():
            return CallerCode(code)
    return CalledBack(called_back or ask("The number on file that you dialled"))


def _heard() -> str:
    """What the operator types, line by line, until it is as long as a fingerprint, or a line is empty."""
    typed = ""
    prompt = "The fingerprint as heard, in words or in hexadecimal digits, in one line or several"
    while True:
        line = read_line(prompt)
        typed += line
        so_far = readout.progress(typed)
        if not line.strip() or so_far.is_complete:
            return typed
        prompt = f"{so_far.have} of {so_far.needed} {so_far.unit}; go on, or end with an empty line"
