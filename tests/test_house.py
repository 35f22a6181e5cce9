"""The house style holds in every tracked file, and each rule of it notices a file that breaks it."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocol", "keyring", "ca", "bank", "customer")
MAX_LINES = 400

# What may not live at module level: whoever needs one is handed it, so that tests can fake time and randomness.
KEPT_THINGS = frozenset(
    {
        *("Home", "Home.open", "Home.create", "Worker", "Agent", "HeadSigner", "GPG", "gnupg.GPG"),
        *("create_engine", "sqlalchemy.create_engine", "connect", "sqlite3.connect"),
        *("time.time", "time.time_ns", "time.monotonic", "datetime.now", "datetime.datetime.now", "date.today"),
        *("random.Random", "Random"),
    }
)
MUTABLE_DISPLAYS = {ast.List: "a tuple", ast.Set: "a frozenset", ast.ListComp: "a tuple", ast.SetComp: "a frozenset"}
MUTABLE_CALLS = frozenset({"list", "dict", "set", "bytearray", "deque", "defaultdict", "collections.deque"})
SAYING = frozenset(
    {
        "print",
        "echo",
        "secho",
        "click.echo",
        "click.secho",
        "sys.stdout.write",
        "sys.stderr.write",
        "sys.stdout.buffer.write",
    }
)


@dataclass(frozen=True)
class Source:
    """One text file of ours: its path below the root, with forward slashes, and what it says."""

    path: str
    text: str

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def is_ours_to_run(self) -> bool:
        return self.path.split("/")[0] in PACKAGES and self.is_python

    @property
    def is_command_line(self) -> bool:
        return bool(re.fullmatch(r"[a-z]+/cli(\.py|/.*)", self.path))

    def complaint(self, line: int, sentence: str) -> str:
        return f"{self.path}:{line}: {sentence}"


Rule = Callable[[Source], Iterator[str]]


def opens_with_a_docstring(source: Source) -> Iterator[str]:
    if not source.is_python:
        return
    words = ast.get_docstring(ast.parse(source.text))
    if not words:
        yield source.complaint(1, "open the module with a docstring of one sentence: the rule that it keeps")
    elif not words.split("\n\n")[0].rstrip().endswith("."):
        yield source.complaint(1, "let the docstring's first paragraph be a whole sentence, with its full stop")


def is_short(source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    if source.path.endswith((".py", ".sh")) and lines > MAX_LINES:
        yield source.complaint(
            lines, f"{lines} lines, at most {MAX_LINES}: split the file into two named after their ideas"
        )


def keeps_nothing_at_module_level(source: Source) -> Iterator[str]:
    if not source.is_ours_to_run:
        return
    tree = ast.parse(source.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield source.complaint(node.lineno, "in place of `global`, pass the value in or give it to an object")
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if [target.id for target in targets if isinstance(target, ast.Name)] == ["__all__"]:
            continue
        yield from _kept(source, statement.value)


def _kept(source: Source, value: ast.expr) -> Iterator[str]:
    replacement = MUTABLE_DISPLAYS.get(type(value))
    if replacement:
        yield source.complaint(value.lineno, f"in place of a list or set at module level, use {replacement}")
    # A dictionary with content is a table; one without is made to be filled.
    elif isinstance(value, ast.Dict) and not value.keys:
        yield source.complaint(value.lineno, "in place of a dictionary filled at run time, pass an object in")
    elif isinstance(value, ast.Call):
        name = ast.unparse(value.func)
        if name in MUTABLE_CALLS:
            yield source.complaint(value.lineno, f"in place of {name}() at module level, pass an object in")
        elif name in KEPT_THINGS:
            yield source.complaint(
                value.lineno, f"in place of {name}(…) at module level, pass keyring, clock or database in"
            )


def prints_only_in_the_command_line(source: Source) -> Iterator[str]:
    if not source.is_ours_to_run or source.is_command_line:
        return
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in SAYING:
            yield source.complaint(node.lineno, f"in place of {name}(…), return the text; only <package>/cli prints")


def names_no_machine(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if found := re.search(r"(?<![\w.~$}-])/(?:root|work|home|Users)/\w", line):
            yield source.complaint(number, f"in place of a path of one machine ({found[0]}…), write a relative one")


def holds_no_private_key(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if re.search(r"-----BEGIN [A-Z ]*PRIVATE" + r" KEY", line):
            yield source.complaint(number, "in place of a private key, let the test make one in a throw-away home")


RULES: tuple[Rule, ...] = (
    opens_with_a_docstring,
    is_short,
    keeps_nothing_at_module_level,
    prints_only_in_the_command_line,
    names_no_machine,
    holds_no_private_key,
)

# For each rule: files that break it, and files close to them that do not.
BREAKING: tuple[tuple[Rule, str, str], ...] = (
    (opens_with_a_docstring, "bank/a.py", "import os\n"),
    (opens_with_a_docstring, "tests/a.py", '"""No full stop"""\n'),
    (is_short, "bank/a.py", "\n" * (MAX_LINES + 1)),
    (keeps_nothing_at_module_level, "bank/a.py", "CLOCK = time.time()\n"),
    (keeps_nothing_at_module_level, "ca/a.py", "KEYRING: Home = Home.open(path)\n"),
    (keeps_nothing_at_module_level, "bank/a.py", 'ENGINE = create_engine("sqlite://")\n'),
    (keeps_nothing_at_module_level, "bank/a.py", "SEEN = set()\n"),
    (keeps_nothing_at_module_level, "bank/a.py", "CACHE: dict[str, str] = {}\n"),
    (keeps_nothing_at_module_level, "bank/a.py", "STAGES = ['password']\n"),
    (keeps_nothing_at_module_level, "bank/a.py", "def f():\n    global state\n    state = 1\n"),
    (prints_only_in_the_command_line, "bank/a.py", "def f():\n    print(1)\n"),
    (prints_only_in_the_command_line, "bank/client.py", "click.echo('hello')\n"),
    (prints_only_in_the_command_line, "bank/a.py", "sys.stderr.write('hello')\n"),
    (names_no_machine, "README.md", "See /" + "home/alice/bank.\n"),
    (names_no_machine, "Makefile", "python := /" + "root/bin/python\n"),
    (holds_no_private_key, "docs/a.md", "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----\n"),
    (holds_no_private_key, "tests/a.pem", "-----BEGIN " + "PRIVATE KEY-----\n"),
)
KEEPING: tuple[tuple[Rule, str, str], ...] = (
    (opens_with_a_docstring, "bank/a.py", '"""A whole sentence.\n\nAnd more"""\n'),
    (opens_with_a_docstring, "docs/a.md", "Prose\n"),
    (is_short, "bank/a.py", "\n" * MAX_LINES),
    (keeps_nothing_at_module_level, "bank/a.py", "__all__ = ['a']\nSTAGES = ('password',)\nNAMES = {'a': 1}\n"),
    (keeps_nothing_at_module_level, "bank/a.py", "def f():\n    seen = set()\n    return time.time()\n"),
    (prints_only_in_the_command_line, "bank/cli.py", "click.echo('hello')\n"),
    (prints_only_in_the_command_line, "bank/cli/accounts.py", "print('hello')\n"),
    (names_no_machine, "README.md", "https://example.org/work/a and .venv/home/b and $HOME/home/c\n"),
    (holds_no_private_key, "docs/a.md", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
)


def tracked_files() -> tuple[Path, ...]:
    """What git tracks here, or, in a copy without its history, everything that is not made."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0 and listing.stdout:
        paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        made = re.compile(r"(^|/)(\.[a-z_]+(cache|venv)|\.venv|\.hypothesis|\.git|__pycache__|build|\w+\.egg-info)/")
        paths = [path for path in ROOT.rglob("*") if not made.search(path.relative_to(ROOT).as_posix() + "/")]
    return tuple(path for path in paths if path.is_file())


@pytest.fixture(scope="module")
def sources() -> tuple[Source, ...]:
    found = []
    for path in tracked_files():
        try:
            found.append(Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")))
        except UnicodeDecodeError:
            continue  # test_no_tracked_file_is_a_secret_key_packet looks at these
    assert len(found) > 5
    return tuple(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file(rule: Rule, sources: tuple[Source, ...]) -> None:
    complaints = [complaint for source in sources for complaint in rule(source)]
    assert not complaints, "\n" + "\n".join(complaints)


@pytest.mark.parametrize(("rule", "path", "text"), BREAKING, ids=lambda part: getattr(part, "__name__", ""))
def test_rule_notices_a_breach(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), KEEPING, ids=lambda part: getattr(part, "__name__", ""))
def test_rule_lets_the_honest_twin_be(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(Source(path, text)))


def test_every_rule_has_a_breach_to_notice() -> None:
    assert {rule for rule, _, _ in BREAKING} == {rule for rule, _, _ in KEEPING} == set(RULES)


def looks_like_a_secret_key(data: bytes) -> bool:
    """Whether binary data begins with an OpenPGP secret key packet (tag 5, RFC 4880 section 4.2)."""
    return data[:1] in {b"\x94", b"\x95", b"\x96", b"\x97", b"\xc5"} and data[1:2] != b""


def test_no_tracked_file_is_a_secret_key_packet() -> None:
    assert looks_like_a_secret_key(b"\x95\x04\x58")
    assert not looks_like_a_secret_key(b"\x99\x01\x8d")
    for path in tracked_files():
        data = path.read_bytes()
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            assert not looks_like_a_secret_key(data), f"{path}: make keys in throw-away homes, do not keep them"


# --- the direction of imports -------------------------------------------------------------------------------------

# For each contract of pyproject.toml: a module that breaks it by one import.
TRESPASSES = (
    ("direction", "protocol/orders.py", "import keyring\n"),
    ("direction", "keyring/home.py", "from ca import desk\n"),
    ("direction", "bank/server.py", "import customer\n"),
    ("direction", "customer/session.py", "def late():\n    from bank import desk\n"),
    ("sockets", "bank/server.py", "import socket\n"),
    ("sockets", "keyring/process.py", "from socket import socket\n"),
    ("processes", "bank/server.py", "import subprocess\n"),
    ("processes", "keyring/worker.py", "from subprocess import Popen\n"),
    ("gnupg", "bank/server.py", "import gnupg\n"),
    ("values", "protocol/orders.py", "import time\n"),
    ("quick-start", "customer/session.py", "import sqlalchemy\n"),
)
# What the contracts allow by name.
ALLOWED = (
    ("protocol/transport.py", "import socket\nimport time\n"),
    ("keyring/agent.py", "import socket\n"),
    ("keyring/process.py", "import subprocess\n"),
    ("keyring/keys.py", "import gnupg\n"),
    ("bank/storage.py", "import sqlalchemy\n"),
    ("bank/issuing.py", "import ca\nimport keyring\nimport protocol\n"),
)


def lint_imports(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "COLUMNS": "200", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def build_tree(folder: Path, *modules: tuple[str, str]) -> Path:
    """A small tree with our packages and our contracts, and `modules` in it."""
    for package in PACKAGES:
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
        (folder / package / "desk.py").touch()
    for path, text in modules:
        (folder / path).write_text(text)
    # The file is ours, the packages are not: no other setting of it means anything to import-linter.
    (folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    return folder


def test_imports_keep_their_direction() -> None:
    outcome = lint_imports(ROOT)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_contracts_allow_what_they_name(tmp_path: Path) -> None:
    outcome = lint_imports(build_tree(tmp_path, *ALLOWED))
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize(("contract", "path", "text"), TRESPASSES)
def test_contract_notices_a_trespass(tmp_path: Path, contract: str, path: str, text: str) -> None:
    outcome = lint_imports(build_tree(tmp_path, (path, text)), "--contract", contract)
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert "1 broken" in outcome.stdout
    assert path.removesuffix(".py").replace("/", ".") in outcome.stdout


def test_every_contract_has_a_trespass_to_notice() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} == {contract for contract, _, _ in TRESPASSES}


# --- what is installed --------------------------------------------------------------------------------------------


def test_keyring_is_ours() -> None:
    """Asked from the root folder of the file system, where only the installation answers."""
    program = "import keyring; print(keyring.__file__)"
    outcome = subprocess.run([sys.executable, "-c", program], cwd="/", capture_output=True, text=True, check=True)
    assert Path(outcome.stdout.strip()) == ROOT / "keyring" / "__init__.py"
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("keyring")


def test_requirements_are_pinned_with_hashes_and_name_no_host() -> None:
    text = (ROOT / "requirements.txt").read_text("utf-8")
    requirements = [part for part in re.split(r"\n(?=[\w#])", text) if not part.startswith("#")]
    assert len(requirements) > 20
    for requirement in requirements:
        assert re.match(r"[a-z0-9._-]+==[\w.]+( ; [^\n]+)? \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+", requirement)
    names = {requirement.split("==")[0] for requirement in requirements}
    assert "keyring" not in names, "the keyring of PyPI would stand in the way of ours"
    assert not re.search(r"https?://|file:|--(extra-)?index|--find-links", text)
