"""A party's TOML file is read strictly and written whole: an unknown key or a bare number is an error that names it."""

import os
import re
import tomllib
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from protocol.errors import ProtocolError
from protocol.stages import Stage

SIZE_LIMIT_BYTES: Final = 64 * 1024

_PATTERNS: Final = {
    "currency": "three capital letters, such as EUR",
    "fingerprint": "40 hexadecimal digits, in capitals and without spaces",
    "key": "40 hexadecimal digits, in capitals and without spaces",
    "domain": "a domain in lower case, such as bank.example",
    "publish_url": "an http or https address, such as https://ca.example/pki",
}
"""What the keys with a pattern are, by the end of their name; the decoder would show the pattern itself."""

T = TypeVar("T", bound=msgspec.Struct)


class SettingsError(ProtocolError):
    """The text names the file, the key and the remedy."""


class SettingsMissing(SettingsError):
    """There is no such file."""


def read(path: Path, kind: type[T]) -> T:
    """The file as a structure of this kind. Raises SettingsMissing or SettingsError."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT_BYTES + 1)
        if len(data) > SIZE_LIMIT_BYTES:
            raise SettingsError(f"{path} has more than {SIZE_LIMIT_BYTES} bytes; remove what does not belong there.")
        return msgspec.convert(tomllib.loads(data.decode()), kind)
    except FileNotFoundError:
        raise SettingsMissing(f"There is no file {path}.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} cannot be read: it is not text in UTF-8.") from None
    except msgspec.ValidationError as error:
        raise SettingsError(explained(path, error)) from None
    except RecursionError:
        raise SettingsError(f"{path} is not valid TOML (it is nested too deeply); correct it.") from None
    except ValueError as error:  # TOMLDecodeError is one, and so is a number of thousands of digits
        raise SettingsError(f"{path} is not valid TOML ({error}); correct that place in the file.") from None


def write(path: Path, text: str) -> None:
    """Put the file in place whole or not at all (mode 0600), durably. Raises SettingsError."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.") from None


def literal(value: object) -> str:
    """A TOML value: the JSON form of a string without control characters is TOML's basic string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return msgspec.json.encode(str(value)).decode()


def explained(path: Path, error: msgspec.ValidationError) -> str:
    """The decoder's complaint about a file as a sentence that names file and key, and says what to do."""
    return f"{path}: {_explained(str(error))}"


def _explained(complaint: str) -> str:
    text, _, place = complaint.partition(" - at `$")
    place = place.strip(".`")
    if named := re.fullmatch("Object (contains unknown|missing required) field `(.*)`", text, re.DOTALL):
        key = f"{place}.{named[2]}" if place else named[2]
        if named[1].startswith("missing"):
            return f"the key {key} is missing; add it."
        return f"the key {key!a} is not known; correct its spelling or remove the line."
    if text.startswith("Invalid enum value"):
        return f"{place} must be one of {', '.join(Stage)}; write one of them."
    if text.startswith("Expected `str`, got `int`"):
        key = place.rpartition(".")[2]
        example = "0017" if key == "number" else "…"
        return f'{place} must be written in quotes, such as {key} = "{example}".'
    if "matching regex" in text and (meant := next((it for key, it in _PATTERNS.items() if place.endswith(key)), "")):
        return f"{place} must be {meant}; correct that value."
    return f"{place or 'the file'} is not as it must be ({text.replace('`', '')}); correct that value."
