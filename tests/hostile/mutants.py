"""The rules of packets and verdict, taken out one at a time, so that it is seen what each of them keeps away."""

import ast
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType

from keyring import packets, signature_form
from keyring.errors import PacketError
from keyring.transcript import read
from keyring.verdict import RULES, Expectation, Rule, Sealed, UnderPassword

Require = Callable[[bytes], None]
SEQUENCE = "packet-sequence"
"""The count of the packets is one rule, whatever name the commonest mistakes have there."""


STUMBLES = "the code after it"


def packet_rules() -> frozenset[str]:
    """The names of all rules that are raised by themselves."""
    return frozenset(
        name for module in (packets, signature_form) for name in _raised(ast.parse(inspect.getsource(module)))
    )


def without(rule: str) -> Mapping[str, Require]:
    """The packets module's functions, as they would be without one rule."""
    form = _rebuilt(signature_form, rule, {})
    return vars(_rebuilt(packets, rule, {"require_unambiguous": form.require_unambiguous}))


def refused_by(functions: Mapping[str, Require], message: bytes, expected: Expectation) -> str | None:
    """The packet rule that refuses a message, None if it would go to gpg."""
    kind = {Sealed: "sealed", UnderPassword: "password"}.get(type(expected), "signed")
    try:
        functions[f"require_{kind}_message"](message)
    except PacketError as error:
        return error.rule
    except (LookupError, ValueError, NameError):
        return STUMBLES  # what comes after relies on the rule
    return None


def rejecting(status: bytes, expected: Expectation) -> frozenset[str]:
    """All rules of the verdict that each by itself rejects what gpg said."""
    said = read(status)
    return frozenset(name_of(rule) for rule in RULES[type(expected)] if rule(said, expected) is not None)


def name_of(rule: Rule) -> str:
    return rule.__name__.replace("_", "-")


def _raised(tree: ast.AST) -> frozenset[str]:
    found = (_rule_of(node) for node in ast.walk(tree))
    return frozenset(name for name in found if name is not None)


def _rule_of(node: ast.AST) -> str | None:
    """The rule that a statement raises: ``raise PacketError("rule", ...)``, or that of the sequence."""
    if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call) or not isinstance(node.exc.func, ast.Name):
        return None
    if node.exc.func.id == "_wrong_tags":
        return SEQUENCE
    first = node.exc.args[0] if node.exc.args else None
    return str(first.value) if node.exc.func.id == "PacketError" and isinstance(first, ast.Constant) else None


class _Removal(ast.NodeTransformer):
    def __init__(self, rule: str) -> None:
        self.rule = rule

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        return ast.copy_location(ast.Pass(), node) if _rule_of(node) == self.rule else node


def _rebuilt(module: ModuleType, rule: str, given: Mapping[str, object]) -> ModuleType:
    tree = ast.fix_missing_locations(_Removal(rule).visit(ast.parse(inspect.getsource(module))))
    made = ModuleType(module.__name__)
    exec(compile(tree, f"{module.__name__} without {rule}", "exec"), vars(made))  # noqa: S102 - our own source
    vars(made).update(given)
    return made
