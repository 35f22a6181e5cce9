"""What people, programs and GnuPG say when all is well, and close to it: the first inputs of the readers of text."""

import base64
import bz2
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

A, B = "A" * 40, "B" * 40
GS, RS = "\x1d", "\x1e"
# Beyond what Python converts to a number, and beyond what its parsers follow.
_LONG: Final = "9" * 4400
_DEEP: Final = "[" * 1100
_LONG_TOML: Final = f"name = {_LONG}\n"
_DEEP_TOML: Final = f"name = {_DEEP}\n"

GOOD: Final = (
    f"[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG {'A' * 16} Alice (1001)\n"
    f"[GNUPG:] VALIDSIG {A} 2026-01-01 1767225600 0 4 0 1 8 00 {A}\n"
    "[GNUPG:] TRUST_FULLY 0 pgp\n[GNUPG:] PLAINTEXT 62 0 \n"
)
BY_BANK: Final = GOOD.replace(f"GOODSIG {'A' * 16}", f"GOODSIG {'B' * 16}").replace(f"VALIDSIG {A}", f"VALIDSIG {B}")
SEALED: Final = (
    f"[GNUPG:] ENC_TO {'A' * 16} 18 0\n[GNUPG:] DECRYPTION_KEY {A} {A} u\n[GNUPG:] BEGIN_DECRYPTION\n"
    "[GNUPG:] DECRYPTION_INFO 2 9\n[GNUPG:] PLAINTEXT 62 0 \n[GNUPG:] DECRYPTION_OKAY\n[GNUPG:] GOODMDC\n"
    "[GNUPG:] END_DECRYPTION\n"
)
UNDER_PASSWORD: Final = "[GNUPG:] NEED_PASSPHRASE_SYM 9 3 8\n" + "".join(SEALED.partition("[GNUPG:] BEGIN")[1:])

_NOTATIONS: Final = {"number": "1001", "role": "customer", "request": "0" * 64}


def _spk(name: str, value: str) -> str:
    full = f"{name}@countersign.example".encode()
    data = b"\x80\0\0\0" + len(full).to_bytes(2) + len(value).to_bytes(2) + full + value.encode()
    return f"spk:20:1:{len(data)}:" + "".join(f"%{byte:02X}" for byte in data) + ":\n"


LISTING: Final = (
    f"tru::1:1:0:3:1:5\npub:f:3072:1:{'A' * 16}:1700000000:::-:::scESC::::::23::0:\n"
    f"fpr:::::::::{A}:\ngrp:::::::::{B}:\n"
    "uid:f::::1700000000::0000::Alice (1001)::::::::::0:\n"
    f"sig:!::1:{'A' * 16}:1700000000::::Alice (1001):13x::{A}:::8:\n"
    f"sig:!::1:{'B' * 16}:1700000000:1900000000:::Authority \\x3a (CA):10x::{B}:::8:\n"
    + "".join(_spk(name, value) for name, value in _NOTATIONS.items())
    + f"rev:!::1:{'B' * 16}:1600000000::::Authority:30x,01::{B}:::8:\n"
    f"sub:f:255:18:{'C' * 16}:1700000000::::::e:::::cv25519::\nfpr:::::::::{'C' * 40}:\n"
)

_BANK_TOML: Final = (
    f'name = "Example Bank"\ncurrency = "EUR"\nfingerprint = "{A}"\nlisten = "127.0.0.1:7401"\n'
    f'minimum_stage = "certified"\nauthority_fingerprint = "{B}"\n\n[limits]\nconnections = 7\nidle_seconds = 1.5\n'
)
_CUSTOMER_TOML: Final = (
    f'[customer]\nnumber = "1001"\nname = "Alice"\ncurrency = "EUR"\nkey = "{A}"\nstage = "signed"\n\n[bank]\n'
    f'name = "Bank"\naddress = "[::1]:7401"\nfingerprint = "{A}"\n\n[authority]\naddress = "localhost:7402"\n'
    f'fingerprint = "{B}"\n\n[limits]\nconnect_seconds = 5.0\n'
)
_CA_TOML: Final = (
    f'name = "Authority"\nfingerprint = "{A}"\naddress = "127.0.0.1:7402"\npublish_url = "https://ca.example/pki"\n'
    "[limits]\nconnections = 7\n"
)
_OPENING: Final = (
    '{"sealed":"QUJD","stage":"session","type":"open"}',
    '{"certificate":null,"customer":"1001","key":null,"signed":"QUJD","type":"sealed-opening"}',
    f'{{"bank":"{B}","certificate":null,"customer":"1001","offered":null,"session_key":"'
    + base64.b64encode(b"k" * 32).decode()
    + '","share":"'
    + base64.b64encode(b"\x09" + bytes(31)).decode()
    + '","stage":"session","time":"2027-01-15T08:00:00Z","type":"session-opening","version":1}',
)
_HEAD: Final = (
    f'{{"bank":"{A}","log":"{"0" * 32}","root":"{"0" * 64}","size":3,"time":"2026-01-31T09:30:00Z","type":"tree-head",'
    '"version":1}'
)
_NONCE: Final = base64.b64encode(b"\x42" * 32).decode()
_ASK: Final = base64.b64encode(b'{"number":1,"type":"ask-bank-key"}').decode()
_BALANCE: Final = base64.b64encode(
    b'{"balance":"1.00","currency":"EUR","customer":"1001","number":1,"time":"2026-01-31T09:30:00Z","type":"balance"}'
).decode()


def _under_password(kind: str, field: str, value: str) -> str:
    fields = {
        "bank": B,
        "customer": "1001",
        "nonce": _NONCE,
        "time": "2027-01-15T08:00:00Z",
        "type": kind,
        field: value,
    }
    inside = ",".join(f'"{name}":"{fields[name]}"' for name in sorted(fields))
    envelope = '{"customer":"1001","sealed":"QUJD","type":"password-frame"}'
    return f'{envelope}{RS}{{{inside},"version":1}}'


def _compressed(data: bytes) -> bytes:
    squeezed = zlib.compress(data)
    return b"\xc8\xff" + (len(squeezed) + 1).to_bytes(4) + b"\x02" + squeezed


_LITERAL: Final = b"\xcb\x0bb\x01x\0\0\0\0text"
_DETAILS: Final = bytes.fromhex("0502658f5b000310041b023003162104") + bytes(20)
_PUBLIC: Final = b"\x04\x65\x8f\x5b\0\x01\x00\x08\xff\x00\x02\x03"
_TWO_SIGNATURES: Final = (
    "(7:sig-val(3:rsa(1:s3:abc)))|(7:sig-val(5:eddsa(1:r1:a)(1:s1:b)))|(10:public-key(3:rsa(1:n1:a)(1:e1:b)))"
)

SAID: Final[Mapping[str, tuple[str | bytes, ...]]] = MappingProxyType(
    {
        "addresses": ("127.0.0.1:7401", "[::1]:7401", "bank.example:1", "[fe80::1%eth0]:65535", "x:65536", "[x]:1"),
        "payment_files": (
            'to,amount,description\n1002,25.00,rent\n1003,17.5,"rent, March"\n',
            "\ufeffdescription,to,amount\r\n\r\nrent,1002,25\r\nrent,1002,25\r\n",
            'to,amount,description\n1001,0,x\nabc,-5,\u202e\n1002,5\n1002,1e3,"x\ny"\n',
            'to,amount,description\n1002,5.00,"rent\n',
            "to;amount;description\n1002;5,00;rent\n",
            "to,amount,description\n1002,10000000000000.00,x\n1002,0.01,x\n",
            b"to,amount,description\n1002,5.00,caf\xe9\n",
        ),
        "instructions": ("Step 1\n```sh\ngpg --verify\nsha256sum x\n```\nStep 2\n```sh\nopenssl\n```\n",),
        "explanations": (
            _LITERAL,
            _compressed(_LITERAL * 3),
            _compressed(_compressed(_compressed(_LITERAL))),
            b"\xa3\x03" + bz2.compress(_LITERAL),
            b"\xc6" + bytes((len(_PUBLIC),)) + _PUBLIC + b"\xcd\x0cAlice (1001)",
            b"\xc2"
            + bytes((len(_DETAILS) + 14,))
            + b"\x04\x13\x01\x08\0"
            + bytes((len(_DETAILS),))
            + _DETAILS
            + bytes(8),
        ),
        "signature_details": (_DETAILS, b"\xff\0\0\0\x02\x1b\x03" + b"\xc0\x00" + bytes(192)),
        "public_keys": (
            b"\xc6" + bytes((len(_PUBLIC),)) + _PUBLIC + b"\xcd\x0cAlice (1001)",
            b"\x99\0" + bytes((len(_PUBLIC),)) + _PUBLIC,
        ),
        "watched_events": ('{"number":1,"type":"ask-balance"}', "[1]", '{"\u202e":"\u202e"}', '"text"', _LONG, _DEEP),
        "verdicts": (GOOD, BY_BANK, BY_BANK.replace("FULLY", "UNDEFINED"), SEALED, UNDER_PASSWORD, GOOD + "NODATA 1\n"),
        "opened_messages": (
            GOOD + GS + "{}",
            GOOD.replace("GOODSIG", "BADSIG") + GS,
            "[GNUPG:] FAILURE sign 11\n" + GS,
        ),
        "worker_answers": (
            GS + "[GNUPG:] FILE_START 3 1.gpg\n" + GOOD + "[GNUPG:] FILE_DONE\n",
            GS + "[GNUPG:] FILE_START 3 2.gpg\n" + GOOD + "[GNUPG:] FILE_DONE\n",
        ),
        "listings": (
            LISTING,
            LISTING.replace("f:3072", "r:2048"),
            LISTING.replace(":::Authority", f":{_LONG}::Authority"),
        ),
        "certifications": (LISTING, LISTING.replace("rev:!::1:BBBBBBBBBBBBBBBB:16", "rev:!::1:BBBBBBBBBBBBBBBB:18")),
        "small_homes": (f"key{RS}{LISTING}{RS}{LISTING}",),
        "agent_expressions": (*_TWO_SIGNATURES.split("|"), "(1:a(1:b))", "3:abc"),
        "agent_lines": (
            "OK Pleased\nOK\nOK\nOK\nOK\nD (7:sig-val(3:rsa(1:s3:a%25c)))\nOK\n",
            "OK\nOK\nINQUIRE PASSPHRASE\nERR 67108875 Bad passphrase <GPG Agent>\n",
            "OK\nOK\n# x\nS PROGRESS\nINQUIRE PINENTRY_LAUNCHED 1\nD (10:public-key(3:rsa(1:n1:a)(1:e1:b)))\nOK\n",
        ),
        "user_ids": (f"Alice{RS}1001", f"Zo\u00eb O'Neil{RS}0017", f"\u0391{RS}1", f"x\n[GNUPG:]{RS}1"),
        "bank_toml": (_BANK_TOML, _BANK_TOML.replace("7\n", "nan\n"), 'name = "x"\n', _DEEP_TOML, _LONG_TOML),
        "customer_toml": (_CUSTOMER_TOML, _CUSTOMER_TOML.replace('"1001"', "1001"), _DEEP_TOML),
        "ca_toml": (_CA_TOML, _CA_TOML.replace("https", "ftp")),
        "passphrase_files": ("correct horse\n", "\n", "one\r\ntwo\n"),
        "mailed_certificates": (
            (
                '{"authority":{"key":"QQ==","root":"QQ==","type":"authority-key"},"bank":null,"certified":{"certificate":'
                '"QQ==","key":"QQ==","type":"certified"},"crl":"QQ==","type":"mailed-certificates"}'
            ),
        ),
        "bank_views": (
            f'{{"bank":"{A}","expires":null,"serial":"0","signing_subkeys":["{B}"]}}',
            f'{{"bank":"{A}","expires":"soon","serial":"0","signing_subkeys":["{B}"]}}',
            f'{{"bank":"{A}","expires":Infinity,"serial":"0","signing_subkeys":["{B}"]}}',
            f'{{"bank":"{A}","expires":9000000000000,"serial":"0","signing_subkeys":["{B}"]}}',
            _DEEP,
            f'{{"bank":"{A}","expires":1900000000,"serial":"1f","signing_subkeys":["{B}"]}}',
        ),
        "socket_redirects": ("%Assuan%\nsocket=/run/x/S.gpg-agent\n", "%Assuan%\nsocket=x\n"),
        "armoured_files": (f"-----BEGIN PGP MESSAGE-----\n\nyww=\n=abcd\n-----END PGP MESSAGE-----\n\x1c{GS}text",),
        "home_folders": ("gnupg", "..."),
        "published_addresses": ("https://ca.example/pki", "http://[::1]:80/a/b/", "https://x/?", ""),
        "qr_names": ("a.png", "a.pdf", ".svg"),
        "openings": (RS.join(_OPENING), RS.join(_OPENING).replace('"session"', '"signed"')),
        "password_messages": (_under_password("password-request", "request", _ASK),),
        "password_answers": (_under_password("password-answer", "answer", _BALANCE),),
        "requests_in_a_session": ('{"number":2,"type":"ask-balance"}', '{"number":3,"type":"close"}'),
        "heads": (_HEAD, _HEAD.replace('"size":3', '"size":3.0')),
        "outbox_rows": (RS.join(("t-1", "signed", "posted", "{}", "", "")), RS.join(("t-1", "none", "sending"))),
        "kept_values": (
            RS.join(("0" * 32, _HEAD, "1f", "signed", "9" * 18)),
            RS.join(("0" * 32, _HEAD, "1f 2e", "signed", "1f")),
            RS.join(("x", "{}", "zz", "none")),
        ),
        "requests_at_the_desk": (RS.join(("0" * 64, "waiting", "1001", "message")), RS.join(("0", "asleep", "1"))),
        "newest_head_file": (_HEAD.replace('"size":3', '"size":0'), _HEAD, ""),
    }
)
"""By target."""
