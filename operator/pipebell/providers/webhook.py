"""Every kind of destination that takes one HTTP request: sends it, and has the kind say what the answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.destinations.http import Response, classify_response
from pipebell.core.errors import NotReady
from pipebell.core.outcome import Outcome, Verdict
from pipebell.core.vocabulary import NotReadyReason
from pipebell.providers.failures import outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.destinations.http import HttpKind, HttpTarget
    from pipebell.core.hosts import HostPolicy
    from pipebell.core.message import Message
    from pipebell.core.outcome import Attempt
    from pipebell.providers.http import Http


class HttpProvider:
    """Sends messages of one kind. `now` is seconds since the epoch."""

    def __init__(self, kind: HttpKind, http: Http, hosts: HostPolicy, now: Callable[[], float]) -> None:
        self._kind, self._http, self._hosts, self._now = kind, http, hosts, now

    async def send(self, message: Message, target: HttpTarget, attempt: Attempt) -> Outcome:
        """One attempt. Raises Fenced if this replica may not send any more once the request could go out."""
        refusal = self._refusal(target)
        if refusal:
            return Outcome(Verdict.HOST_NOT_ALLOWED, "HostNotAllowed", refusal)
        request = self._kind.request(message, target, attempt)
        headers = {**request.headers, "X-Pipebell-Delivery": attempt.delivery_id}
        try:
            answer = await self._http.send(request.method, request.url, request.body, headers, allowed=attempt.allowed)
        except OSError as error:
            return outcome_of(error, target.host or self._kind.title)
        except ValueError:
            return Outcome(Verdict.PERMANENT, "InvalidUrl", f"the URL of {target.where} cannot be posted to")
        response = Response(answer.status, answer.headers, answer.body, target.host)
        return classify_response(self._kind, response, target, self._now())

    async def check(self, target: HttpTarget) -> None:
        """Raises NotReady(HostNotAllowed) if an organisation may not send there."""
        refusal = self._refusal(target)
        if refusal:
            raise NotReady(NotReadyReason.HOST_NOT_ALLOWED, refusal)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    def _refusal(self, target: HttpTarget) -> str:
        if target.trusted or self._hosts.admits_url(self._kind, target.url):
            return ""
        return (
            f"the host of {target.where or self._kind.name} is not allowed: "
            f"the platform team may add it (PIPEBELL_ALLOWED_HOSTS, {self._kind.name}=HOST)"
        )
