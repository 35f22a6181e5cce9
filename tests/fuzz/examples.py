"""An example of any message is made from its type alone, so that a new type of message has one at once."""

import re
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct, inspect

_TEXTS: Final = (
    "1001",
    "25.00",
    "EUR",
    "A" * 40,
    "0123456789abcdef" * 4,
    "0123456789abcdef" * 2,
    "2026-01-31T09:30:00Z",
    "5f0c2b1e9a7d4c3b",
    "bank.example",
    "not-revoked",
)
"""One of them fits each pattern that a field has; the first where it has none."""

_BY_NAME: Final[Mapping[str, object]] = MappingProxyType(
    {
        "amount": "25.00",
        "balance": "25.00",
        "currency": "EUR",
        "description": "rent",
        "sentence": "No.",
        "name": "Alice",
    }
)


def example(kind: type[Struct]) -> Struct:
    """A value of this type that decodes, every optional field filled in."""
    told = inspect.type_info(kind)
    assert isinstance(told, inspect.StructType)
    return kind(**{field.name: _BY_NAME.get(field.name, _value(field.type)) for field in told.fields})


def _value(told: inspect.Type) -> Any:
    match told:
        case inspect.StructType(cls=kind):
            return example(kind)
        case inspect.UnionType(types=types):
            return _value(next(each for each in types if not isinstance(each, inspect.NoneType)))
        case inspect.StrType(pattern=pattern):
            return next(text for text in _TEXTS if pattern is None or re.search(pattern, text))
        case inspect.BytesType(min_length=length):
            return b"\x42" * (length or 3)
        case inspect.VarTupleType(item_type=item):
            return (_value(item),)
        case inspect.DictType(key_type=key, value_type=value):
            return {_value(key): _value(value)}
        case inspect.IntType(ge=least):
            return int(least or 0) + 1
        case inspect.FloatType():
            return 1.5
        case inspect.BoolType():
            return True
        case inspect.EnumType(cls=enum):
            return _member(enum)
        case inspect.LiteralType(values=values):
            return values[0]
    raise TypeError(f"no example of {told} is known; add one here")


def _member(enum: type[Enum]) -> Enum:
    return next(iter(enum))


def encoded(kind: type[Struct]) -> bytes:
    """The example's canonical bytes."""
    return msgspec.json.encode(example(kind), order="sorted")
