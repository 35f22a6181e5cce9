"""A target is any public function of a family that takes bytes; there is no other list of them."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.fuzz import certificates, content, files, gnupg, openpgp, parties, stores, typed, wire

FAMILIES: Final = (wire, content, openpgp, gnupg, typed, files, certificates, parties, stores)
CORPUS: Final = Path(__file__).with_name("corpus")

Target = Callable[[bytes], None]


@cache
def targets() -> Mapping[str, Target]:
    """Every target by its name, in the order of the families."""
    found: dict[str, Target] = {}
    for family in FAMILIES:
        for name, value in vars(family).items():
            if inspect.isfunction(value) and value.__module__ == family.__name__ and _takes_bytes(name, value):
                if name in found:
                    raise ValueError(f"two targets are called {name}")
                found[name] = value
    return MappingProxyType(found)


def _takes_bytes(name: str, function: Callable[..., object]) -> bool:
    told = inspect.get_annotations(function)
    return not name.startswith("_") and told == {"data": bytes, "return": None}


def family(name: str) -> str:
    """The family that a target belongs to."""
    return targets()[name].__module__.rpartition(".")[2]


def corpus(name: str) -> tuple[Path, ...]:
    """The kept inputs of a target, by name."""
    return tuple(sorted((CORPUS / name).glob("*")))
