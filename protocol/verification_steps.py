"""Each step of VERIFY.md is one block of POSIX shell that says ``ok:`` only if every check in it passed.

No exit code of gpg is a verdict here, and nothing that decides is read from a file before its signature is judged.
"""

import re
import textwrap
from dataclasses import dataclass
from typing import Final

from protocol.stages import Stage

WIDTH: Final = 100
_SAYS_OK: Final = re.compile(r"""^echo (['"]ok: )""", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One numbered step: words for the reader, shell commands, and the line that they must end with."""

    title: str
    words: str
    commands: str
    passed: str

    def render(self, number: int) -> str:
        """The step as Markdown; it passes only after the step before it has."""
        commands = _SAYS_OK.sub(rf"passed {number} \1", self.commands.strip())
        return (
            f"## {number}. {self.title}\n\n{wrapped(self.words)}\n\n```sh\n{commands}\n```\n\n"
            f"It must end with the line\n\n```text\n{self.passed}\n```\n"
        )


def openpgp_steps(stage: Stage, *, bank_certified: bool, with_head: bool, x509: bool) -> tuple[Step, ...]:
    """The steps for an order of this stage that need gpg only, in order; ``x509``: steps with openssl follow them."""
    found = [_outside(stage, bank_certified), _tools(bank_certified)]
    found.append(_order_signature(stage) if stage.orders_are_signed else _UNSIGNED_ORDER)
    if stage.is_certified:
        found.append(_customer_certified(names_key=not x509))
    found += [_receipt_signature(bank_certified), _answer(stage)]
    if with_head:
        found.append(_head_signature(bank_certified))
    return tuple(found)


def filled(text: str, first: str = "", others: str = "") -> str:
    """One paragraph in lines of at most 100 characters."""
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def wrapped(words: str) -> str:
    """Paragraphs filled anew; lists and what is to be typed stay as they are."""
    paragraphs = words.strip("\n").split("\n\n")
    return "\n\n".join(each if each.startswith(("- ", "    ")) else filled(each) for each in paragraphs)


def _outside(stage: Stage, bank_certified: bool) -> Step:
    """The fingerprints that must not come from the folder: whoever can change the folder could change them, too."""
    needed = []
    if bank_certified:
        needed.append(("AUTHORITY", "the authority", "the bank's letter to its customer, or the authority itself"))
    else:
        needed.append(("BANK", "the bank", "the bank's letter to its customer, or the bank by telephone"))
    if stage.orders_are_signed and not stage.is_certified:
        needed.append(("CUSTOMER", "the debtor", "the debtor, or a document in which the debtor named it"))
    asked = "\n".join(f"- `{name}`: the fingerprint of {whose}'s key, from {source}." for name, whose, source in needed)
    typed = "\n".join(f"    {name}='0000 0000 ...'" for name, _, _ in needed)
    words = f"""\
What you trust must come from outside this folder:

{asked}

Type in what you were told, 40 digits and letters A to F, spaces do not matter, in place of the zeros and dots:

{typed}

Then paste:
"""
    normal = "\n".join(
        f"""{name}=$(printf '%s' "${{{name}:-}}" | tr -d '[:space:]' | tr a-f A-F)""" for name, _, _ in needed
    )
    checks = "\n".join(f"""printf '%s\\n' "${name}" | grep -Eqx '[0-9A-F]{{40}}'""" for name, _, _ in needed)
    commands = f"""\
LC_ALL=C
WORK=$(mktemp -d)
export LC_ALL WORK
: >"$WORK/passed-0"
# passed STEP LINE
passed() {{ test -e "$WORK/passed-$(($1 - 1))" && : >"$WORK/passed-$1" && echo "$2"; }}
{normal}
(
set -e
test -d "$WORK"
{checks}
echo 'ok: what must be known from outside is known'
)
"""
    return Step("What you know from elsewhere", words, commands, "ok: what must be known from outside is known")


_JUDGE_WORDS: Final = """\
The tool `judge` judges the one signature of a message. It makes a new GnuPG home, imports two keys, trusts one of them
by the fingerprint that you typed, asks gpg when the message was signed, and judges it with gpg's clock set to that
time. It accepts exactly one good signature of the second key over a binary document, with SHA-256 or better, and
nothing else in gpg's status lines; the signed content is then in `$WORK`."""
_CERTIFIED_WORDS: Final = """\
The tool `certified` asks for whom the authority certified that key. It lists the signatures on the key which gpg has
checked (`sig:!`) and looks at the authority's only. One of them must have been made no later than the message was
signed, which gpg does not ask, and end after that. Each must carry the notation asked for (record `spk:20`; 1: in the
part that is signed): four octets of flags, the lengths of name and value, name and value."""
_JUDGE: Final = r"""
# judge MESSAGE KEY TRUSTED-KEY TRUSTED-FINGERPRINT TRUST
judge() (
set -e
GNUPGHOME=${WORK:?}/$1
export GNUPGHOME
exec 2>>"$WORK/log"
mkdir -m 700 "$GNUPGHOME"
printf '%s\n' batch no-autostart disable-dirmngr 'trust-model pgp' no-auto-check-trustdb >"$GNUPGHOME/gpg.conf"
gpg --status-file "$GNUPGHOME/trusted" --import "$3.pgp"
test "$(grep '^\[GNUPG:\] IMPORT_OK ' "$GNUPGHOME/trusted")" = "[GNUPG:] IMPORT_OK 1 $4"
gpg --status-file "$GNUPGHOME/import" --import "$2.pgp"
signer=$(sed -n 's/^\[GNUPG:\] IMPORT_OK [01] //p' "$GNUPGHOME/import")
test "${#signer}" -eq 40
gpg --status-file "$GNUPGHOME/first" --decrypt "$1.pgp" >/dev/null
at=$(sed -n 's/^\[GNUPG:\] VALIDSIG [0-9A-F]* [0-9-]* \([0-9]*\) .*/\1/p' "$GNUPGHOME/first")
test "$at" -gt 0
printf '%s:6:\n' "$4" | gpg --import-ownertrust
gpg --yes --faked-system-time "$at" --check-trustdb
gpg --faked-system-time "$at" --status-file "$GNUPGHOME/status" --output "$WORK/$1.json" --decrypt "$1.pgp"
test "$(cut -d ' ' -f 2 "$GNUPGHOME/status" |
    grep -Evx 'KEY_CONSIDERED|SIG_ID|PLAINTEXT_LENGTH|VERIFICATION_COMPLIANCE_MODE' |
    sort | tr '\n' ' ')" = "GOODSIG NEWSIG PLAINTEXT $5 VALIDSIG "
grep -Eqx "\[GNUPG:\] VALIDSIG [0-9A-F]{40} [0-9-]+ $at [0-9]+ 4 0 [0-9]+ (8|9|10) 00 $signer" "$GNUPGHOME/status"
printf '%s\n' "$signer" >"$GNUPGHOME/signer"
printf '%s\n' "$at" >"$GNUPGHOME/at"
)"""
_CERTIFIED: Final = r"""
# certified MESSAGE NOTATION VALUE
certified() (
set -e
GNUPGHOME=${WORK:?}/$1
export GNUPGHOME
exec 2>>"$WORK/log"
at=$(cat "$GNUPGHOME/at")
gpg --faked-system-time "$at" --with-colons --list-options show-sig-subpackets=20 \
    --check-sigs "$(cat "$GNUPGHOME/signer")" >"$GNUPGHOME/signatures"
sed -e ':next' -e '$!N' -e 's/\n\(spk:\)/ \1/' -e 't next' -e 'P' -e 'D' "$GNUPGHOME/signatures" | sed 's/$/ /' |
    grep -E "^sig:!:[^:]*:[^:]*:$(printf '%s' "$AUTHORITY" | cut -c 25-40):([^:]*:){5}1[0-3]x:[^:]*:$AUTHORITY:" \
    >"$GNUPGHOME/certifications"
held=no
while IFS=: read -r _ _ _ _ _ made ends _
do
    if test "$made" -le "$at" && test "${ends:-0}" -gt "$at"; then held=yes; fi
done <"$GNUPGHOME/certifications"
test "$held" = yes
name=$2@countersign.example
lengths=$(printf '%%%02X%%00%%%02X' "${#name}" "${#3}")
record="spk:20:1:$((8 + ${#name} + ${#3})):%80%00%00%00%00$lengths$name$3"
test "$(grep -Fvc " $record " "$GNUPGHOME/certifications")" -eq 0
)
"""


def _tools(bank_certified: bool) -> Step:
    words = f"{_JUDGE_WORDS}\n\n{_CERTIFIED_WORDS}" if bank_certified else _JUDGE_WORDS
    functions = _JUDGE.strip() + (_CERTIFIED.rstrip() if bank_certified else "")
    return Step("The tools", words, f"{functions}\necho 'ok: the tools are there'", "ok: the tools are there")


def _order_signature(stage: Stage) -> Step:
    trusted = 'authority "$AUTHORITY" TRUST_FULLY' if stage.is_certified else 'customer "$CUSTOMER" TRUST_ULTIMATE'
    vouched = (
        "`TRUST_FULLY` is gpg's word for: the authority had certified this key, and the certification was valid then."
        if stage.is_certified
        else "`TRUST_ULTIMATE` is gpg's word for: this is the key whose fingerprint you typed."
    )
    return Step(
        "Who signed the order, and what it says",
        f"""\
The order is signed by the key in `customer.pgp` itself, by no subkey of it. {vouched} What was signed has exactly the
fields of an order, each once; it is printed. {_MANY}""",
        f"""
(
set -e
judge order customer {trusted}
grep -q "^\\[GNUPG:\\] VALIDSIG $(cat "$WORK/order/signer") " "$WORK/order/status"
{_ORDER_FORM}
echo 'ok: the order is signed'
)
""",
        "ok: the order is signed",
    )


_MANY: Final = "An order of the type `bulk-order` has many `payments`; they are counted from 1."

_ORDER_FORM: Final = r"""
text='"([^"\]|\\.)*"'
test "$(wc -l <"$WORK/order.json")" -eq 0
test "$(grep -c '[[:cntrl:]]' "$WORK/order.json")" -eq 0
payment='[{]"amount":'"$text"',"creditor":'"$text"',"description":'"$text"'[}]'
grep -Eqx '[{]"amount":'"$text"',"bank":"[0-9A-F]{40}","certificate":("[0-9a-f]{64}"|null),"created":"[0-9TZ:-]+",'\
'"creditor":'"$text"',"currency":'"$text"',"debtor":"[0-9A-Za-z-]{1,16}","description":'"$text"','\
'"transfer_identifier":"[0-9A-Za-z-]+","type":"transfer-order","version":[12][}]' "$WORK/order.json" ||
grep -Eqx '[{]"bank":"[0-9A-F]{40}","certificate":("[0-9a-f]{64}"|null),"count":[0-9]+,"created":"[0-9TZ:-]+",'\
'"currency":'"$text"','\
'"debtor":"[0-9A-Za-z-]{1,16}","execution":"(atomic|best-effort)","payments":\['"$payment(,$payment)*"'\],'\
'"sum":'"$text"',"transfer_identifier":"[0-9A-Za-z-]+","type":"bulk-order","version":2[}]' "$WORK/order.json"
cat "$WORK/order.json"
echo
""".strip()

_UNSIGNED_ORDER: Final = Step(
    "What the order says",
    f"""\
The order is not signed, so there is nothing to judge. It has the fields of an order, each once; it is printed.
{_MANY}""",
    f"""
(
set -e
cp order.json "$WORK/order.json"
{_ORDER_FORM}
echo 'ok: the order can be read, and it is not signed'
)
""",
    "ok: the order can be read, and it is not signed",
)


def _customer_certified(*, names_key: bool) -> Step:
    """``names_key``: the order is of version 1, which names the certified key; later ones name the X.509 form."""
    words = """\
The authority's certification names the role `customer` and the customer number. The number must be the debtor of the
order"""
    named, check = ". Number and key are printed.", ""
    if names_key:
        named = ", and the order names the SHA-256 of `customer.pgp`. Number and key are printed."
        check = """
grep -Fq '"certificate":"'"$(sha256sum <customer.pgp | cut -c 1-64)"'"' "$WORK/order.json"
grep -q '"version":1[}]$' "$WORK/order.json\""""
    return Step(
        "For whom the authority certified the key that signed the order",
        words + named,
        f"""
(
set -e
number=$(grep -Eo '"debtor":"[0-9A-Za-z-]+"' "$WORK/order.json" | cut -d '"' -f 4)
certified order role customer
certified order number "$number"{check}
echo "customer number $number, key $(cat "$WORK/order/signer")"
echo "ok: the authority certified the key for the order's debtor"
)
""",
        "ok: the authority certified the key for the order's debtor",
    )


def _bank_judged(message: str, bank_certified: bool) -> str:
    if bank_certified:
        return f'judge {message} bank authority "$AUTHORITY" TRUST_FULLY\ncertified {message} role bank'
    return f'judge {message} bank bank "$BANK" TRUST_ULTIMATE'


def _receipt_signature(bank_certified: bool) -> Step:
    vouched = "the authority certified it for the role `bank`" if bank_certified else "it is the one that you named"
    return Step(
        "Who signed the receipt",
        f"""\
The receipt is signed by the key in `bank.pgp` or by a signing subkey of it, and {vouched}. Receipt and order both name
this key.""",
        f"""
(
set -e
{_bank_judged("receipt", bank_certified)}
bank=$(cat "$WORK/receipt/signer")
grep -q '^{{"bank":"'"$bank"'","entry":{{' "$WORK/receipt.json"
grep -Fq ',"type":"transfer-receipt",' "$WORK/receipt.json"
grep -q '[{{,]"bank":"'"$bank"'",' "$WORK/order.json"
echo "bank's key $bank"
echo 'ok: the receipt is signed by the bank that the order names'
)
""",
        "ok: the receipt is signed by the bank that the order names",
    )


def _answer(stage: Stage) -> Step:
    if stage.orders_are_signed:
        words = "The receipt names the SHA-256 of the file `order.pgp` and, in the log's entry, of the signed content."
        file = """grep -Fq '"order_file":"'"$(sha256sum <order.pgp | cut -c 1-64)"'"' "$WORK/receipt.json\""""
    else:
        words = "The receipt names, in the log's entry, the SHA-256 of `order.json`; there is no signed order to name."
        file = """grep -Fq '"order_file":null' "$WORK/receipt.json\""""
    return Step(
        "What the bank decided about this order",
        f"""\
{words}

Printed are when the bank decided (`booked`), the `status`, the `reason` and the bank's `reference`. The status `ACSC`
says that the amount was booked. `RJCT` says that the order was refused and nothing was booked; the reason tells why
(ISO 20022, for instance `AM04`: the balance did not suffice). Of a `bulk-order`, `ACSC` says that all payments were
booked, and `PART` that all were but those printed by their number (`payment`) with the reason; with `RJCT` these are
the ones that were in the way. `posted` is what was booked in all, and `reference` that of the first payment booked.""",
        f"""
(
set -e
{file}
grep -Fq '"order":"'"$(sha256sum <"$WORK/order.json" | cut -c 1-64)"'"' "$WORK/receipt.json"
grep -Fq '"stage":"{stage.value}"' "$WORK/receipt.json"
grep -Eo '[{{]"field":"[^"]*","payment":[0-9]+,"reason":"[^"]*"[}}]|'\\
'"(booked|execution|posted|reason|reference|status)":("[^"]*"|null)' "$WORK/receipt.json"
echo 'ok: this is what the bank decided about this order'
)
""",
        "ok: this is what the bank decided about this order",
    )


def _head_signature(bank_certified: bool) -> Step:
    return Step(
        "The state of the log",
        """\
The bank signed the state of its whole log (`head.pgp`) and the receipt refers to it: both name the same log, size and
root.""",
        f"""
(
set -e
{_bank_judged("head", bank_certified)}
place='"(log|root)":"[0-9a-f]+"|"size":[0-9]+'
grep -Fq ',"type":"tree-head",' "$WORK/head.json"
test "$(grep -Eoc "$place" "$WORK/head.json")" -eq 1
test "$(grep -Eo "$place" "$WORK/head.json")" = "$(grep -Eo "$place" "$WORK/receipt.json")"
echo 'ok: the receipt refers to this state of the log'
)
""",
        "ok: the receipt refers to this state of the log",
    )
