"""The web server behind the page: known files out, checked messages in, and nothing without the token."""

from __future__ import annotations

import hmac
import io
import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, ClassVar

from pydantic import ValidationError

from .exchange import Exchange, Refused
from .messages import Failure, From, Hello, Message, Output, Samples
from .visits import BoundedReader, Visits, foreign

MOST_BYTES = 256 * 1024  # of a posted message
MOST_CONNECTIONS = 64
REQUEST_S = 30.0  # for a whole request, from the end of the one before; pages ask again within half of it
_SLOWEST_BYTES_PER_S = 100_000  # at which an answer must be taken

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".onnx": "application/octet-stream",
}
_HEADERS = {
    # Together these two make a page cross-origin isolated: threads and a clock of 5 us.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
        "style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the URL holds the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class PageServer(ThreadingHTTPServer):
    """Serves until it is closed, on threads of its own.

    Args:
        exchange: where messages go.
        files: what is served, by name; `index.html` is also the empty name.
        token: the first part of every path.
        listen: address to listen on.
        port: port to listen on; 0 takes a free one.
        request_s: in which a whole request must have come.
        most_connections: that are open at once.

    Raises:
        OSError: the address is not this machine's, or the port is taken.
    """

    daemon_threads = True

    def __init__(
        self,
        exchange: Exchange,
        files: Mapping[str, bytes],
        token: str,
        listen: str,
        port: int,
        *,
        request_s: float = REQUEST_S,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in listen else socket.AF_INET
        self.exchange, self.files, self.token = exchange, files, token
        self.listen, self.request_s, self.visits = listen, request_s, Visits(most_connections)
        super().__init__((listen, port), _Handler)
        self.host = self._printed_host()
        threading.Thread(target=self.serve_forever, name="fairnas-browser", daemon=True).start()

    @property
    def url(self) -> str:
        """What to open, token included."""
        port = self.server_address[1]
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{port}/{self.token}/"

    def _printed_host(self) -> str:
        host = str(self.server_address[0])
        if host in ("0.0.0.0", "::"):
            return _outward_address(socket.AddressFamily(self.address_family)) or socket.gethostname()
        return "localhost" if host in ("127.0.0.1", "::1") else host

    def server_bind(self) -> None:
        """Without the name look-up of `HTTPServer`, which can take seconds."""
        TCPServer.server_bind(self)

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give it a thread, if there is room."""
        if self.visits.let_in(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """It is over."""
        self.visits.leave(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is none of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fairnas", ""

    _messages: ClassVar[dict[str, tuple[type[Message], Callable[[Exchange, Any], dict[str, Any]]]]] = {
        "hello": (Hello, Exchange.hello),
        "work": (From, Exchange.work),
        "samples": (Samples, Exchange.samples),
        "output": (Output, Exchange.output),
        "failure": (Failure, Exchange.failure),
    }

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = BoundedReader(self.connection, self.server.request_s)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        self._reader.next_request()
        super().handle_one_request()  # which hangs up on a TimeoutError

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, act: Callable[[str], tuple[str, bytes]]) -> None:
        try:
            kind, content = act(self._place())
        except Refused as refusal:
            self.close_connection = True  # what it may still send was not read
            self._send(refusal.status, "text/plain; charset=utf-8", f"{refusal}\n".encode())
        else:
            self._send(200, kind, content)

    def _place(self) -> str:
        """The path below the token."""
        local = str(self.connection.getsockname()[0])
        if (reason := foreign(self.headers, self.server.listen, self.server.host, local)) is not None:
            raise Refused(403, reason)
        token, _, place = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode("latin-1"), self.server.token.encode()):
            raise Refused(403, "this address lacks the token: open the whole address that fairnas printed")
        self.server.visits.trust(self.connection)
        return place

    def _get(self, place: str) -> tuple[str, bytes]:
        if place.startswith("models/"):
            return _TYPES[".onnx"], self.server.exchange.model(place.removeprefix("models/"))
        name = place or "index.html"
        if name not in self.server.files:
            raise Refused(404, "no such file")
        return _TYPES[name[name.rindex(".") :]], self.server.files[name]

    def _post(self, place: str) -> tuple[str, bytes]:
        if place not in self._messages:
            raise Refused(404, "no such message")
        message_class, receive = self._messages[place]
        body = self._body()
        try:
            message = message_class.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise Refused(400, f"{'.'.join(map(str, first['loc'])) or 'message'}: {first['msg']}") from error
        return _TYPES[".json"], json.dumps(receive(self.server.exchange, message)).encode()

    def _body(self) -> bytes:
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "messages are JSON")
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise Refused(411, "messages tell their length")
        if len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
            raise Refused(413, f"messages have at most {MOST_BYTES} bytes")
        self._reader.allow(int(length))
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refused(400, "the message was cut off")
        return body

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        # For all of what is written at once, not for each piece that is taken.
        self.connection.settimeout(self.server.request_s + len(content) / _SLOWEST_BYTES_PER_S)
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        """Also of the answers that `http.server` gives itself."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the command."""


def _outward_address(family: socket.AddressFamily) -> str | None:
    """This machine's address as others see it: where a packet to elsewhere would leave from; none is sent."""
    elsewhere = "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((elsewhere, 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])
