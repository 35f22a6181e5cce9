"""What OpenPGP certifies is said in X.509 too: these steps let stock openssl confirm it, for the very same keys.

The authority's root is not believed because it lies there, but because it has the key whose fingerprint was typed in.
"""

from typing import Final

from protocol.stages import Stage
from protocol.verification_steps import Step


def certificate_steps(stage: Stage) -> tuple[Step, ...]:
    """The steps for a folder with X.509 certificates; they follow those that judge order and receipt."""
    if stage.is_certified:
        return _TOOLS, _bank(at_booking=True), _CUSTOMER
    return _TOOLS, _bank(at_booking=False)


_TOOLS: Final = Step(
    "The tools for the X.509 certificates",
    """\
The tool `seconds` counts the seconds from 1970 to a time. The tool `modulus` tells the RSA number of a key as gpg knows
it. The tool `pem` takes an X.509 certificate only if it has that very number. The tool `same` asks besides that it
names, as alternative names, the OpenPGP fingerprint, role and number of its holder (and, for the authority, the digest
of a request). The tool `valid` has openssl validate it at a time, for its purpose, with nothing trusted but the root in
`authority.crt`.""",
    r"""
# seconds TIME
seconds() (
set -ef
printf '%s\n' "$1" | grep -Eqx '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z'
IFS=-T:Z
set -- $1
year=$1
if test "$2" -le 2; then year=$((year - 1)); fi
month=$(((${2#0} + 9) % 12))
days=$((365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + ${3#0} - 1 - 719468))
echo "$((days * 86400 + ${4#0} * 3600 + ${5#0} * 60 + ${6#0}))"
)
# modulus MESSAGE FINGERPRINT
modulus() (
set -e
GNUPGHOME=${WORK:?}/$1
export GNUPGHOME
exec 2>>"$WORK/log"
gpg --with-colons --with-key-data --list-keys "$2" |
    sed -n '/^pub:/,/^sub:/s/^pkd:0:[0-9]*:\([0-9A-F]*\):.*/\1/p'
)
# pem NAME MESSAGE FINGERPRINT
pem() (
set -e
exec 2>>"${WORK:?}/log"
openssl x509 -inform DER -in "$1.crt" -out "$WORK/$1.pem"
number=$(modulus "$2" "$3")
test "${#number}" -ge 768
test "$(openssl x509 -in "$WORK/$1.pem" -noout -modulus)" = "Modulus=$number"
)
# same NAME MESSAGE ROLE NUMBER
same() (
set -e
exec 2>>"${WORK:?}/log"
signer=$(cat "$WORK/$2/signer")
pem "$1" "$2" "$signer"
names=$(openssl x509 -in "$WORK/$1.pem" -noout -ext subjectAltName | sed -n '2s/^ *//p')
tag=URI:tag:countersign.example,2026
request=$(printf '%s\n' "$names" | sed -n "s/.*, $tag:request:\([0-9a-f]\{64\}\)\$/\1/p")
test "$names" = "URI:openpgp4fpr:$signer, $tag:$3:$4, $tag:request:$request"
)
# valid NAME PURPOSE SECONDS [OPTIONS]
valid() (
set -e
exec 2>>"${WORK:?}/log"
name=$1 purpose=$2 at=$3
shift 3
test "$(openssl verify -x509_strict -check_ss_sig -attime "$at" -purpose "$purpose" \
    -trusted "$WORK/authority.pem" "$@" "$WORK/$name.pem")" = "$WORK/$name.pem: OK"
)
echo 'ok: the tools for certificates are there'
""",
    "ok: the tools for certificates are there",
)


def _bank(*, at_booking: bool) -> Step:
    """The root and the bank's certificate, judged when the order was booked or else when the receipt was signed."""
    if at_booking:
        when = """\
It is judged at the time of the booking, as the receipt tells it, and so is the authority's revocation list of that time
(`revocations.crl`): it must have been current, and the certificate must not stand in it."""
        commands = """\
test "$(grep -Eo '"booked":"[0-9TZ:-]+"' "$WORK/receipt.json" | wc -l)" -eq 1
seconds "$(grep -Eo '"booked":"[0-9TZ:-]+"' "$WORK/receipt.json" | cut -d '"' -f 4)" >"$WORK/booked"
openssl crl -inform DER -in revocations.crl -out "$WORK/revocations.pem"
valid bank sslserver "$(cat "$WORK/booked")" -crl_check -CRLfile "$WORK/revocations.pem\""""
    else:
        when = "It is judged at the time when the receipt was signed."
        commands = """valid bank sslserver "$(cat "$WORK/receipt/at")\""""
    return Step(
        "The bank's certificate",
        f"""\
The root has the key whose fingerprint you typed in. The bank's certificate, issued by it for the role `bank`, has the
key that signed the receipt. {when}""",
        f"""
(
set -e
pem authority receipt "$AUTHORITY"
same bank receipt bank 0000
{commands}
echo "ok: openssl accepts the bank's certificate, and it has the bank's key"
)
""",
        "ok: openssl accepts the bank's certificate, and it has the bank's key",
    )


_CUSTOMER: Final = Step(
    "The debtor's certificate",
    """\
The debtor's certificate, for the role `customer` and the debtor's number, has the key that signed the order, and the
order names the SHA-256 of the file `customer.crt`. It was good when the order was booked, and not revoked.""",
    """
(
set -e
number=$(grep -Eo '"debtor":"[0-9A-Za-z-]+"' "$WORK/order.json" | cut -d '"' -f 4)
same customer order customer "$number"
valid customer sslclient "$(cat "$WORK/booked")" -crl_check -CRLfile "$WORK/revocations.pem"
grep -Fq '"certificate":"'"$(sha256sum <customer.crt | cut -c 1-64)"'"' "$WORK/order.json"
grep -q '"version":2[}]$' "$WORK/order.json"
echo "ok: openssl accepts the debtor's certificate, which the order names"
)
""",
    "ok: openssl accepts the debtor's certificate, which the order names",
)
