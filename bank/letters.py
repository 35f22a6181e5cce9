"""A new account gets a letter, printed once, and the authority a notice of it; the bank keeps neither code in clear."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bank import accounts
from bank.customers import Customer
from bank.errors import RecordError
from bank.home import BankHome
from bank.storage import Ledger
from ca.applicant import Desk
from ca.errors import CaError, DeskError
from ca.notices import make_notice
from keyring import keys, messages, readout
from protocol.letter import CALLER_CODE_BYTES, PASSWORD_BYTES, Letter, agreed_password
from protocol.orders import ACCOUNT_NUMBER
from protocol.stages import Stage

NOTICES = "notices"
"""Folder of notices that wait for the desk."""


@dataclass(frozen=True)
class NewAccount:
    """What `bank open-account` made: the letter's text, and the notice for the authority."""

    letter: str = field(repr=False)
    notice: bytes


def open_account(
    bank: BankHome,
    ledger: Ledger,
    *,
    number: str,
    name: str,
    deliver: Callable[[NewAccount], None] = lambda _: None,
    random: Callable[[int], bytes] = os.urandom,
    clock: Callable[[], float] = time.time,
) -> NewAccount:
    """Open an account with a fresh agreed password, kept only under the bank's own key.

    ``deliver`` prints the letter; if it raises, no account is opened, since a letter cannot be had a second time.
    Raises RecordError if the number is taken or malformed, UserIdError if no key could bear the name.
    """
    bank.require_primary("bank open-account")
    config = bank.config
    if not ACCOUNT_NUMBER.fullmatch(number):
        raise RecordError(f"The customer number {number[:40]!a} is malformed; it is 1 to 16 digits.")
    keys.user_id(name, number, config.domain)
    letter = Letter(
        customer=number,
        name=name,
        currency=config.currency,
        bank=config.name,
        bank_address=config.address,
        bank_fingerprint=config.fingerprint,
        authority_address=config.authority_address,
        authority_fingerprint=config.authority_fingerprint,
        password=_words(random(PASSWORD_BYTES)),
        caller_code=_words(random(CALLER_CODE_BYTES)),
        domain=config.domain,
    )
    sealed = messages.seal(bank.gnupg, config.fingerprint, agreed_password(letter.password).reveal())
    notice = make_notice(
        bank.gnupg, config.fingerprint, customer=number, name=name, caller_code=letter.caller_code, clock=clock
    )
    text = letter.render(readout.lines(config.fingerprint), readout.lines(config.authority_fingerprint))
    made = NewAccount(text, notice)
    with ledger.writing() as connection:
        accounts.open_account(ledger, number, name, int(clock()), within=connection)
        bank.customers(ledger).add(Customer(number, name, Stage.PASSWORD, sealed), within=connection)
        deliver(made)
    return made


def keep_notice(bank: BankHome, number: str, notice: bytes) -> Path:
    """Keep a notice until the desk has it."""
    folder = bank.path / NOTICES
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{number}.pgp"
    path.write_bytes(notice)
    return path


def deliver_notices(bank: BankHome, desk: Desk) -> int:
    """Hand in what waits; a notice leaves the folder once the desk has taken it. Returns how many were taken.

    One that is refused does not hold up the others, unless the desk is busy. Raises the first DeskError in the end.
    """
    delivered = 0
    refused: DeskError | None = None
    for path in sorted((bank.path / NOTICES).glob("*.pgp")):
        try:
            desk.submit_notice(path.read_bytes())
        except DeskError as error:
            refused = refused or error
            if error.again:  # too many at once: the others wait, too
                break
            continue
        path.unlink()
        delivered += 1
    if refused:
        raise refused
    return delivered


def waiting_notices(bank: BankHome) -> int:
    """How many notices the desk does not have yet."""
    return len(list((bank.path / NOTICES).glob("*.pgp")))


def try_to_deliver(bank: BankHome, desk: Desk) -> str | None:
    """Hand in what waits if the desk can be reached; otherwise the sentence that says why not.

    A bank that is not certified yet is not asked to: the desk takes no notice from it, and its certificate comes with
    `bank fetch`, which hands them in.
    """
    if bank.certified() is None:
        return None
    try:
        deliver_notices(bank, desk)
    except CaError as error:
        return str(error)
    return None


def _words(data: bytes) -> str:
    return " ".join(readout.encode(data)).lower()
