"""The customer's commands; a file for each group of them, imported only when one of its commands is called."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

from ca.errors import CaError
from customer.errors import CustomerError, OutcomeUnknown, RefusedByBank
from keyring.console import HELP, Listing, asked_for_json, json_text, keep_to_oneself
from keyring.errors import KeyringError
from keyring.printable import printable
from protocol.errors import ProtocolError

REFUSED: Final = 1
LOCAL_ERROR: Final = 2
UNKNOWN: Final = 3

_MODULES: Final[Mapping[str, str]] = {
    "init": "beginning",
    "register": "beginning",
    "request": "beginning",
    "fetch": "renewing",
    "renew": "renewing",
    "revoke": "beginning",
    "fingerprint": "beginning",
    "status": "beginning",
    "send": "transfers",
    "outbox": "transfers",
    "resume": "transfers",
    "balance": "account",
    "statement": "account",
    "evidence": "proofs",
    "verify": "proofs",
}


class _LocalError(click.ClickException):
    """A sentence on standard error; nothing was decided by the bank."""

    exit_code = LOCAL_ERROR


class _Unknown(click.ClickException):
    """A sentence on standard error; the bank may have decided."""

    exit_code = UNKNOWN


class _CustomerGroup(Listing):
    """Loads a command when it is called, and turns errors into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"customer.cli.{_MODULES[cmd_name]}")
        command = getattr(module, cmd_name)
        return command if isinstance(command, click.Command) else None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OutcomeUnknown as error:
            raise _Unknown(printable(str(error))) from None
        except RefusedByBank as error:
            from customer.cli.show import refusal_facts, refusal_text

            if asked_for_json(ctx):
                click.echo(json_text(refusal_facts(error)))
            raise _LocalError(printable(refusal_text(error))) from None
        except (CustomerError, KeyringError, CaError, ProtocolError) as error:
            raise _LocalError(printable(str(error))) from None
        except (click.Abort, KeyboardInterrupt):
            # click would leave with 1, which here says that the bank refused.
            raise _LocalError("It was interrupted.") from None
        except BrokenPipeError:
            # Whoever read our output has gone; what is still in the buffer has no reader either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(LOCAL_ERROR)


@click.group(
    cls=_CustomerGroup,
    context_settings=HELP,
    epilog='Begin with: customer init --letter FILE. Then: customer send --to 1002 --amount 25.00 --description "rent"',
)
@click.version_option(package_name="countersign", prog_name="customer")
def commands() -> None:
    """Bank with your own key: send money, read the account, prove what the bank decided.

    Exit codes: 0 done (of send: posted), 1 refused by the bank, 2 wrong usage or an error on this side, 3 the outcome
    of a transfer is unknown (see `customer resume`), 4 there is no certificate to take yet (of fetch and renew).
    """


def main() -> None:
    """Entry point of the command `customer`."""
    keep_to_oneself()
    commands(prog_name="customer")
