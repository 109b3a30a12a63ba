"""One round of attempts: every destination that is due, at once, each settled by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from pipebell.core.errors import Fenced, NotReady, Unavailable
from pipebell.core.event import Notification
from pipebell.core.outcome import Attempt, Outcome, Verdict, delivery_id
from pipebell.core.policy.settle import pause_seconds, settle
from pipebell.core.status import Delivery, rfc3339
from pipebell.core.vocabulary import NotReadyReason, ProviderName, Reason
from pipebell.engine.events.state import next_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.event import Event
    from pipebell.core.policy.triggers import Match
    from pipebell.core.targets import Target
    from pipebell.engine.configs.resolver import Resolved, Resolver
    from pipebell.engine.events.endpoints import EndpointPauses
    from pipebell.engine.events.observer import Observer
    from pipebell.engine.events.state import Journey
    from pipebell.engine.ports import Clock, Ownership, Provider

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything that one round of attempts needs: usable destinations, and why the others are not."""

    resolved: Resolved
    match: Match
    targets: dict[str, Target]
    blocked: dict[str, NotReady]


class Deliverer:
    """Makes attempts and settles them on the journey. `told` is called once a destination has the message."""

    def __init__(  # noqa: PLR0913  (the engine names them)
        self,
        resolver: Resolver,
        providers: Mapping[ProviderName, Provider],
        pauses: EndpointPauses,
        clock: Clock,
        observer: Observer,
        ownership: Ownership,
        told: Callable[[Journey, Delivery], None],
    ) -> None:
        self._resolver, self._providers, self._pauses = resolver, providers, pauses
        self._clock, self._observer, self._ownership, self._told = clock, observer, ownership, told

    async def attempt(self, journey: Journey, event: Event, ready: Ready, patience: float) -> set[asyncio.Task[None]]:
        """Try every destination that is due. Returns those attempts that take longer than `patience` seconds."""
        notification = Notification(event, ready.match.severity, journey.suppressed)
        now = self._clock.now()
        due = [
            delivery
            for delivery in journey.open()
            if delivery.destination in ready.targets and self._due(journey, delivery, ready, now)
        ]
        journey.restored = False
        if len(due) == 1:  # nothing to record before it ends, so nothing to wait beside it
            await self._one(journey, due[0], notification, ready)
            return set()
        if not due:
            return set()
        tasks = [asyncio.create_task(self._one(journey, delivery, notification, ready)) for delivery in due]
        done, slow = await asyncio.wait(tasks, timeout=patience)
        if any(task.exception() for task in done):
            if slow:  # what they do belongs to the record of this event as well
                await asyncio.wait(slow)
            done, slow = set(tasks), set()
        for task in done:
            task.result()
        return slow

    @staticmethod
    async def complete(slow: set[asyncio.Task[None]]) -> None:
        """Wait for attempts that are still under way."""
        done, _ = await asyncio.wait(slow)
        for task in done:
            task.result()

    def _due(self, journey: Journey, delivery: Delivery, ready: Ready, now: float) -> bool:
        """Whether a destination may be tried now; if its endpoint is paused, the event is woken in its turn."""
        endpoint = ready.targets[delivery.destination].endpoint
        at = next_attempt(delivery)
        if delivery.reason != Reason.RATE_LIMITED and at > now:
            return False
        if journey.restored and at > now:
            self._pauses.pause(endpoint, journey.uid, at)  # it is still to be left alone, after our restart too
        resume = self._pauses.admit(endpoint, journey.uid)
        if resume is None:
            return True
        if delivery.reason != Reason.RATE_LIMITED:
            message = "the endpoint asked for a pause; this waits for its turn"
            update = {"reason": Reason.RATE_LIMITED, "message": message, "next_attempt_time": rfc3339(resume)}
            journey.deliveries[delivery.destination] = delivery.model_copy(update=update)
        return False

    async def _one(self, journey: Journey, delivery: Delivery, notification: Notification, ready: Ready) -> None:
        target = ready.targets[delivery.destination]
        recipients = tuple(delivery.retry_recipients) if delivery.retry_recipients else None
        allowed = partial(self._ownership.may_send, journey.org)
        attempt = Attempt(delivery_id(journey.uid, delivery.destination), recipients, allowed)
        began = self._clock.now()
        try:
            outcome = await self._providers[delivery.provider].send(notification, target, attempt)
            if outcome.reason == "SmtpAuthFailed":
                outcome = await self._with_fresh_secrets(delivery, notification, ready, attempt, outcome)
        except Fenced:
            journey.fenced = True
            self._pauses.forfeited(target.endpoint)
            return
        journey.unrecorded = True
        ended = self._clock.now()
        if outcome.verdict is Verdict.PAUSE:
            self._pauses.pause(target.endpoint, journey.uid, ended + pause_seconds(outcome))
        else:
            self._pauses.answered(target.endpoint)
        settled = settle(delivery, outcome, ready.resolved.layers.retry, began, ended)
        journey.deliveries[delivery.destination] = settled
        self._observer.attempted(journey, delivery.provider, outcome, ended - began)
        if outcome.verdict is Verdict.HOST_NOT_ALLOWED:
            ready.blocked[delivery.destination] = NotReady(NotReadyReason.HOST_NOT_ALLOWED, outcome.message)
        elif outcome.verdict is not Verdict.DELIVERED:
            _log_failure(journey, settled, outcome)
        if settled.delivered_time and not delivery.delivered_time:
            self._told(journey, settled)

    async def _with_fresh_secrets(
        self, delivery: Delivery, notification: Notification, ready: Ready, attempt: Attempt, outcome: Outcome
    ) -> Outcome:
        """A refused login may mean a Secret that changed a moment ago: read it again, and use it at once if so."""
        config = ready.resolved.config
        if config is None:
            return outcome
        try:
            target = (await self._resolver.layers(config, fresh=True)).target(delivery.provider)
        except (NotReady, Unavailable):
            return outcome
        if target == ready.targets[delivery.destination]:
            return outcome
        return await self._providers[delivery.provider].send(notification, target, attempt)


def _log_failure(journey: Journey, delivery: Delivery, outcome: Outcome) -> None:
    log.warning(
        "notification failed",
        org=journey.org,
        _event=f"{journey.namespace}/{journey.name}",
        provider=delivery.provider.value,
        reason=outcome.reason,
        message=outcome.message,
        attempt=delivery.attempts,
        next_attempt=delivery.next_attempt_time,
    )
