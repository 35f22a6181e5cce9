"""An operator's programs ask a page on this machine how the bank is; it answers from a process of its own.

So a slow reader, or a fault of the page, costs no customer anything.
"""

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final

from bank.health import Health
from bank.journal import note
from protocol.transport import Address, Socket, break_off, listen

READ_SECONDS: Final = 2.0
"""How long a whole question may take, and each piece of its answer; meanwhile others wait."""

LOOK_SECONDS: Final = 0.5
"""How often the page looks whether it is to end."""

_JSON: Final = "application/json"


def open_page(address: Address) -> Socket:
    """What the page listens with, to be opened before the processes are forked. LocalProtocolError says why not."""
    return listen(address)


def show(sock: Socket, health: Health, is_over: Callable[[], bool]) -> None:
    """Answer one after another who asks for /metrics or /health, until it is over."""
    server = _Page(("", 0), _answering(health), bind_and_activate=False)
    server.socket.close()
    server.socket = sock  # the only sockets are those of protocol.transport
    sock.settimeout(LOOK_SECONDS)  # one that does not block would have the library look without a pause
    while not is_over():
        server.handle_request()


class _Page(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked has gone away, mostly. The library would print a trace into the midst of the log."""
        if not isinstance(sys.exception(), OSError):
            note("fault", level=50, trace=True, task="page")


def answer(health: Health, path: str, accept: str) -> tuple[int, str, bytes]:
    """Status, form and content for a path."""
    from bank.exposition import exposition

    match path.partition("?")[0]:
        case "/metrics":
            content, form = exposition(health, accept)
            return 200, form, content
        case "/health":
            checks = health.checks()
            healthy = all(check.healthy for check in checks)
            report = {"healthy": healthy, "checks": [asdict(check) for check in checks]}
            return 200 if healthy else 503, _JSON, _text(report)
    return 404, _JSON, _text({"error": "There is /metrics, for Prometheus, and /health."})


def _text(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _answering(health: Health) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        timeout = READ_SECONDS
        server_version = "countersign"
        sys_version = ""

        def setup(self) -> None:
            super().setup()
            self.alarm = threading.Timer(READ_SECONDS, break_off, (self.request,))
            self.alarm.start()

        def finish(self) -> None:
            self.alarm.cancel()
            super().finish()

        def do_GET(self) -> None:
            self.alarm.cancel()
            try:
                status, form, content = answer(health, self.path, self.headers.get("Accept", ""))
            except Exception:  # noqa: BLE001 - a fault of ours costs one answer; it is logged loudly
                note("fault", level=50, trace=True, task="page")
                status, form, content = 500, _JSON, _text({"error": "The page is at fault; the server's log says why."})
            self.send_response(status)
            self.send_header("Content-Type", form)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - as above

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - likewise
            """Who asks is no event of the bank."""

    return Answering
