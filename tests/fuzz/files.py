"""Every file that a command reads may hold anything: it is taken as what it is for, or refused by its name."""

import math
import os
from pathlib import Path

from bank import config as bank_config
from ca import applicant
from ca import config as ca_config
from customer import bank_view
from customer import config as customer_config
from customer.cli.common import read_letter
from keyring import agent, console, inspect
from keyring.home import Home
from protocol import canonical
from protocol.transport import Address
from tests.fuzz.properties import attempt, gpg_says, text_of
from tests.fuzz.scratch import scratch, with_file

A = "A" * 40


def bank_toml(data: bytes) -> None:
    """bank.toml: limits within their bounds, addresses that can be listened at, and the same after it is written."""
    found = attempt(with_file, bank_config.FILE_NAME, data, lambda path: bank_config.load(path.parent))
    if found is None:
        return
    assert 1 <= found.limits.connections <= 1_000_000
    assert all(math.isfinite(getattr(found.limits, name)) for name in found.limits.__struct_fields__)
    Address.parse(found.listen)
    bank_config.save(scratch(), found)
    assert bank_config.load(scratch()) == found


def customer_toml(data: bytes) -> None:
    """customer.toml likewise."""
    found = attempt(with_file, customer_config.FILE_NAME, data, lambda path: customer_config.read(path.parent))
    if found is not None:
        again = customer_config.render(found).encode()
        assert with_file(customer_config.FILE_NAME, again, lambda path: customer_config.read(path.parent)) == found


def ca_toml(data: bytes) -> None:
    """ca.toml likewise; limits stand in it only where somebody wrote them there."""
    found = attempt(
        with_file, ca_config.CONFIGURATION_FILE, data, lambda path: ca_config.read_configuration(path.parent)
    )
    if found is None:
        return
    assert found.desk.port <= 65535
    assert found.crl_url is None or found.crl_url.startswith(("http://", "https://"))
    ca_config.write_configuration(scratch(), found)
    again = ca_config.read_configuration(scratch())
    assert (again.name, again.fingerprint, again.address) == (found.name, found.fingerprint, found.address)


def letter_files(data: bytes) -> None:
    """A file that is named as the bank's letter."""
    found = attempt(with_file, "letter", data, read_letter)
    if found is not None:
        assert found.customer.isdigit()


def passphrase_files(data: bytes) -> None:
    """The first line of a passphrase file, without its end."""
    found = attempt(with_file, "passphrase", data, console.read_passphrase)
    if found is not None:
        assert found.reveal()
        assert data.startswith(found.reveal())
        assert b"\n" not in found.reveal()


def mailed_certificates(data: bytes) -> None:
    """What `ca issue --out` writes and `customer fetch --file` reads."""
    found = attempt(with_file, "mailed", data, applicant.read_mailed)
    if found is not None:
        assert canonical.encode(found) == data


def bank_views(data: bytes) -> None:
    """What a customer has noted of the bank's key; damaged, it is fetched again, and never half believed."""
    place = scratch() / bank_view.FOLDER / bank_view.REGISTERED
    if not place.exists():
        place.mkdir(parents=True)
        Home.create(place / "gnupg", own_keys=False)
    (place / "view.json").write_bytes(data)
    for now in (0.0, 2e9):
        found = attempt(bank_view.open_view, scratch(), bank_view.REGISTERED, A, now)
        if found is not None:
            assert found.fingerprint == A
            assert found.expires is None or now < found.expires
            assert all(len(each) == 40 for each in found.signing_subkeys)


def socket_redirects(data: bytes) -> None:
    """The file that may stand in place of the agent's socket names an absolute path, or is refused."""
    found = attempt(with_file, "redirect", data, agent.follow_redirect)
    if found is not None:
        assert found.is_absolute()


def armoured_files(data: bytes) -> None:
    """A file for `keyring packets` that may be in armour; gpg, which takes it off, is played by what follows it."""
    armour, _, said = data.partition(b"\x1c")
    with gpg_says(said):
        found = attempt(inspect.dearmored, armour)
    assert found is None or found in (armour, said.partition(b"\x1d")[2])


def home_folders(data: bytes) -> None:
    """A folder that is named as a home: found only if there is a key file in it."""
    name = text_of(data).replace("\0", "").replace("/", "")[:80] or "x"
    given = scratch() / "homes" / name
    found = attempt(inspect.find_home, given, {})
    assert found is None
    if len(os.fsencode(given)) < 4000:
        attempt(Home.open, given)


def published_addresses(data: bytes) -> None:
    """An address that goes into certificates is printable and short, or not taken."""
    found = attempt(ca_config.checked_publish_url, text_of(data))
    if found:
        assert found.isascii()
        assert found.isprintable()
        assert len(found) < 300


def qr_names(data: bytes) -> None:
    """The name of a picture decides what is written, and nothing is written beside the folder that was named."""
    from keyring import readout

    name = Path(text_of(data).replace("\0", "")[:60]).name or "x"
    if name.endswith((".png", ".svg")):
        return  # an honest name; making the picture would cost more than it shows
    assert attempt(readout.write_qr, A, scratch() / "pictures" / name) is None
