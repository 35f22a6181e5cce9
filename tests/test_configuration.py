"""docs/configuration.md has a row for every key, variable and exit code that there is, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct, inspect

import bank.config
import ca.config
import customer.config
from customer.cli import LOCAL_ERROR, REFUSED, UNKNOWN
from keyring.console import WAITS
from keyring.process import _PASSED_ON
from protocol import settings

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "configuration.md").read_text()

TABLES: tuple[tuple[str, type[Struct]], ...] = (
    ("bank.toml", bank.config.BankConfig),
    ("bank.toml, [limits]", bank.config.Limits),
    ("ca.toml", ca.config.Configuration),
    ("ca.toml, [limits]", ca.config.Limits),
    ("customer.toml, [customer]", customer.config.Person),
    ("customer.toml, [bank]", customer.config.Bank),
    ("customer.toml, [authority]", customer.config.Authority),
    ("customer.toml, [limits]", customer.config.Limits),
)


def rows(title: str, page: str = PAGE) -> list[list[str]]:
    """The cells of the first table under a heading; a key loses its backticks."""
    assert f"\n## {title}\n" in page, title
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def keys(kind: type[Struct]) -> Iterator[tuple[str, str, str]]:
    """Key, default and values of every setting that is not a section of its own."""
    for field in msgspec.structs.fields(kind):
        if not (isinstance(field.type, type) and issubclass(field.type, Struct)):
            required = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
            yield field.name, "" if required else literal(field.default), values(field.type)


def literal(value: object) -> str:
    """A default as it is shown."""
    return "none" if value is None else f"`{settings.literal(value)}`"


def values(kind: object) -> str:
    """The bounds of a number or the words that may stand there; "" for other texts."""
    match inspect.type_info(kind):
        case inspect.IntType(ge=low, le=high):
            return f"{low} to {high}"
        case inspect.FloatType(gt=low, le=high):
            return f"above {low} to {high}"
        case inspect.EnumType(cls=cls):
            return ", ".join(cls)
        case _:
            return ""


def differences(title: str, kind: type[Struct], page: str = PAGE) -> list[str]:
    """What the page says of a file that is not so, and what it does not say."""
    shown = {row[0].strip("`"): row for row in rows(title, page)}
    found = [f"{title}: {name} is not there any more" for name in shown if name not in dict_of(kind)]
    for name, (default, allowed) in dict_of(kind).items():
        if name not in shown:
            found.append(f"{title}: {name} is missing")
            continue
        _, said_default, said_values, purpose = shown[name]
        if said_default != default:
            found.append(f"{title}: {name} is {default} by default, and not {said_default}")
        if allowed and allowed != said_values:
            found.append(f"{title}: {name} may be {allowed}, and not {said_values}")
        if not said_values or len(purpose) < 10:
            found.append(f"{title}: say what {name} may be, and what it is for")
    return found


def dict_of(kind: type[Struct]) -> dict[str, tuple[str, str]]:
    return {name: (default, allowed) for name, default, allowed in keys(kind)}


@pytest.mark.parametrize(("title", "kind"), TABLES, ids=[title for title, _ in TABLES])
def test_every_key_of_a_file_has_its_row_with_default_and_bounds(title: str, kind: type[Struct]) -> None:
    assert differences(title, kind) == []


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("| `queue` |", "| `qeue` |", "queue is missing"),
        ("| `queue` |", "| `qeue` |", "qeue is not there any more"),
        ("| `queue` | `1024` |", "| `queue` | `1025` |", "queue is `1024` by default"),
        ("| `queue` | `1024` | 1 to 1000000 |", "| `queue` | `1024` | 1 to 10 |", "queue may be 1 to 1000000"),
    ],
)
def test_a_page_that_says_something_else_is_noticed(before: str, after: str, complaint: str) -> None:
    assert before in PAGE
    found = differences("bank.toml, [limits]", bank.config.Limits, PAGE.replace(before, after))
    assert any(complaint in each for each in found), found


def variables() -> set[str]:
    """The names of environment variables in the programs, wherever they are asked for."""
    found = set(_PASSED_ON)
    for package in ("protocol", "keyring", "ca", "bank", "customer"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            found |= {
                str(node.args[0].value)
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Call)
                and ast.unparse(node.func) in ("with_home", "os.environ.get", "os.getenv")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            }
            found |= set(re.findall(r'_ENVIRONMENT: Final = "([A-Z_]+)"', text))
    return found


def test_every_environment_variable_has_its_row() -> None:
    shown = {name.strip("`") for row in rows("Environment variables") for name in row[0].split(", ")}
    assert variables() <= shown, variables() - shown
    assert shown - variables() == {"GNUPGHOME", "TMPDIR"}, "the library's and GnuPG's own"


def test_every_exit_code_has_its_row() -> None:
    assert {int(row[0]) for row in rows("Exit codes")} == {0, REFUSED, LOCAL_ERROR, UNKNOWN, WAITS}
