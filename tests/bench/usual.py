"""The usual way: the same server, but a gpg process for each verification and one for each receipt, by python-gnupg.

``python -m tests.bench.usual serve …`` is `bank serve` with two of its methods replaced. Orders are verified and
receipts signed with RSA-3072, each waited for by a thread, so that both processors work; everything else (sessions,
group commit, log) is ours, which favours the usual way.
"""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import gnupg
import msgspec

from bank.cli import main
from bank.home import BankHome
from bank.identities import Identities, Identity
from bank.service import Service
from keyring.opened import Opened
from keyring.verdict import Accepted, Rejected
from protocol.messages import NumberedReceipt
from tests.bench.orders import content_of

PLAYED_BY = (sys.executable, "-m", "tests.bench.usual")
_SIGNING = ("-z", "0", "--digest-algo", "SHA256")


@cache
def _gpg(home: str) -> gnupg.GPG:
    """Made once for each home: the constructor starts a process, too."""
    return gnupg.GPG(gnupghome=home)


def _open_all(self: Identities, identity: Identity, messages: Sequence[bytes]) -> list[Opened | Rejected]:
    return [_open(identity, message) for message in messages]


def _open(identity: Identity, message: bytes) -> Opened | Rejected:
    found = _gpg(str(identity.home.path)).decrypt(message)
    if not found.valid or found.pubkey_fingerprint != identity.fingerprint:
        return Rejected("usual", f"python-gnupg says {found.status}.")
    return Opened(found.data, Accepted(identity.fingerprint, identity.fingerprint, int(found.sig_timestamp)))


def install(home: Path) -> None:
    """From now on this process serves in the usual way."""
    bank = BankHome.open(home)
    gpg = _gpg(str(bank.gnupg.path))
    key = f"{bank.config.fingerprint}!"
    decided = Service._decided

    def signed(head: bytes) -> bytes:
        made = gpg.sign(head, keyid=key, clearsign=False, binary=True, extra_args=list(_SIGNING))
        if not made.data:
            raise RuntimeError(f"python-gnupg made no signature: {made.stderr}")
        return bytes(made.data)

    async def receipted(self: Service, *given: object) -> object:
        answer = await decided(self, *given)  # type: ignore[arg-type] # whatever it takes
        if isinstance(answer, NumberedReceipt):
            head = await self.loop.apart(signed, content_of(answer.receipt.head))
            return msgspec.structs.replace(answer, receipt=msgspec.structs.replace(answer.receipt, head=head))
        return answer

    Identities.ask = lambda *_: None  # type: ignore[method-assign] # no gpg is at hand, ever
    Identities.open_all = _open_all  # type: ignore[method-assign]
    Service._decided = receipted  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    install(Path(sys.argv[sys.argv.index("--home") + 1]))
    main()
