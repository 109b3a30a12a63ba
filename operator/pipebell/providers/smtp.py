"""SMTP: carries messages to servers over few, reused connections, and never to where it must not go."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import aiosmtplib

from pipebell.core.errors import Fenced
from pipebell.core.finding import Finding
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.providers.checks.line import Line
from pipebell.providers.checks.smtp import check
from pipebell.providers.dns import Dns
from pipebell.providers.smtp_answers import Reply, too_many_connections
from pipebell.providers.smtp_outcomes import answered, broken, misunderstood, settled
from pipebell.providers.smtp_session import Envelope, Limits, Session, Unusable
from pipebell.providers.threads import in_a_thread
from pipebell.providers.turns import Turns

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Hashable, Sequence

    from pipebell.core.destinations.email import EmailTarget
    from pipebell.core.hosts import HostPolicy
    from pipebell.providers.dns import Address

__all__ = ["Envelope", "Limits", "Smtp"]

_PLAINTEXT: Final = Outcome(
    OutcomeKind.PERMANENT,
    "TlsRequired",
    "user name and password are never sent without TLS: set smtpUseTls or smtpTls, or leave smtpUsername out",
)


@dataclass(slots=True)
class _Endpoint:
    """The connections to one server under one account. `live` are all that are open or about to be."""

    turns: Turns
    idle: deque[tuple[Session, asyncio.TimerHandle]] = field(default_factory=deque)
    live: set[Session] = field(default_factory=set)
    users: int = 0


class Smtp:
    """Sends messages. `hosts` guards what organisations configure; `tls` says whom to trust; `now` is for tests."""

    def __init__(
        self,
        hosts: HostPolicy,
        tls: ssl.SSLContext,
        limits: Limits | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._hosts, self._tls, self._limits = hosts, tls, limits or Limits()
        self._now = now or (lambda: asyncio.get_running_loop().time())
        self._dns = Dns()
        self._endpoints: dict[Hashable, _Endpoint] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def send(self, target: EmailTarget, envelope: Envelope) -> Outcome:
        """One attempt to hand a message over. Waits for one of the endpoint's connections.

        Raises Fenced if the message may not go any more, which says nothing about the endpoint; nothing else.
        """
        if target.username is not None and not (target.use_tls or target.implicit_tls):
            return _PLAINTEXT
        endpoint = self._endpoints.get(target.endpoint)
        if endpoint is None:
            turns = Turns(self._limits.connections, self._limits.raise_after, self._now)
            endpoint = self._endpoints[target.endpoint] = _Endpoint(turns)
        endpoint.users += 1
        try:
            return await self._in_turn(endpoint, target, envelope)
        finally:
            endpoint.users -= 1
            self._forget_unused(target, endpoint)

    async def refusal(self, target: EmailTarget, namespace: str = "") -> str:
        """Why the target's host may not be connected to; "" if it may. Raises OSError if it cannot be resolved."""
        try:
            await self._addresses(target, namespace)
        except Unusable as error:
            return error.outcome.message
        return ""

    async def verify(self, target: EmailTarget, namespace: str = "") -> Sequence[Finding]:
        """Try everything short of a message over a connection of its own, within `Limits.trial` seconds."""
        try:
            addresses = await self._addresses(target, namespace)
        except Unusable as error:
            return [Finding("host", False, error.outcome.message, "", error.outcome.reason)]
        except OSError:
            return list(check(target, Line(_nowhere), self._tls))
        line = Line(lambda _host, _port: addresses, self._limits.trial)
        trial = in_a_thread(lambda: list(check(target, line, self._tls, discreet=target.trusted)), "verify")
        alarm = asyncio.get_running_loop().call_later(self._limits.trial, line.cut)
        try:
            return await trial
        finally:
            alarm.cancel()
            line.cut()

    async def probe(self, target: EmailTarget, namespace: str = "") -> Outcome:
        """Connect, secure the connection and log in, on a connection of its own; nothing is sent. Never raises."""
        if target.username is not None and not (target.use_tls or target.implicit_tls):
            return _PLAINTEXT
        session = Session(self._limits, self._tls)
        try:
            await session.open(target, await self._addresses(target, namespace))
        except Unusable as error:
            return error.outcome
        except aiosmtplib.SMTPResponseException as error:
            return answered(session.stage, Reply(error.code, error.message), session.receipt, "", target)
        except OSError as error:
            return broken(error, session.receipt, "", target)
        except aiosmtplib.SMTPException:
            return misunderstood(session.receipt, "", target)
        finally:
            await session.leave()
        return Outcome(OutcomeKind.DELIVERED)

    async def close(self) -> None:
        """Say goodbye to all servers."""
        for endpoint in self._endpoints.values():
            self._retire(endpoint)
        self._endpoints.clear()
        await asyncio.gather(*self._leaving)

    async def _in_turn(self, endpoint: _Endpoint, target: EmailTarget, envelope: Envelope) -> Outcome:
        """Send over a connection; over another one, when the server only wants fewer of them."""
        again = 0
        while True:
            instead = await endpoint.turns.take(envelope.lane, envelope.allowed, first=again > 0)
            if instead is not None:
                return instead
            try:
                outcome, crowded = await self._attempt(endpoint, target, envelope)
            finally:
                endpoint.turns.give_back()
            if not crowded or again > self._limits.connections:
                return outcome
            again += 1

    async def _attempt(self, endpoint: _Endpoint, target: EmailTarget, envelope: Envelope) -> tuple[Outcome, bool]:
        session = self._take(endpoint)
        if session is not None:
            outcome = await self._talk(endpoint, session, target, envelope)
            if not session.stale:
                return outcome, self._crowded(endpoint, session, outcome)
        session = Session(self._limits, self._tls)
        endpoint.live.add(session)
        outcome = await self._talk(endpoint, session, target, envelope)
        return outcome, self._crowded(endpoint, session, outcome)

    async def _talk(self, endpoint: _Endpoint, session: Session, target: EmailTarget, envelope: Envelope) -> Outcome:
        try:
            if not session.opened:
                if not envelope.allowed():
                    raise Fenced("this replica may not send any more")
                await session.open(target, await self._addresses(target, envelope.lane[0]))
            return settled(await session.transact(envelope), envelope.message_id, target)
        except Unusable as error:
            return error.outcome
        except aiosmtplib.SMTPResponseException as error:
            reply = Reply(error.code, error.message)
            session.crowded = too_many_connections(reply)
            return answered(session.stage, reply, session.receipt, envelope.message_id, target)
        except OSError as error:
            return broken(error, session.receipt, envelope.message_id, target)
        except aiosmtplib.SMTPException:
            return misunderstood(session.receipt, envelope.message_id, target)
        finally:
            self._give_back(endpoint, session, target)

    def _crowded(self, endpoint: _Endpoint, session: Session, outcome: Outcome) -> bool:
        """Adapt to a refusal. Whether the message should take another connection: the server wants fewer of them."""
        others = len(endpoint.live - {session})
        for_now = outcome.kind in (OutcomeKind.RETRY, OutcomeKind.PAUSE)
        if session.stage.opening:
            if others and for_now:
                endpoint.turns.lower(others)
                return True
            # It would be the same for those who wait, and a dead server must not hold up everybody for as long as all
            # their timeouts add up to.
            endpoint.turns.dismiss(_for_others(outcome))
            self._retire(endpoint)
        elif outcome.kind is OutcomeKind.PAUSE:
            if others and session.crowded and not outcome.accepted and not outcome.refused:
                endpoint.turns.lower(others)
                return True
            endpoint.turns.lower(endpoint.turns.limit // 2)
            endpoint.turns.dismiss(_for_others(outcome))
        return False

    async def _addresses(self, target: EmailTarget, namespace: str) -> list[Address]:
        """Where the host leads and we may go. Raises Unusable when that is nowhere, OSError when nobody knows."""
        found = await self._dns.resolve(target.host, target.port, namespace)
        if target.trusted:
            return found
        allowed = [place for place in found if self._hosts.admits_address(target.host, str(place[1][0]))]
        if not allowed:
            message = (
                f"{target.host} leads to a private address: the platform team may allow it (PIPEBELL_PRIVATE_HOSTS)"
            )
            raise Unusable(Outcome(OutcomeKind.HOST_NOT_ALLOWED, "HostNotAllowed", message))
        return allowed

    def _take(self, endpoint: _Endpoint) -> Session | None:
        """The connection used last, so that those too many grow old."""
        while endpoint.idle:
            session, timer = endpoint.idle.pop()
            timer.cancel()
            if session.usable:
                return session
            self._dismiss(endpoint, session)
        return None

    def _give_back(self, endpoint: _Endpoint, session: Session, target: EmailTarget) -> None:
        if not session.usable:
            endpoint.live.discard(session)
            session.drop()
            return
        timer = asyncio.get_running_loop().call_later(self._limits.idle, self._expire, endpoint, session, target)
        endpoint.idle.append((session, timer))

    def _expire(self, endpoint: _Endpoint, session: Session, target: EmailTarget) -> None:
        endpoint.idle = deque(item for item in endpoint.idle if item[0] is not session)
        self._dismiss(endpoint, session)
        self._forget_unused(target, endpoint)

    def _retire(self, endpoint: _Endpoint) -> None:
        while endpoint.idle:
            session, timer = endpoint.idle.pop()
            timer.cancel()
            self._dismiss(endpoint, session)

    def _dismiss(self, endpoint: _Endpoint, session: Session) -> None:
        endpoint.live.discard(session)
        task = asyncio.get_running_loop().create_task(session.leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _forget_unused(self, target: EmailTarget, endpoint: _Endpoint) -> None:
        if endpoint.users or endpoint.idle or self._endpoints.get(target.endpoint) is not endpoint:
            return
        if endpoint.turns.lowered:  # what was learned of the server is worth remembering until it is outdated
            again = self._limits.raise_after
            asyncio.get_running_loop().call_later(again, self._forget_unused, target, endpoint)
        else:
            del self._endpoints[target.endpoint]


def _nowhere(_host: str, _port: int) -> list[Address]:
    raise socket.gaierror(socket.EAI_NONAME, "not resolved")


def _for_others(outcome: Outcome) -> Outcome:
    """The same for those who were not heard themselves."""
    return replace(
        outcome,
        message_id=None,
        retry_recipients=(),
        refused=(),
        accepted=False,
        unanswered=False,
        untried=outcome.kind is OutcomeKind.PAUSE,
    )
