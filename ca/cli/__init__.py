"""The authority's command line asks, prints and sets the exit code, and decides nothing itself."""

import click

from ca.cli import certificates, dropping, requests, setup
from ca.errors import CaError
from keyring.console import HELP, Group, keep_to_oneself


class _CaGroup(Group):
    errors = (*Group.errors, CaError)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are needed."""
        return list(self.commands)


@click.group(cls=_CaGroup, context_settings=HELP)
@click.version_option(package_name="countersign", prog_name="ca")
def cli() -> None:
    """The certificate authority: its desk, the confirmation on the telephone, and the certificates.

    \b
    Example, once:      ca init --name "Example Authority"
                        ca serve
    For each request:   ca requests
                        ca confirm REQUEST
                        ca issue REQUEST
    Now and then:       ca status
    """


for _command in (
    *(setup.init, setup.serve, setup.fingerprint, setup.status),
    *(requests.requests, requests.confirm, requests.reopen, dropping.drop, requests.issue),
    *(certificates.list_certificates, certificates.show, certificates.renew, certificates.revoke),
    *(certificates.crl, certificates.publish),
):
    cli.add_command(_command)


def main() -> None:
    """The command `ca`: 0 done, 1 an error that is told in a sentence, 2 wrong usage."""
    keep_to_oneself()
    cli(prog_name="ca")
