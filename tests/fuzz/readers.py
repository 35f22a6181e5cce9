"""Whoever turns bytes from outside into values is found in the source, so that no reader is forgotten.

A reader is a function of ours in which bytes become something else: by a decoder of a library, by one of our own
decoders, or by reading a file, a pipe or a socket. It counts as fuzzed if some kept input leads into it.
"""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PACKAGES: Final = ("protocol", "keyring", "ca", "bank", "customer")

DECODERS: Final = frozenset(
    {
        *("tomllib.loads", "tomllib.load", "json.loads", "json.load", "msgspec.convert", "decoder.decode"),
        *("x509.load_der_x509_certificate", "x509.load_der_x509_crl", "x509.load_der_x509_csr", "asn1.decode_der"),
        *("bytes.fromhex", "int.from_bytes", "base64.b64decode", "struct.unpack", "pickle.loads", "marshal.loads"),
        *("zlib.decompress", "bz2.decompress", "x509.load_pem_x509_certificate", "ET.fromstring", "csv.reader"),
        *("canonical.decode", "canonical.decode_signed", "canonical.decode_union", "documents.decoded", "decoded"),
        *("packets.split", "split", "split_for_study", "colons.parse", "letter.parse", "settings.read"),
        *("os.read", "read"),
    }
)
"""Calls by their full name. Our own decoders are here so that also those who use them are found."""

METHODS: Final = frozenset(
    {
        "unpack",
        "unpack_from",
        "iter_unpack",
        "read_bytes",
        "read_text",
        "recv",
        "recv_into",
        "decompress",
        "decode",
        "read",
    }
)
"""Calls of a method by its last name; ``decode`` and ``read`` also find what decodes text of our own, see HARMLESS."""


@dataclass(frozen=True, order=True)
class Reader:
    """A function in the source: its file below the root, its qualified name, and what it decodes with."""

    path: str
    name: str
    line: int
    calls: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


def readers(root: Path = ROOT) -> Iterator[Reader]:
    """Every reader in our packages, in the order of files and lines."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            place = path.relative_to(root).as_posix()
            yield from _readers_in(place, ast.parse(path.read_text()), "")


def _readers_in(path: str, tree: ast.AST, outer: str) -> Iterator[Reader]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _readers_in(path, node, f"{outer}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            name = outer + node.name
            if calls := tuple(sorted({call for call in _calls(node) if _reads(call)})):
                # A decorator's line is where the code object begins.
                line = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                yield Reader(path, name, line, calls)
            yield from _readers_in(path, node, f"{name}.<locals>.")
        elif not isinstance(node, ast.expr):
            yield from _readers_in(path, node, outer)


def _calls(function: ast.FunctionDef) -> Iterator[str]:
    """The names of what this very function calls; functions inside it answer for themselves."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
        waiting.extend(ast.iter_child_nodes(node))


def _reads(call: str) -> bool:
    return call in DECODERS or ("." in call and call.rpartition(".")[2] in METHODS)


def entered(actions: Iterable[Callable[[], None]], root: Path = ROOT) -> frozenset[tuple[str, int]]:
    """File below the root and first line of each function of ours that the actions enter."""
    found: set[CodeType] = set()

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            found.add(frame.f_code)

    before = sys.getprofile()
    try:
        for action in actions:
            sys.setprofile(watch)  # each time: Python takes a watcher away that finds no room on a full stack
            action()
    finally:
        sys.setprofile(before)
    ours = ((code, Path(code.co_filename)) for code in found)
    return frozenset(
        (path.relative_to(root).as_posix(), code.co_firstlineno) for code, path in ours if _is_ours(path, root)
    )


def _is_ours(path: Path, root: Path) -> bool:
    return path.is_relative_to(root) and path.relative_to(root).parts[0] in PACKAGES
