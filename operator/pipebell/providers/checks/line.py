"""Connections of one trial: to addresses that were looked up once, and cut off from outside when it takes too long."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipebell.providers.dns import Address

_SHARES: Final = 3  # of the time to connect, when a host has many addresses


def looked_up(host: str, port: int) -> list[Address]:
    """What this machine's resolver says. Raises socket.gaierror, UnicodeError."""
    return [(item[0], item[4]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Line:
    """Connects within one trial. `seconds` is what the whole trial may take, for messages; `cut` keeps to it.

    `lookup` gives a host's addresses: those, and no others, are connected to. All but `cut` is for the trial's thread.
    """

    def __init__(
        self, lookup: Callable[[str, int], Sequence[Address]] = looked_up, seconds: float = float("inf")
    ) -> None:
        self._lookup, self.seconds = lookup, seconds
        self._found: Sequence[Address] | None = None
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self.was_cut = False

    def addresses(self, host: str, port: int) -> Sequence[Address]:
        """Where the host is, looked up once. Raises socket.gaierror, UnicodeError."""
        if self._found is None:
            self._found = self._lookup(host, port)
        return self._found

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """A socket connected to the first address that answers, whose every wait ends after `timeout` seconds.

        Raises OSError.
        """
        error = OSError("it has no address")
        found = self.addresses(host, port)
        for family, address in found:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._keep(sock)
                sock.settimeout(timeout / min(len(found), _SHARES))
                sock.connect(address)
                sock.settimeout(timeout)
            except OSError as failure:
                sock.close()
                error = failure
            else:
                return sock
        raise error

    def _keep(self, sock: socket.socket) -> None:
        # A second handle of the same connection: TLS takes the first one over.
        with self._lock:
            if self.was_cut:
                raise TimeoutError
            self._handles.append(sock.dup())

    def cut(self) -> None:
        """End every connection, whatever it is waiting for; from any thread, and as often as one likes."""
        with self._lock:
            self.was_cut = True
            for handle in self._handles:
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give back what is kept for `cut`."""
        with self._lock:
            while self._handles:
                self._handles.pop().close()
