"""Run by every Python that a test starts: a passphrase is cheap to try there, as the tests ask for one all the time.

GnuPG makes each use of a passphrase cost a third of a second, a third of all that the tests would take.
tests/keyring/test_passphrase_cost.py makes sure that it does so for everybody else.
"""

try:
    from keyring import home
except ImportError:  # a Python without the project in it
    pass
else:
    home._AGENT_CONF += "s2k-count 65536\n"  # type: ignore[misc]
