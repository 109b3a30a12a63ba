"""Names to addresses, so that the address that was checked is the one connected to."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

Address = tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]
"""A family and what `socket.connect` takes; the IP address comes first in it."""

_THREADS: Final = 16


class Resolver:
    """Asks the system's resolver, in threads of its own: a dead name server must not hold up the rest of the process.

    All who ask for the same host at the same time share one question.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dns")
        self._asked: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The host's addresses, in the system's order of preference. Raises socket.gaierror."""
        key = (host.strip("[]"), port)
        question = self._asked.get(key)
        if question is None:
            question = asyncio.get_running_loop().run_in_executor(self._threads, _lookup, *key)
            self._asked[key] = question
            question.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(question)

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _lookup(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label too long or empty: the codec says so, not the resolver
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return [(family, address) for family, _, _, _, address in found]
