"""Every kind of destination that takes HTTP requests: sends them, and has the kind say what the answer means."""

from __future__ import annotations

import asyncio
import socket
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from pipebell.core.destinations.http import Response, Sent, classify_response, judge_trial
from pipebell.core.errors import NotReady
from pipebell.core.finding import Finding
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import NotReadyReason
from pipebell.providers.checks import webhook
from pipebell.providers.failures import outcome_of
from pipebell.providers.http import NotAdmitted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipebell.core.destinations.http import HttpKind, HttpTarget
    from pipebell.core.hosts import HostPolicy
    from pipebell.core.message import Message
    from pipebell.core.outcome import Attempt
    from pipebell.providers.http import Http

_TRIAL: Final = 15.0  # seconds for one question of `verify` or a probe
_MOST_REQUESTS: Final = 3  # of one attempt: whatever is answered, it comes to an end


class HttpProvider:
    """Sends messages of one kind. `now` is seconds since the epoch.

    `guarded` is for organisations' hosts of a kind that goes anywhere: it asks of every address. So does `plain`, for
    URLs without TLS.
    """

    def __init__(
        self,
        kind: HttpKind,
        http: Http,
        hosts: HostPolicy,
        now: Callable[[], float],
        guarded: Http | None = None,
        plain: Http | None = None,
    ) -> None:
        self._kind, self._http, self._hosts, self._now = kind, http, hosts, now
        # The lists do not change while we run. `urlsplit`, which is half of it, remembers as many URLs itself.
        self._admits = lru_cache(maxsize=128)(partial(hosts.admits_url, kind))
        self._guarded = guarded or http
        self._plain = plain or self._guarded

    async def send(self, message: Message, target: HttpTarget, attempt: Attempt) -> Outcome:
        """One attempt. Raises Fenced if this replica may not send any more once the request could go out."""
        refusal = self._refusal(target)
        if refusal:
            return Outcome(OutcomeKind.HOST_NOT_ALLOWED, "HostNotAllowed", refusal)
        opening = self._kind.before(message, target, attempt) or self._kind.request(message, target, attempt)
        sent = Sent(message, target, attempt, opening)
        try:
            response = await self._post(sent)
            for _ in range(_MOST_REQUESTS - 1):
                if not attempt.anew and self._kind.gone(sent, response):
                    return Outcome(OutcomeKind.DELIVERED, message="the message to be changed is gone")
                following = self._kind.then(sent, response)
                if following is None:
                    break
                sent = Sent(message, target, attempt, following, first=False)
                response = await self._post(sent)
        except NotAdmitted as error:
            return Outcome(OutcomeKind.HOST_NOT_ALLOWED, "HostNotAllowed", _private(error, target))
        except OSError as error:
            return outcome_of(error, target.host or self._kind.title)
        except ValueError:
            return Outcome(OutcomeKind.PERMANENT, "InvalidUrl", f"the URL of {target.where} cannot be posted to")
        return classify_response(self._kind, response, target, self._now())

    async def _post(self, sent: Sent) -> Response:
        answer = await self._client(sent.target).send(
            sent.request.method,
            sent.request.url,
            sent.request.body,
            {**sent.request.headers, "X-Pipebell-Delivery": sent.attempt.delivery_id},
            namespace=sent.message.event.namespace,
            allowed=sent.attempt.allowed,
        )
        return Response(answer.status, answer.headers, answer.body, sent.target.host)

    async def check(self, target: HttpTarget, namespace: str = "") -> None:
        """Raises NotReady(HostNotAllowed) if an organisation may not send there."""
        refusal = self._refusal(target)
        if refusal:
            raise NotReady(NotReadyReason.HOST_NOT_ALLOWED, refusal)
        try:
            await self._client(target).check(target.url, namespace)
        except NotAdmitted as error:
            raise NotReady(NotReadyReason.HOST_NOT_ALLOWED, _private(error, target)) from None
        except (OSError, ValueError):
            return  # that its name cannot be resolved now says nothing about where it leads

    async def verify(self, target: HttpTarget, namespace: str = "") -> Sequence[Finding]:
        """Ask the endpoint for something harmless, or its host alone: nothing is sent."""
        if objection := webhook.objection(self._kind, target, self._hosts):
            return [objection]
        try:
            response = await self._ask(target, namespace)
        except NotAdmitted as error:
            return [Finding("host", False, _private(error, target), "", "HostNotAllowed")]
        except OSError as error:
            found = webhook.unresolved(target) if _unresolved(error) else webhook.unreachable(error, target.url)
            return [found]
        except ValueError:
            return [Finding("form", False, f"the URL of {target.where} cannot be asked", "", "InvalidUrl")]
        return [webhook.answered(self._kind, target, response, self._now())]

    async def probe(self, target: HttpTarget, namespace: str = "") -> Outcome:
        """Ask the same."""
        refusal = self._refusal(target)
        if refusal:
            return Outcome(OutcomeKind.HOST_NOT_ALLOWED, "HostNotAllowed", refusal)
        try:
            response = await self._ask(target, namespace)
        except NotAdmitted as error:
            return Outcome(OutcomeKind.HOST_NOT_ALLOWED, "HostNotAllowed", _private(error, target))
        except OSError as error:
            return outcome_of(error, target.host or self._kind.title)
        except ValueError:
            return Outcome(OutcomeKind.PERMANENT, "InvalidUrl", f"the URL of {target.where} cannot be asked")
        return judge_trial(self._kind, response, target, self._now())

    async def _ask(self, target: HttpTarget, namespace: str) -> Response:
        asked = self._kind.trial(target)
        async with asyncio.timeout(_TRIAL):
            answer = await self._client(target).send(
                asked.method, asked.url, asked.body, asked.headers, namespace=namespace
            )
        return Response(answer.status, answer.headers, answer.body, target.host)

    async def close(self) -> None:
        """Close all connections."""
        for client in {self._http, self._guarded, self._plain}:
            await client.close()

    def _client(self, target: HttpTarget) -> Http:
        if target.trusted or not self._kind.hosts.anywhere:
            return self._http
        return self._plain if target.url.startswith("http:") else self._guarded

    def _refusal(self, target: HttpTarget) -> str:
        if target.trusted or self._admits(target.url):
            return ""
        return (
            f"the host of {target.where or self._kind.name} is not allowed: "
            f"the platform team may add it (PIPEBELL_ALLOWED_HOSTS, {self._kind.name}=HOST)"
        )


def _unresolved(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, socket.gaierror):
            return True
        error = error.__cause__
    return False


def _private(error: NotAdmitted, target: HttpTarget) -> str:
    if target.url.startswith("http:"):
        return f"{target.host}: http is for hosts that the platform team lists (PIPEBELL_PRIVATE_HOSTS): use https"
    return f"{error}: the platform team may allow it (PIPEBELL_PRIVATE_HOSTS)"
