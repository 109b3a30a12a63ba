"""What the operator goes by when it decides, observed with a person's rights."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from pipebell.cli import observe_incidents
from pipebell.cli.client import EVENTS, SILENCES
from pipebell.core.errors import InvalidInput, NotFound, Rejected
from pipebell.core.policy.situation import CooldownFacts, Original, Progress, Resolved, Situation
from pipebell.core.shards import ALL_SHARDS
from pipebell.engine.events.batches import Batches
from pipebell.engine.events.budgets import Budgets
from pipebell.engine.events.ledger import CooldownLedger, key_for
from pipebell.engine.events.state import EventState
from pipebell.kube.parse import parse_event, parse_silence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipebell.cli.client import Client
    from pipebell.core.errors import NotReady
    from pipebell.core.event import Event
    from pipebell.core.incidents.resource import Incident
    from pipebell.core.policy.decision import Skip
    from pipebell.core.silences.resource import Silence

MAX_AGE: Final = 86_400.0  # seconds; the operator's default

max_age_option = click.option(
    "--event-max-age",
    "max_age",
    type=float,
    default=MAX_AGE,
    envvar="PIPEBELL_EVENT_MAX_AGE",
    metavar="SECONDS",
    help=f"The operator's PIPEBELL_EVENT_MAX_AGE [default: {MAX_AGE:.0f}].",
)


def others_like(client: Client, event: Event, configuration: Resolved | Skip | NotReady | None = None) -> list[Event]:
    """Events that may share a cooldown with this one; where the configuration has them, a digest or an hourly limit."""
    fields = {"spec.orgSlug": event.spec.org_slug, "spec.event": event.spec.event.value}
    if isinstance(configuration, Resolved) and _together(configuration):
        del fields["spec.event"]
    found = []
    for item in client.list(EVENTS, event.namespace, fields=fields):
        try:
            found.append(parse_event(item))
        except InvalidInput:
            continue  # the operator cannot read it either
    return found


def original_of(client: Client, event: Event) -> Original | None:
    """What is there of the event that a replay names; None for what is no replay, or was tried already."""
    replayed = event.spec.replay_of
    if replayed is None or _progress(event).tried:
        return None
    try:
        found = parse_event(client.get(EVENTS, replayed.name, event.namespace))
    except (NotFound, InvalidInput):
        return Original()
    return Original.of(found, event.spec.org_slug)


def silences_of(client: Client, event: Event, operator_namespace: str) -> tuple[list[Silence], list[str]]:
    """The silences that may concern an event, and what could not be looked at."""
    found: list[Silence] = []
    notes = []
    for namespace in dict.fromkeys((event.namespace, operator_namespace)):
        try:
            items = list(client.list(SILENCES, namespace))
        except Rejected:
            whose = "the platform's silences" if namespace == operator_namespace else "silences"
            notes.append(f"you may not list {whose} in {namespace}: one may hold the event back")
            continue
        except NotFound:
            continue
        for item in items:
            with suppress(InvalidInput):  # the operator cannot read it either
                found.append(parse_silence(item, operator_namespace))
    return found, notes


class Around(NamedTuple):
    """What else may concern an event: silences, and incidents of its organisation in its namespace."""

    silences: Sequence[Silence] = ()
    incidents: Sequence[Incident] = ()


_ALONE: Final = Around()


def situation(
    event: Event,
    configuration: Resolved | Skip | NotReady,
    others: Iterable[Event],
    now: float,
    max_age: float = MAX_AGE,
    original: Original | None = None,
    around: Around = _ALONE,
) -> Situation:
    """The event's situation at `now` (seconds since the epoch); of a finished one, as if nothing had been sent yet.

    What it waits for is kept all the same: it is told by the digests that its status names.

    `others` are events that may share a cooldown with it.
    """
    facts = CooldownFacts()
    progress = Progress(batch=EventState.of(event).batch) if event.status.finished else _progress(event)
    others = list(others)
    if isinstance(configuration, Resolved) and not event.exempt:
        facts = _cooldown(event, configuration, others)
    known = observe_incidents.known(event, configuration, around.incidents)
    found = Situation(event, now, max_age, configuration, facts, progress, original, incident=known)
    found = found._replace(silences=around.silences)
    return _with_limits(found, configuration, others) if isinstance(configuration, Resolved) else found


def _together(configuration: Resolved) -> bool:
    """Whether events of several types depend on each other."""
    layers = configuration.layers
    return layers.batches or layers.max_per_hour is not None or layers.root_max_per_hour is not None


def _with_limits(s: Situation, configuration: Resolved, others: Iterable[Event]) -> Situation:
    """The same with what can be known of digests and hourly limits: root's by this organisation's events alone."""
    if not _together(configuration):
        return s
    ledger = CooldownLedger()
    ledger.finish_fold()
    batches, budgets = Batches(ledger), Budgets(ledger)
    for other in others:
        if other.uid != s.event.uid:
            batches.fold(other, s.now)
            budgets.fold(other, configuration.layers, s.now)
    state = EventState.of(s.event)
    return s._replace(
        batches=batches.look(s.event.namespace, s.event.spec.org_slug),
        budget=budgets.look(state, s.event, configuration.layers, s.now),
    )


def _progress(event: Event) -> Progress:
    deliveries = event.status.deliveries or []
    return Progress(
        tried=any(item.last_attempt_time for item in deliveries),
        attempted=any(item.attempts or item.delivered_time for item in deliveries),
        open=[item.destination for item in deliveries if not item.phase.final],
        suppressed=event.status.suppressed_count or 0,
        stand_ins=[item.destination for item in deliveries if item.failover_for and not item.phase.final],
        batch=EventState.of(event).batch,
    )


def _cooldown(event: Event, resolved: Resolved, others: Iterable[Event]) -> CooldownFacts:
    ledger, key = CooldownLedger(), key_for(resolved.reference, event)
    ledger.begin_fold(ALL_SHARDS)
    names = {}
    for other in others:
        if other.uid != event.uid:
            names[other.uid] = other.name
            ledger.fold(other)
    ledger.finish_fold()
    facts = ledger.look(key)
    return facts._replace(sender_name=names.get(facts.sender or "", ""))
