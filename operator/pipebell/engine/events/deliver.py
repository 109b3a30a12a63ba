"""One round of attempts: every destination that is due, at once, each settled by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import Fenced, NotReady, Unavailable
from pipebell.core.message import Message
from pipebell.core.models import KINDS
from pipebell.core.outcome import Action, Attempt, Outcome, OutcomeKind, Thread, delivery_id
from pipebell.core.policy.settle import settle
from pipebell.core.status import Delivery, clip, rfc3339
from pipebell.core.vocabulary import NotReadyReason, Reason
from pipebell.engine.events.breaker import Waiter
from pipebell.engine.events.state import next_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pipebell.core.destinations.base import Target
    from pipebell.core.policy.decision import Deliver
    from pipebell.core.policy.situation import Resolved, Situation
    from pipebell.core.ports import Clock
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.events.endpoints import Endpoints
    from pipebell.engine.events.observer import Observer
    from pipebell.engine.events.state import EventState
    from pipebell.engine.ports import Ports

PARTIAL_AFTER: Final = 3.0  # seconds that a success waits for slower destinations before it is recorded by itself
# What receivers answer to a key or a URL that they do not know (any more).
_LOGIN_REFUSED: Final = frozenset(
    {"SmtpAuthFailed", "Http400", "Http401", "Http403", "Http404", "Http410", "SlackRefused"}
)

_BUSY: Final = "the endpoint is busy; this waits for its turn"
_PACED: Final = "as many messages go there as the receiver takes; this waits for its turn"
_SEND: Final = Thread(Action.SEND)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Sending:
    """One round of attempts. `slow` are those that go on; `fenced`: one was not made, for it was not permitted.

    `over`: its event has ended elsewhere, or cannot be recorded; nothing more is begun.
    """

    resolved: Resolved
    decision: Deliver
    message: Message
    slow: Collection[asyncio.Task[None]] = ()
    fenced: bool = False
    over: bool = False

    async def complete(self, clock: Clock, until: float | None = None) -> None:
        """Wait for the attempts that go on, all or (`until`, seconds since the epoch) as many as end before that."""
        if until is None:
            await _all_of(self.slow)
            self.slow = ()
        else:
            self.slow = await _wait_at_most(self.slow, clock, max(until - clock.now(), 0.0))

    def cancel(self) -> None:
        """An attempt does not outlive the work on its event."""
        _cancel(self.slow)


class Deliverer:
    """Makes attempts and settles them on the state. `on_delivered` is called once a destination has the message."""

    def __init__(
        self,
        ports: Ports,
        resolver: Resolver,
        endpoints: Endpoints,
        observer: Observer,
        on_delivered: Callable[[EventState, Delivery, Target], None],
        max_age: float,
    ) -> None:
        self._providers, self._clock, self._ownership = ports.providers, ports.clock, ports.ownership
        self._resolver, self._endpoints = resolver, endpoints
        self._observer, self._on_delivered = observer, on_delivered
        self._installation, self._max_age = ports.installation, max_age
        self._templates = ports.templates
        self._since = self._clock.now()

    async def attempt(self, state: EventState, situation: Situation, decision: Deliver) -> Sending:
        """Try every destination that is due; comes back when all have answered, or after a while with the slow ones."""
        incident = state.part.record if state.part is not None else None
        message = Message(situation.event, decision.match.severity, state.suppressed, decision.match.note, incident)
        sending = Sending(situation.resolved, decision, message)
        due = self._all_due(state, decision, decision.targets)
        state.restored = False
        if len(due) == 1 and due[0].destination not in decision.fallbacks:
            await self._one(state, due[0], sending)  # nothing to record before it ends, so nothing to wait beside it
        elif due:
            tasks = [asyncio.create_task(self._one(state, delivery, sending)) for delivery in due]
            sending.slow = await _wait_at_most(tasks, self._clock, PARTIAL_AFTER)
        return sending

    def join(self, state: EventState, sending: Sending, names: Collection[str]) -> None:
        """Try these too, beside those attempts of the round that go on."""
        due = self._all_due(state, sending.decision, names)
        tasks = [asyncio.create_task(self._one(state, delivery, sending)) for delivery in due]
        sending.slow = {*sending.slow, *tasks}

    def _all_due(self, state: EventState, decision: Deliver, names: Collection[str]) -> list[Delivery]:
        """Deliveries among these that may be tried now. Of what may fail over, it is noted since when it was due."""
        now = self._clock.now()
        found = []
        for delivery in state.open():
            name = delivery.destination
            if name not in names or name not in decision.targets or not self._due(state, delivery, decision, now):
                continue
            if name in decision.fallbacks and delivery.first_due_time is None:
                update = {"first_due_time": rfc3339(now)}
                delivery = state.deliveries[name] = delivery.model_copy(update=update)  # noqa: PLW2901  (as it is now)
            found.append(delivery)
        return found

    def _due(self, state: EventState, delivery: Delivery, decision: Deliver, now: float) -> bool:
        """Whether a destination may be tried now; if its endpoint is paused, the event is woken in its turn."""
        target = decision.targets[delivery.destination]
        endpoint = target.endpoint
        at = next_attempt(delivery, now)
        if delivery.reason != Reason.RATE_LIMITED and at > now:
            return False
        if state.restored and at > now:
            self._endpoints.restore(endpoint, _waiter(state), at, delivery.refusals or 0)
        resume = self._endpoints.admit(endpoint, _waiter(state), KINDS[target.kind].rate(target))
        if resume is None:
            return True
        if delivery.reason != Reason.RATE_LIMITED:
            why = _PACED if self._endpoints.only_paced(endpoint) else _BUSY
            update = {
                "reason": Reason.RATE_LIMITED,
                "message": why,
                "next_attempt_time": rfc3339(resume),
                "first_due_time": delivery.first_due_time or rfc3339(now),
            }
            state.deliveries[delivery.destination] = delivery.model_copy(update=update)
        return False

    async def _one(self, state: EventState, delivery: Delivery, sending: Sending) -> None:
        target = sending.decision.targets[delivery.destination]
        message, fallback = await self._worded(state, delivery, sending, target)
        recipients = tuple(delivery.retry_recipients) if delivery.retry_recipients else None
        allowed = partial(self._ownership.may_send, state.org)
        began = self._clock.now()
        thread = sending.decision.match.threads.get(delivery.destination) or _thread(delivery)
        attempt = Attempt(
            delivery_id(state.uid, delivery.destination),
            recipients,
            allowed,
            thread.handle,
            now=began,
            expires=sending.message.event.created + self._max_age,
            installation=self._installation(),
            again=delivery.last_attempt_time is not None,
            since=self._since,
            action=thread.action,
            alert=thread.alert,
            anew=thread.anew,
        )
        try:
            outcome = await self._send(message, target, attempt)
            if outcome.kind is OutcomeKind.PERMANENT and outcome.reason in _LOGIN_REFUSED:
                outcome = await self._with_fresh_secrets(delivery, replace(sending, message=message), attempt, outcome)
        except Fenced:
            sending.fenced = True
            self._endpoints.not_attempted(target.endpoint, state.uid)
            return
        state.unrecorded = True
        ended = self._clock.now()
        who = (target.endpoint, _waiter(state))
        refusal = None
        if outcome.kind is OutcomeKind.PAUSE:
            refusal = self._endpoints.busy(*who, outcome, delivery.refusals or 0)
        else:
            self._endpoints.answered(*who, outcome)
        settled = settle(delivery, outcome, sending.resolved.layers.retry, began, ended, refusal)
        if fallback != (delivery.template_fallback or ""):
            settled = settled.model_copy(update={"template_fallback": clip(fallback) or None})
        state.deliveries[delivery.destination] = settled
        self._observer.on_attempt(state, target.kind, outcome, ended - began)
        shared = target.trusted and outcome.kind is not OutcomeKind.DELIVERED and _customised(sending, delivery)
        self._observer.on_answer(state, delivery.destination, target, outcome, shared=shared)
        if outcome.kind is OutcomeKind.HOST_NOT_ALLOWED:
            refused = NotReady(NotReadyReason.HOST_NOT_ALLOWED, outcome.message)
            sending.decision.blocked[delivery.destination] = refused
        elif outcome.kind is not OutcomeKind.DELIVERED:
            _log_failure(state, settled, outcome)
        if settled.delivered_time and not delivery.delivered_time:
            self._on_delivered(state, settled, target)

    async def _worded(
        self, state: EventState, delivery: Delivery, sending: Sending, target: Target
    ) -> tuple[Message, str]:
        """The message in the words of the destination's own templates, and which of them failed."""
        sources = sending.resolved.layers.templates(delivery.destination)
        if not sources:
            return sending.message, ""
        message, fallback = await self._templates.render(sending.message, target.kind, sources)
        if fallback:
            names = {"namespace": state.namespace, "name": state.name, "destination": delivery.destination}
            log.warning("template_failed", org=state.org, reason=fallback, **names)
        return message, fallback

    async def _send(self, message: Message, target: Target, attempt: Attempt) -> Outcome:
        feasible = KINDS[target.kind].feasible(target, attempt) if attempt.action is not Action.SEND else attempt
        if feasible is None:
            return Outcome(
                OutcomeKind.DELIVERED, "NothingToDo", f"{target.kind} cannot {attempt.action.value} a message there"
            )
        return await self._providers[target.kind].send(message, target, feasible)

    async def _with_fresh_secrets(
        self, delivery: Delivery, sending: Sending, attempt: Attempt, outcome: Outcome
    ) -> Outcome:
        """A refused login may mean a Secret that changed a moment ago: read it again, and use it at once if so.

        Of a webhook the URL is the login: a withdrawn one is not found.
        """
        config = sending.resolved.config
        if config is None:
            return outcome
        try:
            target = (await self._resolver.layers(config, fresh=True)).target(delivery.destination)
        except (NotReady, Unavailable):
            return outcome
        if target == sending.decision.targets[delivery.destination]:
            return outcome
        return await self._send(sending.message, target, attempt)


async def _wait_at_most(
    tasks: Collection[asyncio.Task[None]], clock: Clock, seconds: float
) -> Collection[asyncio.Task[None]]:
    """Wait `seconds` at most for attempts; returns those that go on. One's exception waits for what the others do."""
    enough = asyncio.ensure_future(clock.sleep(seconds))
    going = set(tasks)
    try:
        while going and not enough.done():
            done, _ = await asyncio.wait({*going, enough}, return_when=asyncio.FIRST_COMPLETED)
            going -= done
    except asyncio.CancelledError:
        _cancel(tasks)
        raise
    finally:
        enough.cancel()
    done = set(tasks) - going
    if not going or any(task.exception() for task in done):
        await _all_of(tasks)  # what the others do belongs to the record of this event as well
        return ()
    return going


async def _all_of(tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait for all, and raise what one of them raised."""
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        _cancel(tasks)
        raise
    for task in tasks:
        task.result()


def _cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    """An attempt does not outlive the work on its event."""
    for task in tasks:
        task.cancel()


def _thread(delivery: Delivery) -> Thread:
    """What an attempt does that nobody asks to do anything special: a message, in the thread that was planned."""
    return _SEND if delivery.handle is None else Thread(Action.REPLY, delivery.handle)


def _customised(sending: Sending, delivery: Delivery) -> bool:
    """Whether the organisation says anything of this destination of root's: then a refusal may be its own doing."""
    found = sending.resolved.layers.destination(delivery.destination)
    return found is not None and found.block.org is not None


def _waiter(state: EventState) -> Waiter:
    return Waiter(state.namespace, state.org, state.uid)


def _log_failure(state: EventState, delivery: Delivery, outcome: Outcome) -> None:
    log.warning(
        "notification_failed",
        org=state.org,
        namespace=state.namespace,
        name=state.name,
        destination=delivery.destination,
        reason=outcome.reason,
        message=outcome.message,
        attempt=delivery.attempts,
        next_attempt=delivery.next_attempt_time,
    )
