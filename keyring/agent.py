"""A private key computes only inside gpg-agent: over this connection go digests and come signatures, never keys.

gpg-agent speaks Assuan, lines of at most 1,000 bytes over a Unix socket (GnuPG manual, "Agent Protocol"). A kept
connection signs in one millisecond where a gpg process takes ten.
"""

import os
import re
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from keyring import process
from keyring.errors import EngineError, KeyringError, PassphraseError
from keyring.home import Home
from protocol.secret import Secret

LINE_LIMIT_BYTES: Final = 1_002  # libassuan's own limit, line feed included
ANSWER_LIMIT_BYTES: Final = 16 * 1024  # an RSA-4096 public key takes 600
REDIRECT_LIMIT_BYTES: Final = 511
NESTING_LIMIT: Final = 8
DIGEST_BYTES: Final = 32

_KEYGRIP = re.compile(r"[0-9A-F]{40}")
_ATOM_LENGTH = re.compile(rb"(0|[1-9][0-9]{0,4}):")
_ERROR_LINE = re.compile(rb"ERR ([0-9]{1,10})(?: (.*))?")
_TERMINAL_OPTIONS: Final = (("ttytype", "TERM"), ("display", "DISPLAY"), ("lc-ctype", "LC_CTYPE"))

# libgpg-error codes, the low 16 bits of the number after ERR.
_BAD_PASSPHRASE: Final = 11
_NO_SECRET_KEY: Final = 17
_NO_PINENTRY: Final = 85
_CANCELED: Final = 99
_OUT_OF_MEMORY: Final = 32768 + 86
# An agent short of secure memory says either of these; both are worth one more try.
_PERHAPS_PASSING: Final = (_NO_SECRET_KEY, _OUT_OF_MEMORY)


@dataclass(frozen=True)
class SignatureValue:
    """The numbers of a signature, big-endian, with whatever leading zeros the agent sent.

    ``algorithm`` is "eddsa" (``r`` and ``s``, RFC 8032) or "rsa" (``s`` only, PKCS #1 v1.5; ``r`` is empty).
    """

    algorithm: str
    r: bytes
    s: bytes


@dataclass(frozen=True)
class RsaPublicKey:
    modulus: int
    exponent: int


@dataclass(frozen=True)
class EdwardsPublicKey:
    """``point`` is the 32 bytes of RFC 8032, without OpenPGP's leading 0x40."""

    curve: str
    point: bytes


PublicKey = RsaPublicKey | EdwardsPublicKey


class Agent:
    """A kept connection to the gpg-agent of one home, usable from several threads, one request at a time.

    The agent is started if it does not run, and the connection is made anew once if it broke. A key's passphrase
    comes from ``passphrase`` or, with ``ask``, from the person through pinentry; with neither, a protected key whose
    passphrase is not in the agent's cache is an error. A request takes at most ``timeout_seconds`` an attempt.
    """

    def __init__(
        self,
        home: Home,
        *,
        passphrase: Secret | None = None,
        ask: bool = False,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._home = home
        self._passphrase = passphrase
        self._ask = ask
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._closed = False

    def sign(self, keygrip: str, digest: bytes) -> SignatureValue:
        """The signature over a SHA-256 ``digest`` (32 bytes) by the private key with ``keygrip`` (40 hex).

        Raises PassphraseError (wrong or none) and EngineError (no such key, or no answer from the agent).
        """
        if len(digest) != DIGEST_BYTES:
            raise EngineError(f"A SHA-256 digest has {DIGEST_BYTES} bytes, not {len(digest)}; hash the content first.")
        commands = (
            "RESET",
            f"SIGKEY {_checked_keygrip(keygrip)}",
            f"SETHASH --hash=sha256 {digest.hex().upper()}",
            "PKSIGN",
        )
        return _signature_value(parse_expression(self._ask_agent(commands)))

    def readkey(self, keygrip: str) -> PublicKey:
        """The public part of the key with ``keygrip``, as the agent has it."""
        return _public_key(parse_expression(self._ask_agent((f"READKEY {_checked_keygrip(keygrip)}",))))

    def close(self) -> None:
        """Ends the connection for good; the agent itself goes on (``Home.stop`` ends it). Harmless when repeated."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask_agent(self, commands: tuple[str, ...]) -> bytes:
        with self._lock:
            if self._closed:
                raise EngineError("This connection to gpg-agent was closed; make a new Agent for the home.")
            try:
                return self._attempt(commands)
            except _Broken:
                pass
            except _Refused as refusal:
                if refusal.code not in _PERHAPS_PASSING:
                    raise self._sentence(refusal) from None
            # Asking twice is safe: a digest signed twice says nothing that one signature did not say.
            try:
                return self._attempt(commands)
            except _Broken as broken:
                raise EngineError(
                    f"gpg-agent of {self._home.path} {broken}; end it with "
                    f"`gpgconf --homedir {self._home.path} --kill gpg-agent` and try again."
                ) from None
            except _Refused as refusal:
                raise self._sentence(refusal) from None

    def _attempt(self, commands: tuple[str, ...]) -> bytes:
        try:
            connection = self._connection = self._connection or self._connect()
            answer = b""
            deadline = time.monotonic() + self._timeout_seconds
            for command in commands:
                answer = connection.transact(command, deadline, self._passphrase)
            return answer
        except _Refused:
            raise
        except BaseException:
            # Also for an interrupt: the next request must not read the answer to this one.
            self._disconnect()
            raise

    def _connect(self) -> "_Connection":
        path = self._socket_path()
        deadline = time.monotonic() + self._timeout_seconds
        try:
            connection = _Connection(path, deadline)
        except _Broken:
            process.run_tool(self._home, "gpgconf", "--launch", "gpg-agent")
            connection = _Connection(self._socket_path(), deadline)
        try:
            for option in self._options():
                connection.transact(f"OPTION {option}", deadline, None)
        except BaseException:
            connection.close()
            raise
        return connection

    def _options(self) -> tuple[str, ...]:
        if self._passphrase is not None:
            return ("pinentry-mode=loopback",)
        if not self._ask:
            return ("pinentry-mode=error",)
        terminal = os.environ.get("GPG_TTY")
        named = tuple((option, os.environ[name]) for option, name in _TERMINAL_OPTIONS if os.environ.get(name))
        pairs = ((("ttyname", terminal),) if terminal else ()) + named
        return tuple(f"{option}={value}" for option, value in pairs if value.isprintable())

    def _socket_path(self) -> Path:
        return follow_redirect(process.agent_socket(self._home))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _sentence(self, refusal: "_Refused") -> KeyringError:
        home = self._home.path
        if refusal.code == _NO_SECRET_KEY:
            return EngineError(
                f"gpg-agent has no such private key in {home}; compare `gpg --homedir {home} -K --with-keygrip`."
            )
        if refusal.code == _BAD_PASSPHRASE:
            return PassphraseError(f"The passphrase does not open the private key in {home}; give the right one.")
        if refusal.code in (_CANCELED, _NO_PINENTRY):
            return PassphraseError(
                f"No passphrase was given for the private key in {home}; run the command again with it."
            )
        return EngineError(f"gpg-agent of {home} refused ({refusal}); look at the agent's log and try again.")


def follow_redirect(path: Path) -> Path:
    """The socket itself: where ``path`` is an Assuan redirect file, the path that the file names.

    Such a file stands where a socket's path would exceed 108 bytes (libassuan manual, "Socket wrappers").
    """
    if not path.is_file():
        return path
    try:
        with path.open("rb") as file:
            lines = file.read(REDIRECT_LIMIT_BYTES + 1).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"The redirect file {path} cannot be read ({error}); remove it and try again.") from None
    if len(lines) < 2 or lines[0] != "%Assuan%" or not lines[1].startswith("socket=/"):
        raise EngineError(f"The file {path} should be gpg-agent's socket or name one; remove it and try again.")
    return Path(lines[1].removeprefix("socket="))


class _Broken(Exception):
    """The connection is of no use any more; the text completes "gpg-agent of <home> ..."."""


class _Refused(Exception):
    """The agent answered ERR; the connection is still in step."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Connection:
    """One Assuan client: lines out, lines in, each wait up to a deadline on the monotonic clock."""

    def __init__(self, path: Path, deadline: float) -> None:
        self._received = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._limit_wait(deadline)
            self._socket.connect(str(path))
            greeting = self._line(deadline)
        except OSError as error:
            self._socket.close()
            raise _Broken(f"cannot be reached at {path} ({error})") from None
        except BaseException:
            self._socket.close()
            raise
        if not greeting.startswith(b"OK"):
            self._socket.close()
            raise _Broken("did not greet as gpg-agent does")

    def close(self) -> None:
        self._socket.close()

    def transact(self, command: str, deadline: float, passphrase: Secret | None) -> bytes:
        """Sends one command and returns the data of its answer, unescaped; ERR is raised as _Refused."""
        self._send(command.encode(), deadline)
        data = bytearray()
        while True:
            line = self._line(deadline)
            if line == b"OK" or line.startswith(b"OK "):
                return bytes(data)
            if line.startswith(b"D "):
                data += _unescape(line[2:])
                if len(data) > ANSWER_LIMIT_BYTES:
                    raise _Broken(f"answered with more than {ANSWER_LIMIT_BYTES} bytes")
            elif refusal := _ERROR_LINE.fullmatch(line):
                text = (refusal[2] or b"").decode("ascii", "replace")
                raise _Refused(int(refusal[1]) & 0xFFFF, "".join(c if c.isprintable() else "?" for c in text))
            elif line.startswith(b"INQUIRE "):
                self._answer_inquiry(line, deadline, passphrase)
            elif not line.startswith((b"S ", b"#")):
                raise _Broken("sent a line that is not Assuan")

    def _answer_inquiry(self, line: bytes, deadline: float, passphrase: Secret | None) -> None:
        if line == b"INQUIRE PASSPHRASE" and passphrase is not None:
            self._send(b"D " + _escape(passphrase.reveal()), deadline)
        elif not line.startswith(b"INQUIRE PINENTRY_LAUNCHED"):
            self._send(b"CAN", deadline)
            return
        self._send(b"END", deadline)

    def _send(self, line: bytes, deadline: float) -> None:
        if len(line) >= LINE_LIMIT_BYTES or b"\n" in line:
            raise EngineError("A request to gpg-agent must fit in one line of 1,000 bytes; shorten the passphrase.")
        try:
            self._limit_wait(deadline)
            self._socket.sendall(line + b"\n")
        except OSError as error:
            raise _Broken(f"ended the connection ({error})") from None

    def _line(self, deadline: float) -> bytes:
        while (length := self._received.find(b"\n")) < 0 or length >= LINE_LIMIT_BYTES:
            if len(self._received) >= LINE_LIMIT_BYTES:
                raise _Broken("sent a line longer than Assuan allows")
            try:
                self._limit_wait(deadline)
                piece = self._socket.recv(4096)
            except TimeoutError:
                raise _Broken("did not answer in time") from None
            except OSError as error:
                raise _Broken(f"ended the connection ({error})") from None
            if not piece:
                raise _Broken("ended the connection")
            self._received += piece
        line, self._received = self._received.split(b"\n", 1)
        return line

    def _limit_wait(self, deadline: float) -> None:
        seconds = deadline - time.monotonic()
        if seconds <= 0:  # also where there always is something more to read
            raise TimeoutError("the time is over")
        self._socket.settimeout(seconds)


# Canonical S-expressions (Rivest, "S-Expressions", 1997): atoms are `length:bytes`, lists are in parentheses.

Expression = bytes | tuple["Expression", ...]


def parse_expression(data: bytes) -> Expression:
    """The one canonical S-expression in ``data``; anything else, also after its end, is an EngineError."""
    expression, end = _expression_at(data, 0, 0)
    if end != len(data):
        raise _unreadable()
    return expression


def _expression_at(data: bytes, start: int, depth: int) -> tuple[Expression, int]:
    if data[start : start + 1] != b"(":
        length = _ATOM_LENGTH.match(data, start)
        if length is None or length.end() + int(length[1]) > len(data):
            raise _unreadable()
        end = length.end() + int(length[1])
        return data[length.end() : end], end
    if depth == NESTING_LIMIT:
        raise _unreadable()
    items: list[Expression] = []
    place = start + 1
    while data[place : place + 1] != b")":
        item, place = _expression_at(data, place, depth + 1)
        items.append(item)
    return tuple(items), place + 1


def _signature_value(expression: Expression) -> SignatureValue:
    match expression:
        case (b"sig-val", (b"eddsa", (b"r", bytes(r)), (b"s", bytes(s)))):
            return SignatureValue("eddsa", r, s)
        case (b"sig-val", (b"rsa", (b"s", bytes(s)))):
            return SignatureValue("rsa", b"", s)
    raise _unreadable()


def _public_key(expression: Expression) -> PublicKey:
    match expression:
        case (b"public-key", (b"rsa", (b"n", bytes(n)), (b"e", bytes(e)))):
            return RsaPublicKey(int.from_bytes(n), int.from_bytes(e))
        case (b"public-key", (b"ecc", (b"curve", b"Ed25519"), (b"flags", b"eddsa"), (b"q", bytes(q)))):
            if len(q) == 33 and q[0] == 0x40:
                return EdwardsPublicKey("Ed25519", q[1:])
    raise _unreadable()


def _unreadable() -> EngineError:
    return EngineError("gpg-agent's answer is not a signature or key that we know; check the version of GnuPG.")


def _escape(data: bytes) -> bytes:
    """Percent-escapes what may not stand in an Assuan line: ``%``, carriage return and line feed."""
    return data.replace(b"%", b"%25").replace(b"\r", b"%0D").replace(b"\n", b"%0A")


def _unescape(data: bytes) -> bytes:
    first, *others = data.split(b"%")
    if any(re.match(rb"[0-9A-Fa-f]{2}", piece) is None for piece in others):
        raise _Broken("sent a line that is not Assuan")
    return first + b"".join(bytes((int(piece[:2], 16),)) + piece[2:] for piece in others)


def _checked_keygrip(keygrip: str) -> str:
    if not _KEYGRIP.fullmatch(keygrip):
        raise EngineError("A keygrip is 40 upper-case hexadecimal digits; read it with `gpg -K --with-keygrip`.")
    return keygrip
