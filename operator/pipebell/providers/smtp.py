"""SMTP: carries messages to servers over few, reused connections, and never to where it must not go."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiosmtplib

from pipebell.core.errors import Fenced
from pipebell.core.outcome import Outcome, Verdict
from pipebell.providers.failures import outcome_of
from pipebell.providers.resolver import Resolver
from pipebell.providers.smtp_answers import Reply, answered, misunderstood, settled
from pipebell.providers.smtp_session import Envelope, Limits, Session, Unusable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Hashable

    from pipebell.core.hosts import HostPolicy
    from pipebell.core.targets import EmailTarget
    from pipebell.providers.resolver import Address

__all__ = ["Envelope", "Limits", "Smtp"]

_LOOK: Final = 1.0  # seconds between looks, while waiting for a connection, at whether this may be sent at all

_PLAINTEXT: Final = Outcome(
    Verdict.PERMANENT,
    "TlsRequired",
    "user name and password are never sent without TLS: set smtpUseTls, or leave smtpUsername out",
)


@dataclass(slots=True)
class _Endpoint:
    """The connections to one server under one account.

    `failures` counts attempts that could not even open a connection; `failure` is how the last one ended.
    """

    turns: asyncio.Semaphore
    idle: deque[tuple[Session, asyncio.TimerHandle]] = field(default_factory=deque)
    users: int = 0
    failures: int = 0
    failure: Outcome | None = None


class Smtp:
    """Sends messages. `hosts` guards what organisations configure; `tls` says whom to trust."""

    def __init__(self, hosts: HostPolicy, tls: ssl.SSLContext, limits: Limits | None = None) -> None:
        self._hosts, self._tls, self._limits = hosts, tls, limits or Limits()
        self._resolver = Resolver()
        self._endpoints: dict[Hashable, _Endpoint] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def send(self, target: EmailTarget, envelope: Envelope) -> Outcome:
        """One attempt to hand a message over. Waits for one of the endpoint's connections.

        Raises Fenced if the message may not go any more, which says nothing about the endpoint; nothing else.
        """
        if target.username is not None and not (target.use_tls or self._implicit(target)):
            return _PLAINTEXT
        endpoint = self._endpoints.get(target.endpoint)
        if endpoint is None:
            endpoint = self._endpoints[target.endpoint] = _Endpoint(asyncio.Semaphore(self._limits.connections))
        known = endpoint.failures
        endpoint.users += 1
        try:
            await _turn(endpoint.turns, envelope)
            try:
                if endpoint.failure is not None and endpoint.failures != known:
                    # The server could not be reached, or refused the login, while this one waited: it would fare the
                    # same, and a dead server must not hold up everybody for as long as all their timeouts add up to.
                    return endpoint.failure
                return await self._attempt(endpoint, target, envelope)
            finally:
                endpoint.turns.release()
        finally:
            endpoint.users -= 1
            self._forget_unused(target, endpoint)

    async def refusal(self, target: EmailTarget) -> str:
        """Why the target's host may not be connected to; "" if it may. Raises OSError if it cannot be resolved."""
        try:
            await self._addresses(target)
        except Unusable as error:
            return error.outcome.message
        return ""

    async def close(self) -> None:
        """Say goodbye to all servers."""
        for endpoint in self._endpoints.values():
            self._retire(endpoint)
        self._endpoints.clear()
        await asyncio.gather(*self._leaving)
        self._resolver.close()

    async def _attempt(self, endpoint: _Endpoint, target: EmailTarget, envelope: Envelope) -> Outcome:
        deadline = asyncio.get_running_loop().time() + self._limits.attempt
        session = self._take(endpoint)
        if session is not None:
            outcome = await self._talk(endpoint, session, target, envelope, deadline)
            if not session.stale:
                return outcome
        return await self._talk(endpoint, Session(self._limits, self._tls), target, envelope, deadline)

    async def _talk(
        self, endpoint: _Endpoint, session: Session, target: EmailTarget, envelope: Envelope, deadline: float
    ) -> Outcome:
        try:
            async with asyncio.timeout_at(deadline):
                if not session.opened:
                    if not envelope.allowed():
                        raise Fenced("this replica may not send any more")
                    await session.open(target, await self._addresses(target))
                return settled(await session.transact(envelope), envelope.message_id, target)
        except Unusable as error:
            outcome = error.outcome
        except aiosmtplib.SMTPResponseException as error:
            outcome = answered(session.stage, Reply(error.code, error.message), session.receipt, target)
        except OSError as error:
            outcome = outcome_of(error, target.host)
        except aiosmtplib.SMTPException:
            outcome = misunderstood(target)
        finally:
            self._give_back(endpoint, session, target)
        if session.stage.opening:
            endpoint.failures += 1
            endpoint.failure = outcome
            self._retire(endpoint)
        return outcome

    async def _addresses(self, target: EmailTarget) -> list[Address]:
        """Where the host leads and we may go. Raises Unusable when that is nowhere, OSError when nobody knows."""
        found = await self._resolver.resolve(target.host, target.port)
        if target.trusted:
            return found
        allowed = [place for place in found if self._hosts.admits_address(target.host, str(place[1][0]))]
        if not allowed:
            message = (
                f"{target.host} leads to a private address: the platform team may allow it (PIPEBELL_PRIVATE_HOSTS)"
            )
            raise Unusable(Outcome(Verdict.HOST_NOT_ALLOWED, "HostNotAllowed", message))
        return allowed

    def _implicit(self, target: EmailTarget) -> bool:
        return target.port == self._limits.implicit_tls_port

    def _take(self, endpoint: _Endpoint) -> Session | None:
        """The connection used last, so that those too many grow old."""
        while endpoint.idle:
            session, timer = endpoint.idle.pop()
            timer.cancel()
            if session.usable:
                return session
            self._dismiss(session)
        return None

    def _give_back(self, endpoint: _Endpoint, session: Session, target: EmailTarget) -> None:
        if not session.usable:
            session.drop()
            return
        timer = asyncio.get_running_loop().call_later(self._limits.idle, self._expire, endpoint, session, target)
        endpoint.idle.append((session, timer))

    def _expire(self, endpoint: _Endpoint, session: Session, target: EmailTarget) -> None:
        endpoint.idle = deque(item for item in endpoint.idle if item[0] is not session)
        self._dismiss(session)
        self._forget_unused(target, endpoint)

    def _retire(self, endpoint: _Endpoint) -> None:
        while endpoint.idle:
            session, timer = endpoint.idle.pop()
            timer.cancel()
            self._dismiss(session)

    def _dismiss(self, session: Session) -> None:
        task = asyncio.get_running_loop().create_task(session.leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _forget_unused(self, target: EmailTarget, endpoint: _Endpoint) -> None:
        if not endpoint.users and not endpoint.idle and self._endpoints.get(target.endpoint) is endpoint:
            del self._endpoints[target.endpoint]


async def _turn(turns: asyncio.Semaphore, envelope: Envelope) -> None:
    """Wait for a connection; whoever may not send any more leaves the queue, however long that is. Raises Fenced."""
    if not turns.locked():
        await turns.acquire()
        return
    turn = asyncio.ensure_future(turns.acquire())
    try:
        while not (await asyncio.wait({turn}, timeout=_LOOK))[0] and envelope.allowed():
            pass
    except asyncio.CancelledError:
        if not turn.cancel():
            turns.release()  # it was our turn at that very moment
        raise
    if not turn.done():
        turn.cancel()
        raise Fenced("this replica may not send any more")
