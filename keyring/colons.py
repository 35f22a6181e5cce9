"""Whatever gpg lists with colons is read here and nowhere else, and a malformed record is refused, not guessed.

The format is GnuPG's doc/DETAILS, "Format of the colon listings". Record types and fields that are not named
there are skipped, as DETAILS asks; a field that is read and is malformed raises EngineError.
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from keyring.errors import EngineError

__all__ = ["Key", "KeyPart", "Notation", "Signature", "Subpacket", "UserId", "parse"]

MAX_LISTING_BYTES = 16 << 20
NOTATION_SUBPACKET = 20
CERTIFICATION_CLASSES = frozenset({0x10, 0x11, 0x12, 0x13})

_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))|\\$", re.DOTALL)
_SHORT = {b"n": b"\n", b"r": b"\r", b"f": b"\f", b"v": b"\v", b"b": b"\b", b"0": b"\0"}
_PERCENT = re.compile(rb"%(?:([0-9A-Fa-f]{2}))?")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}(?:[0-9A-F]{24})?")


@dataclass(frozen=True, slots=True)
class Notation:
    """A name and a value that the signer put into a signature (RFC 4880, section 5.2.3.16)."""

    name: str
    value: bytes
    human_readable: bool
    critical: bool

    @property
    def text(self) -> str:
        """The value as UTF-8; other bytes stay as surrogate escapes, so that two values never become one."""
        return self.value.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Subpacket:
    """One ``spk`` record: a subpacket's type, whether the signature covers it, and its bytes."""

    number: int
    hashed: bool
    critical: bool
    data: bytes

    def notation(self) -> Notation | None:
        """The notation in it; None for another subpacket. Raises EngineError when it is cut or padded."""
        if self.number != NOTATION_SUBPACKET:
            return None
        name_length = int.from_bytes(self.data[4:6], "big")
        value_length = int.from_bytes(self.data[6:8], "big")
        if len(self.data) < 8 or len(self.data) != 8 + name_length + value_length:
            _refuse("a notation whose lengths do not add up")
        name = self.data[8 : 8 + name_length].decode("utf-8", "surrogateescape")
        return Notation(name, self.data[8 + name_length :], bool(self.data[0] & 0x80), self.critical)


@dataclass(frozen=True, slots=True)
class Signature:
    """One ``sig``, ``rev`` or ``rvs`` record with its subpackets.

    ``check`` is ``!`` good, ``-`` bad, ``?`` the signer's key is not here, ``%`` another error, ``""`` unchecked.
    Times are Unix seconds; ``expires`` is None for never. ``fingerprint`` is what the signature itself claims of its
    signer, ``""`` when it claims nothing: gpg checks with the key of ``key_id`` and never compares the two, so ask
    ``made_by``. (With ``--no-sig-cache`` gpg 2.2.40 prints a wrong fingerprint there: do not list with it.)
    """

    kind: str
    check: str
    algorithm: int
    key_id: str
    fingerprint: str
    created: int
    expires: int | None
    user_id: str
    signature_class: int
    exportable: bool
    reason: int | None
    trust_depth: int
    digest: int
    subpackets: tuple[Subpacket, ...] = ()

    @property
    def good(self) -> bool:
        """True only if gpg checked the signature for this listing and found it good. It may have expired."""
        return self.check == "!"

    def made_by(self, fingerprint: str) -> bool:
        """True only if gpg found the signature good with the key of that fingerprint (40 hex digits)."""
        return self.good and self.fingerprint == fingerprint and self.key_id == fingerprint[-16:]

    @property
    def certifies(self) -> bool:
        """True for a certification of a user ID (classes 10 to 13), false for revocations and all else."""
        return self.kind == "sig" and self.signature_class in CERTIFICATION_CLASSES

    @property
    def notations(self) -> tuple[Notation, ...]:
        """The notations that the signature covers, in order, doubles included.

        Unhashed ones are left out: anyone can add them.
        """
        found = (subpacket.notation() for subpacket in self.subpackets if subpacket.hashed)
        return tuple(notation for notation in found if notation is not None)


@dataclass(frozen=True, slots=True)
class UserId:
    """One ``uid`` record, or ``uat`` (then ``text`` is a count and a size), with its signatures as listed."""

    text: str
    validity: str
    created: int
    expires: int | None
    attribute: bool
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyPart:
    """A primary key or subkey. ``algorithm`` is RFC 4880's number, ``bits`` the size, ``curve`` gpg's name or "".

    ``validity`` is DETAILS' letter. ``capabilities`` are the part's own letters among ``esca``; ``usable`` are
    those that the whole key has left (primary only). ``secret`` is True when gpg said that the secret part is
    here, False when it is only a stub, None when gpg did not say.
    """

    fingerprint: str
    key_id: str
    keygrip: str
    algorithm: int
    bits: int
    curve: str
    created: int
    expires: int | None
    validity: str
    capabilities: str
    usable: str
    disabled: bool
    owner_trust: str
    secret: bool | None
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """A whole key. ``primary.signatures`` are on the key itself: revocations (class 20), direct ones (1F)."""

    primary: KeyPart
    user_ids: tuple[UserId, ...]
    subkeys: tuple[KeyPart, ...]

    @property
    def fingerprint(self) -> str:
        return self.primary.fingerprint

    @property
    def parts(self) -> tuple[KeyPart, ...]:
        return (self.primary, *self.subkeys)


def parse(listing: bytes) -> tuple[Key, ...]:
    """The keys of one listing (``--list-keys``, ``-K``, ``--check-sigs``, ``--show-keys``), in its order.

    Subkeys have fingerprints when gpg was given ``--with-fingerprint`` twice, keygrips with ``--with-keygrip``.
    Raises EngineError when a record that matters is malformed or out of place.
    """
    if len(listing) > MAX_LISTING_BYTES:
        _refuse(f"more than {MAX_LISTING_BYTES} bytes")
    reader = _Reader()
    for line in listing.split(b"\n"):
        if line:
            reader.record(line.rstrip(b"\r").split(b":"))
    return reader.keys()


@dataclass
class _Draft:
    """What is known of a key part, user ID or signature while its following records are still to come."""

    fields: "_Fields"
    fingerprint: str = ""
    keygrip: str = ""
    signatures: "list[_Draft]" = field(default_factory=list)
    subpackets: list[Subpacket] = field(default_factory=list)


@dataclass
class _KeyDraft:
    primary: _Draft
    user_ids: list[_Draft] = field(default_factory=list)
    subkeys: list[_Draft] = field(default_factory=list)


class _Reader:
    """Puts each record where it belongs: a signature to the part, a subpacket to the signature before it."""

    def __init__(self) -> None:
        self._keys: list[_KeyDraft] = []
        self._part: _Draft | None = None
        self._subject: _Draft | None = None
        self._signature: _Draft | None = None

    def record(self, raw: list[bytes]) -> None:
        fields = _Fields(raw)
        match fields.kind:
            case "pub" | "sec":
                self._keys.append(_KeyDraft(self._begin_part(fields)))
            case "sub" | "ssb":
                self._current(fields).subkeys.append(self._begin_part(fields))
            case "uid" | "uat":
                self._part, self._signature = None, None
                self._subject = _Draft(fields)
                self._current(fields).user_ids.append(self._subject)
            case "fpr" | "grp":
                self._identify(fields)
            case "sig" | "rev" | "rvs":
                if self._subject is None:
                    _refuse(f"a {fields.kind} record without a key")
                self._signature = _Draft(fields)
                self._subject.signatures.append(self._signature)
            case "spk":
                if self._signature is None:
                    _refuse("a spk record without a signature")
                self._signature.subpackets.append(_subpacket(fields))
            case _:
                pass

    def keys(self) -> tuple[Key, ...]:
        return tuple(
            Key(
                primary=_part(draft.primary),
                user_ids=tuple(_user_id(user_id) for user_id in draft.user_ids),
                subkeys=tuple(_part(subkey) for subkey in draft.subkeys),
            )
            for draft in self._keys
        )

    def _begin_part(self, fields: "_Fields") -> _Draft:
        self._part = self._subject = _Draft(fields)
        self._signature = None
        return self._part

    def _current(self, fields: "_Fields") -> _KeyDraft:
        if not self._keys:
            _refuse(f"a {fields.kind} record before any key")
        return self._keys[-1]

    def _identify(self, fields: "_Fields") -> None:
        """``fpr`` and ``grp`` follow the key that they belong to; gpg never gives two for one."""
        value = fields.text(10)
        if self._part is None:
            _refuse(f"a {fields.kind} record without a key")
        if not _FINGERPRINT.fullmatch(value):
            _refuse(f"a {fields.kind} record that is not hexadecimal")
        if fields.kind == "fpr":
            if self._part.fingerprint:
                _refuse("two fingerprints for one key")
            self._part.fingerprint = value
        else:
            if self._part.keygrip:
                _refuse("two keygrips for one key")
            self._part.keygrip = value


class _Fields:
    """The fields of one record, numbered from 1 as in DETAILS; a missing one is empty."""

    def __init__(self, raw: list[bytes]) -> None:
        self._raw = raw
        self.kind = raw[0].decode("ascii", "replace")

    def raw(self, number: int) -> bytes:
        return self._raw[number - 1] if number <= len(self._raw) else b""

    def text(self, number: int) -> str:
        """The field with its C escapes undone, as UTF-8; other bytes stay as surrogate escapes."""
        return _unescape(self.raw(number)).decode("utf-8", "surrogateescape")

    def letter(self, number: int) -> str:
        """A field of one letter or none; the first of several would be a guess."""
        value = self.raw(number)
        if len(value) > 1:
            _refuse(f"a {self.kind} record whose field {number} is not a single letter")
        return value.decode("ascii", "replace")

    def number(self, number: int) -> int:
        """A decimal field, 0 when empty."""
        value = self.raw(number)
        if not re.fullmatch(rb"[0-9]{0,20}", value):
            _refuse(f"a {self.kind} record whose field {number} is not a number")
        return int(value or b"0")

    def moment(self, number: int) -> int | None:
        """A time in Unix seconds, None when empty. gpg writes "0" for never in some listings."""
        return self.number(number) or None


def _part(draft: _Draft) -> KeyPart:
    fields = draft.fields
    letters = fields.text(12)
    stub = fields.text(15)
    return KeyPart(
        fingerprint=draft.fingerprint,
        key_id=fields.text(5),
        keygrip=draft.keygrip,
        algorithm=fields.number(4),
        bits=fields.number(3),
        curve=fields.text(17),
        created=fields.number(6),
        expires=fields.moment(7),
        validity=fields.letter(2),
        capabilities="".join(letter for letter in letters if letter.islower()),
        usable="".join(letter.lower() for letter in letters if letter.isupper() and letter != "D"),
        disabled="D" in letters,
        owner_trust=fields.letter(9),
        # "+" is present, "#" a stub without the key, anything else the serial number of a card that has it.
        secret=stub != "#" if stub or fields.kind in ("sec", "ssb") else None,
        signatures=tuple(_signature(signature) for signature in draft.signatures),
    )


def _user_id(draft: _Draft) -> UserId:
    fields = draft.fields
    return UserId(
        text=fields.text(10),
        validity=fields.letter(2),
        created=fields.number(6),
        expires=fields.moment(7),
        attribute=fields.kind == "uat",
        signatures=tuple(_signature(signature) for signature in draft.signatures),
    )


def _signature(draft: _Draft) -> Signature:
    fields = draft.fields
    kind = re.fullmatch(r"([0-9a-fA-F]{2})([xl])(?:,([0-9a-fA-F]{2}))?", fields.text(11))
    if kind is None:
        _refuse(f"a {fields.kind} record without a signature class")
    fingerprint = fields.text(13)
    if fingerprint and not _FINGERPRINT.fullmatch(fingerprint):
        _refuse(f"a {fields.kind} record whose signer is not a fingerprint")
    depth = fields.raw(8).split(b" ")[0]
    return Signature(
        kind=fields.kind,
        check=fields.letter(2),
        algorithm=fields.number(4),
        key_id=fields.text(5),
        fingerprint=fingerprint,
        created=fields.number(6),
        expires=fields.moment(7),
        user_id=fields.text(10),
        signature_class=int(kind[1], 16),
        exportable=kind[2] == "x",
        reason=int(kind[3], 16) if kind[3] else None,
        trust_depth=int(depth) if re.fullmatch(rb"[0-9]{1,3}", depth) else 0,
        digest=fields.number(16),
        subpackets=tuple(draft.subpackets),
    )


def _subpacket(fields: _Fields) -> Subpacket:
    """``spk:type:flags:length:data``; flag 1 is "hashed", 2 "critical"; the data is percent-escaped."""
    data = _unpercent(fields.raw(5))
    if len(data) != fields.number(4):
        _refuse("a spk record whose length is not that of its data")
    flags = fields.number(3)
    return Subpacket(fields.number(2), bool(flags & 1), bool(flags & 2), data)


def _unescape(value: bytes) -> bytes:
    def undo(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes([int(match[1], 16)])
        if match[2] not in _SHORT:
            _refuse("an escape that is not known")
        return _SHORT[match[2]]

    return _ESCAPE.sub(undo, value)


def _unpercent(value: bytes) -> bytes:
    def undo(match: re.Match[bytes]) -> bytes:
        if not match[1]:
            _refuse("a percent sign that escapes nothing")
        return bytes([int(match[1], 16)])

    return _PERCENT.sub(undo, value)


def _refuse(what: str) -> NoReturn:
    raise EngineError(f"The listing that gpg printed has {what}; nothing of it was used. Compare gpg --version.")
