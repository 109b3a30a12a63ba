"""Names to addresses, so that the address that was checked is the one connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from pipebell.providers.threads import in_a_thread

if TYPE_CHECKING:
    from collections.abc import Callable

Address = tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]
"""A family and what `socket.connect` takes; the IP address comes first in it."""

_THREADS: Final = 64
_PER_NAMESPACE: Final = 2  # look-ups at a time, those that the name server keeps silent about included
_DEADLINE: Final = 10.0  # seconds for a look-up, from when it is asked
_FAILED: Final = 3.0  # seconds that a failure is believed: less than any delay between two attempts
_SILENT: Final = 10.0  # the same for a name whose server does not answer, which costs a thread for a minute
_REMEMBERED: Final = 1024


@dataclass(slots=True)
class _Lane:
    """One namespace's look-ups. `users` are those that wait or ask."""

    slots: asyncio.Semaphore
    users: int = 0


class Dns:
    """Asks the system's resolver, each time in a thread: it cannot be told to stop, so whoever asks is bounded.

    The threads are daemons: a look-up that is under way must not hold up the end of the process. Each namespace has
    its own few look-ups at a time: names whose server is silent hold up nobody else's. All who ask for the same host
    while it is being looked up share the question. `lookup` and `now` are for tests.
    """

    def __init__(
        self,
        *,
        deadline: float = _DEADLINE,
        lookup: Callable[[str], list[Address]] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free = asyncio.Semaphore(_THREADS)
        self._deadline, self._lookup, self._now = deadline, lookup or _lookup, now
        self._asked: dict[str, asyncio.Future[list[Address]]] = {}
        self._lanes: dict[str, _Lane] = {}
        self._failures: OrderedDict[str, tuple[float, socket.gaierror]] = OrderedDict()

    async def resolve(self, host: str, port: int, namespace: str = "") -> list[Address]:
        """The host's addresses, in the system's order of preference. Raises socket.gaierror.

        Waits as long as it takes until it is this namespace's turn to ask, and `deadline` seconds for the answer.
        """
        name = host.strip("[]")
        found = _literal(name)
        if found is None:
            found = await self._answer(name, await self._question(name, namespace))
        # Whoever looks up may know the port as well; the system's resolver says 0.
        return [(family, (address[0], address[1] or port, *address[2:])) for family, address in found]

    async def _question(self, name: str, namespace: str) -> asyncio.Future[list[Address]]:
        """The question that is under way, or a new one when it is this namespace's turn. Raises socket.gaierror."""
        self._raise_known(name)
        if name in self._asked:
            return self._asked[name]
        lane = self._lanes.get(namespace)
        if lane is None:
            lane = self._lanes[namespace] = _Lane(asyncio.Semaphore(_PER_NAMESPACE))
        lane.users += 1
        try:
            await lane.slots.acquire()
            try:
                await self._free.acquire()
            except BaseException:
                lane.slots.release()
                raise
        except BaseException:
            self._leave(namespace, lane)
            raise
        try:
            self._raise_known(name)
            question = self._asked.get(name)
            if question is None:
                question = in_a_thread(partial(self._lookup, name), "dns")
        except BaseException:
            self._done(namespace, lane)
            raise
        if name in self._asked:  # somebody else asked while this one waited
            self._done(namespace, lane)
            return question
        self._asked[name] = question
        question.add_done_callback(lambda _: self._asked.pop(name, None))
        question.add_done_callback(lambda _: self._done(namespace, lane))  # the thread is busy until then
        question.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # perhaps nobody waits for it
        return question

    async def _answer(self, name: str, question: asyncio.Future[list[Address]]) -> list[Address]:
        done, _ = await asyncio.wait({question}, timeout=self._deadline)
        if not done:
            silent = socket.gaierror(socket.EAI_AGAIN, "the name server does not answer")
            self._remember(name, silent, _SILENT)
            raise silent
        try:
            return question.result()
        except socket.gaierror as error:
            self._remember(name, error, _FAILED)
            raise

    def _remember(self, name: str, error: socket.gaierror, seconds: float) -> None:
        self._failures[name] = (self._now() + seconds, error)
        self._failures.move_to_end(name)
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def _raise_known(self, name: str) -> None:
        known = self._failures.get(name)
        if known is None:
            return
        until, error = known
        if self._now() < until:
            raise socket.gaierror(*error.args)
        del self._failures[name]

    def _done(self, namespace: str, lane: _Lane) -> None:
        self._free.release()
        lane.slots.release()
        self._leave(namespace, lane)

    def _leave(self, namespace: str, lane: _Lane) -> None:
        lane.users -= 1
        if not lane.users:
            self._lanes.pop(namespace, None)


def _literal(name: str) -> list[Address] | None:
    """An address written as such: nobody has to be asked."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return None
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [(family, address) for family, _, _, _, address in found]


def _lookup(host: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label too long or empty: the codec says so, not the resolver
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return [(family, address) for family, _, _, _, address in found]
