"""Connections to the page's server: how many there are, how long each may take, and where it may come from."""

from __future__ import annotations

import io
import ipaddress
import socket
import threading
import time
from contextlib import suppress
from email.message import Message
from urllib.parse import urlsplit

MOST_HEAD_BYTES = 32 * 1024
_WILDCARDS = ("0.0.0.0", "::")
_LOOPBACK = ("127.0.0.1", "::1")


class Visits:
    """The connections that are open, at most so many.

    Whoever comes is let in: where there are too many, the oldest one that has not shown the token has to go, so that
    clients that say nothing, or little by little, keep nobody out.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open: dict[socket.socket, bool] = {}  # in the order of coming; whether the token was shown

    def let_in(self, connection: socket.socket) -> bool:
        """Whether there is room, after making some."""
        with self._lock:
            if len(self._open) >= self._most:
                oldest = next((each for each, trusted in self._open.items() if not trusted), None)
                if oldest is None:
                    return False
                del self._open[oldest]
                _hang_up(oldest)
            self._open[connection] = False
            return True

    def trust(self, connection: socket.socket) -> None:
        """It has shown the token."""
        with self._lock:
            if connection in self._open:
                self._open[connection] = True

    def leave(self, connection: socket.socket) -> None:
        """It is over."""
        with self._lock:
            self._open.pop(connection, None)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # its thread sees the end, and closes it


class BoundedReader(io.RawIOBase):
    """What a client sends: all of a request within one deadline, however often a little of it comes, and not too much.

    Args:
        connection: whose other end sends.
        seconds: for a whole request, from the end of the one before.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self.next_request()

    def next_request(self) -> None:
        """A request may come now."""
        self._end, self._left = time.monotonic() + self._seconds, MOST_HEAD_BYTES

    def allow(self, more: int) -> None:
        """So many bytes more than a head may come."""
        self._left += more

    def readable(self) -> bool:
        """See `IOBase`."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See `RawIOBase`.

        Raises:
            TimeoutError: the time is over, or too much has come.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0 or self._left <= 0:
            raise TimeoutError("the request takes too long, or is too large")
        self._connection.settimeout(seconds)
        read = self._connection.recv_into(buffer[: min(len(buffer), self._left)])
        self._left -= read
        return read


def foreign(headers: Message, listen: str, printed: str, local: str) -> str | None:
    """Why a request is none of the page's own: a site that was opened elsewhere in the same browser may have made it.

    Such a site can send requests here, and, with a name of its own that it lets point to this machine (DNS rebinding),
    read the answers. It cannot choose what the browser says about it: `Host`, `Origin`, `Sec-Fetch-Site`.

    Args:
        headers: of the request.
        listen: the address that is listened on, as the user gave it.
        printed: the host in the address that was printed.
        local: this end of the connection.

    Returns:
        The reason; None where the request may be answered.
    """
    hosts = headers.get_all("Host", [])
    if len(hosts) != 1 or (host := _host(hosts[0])) is None:
        return "the request does not name one host"
    ours = {"localhost", *_LOOPBACK, printed.lower(), local.removeprefix("::ffff:")} - {*_WILDCARDS}
    if listen not in _WILDCARDS:
        ours.add(listen.lower())
    # On all addresses: also on those from which another machine forwards. Nobody can let an address point elsewhere.
    if host not in ours and not (listen in _WILDCARDS and _is_address(host)):
        return "this server is not called so: open the whole address that fairnas printed"
    for origin in headers.get_all("Origin", []):
        if origin.lower() not in (f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}"):
            return "another site asked: only this server's own page may"
    if any(site not in ("same-origin", "none") for site in headers.get_all("Sec-Fetch-Site", [])):
        return "another site asked: open the address that fairnas printed by hand"
    return None


def _host(text: str) -> str | None:
    """The name or address in a `Host` header, without port and brackets."""
    try:
        parts = urlsplit(f"//{text}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username is not None or not parts.hostname:
        return None
    return parts.hostname


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
