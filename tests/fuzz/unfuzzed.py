"""A reader without a target of its own has a reason, which a test holds it to."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_PASSES_ON: Final = "it carries bytes to readers that have targets, and looks at none of them"
_OWN: Final = "what it reads was made by this very program, and is in no file"
_LISTED: Final = "it starts gpg and gives what that lists to colons.parse, which the target listings fuzzes"
_SIGNED: Final = "gpg has verified what it decodes, and the type is fuzzed by claimed_documents or heads"

UNFUZZED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "protocol/transport.py:Connection._read": _PASSES_ON,
        "keyring/cli.py:packets": _PASSES_ON,
        "bank/processes.py:_failure": _OWN,
        "keyring/process.py:_converse": _PASSES_ON,
        "keyring/process.py:version_text": "the first line of gpg --version, for a comparison of numbers",
        "keyring/inspect.py:read_keys": _LISTED,
        "keyring/keys.py:_shown": _LISTED,
        "keyring/keys.py:_listed": _LISTED,
        "keyring/keys.py:_passphrase_text": _OWN,
        "keyring/signature.py:_hashed_part": _OWN,
        "keyring/signature.py:_key_id": _OWN,
        "keyring/signature.py:mpi": "a number from our own agent, of the length that it was checked to have",
        "ca/cli/options.py:read_line": _PASSES_ON,
        "customer/cli/bulk.py:read": _PASSES_ON,
        "customer/cli/bulk.py:send": _PASSES_ON,
        "ca/cli/requests.py:requests": _PASSES_ON,
        "ca/cli/requests.py:confirm": _PASSES_ON,
        "ca/issuing.py:_beginning": _OWN,
        "ca/issuing.py:_certified": _OWN,
        "ca/notices.py:AccountNotice.fits": "the salt has the form that its type demands, and the type is fuzzed",
        "ca/notices.py:hash_code": "readout.decode is fuzzed by spoken_words; a hash takes a tenth of a second",
        "ca/notices.py:make_notice": _OWN,
        "ca/notices.py:open_notice": _SIGNED,
        "ca/publishing.py:pem": _OWN,
        "ca/requests.py:make_request": _OWN,
        "ca/requests.py:open_request": _SIGNED,
        "ca/webkeys.py:hashed": "a customer number, whose type is fuzzed; the digest is of fixed length",
        "bank/audit.py:_Audit._read_head": _SIGNED,
        "bank/audit.py:_Audit._signed_now": _SIGNED,
        "bank/audit.py:_outside": _PASSES_ON,
        "bank/cli/setup.py:status": "a head from the ledger, which the audit and not this command verifies",
        "bank/backup.py:_copy_public_files": _PASSES_ON,
        "bank/backup.py:digest_of": "a hash over a whole file, which takes any bytes",
        "bank/beginning.py:Names.__init__": _SIGNED,
        "bank/beginning.py:Names.flaws": _SIGNED,
        "bank/restoring.py:_fetch": _PASSES_ON,
        "bank/restoring.py:_manifest": "gpg has verified that the bank itself signed it; the type is decoded strictly",
        "bank/restoring.py:_read_head": _SIGNED,
        "bank/restoring.py:_with_keys": _PASSES_ON,
        "bank/restoring.py:begin_in_place": _SIGNED,
        "bank/heads.py:SignedHead.signed_at": "a head that the bank itself has signed, as it lies in the ledger",
        "bank/config.py:set_ledger": "bank.toml, which the operator writes, is read by `load` before and after",
        "bank/heads.py:Heads.require_kept": "a head that the bank itself has signed, as this process remembers it",
        "ca/counter.py:Counter._is_revoked": "root, list and certificate are what the authority put out at its desk",
        "ca/vouching.py:require_vouched": _SIGNED,
        "bank/dossier.py:Dossier.files": "a head that this server has just signed",
        "bank/evidence.py:_literal": "packets.split is fuzzed by packet_framing; here it is an order that gpg accepted",
        "bank/ceremony.py:_kept": _PASSES_ON,
        "bank/ceremony.py:_remembered": "one word of a fixed set, or nothing was heard",
        "bank/own_certificate.py:revocation_in": "a certificate that verify_bank has accepted before it was put there",
        "bank/home.py:BankHome.public_key": _PASSES_ON,
        "bank/home.py:BankHome.authority": _PASSES_ON,
        "bank/home.py:BankHome.certified": _PASSES_ON,
        "bank/letters.py:deliver_notices": _PASSES_ON,
        "customer/ceremony.py:_existing": _PASSES_ON,
        "customer/evidence.py:_proves": "hashes of a form that the type demands; the type is fuzzed by single_receipts",
        "customer/home.py:CustomerHome.open": _PASSES_ON,
        "customer/payments.py:read": _PASSES_ON,
        "customer/revoking.py:revoke": "the certificate goes to gpg alone, in an empty home",
        "customer/session.py:Session.open": "the type Opened is fuzzed by every_message, the share by shares",
        "customer/session.py:Session._received": "the type SessionProof is fuzzed by every_message",
        "customer/session.py:_derivation": _OWN,
        "customer/verifying.py:compare_head": _PASSES_ON,
    }
)
"""By file and name."""
