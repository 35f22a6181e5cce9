"""VERIFY.md lets a stranger with gpg, sha256sum and a shell find out what is proven, and says plainly what is not."""

from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Final

from protocol.stages import Stage
from protocol.verification_certificates import certificate_steps
from protocol.verification_steps import Step, filled, openpgp_steps, wrapped


def render(stage: Stage, names: Set[str]) -> str:
    """The text of VERIFY.md for an order of this stage in a folder with the files ``names``."""
    with_head = "head.pgp" in names
    files = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in _FILES.items() if name in names)
    numbered = "\n".join(step.render(number) for number, step in enumerate(_steps(stage, names), 1))
    introduction = _introduction(x509="authority.crt" in names)
    return f"{introduction}{files}\n{_meaning(stage, names)}\n{_HOW}\n{numbered}\n{_log(with_head)}\n{_END}"


def passed_lines(stage: Stage, names: Set[str]) -> tuple[str, ...]:
    """The ``ok:`` lines that the commands print, in order, if the evidence is good."""
    return tuple(step.passed for step in _steps(stage, names))


def _steps(stage: Stage, names: Set[str]) -> tuple[Step, ...]:
    x509 = "authority.crt" in names
    found = openpgp_steps(stage, bank_certified="authority.pgp" in names, with_head="head.pgp" in names, x509=x509)
    return (*found, *certificate_steps(stage)) if x509 else found


def _introduction(*, x509: bool) -> str:
    tools = "GnuPG (2.2.40 or later, or 2.4), OpenSSL (1.1.1 or later)" if x509 else "GnuPG (2.2.40 or later, or 2.4)"
    needed = f"""\
This folder is the evidence of one order to a bank and of the bank's decision on it. It can be checked without the bank,
without its software and without a network. You need {tools}, and a POSIX shell with `sha256sum`, `sed` and `grep`."""
    return f"# How to check this evidence\n\n{wrapped(needed)}\n\n{_TABLE}"


_TABLE: Final = """\
This text is the same for every transfer of this kind. What was ordered stands in the other files only.

| file | what it is |
|---|---|
"""

_FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "order.pgp": "the order exactly as it was sent, an OpenPGP message signed by the debtor",
        "order.json": "the content of the order; it is not signed",
        "receipt.pgp": "the bank's decision, an OpenPGP message signed by the bank for this evidence",
        "head.pgp": "the state of the bank's log to which the receipt refers, signed by the bank",
        "customer.pgp": "the debtor's public key as it was when the bank decided",
        "bank.pgp": "the bank's public key",
        "authority.pgp": "the public key of the authority that certified the keys",
        "customer.crt": "the debtor's X.509 certificate (DER), which the order names",
        "bank.crt": "the bank's X.509 certificate (DER)",
        "authority.crt": "the authority's X.509 root certificate (DER), for the same key",
        "revocations.crl": "the authority's revocation list (DER) by which the bank judged the order",
    }
)

_HOW: Final = """\
## How to go on

Work on a copy. Open a new `sh` in the folder and paste the steps one after another, all into the same shell. A step
whose last line is not the one shown has failed, and none after it passes: the evidence is not good. What gpg had to
say is in the file `$WORK/log`. Everything is done in the new, empty folder `$WORK`; your own keys are not touched.
"""

_END: Final = """\
## When you are done

`rm -r "$WORK"` removes the working folder.
"""


def _meaning(stage: Stage, names: Set[str]) -> str:
    """What the checks prove, and plainly what they do not."""
    bank_certified = "authority.pgp" in names
    proven, open_questions = [], []
    if stage.is_certified:
        proven.append(
            "The order was signed with the key that the authority had certified for the debtor's customer number."
        )
        if "customer.crt" in names:
            proven.append(
                "The order names the debtor's X.509 certificate for the same key. It was good when the order was "
                "booked, and not revoked by the list in this folder."
            )
            open_questions.append(
                "That no newer revocation list was out when the order was booked; ask the authority for its lists."
            )
        open_questions.append(
            "Who held the debtor's private key. The order's time is the debtor's own word, and the "
            "time of booking is the bank's."
        )
    elif stage.orders_are_signed:
        proven.append("The order was signed with the key whose fingerprint you name as the debtor's.")
        open_questions.append(
            "Whose key that is: no authority certified it in this stage (`signed`). The bank registered it under a "
            "password that it had agreed with the customer; let the debtor name it, or a source that both sides accept."
        )
    else:
        how = (
            "in a message under a password that the bank knows, too"
            if stage is Stage.PASSWORD
            else "inside a session that a key opened which the bank had registered"
        )
        open_questions.append(
            f"That the debtor ordered this. There is no signature of the debtor: in this stage (`{stage.value}`) an "
            f"order comes {how}, so the bank could have written it itself. The receipt proves only what the bank says."
        )
    signer = "the key that the authority had certified as a bank's" if bank_certified else "the key that you name"
    proven.append(
        f"The bank decided on exactly this order, as the receipt says: accepted and booked, or refused. The receipt "
        f"was signed with {signer}."
    )
    if not bank_certified:
        open_questions.append("That the key which you name is the bank's: no authority vouches for it here.")
    proven.append("All signatures are judged as of the time when they were made, so keys may have expired since.")
    return "## What is proven\n\n" + _bullets(proven) + "\n## What is not proven\n\n" + _bullets(open_questions)


def _bullets(sentences: list[str]) -> str:
    return "".join(filled(each, "- ", "  ") + "\n" for each in sentences)


def _log(with_head: bool) -> str:
    others = "`head.pgp`, and with heads" if with_head else "heads"
    words = f"""\
The bank keeps every decision in a log that it can only append to. In the receipt, `entry` is the decision, `index` its
place counted from 0, `size` the number of entries, and `proof` the hashes that lead from the entry to `root` (RFC 9162,
section 2.1.3: a leaf is the SHA-256 of one octet 00 and the entry in the very bytes of the receipt, a node that of 01
and its two children). Compare `root` and `size` with {others} that others hold: a bank that shows two different roots
of the same size has rewritten its log."""
    return f"## How the entry lies in the log (nothing to do)\n\n{wrapped(words)}\n"
