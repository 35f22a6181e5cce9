"""Who steals a protected key pays for each guess at its passphrase, by GnuPG's own measure of the machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MAKE_A_KEY = """
import sys
from pathlib import Path
from keyring import keys
from keyring.home import Home
from protocol.secret import Secret

home = Home.create(Path(sys.argv[1]), own_keys=True)
keys.new_customer_key(home, keys.user_id("Alice", "1001"), Secret(b"a passphrase for tests"))
"""
COST = re.compile(rb'\(sha1 (?:#[0-9A-F]+#|".{0,60}?") *"?(\d+)"?\)', re.DOTALL)
"""How many bytes are hashed for a guess, in a key file of gpg-agent (agent/keyformat.txt), its lines unfolded."""


@pytest.mark.parametrize(("as_in_tests", "least"), [(False, 1_000_000), (True, 65_536)])
def test_a_guess_at_a_passphrase_is_dear_save_in_tests(short_tmp: Path, as_in_tests: bool, least: int) -> None:
    folder = short_tmp / "keys"
    environment = dict(os.environ)
    if not as_in_tests:
        del environment["PYTHONPATH"]
    words = [sys.executable, "-c", MAKE_A_KEY, str(folder)]
    subprocess.run(words, env=environment, cwd=short_tmp, check=True, timeout=60)
    files = list((folder / "private-keys-v1.d").iterdir())
    unfolded = [path.read_bytes().replace(b"\n ", b"") for path in files]
    costs = [int(found[1]) for text in unfolded if (found := COST.search(text))]
    assert len(costs) == len(files) == 2
    assert min(costs) >= least
    assert not as_in_tests or max(costs) == least
