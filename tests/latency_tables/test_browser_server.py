"""The profiling page's server answers its own page, on time, whoever else connects."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from fairnas.latency_tables.devices.browser.exchange import Exchange
from fairnas.latency_tables.devices.browser.server import PageServer
from fairnas.latency_tables.devices.browser.visits import MOST_HEAD_BYTES

FILES = {"index.html": b"<!doctype html>measuring", "page.js": b"let a;"}
TOKEN = "t" * 32
REQUEST_S = 0.4


def serve(files: dict[str, bytes] = FILES, request_s: float = REQUEST_S) -> PageServer:
    return PageServer(Exchange(1.0), files, TOKEN, "127.0.0.1", 0, request_s=request_s, most_connections=4)


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    """One for all: closing one takes half a second."""
    with closing(serve()) as served:
        yield served


def connect(server: PageServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=20)


def ask(server: PageServer, *headers: str, method: str = "GET", path: str = f"/{TOKEN}/", body: bytes = b"") -> bytes:
    """What comes back until the server hangs up."""
    lines = [f"{method} {path} HTTP/1.1", *headers, "Connection: close", "", ""]
    with connect(server) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        return _rest(connection)


def _rest(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):  # the server hung up on what it had not read
        while more := connection.recv(65536):
            received += more
    return received


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def host(server: PageServer, name: str = "localhost") -> str:
    return f"Host: {name}:{server.server_address[1]}"


def own(server: PageServer) -> str:
    return f"http://localhost:{server.server_address[1]}"


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
def test_the_page_is_served_under_the_names_of_this_machine(server: PageServer, name: str) -> None:
    assert status(ask(server, host(server, name))) == 200
    # `adb reverse` gives a phone another port.
    assert status(ask(server, f"Host: {name}:8123")) == 200


@pytest.mark.parametrize(
    "headers",
    [
        ["Host: evil.example"],
        ["Host: localhost.evil.example"],
        ["Host: evil.example", "Origin: http://evil.example"],
        ["Host: localhost@evil.example"],
        ["Host: localhost/"],
        ["Host: 192.0.2.1"],
        ["Host: localhost", "Host: evil.example"],
        ["Host: localhost:port"],
        ["Host:"],
        [],
    ],
)
def test_a_name_that_somebody_else_lets_point_here_gets_nothing(server: PageServer, headers: list[str]) -> None:
    """DNS rebinding: the browser takes the page of that name for the site's own."""
    answer = ask(server, *headers)
    assert status(answer) == 403
    assert b"measuring" not in answer


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "header",
    [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://localhost:1",
        "Origin: http://localhost",
        "Origin: file://",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ],
)
def test_what_another_site_asks_is_refused(server: PageServer, method: str, header: str) -> None:
    body = b"{}" if method == "POST" else b""
    place = f"/{TOKEN}/{'hello' if method == 'POST' else ''}"
    headers = [host(server), header, "Content-Type: application/json", f"Content-Length: {len(body)}"]
    answer = ask(server, *headers, method=method, path=place, body=body)
    assert status(answer) == 403
    assert b"measuring" not in answer
    # The page itself is told what is wrong with its message.
    headers[1] = f"Origin: {own(server)}"
    assert status(ask(server, *headers, method=method, path=place, body=body)) == (400 if body else 200)


def test_every_answer_is_kept_nowhere_and_runs_nothing_of_others(server: PageServer) -> None:
    for path, method in ((f"/{TOKEN}/", "GET"), ("/", "GET"), (f"/{TOKEN}/", "DELETE"), (f"/{TOKEN}/", "OPTIONS")):
        answer = ask(server, host(server), path=path, method=method).decode()
        assert "Cache-Control: no-store" in answer
        assert "Content-Security-Policy: default-src 'none'" in answer
        assert "Cross-Origin-Opener-Policy: same-origin" in answer
        assert "Cross-Origin-Embedder-Policy: require-corp" in answer
        assert "Access-Control" not in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET ",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        f"POST /{TOKEN}/hello HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 50\r\n\r\n".encode(),
    ],
)
def test_who_drips_is_dropped_in_time_while_others_are_served(server: PageServer, sent: bytes) -> None:
    """A limit for each read would never end this: something comes well within it, for ever."""
    stopped = threading.Event()
    with connect(server) as slow:
        slow.sendall(sent)
        start = time.monotonic()

        def drip() -> None:
            with suppress(OSError):
                while not stopped.wait(REQUEST_S / 10):
                    slow.sendall(b"a")

        thread = threading.Thread(target=drip)
        thread.start()
        assert status(ask(server, host(server))) == 200
        try:
            assert _rest(slow) == b""
        finally:
            stopped.set()
            thread.join()
        assert REQUEST_S / 2 < time.monotonic() - start < REQUEST_S + 10


def test_who_never_takes_the_answer_is_dropped() -> None:
    with closing(serve({"index.html": b"x" * 50_000_000})) as server, connect(server) as lazy:
        lazy.sendall(f"GET /{TOKEN}/ HTTP/1.1\r\n{host(server)}\r\n\r\n".encode())
        assert lazy.recv(15) == b"HTTP/1.1 200 OK"
        (connection,) = server.visits._open
        assert REQUEST_S < (connection.gettimeout() or 0) < REQUEST_S + 600  # sendall's, for all of it


def test_a_head_that_never_ends_is_cut(server: PageServer) -> None:
    with connect(server) as loud:
        loud.sendall(b"GET / HTTP/1.1\r\n")
        with suppress(OSError):
            for _ in range(2 * MOST_HEAD_BYTES // 1000):
                loud.sendall(b"X-Filler: " + b"x" * 1000 + b"\r\n")
        assert _rest(loud) == b""


def test_many_who_say_nothing_keep_nobody_out(server: PageServer) -> None:
    """Four connections are allowed here: the oldest silent one goes when a fifth comes."""
    silent = [connect(server) for _ in range(12)]
    try:
        start = time.monotonic()
        assert status(ask(server, host(server))) == 200
        assert time.monotonic() - start < REQUEST_S + 5
        assert len(server.visits._open) <= 4
        assert _rest(silent[0]) == b""
    finally:
        for each in silent:
            each.close()


def test_a_page_is_not_pushed_out_by_those_who_say_nothing() -> None:
    with closing(serve(request_s=60)) as server, connect(server) as page:
        page.sendall(f"GET /{TOKEN}/ HTTP/1.1\r\n{host(server)}\r\n\r\n".encode())
        assert page.recv(15) == b"HTTP/1.1 200 OK"
        silent = [connect(server) for _ in range(8)]
        try:
            assert status(ask(server, host(server))) == 200
            page.sendall(f"GET /{TOKEN}/page.js HTTP/1.1\r\n{host(server)}\r\nConnection: close\r\n\r\n".encode())
            assert _rest(page).endswith(b"let a;")
        finally:
            for each in silent:
                each.close()
