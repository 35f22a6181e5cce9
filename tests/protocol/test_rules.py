"""Every rule that a refusal names about a key or certificate stands in docs/protocol.md with its code, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ca.bridge import RULES
from keyring import certification, packets, signature_form, verdict
from protocol import messages
from protocol.codes import Reason
from protocol.errors import MalformedContent
from tests.protocol.document import DOCUMENT, differences, tables

BANK = DOCUMENT.parents[1] / "bank"


def literals(path: Path, error: str, place: int) -> Iterator[str]:
    """What stands, as a constant, in this place of every call that makes this error."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == error:
            for part in ast.walk(node.args[place]) if len(node.args) > place else ():
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def named_in_the_code() -> set[str]:
    openpgp = literals(Path(certification.__file__), "NotCertified", 0)
    banks = (rule for path in sorted(BANK.glob("*.py")) for rule in literals(path, "OpeningRefused", 3))
    return {*RULES, *openpgp, *banks}


def complaints(text: str) -> Iterator[str]:
    rows = tables(text, "rule", "code", "form", "broken when")
    yield from differences("rule", [row[0] for row in rows], sorted(named_in_the_code()))
    for rule, codes, _, _ in rows:
        found = re.findall(r"\b[A-Z]{2}[0-9A-F]{2}\b", codes)
        yield from (f"rule {rule}: {code} is no code" for code in found if code not in set(Reason))
        if rule in RULES and RULES[rule].value not in found:
            yield f"rule {rule}: its code is {RULES[rule].value}"


@pytest.fixture(scope="module")
def document() -> str:
    return DOCUMENT.read_text("utf-8")


def test_document_and_code_name_the_same_rules(document: str) -> None:
    assert not list(complaints(document))


@pytest.mark.parametrize(
    ("original", "other"),
    [
        ("| `one-key` | DS16 |", "| `one-lock` | DS16 |"),
        ("| `role` | DS0D |", "| `rank` | DS0D |"),
        ("| `certified` | DS0F |", "| `uncertified` | DS0F |"),
        ("| `end-entity` | DS0D |", "| `end-entity` | DS0F |"),
    ],
)
def test_a_difference_is_noticed(document: str, original: str, other: str) -> None:
    assert original in document
    assert list(complaints(document.replace(original, other)))


def test_every_name_of_a_rule_can_go_over_the_wire() -> None:
    judged = {rule.__name__.replace("_", "-") for rules in verdict.RULES.values() for rule in rules}
    formed = {
        rule for part in (packets, signature_form) for rule in literals(Path(str(part.__file__)), "PacketError", 0)
    }
    assert len(judged) > 20
    assert len(formed) > 20
    for rule in named_in_the_code() | judged | formed:
        refusal = messages.refuse(Reason.SIGNATURE, time="2026-01-31T09:30:00Z", rule=rule)
        assert messages.decode_answer(messages.encode(refusal)) == refusal


@pytest.mark.parametrize("rule", ["", "Role", "two words", "-role", "r" * 65, "rule\n"])
def test_what_is_no_name_is_malformed(rule: str) -> None:
    refusal = messages.refuse(Reason.SIGNATURE, time="2026-01-31T09:30:00Z", rule=rule)
    with pytest.raises(MalformedContent) as caught:
        messages.decode_answer(messages.encode(refusal))
    assert caught.value.field == "rule"


def test_a_refusal_without_the_field_has_no_rule() -> None:
    encoded = messages.encode(messages.refuse(Reason.BUSY, time="2026-01-31T09:30:00Z"))
    assert messages.decode_answer(encoded.replace(b'"rule":null,', b"")) == messages.decode_answer(encoded)
