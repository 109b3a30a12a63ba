"""How many notifications an hour: what exceeds the organisation's own limit, or root's, waits for a digest."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipebell.core.errors import NotReady
from pipebell.core.layers import part_of
from pipebell.core.policy.batches import Rhythm, place
from pipebell.core.policy.decision import Wait, WaitsFor
from pipebell.core.policy.digest import deferred
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.shards import shard_of
from pipebell.core.vocabulary import EventType, IncidentAction, NoticeKind, Severity, StageName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pipebell.core.event import Event
    from pipebell.core.layers import Layers
    from pipebell.core.policy.decision import Decision

_MANY: Final = (NoticeKind.DIGEST, NoticeKind.CATCH_UP, NoticeKind.STORM)  # one message for many events each
_RECOVERIES: Final = (EventType.PIPELINE_SUCCESS, EventType.CHANNEL_RECOVERED)


def is_good(event: Event) -> bool:
    """Whether an event says that something is well: root's limit of these is another one, without failures."""
    return event.spec.event in _RECOVERIES and not _many(event)


def _many(event: Event) -> bool:
    return event.spec.notice is not None and event.spec.notice.kind in _MANY


def _ends_incident(event: Event) -> bool:
    """Whether it is the operator's word that an incident is over; that a channel works is said of any channel."""
    return event.spec.notice is not None and event.spec.notice.kind is not NoticeKind.CHANNEL


def counted(
    event: Event, severity: Severity, destinations: Collection[str], layers: Layers, *, recovers: bool
) -> tuple[bool, bool]:
    """Whether an event that is sent there counts in the organisation's own limit, and in root's.

    `recovers`: an incident ends by it. Anybody may say that something is well, and as often as they like.
    """
    spec = event.spec
    many, good = _many(event), is_good(event)
    if good and (recovers or _ends_incident(event)):
        return False, False
    free = good or spec.test is True or spec.replay_of is not None or (severity is Severity.CRITICAL and not many)
    own = layers.max_per_hour is not None and not free
    root = layers.root_max_per_hour is not None and any(layers.on_root(name) for name in destinations)
    return own, root


def counts(s: Situation) -> tuple[bool, bool]:
    """The same of an event as it is decided."""
    match = s.matched
    recovers = match.mark is not None and match.mark.action is IncidentAction.RECOVERED
    return counted(s.event, match.severity, match.destinations, s.resolved.layers, recovers=recovers)


def budget(s: Situation) -> Decision | Situation:
    """Batch what exceeds a limit; pass the rest on."""
    facts, notice = s.budget, s.event.spec.notice
    if facts is None or facts.claimed or s.progress.tried:
        return s
    if notice is not None and notice.kind in _MANY:  # it counts, and is never held back
        return s
    if not facts.known:
        message = "how many were told in this hour is being read"
        return Wait(StageName.BUDGET, WaitsFor.LEDGER, None, message, match=s.matched)
    own, root = counts(s)
    if own and facts.own is not None and facts.own.exhausted:
        held, limit = list(s.matched.destinations), facts.own
        why = f"the organisation is told of {limit.limit} events an hour at most: "
    elif root and facts.root is not None and facts.root.exhausted:
        held, limit = [name for name in s.matched.destinations if s.resolved.layers.on_root(name)], facts.root
        why = f"the platform's endpoints are told of {limit.limit} events of a namespace an hour at most: "
    else:
        return s
    own_excess = limit is facts.own
    names = dict.fromkeys(part_of(name)[0] for name in held)
    found = (
        place(s.batches, rhythm, s.event.namespace, name, s.now) for name, rhythm in _rhythms(s, names, own=own_excess)
    )
    batch = (*s.batch, *found)
    kept = tuple(name for name in s.matched.destinations if name not in held)
    if kept:
        return s._replace(match=replace(s.matched, destinations=kept), batch=batch)
    return deferred(s, StageName.BUDGET, batch, why)


def _rhythms(s: Situation, names: dict[str, None], *, own: bool) -> Iterator[tuple[str, Rhythm]]:
    """At the hour's end: the organisation's own, or (root's limit) together with others that have the same target."""
    org = s.event.spec.org_slug
    for name in names:
        if own:
            yield name, Rhythm(org, hourly="own")
        else:
            yield name, _shared(s.resolved.layers, org, name)


def shared_name(layers: Layers, org: str, namespace: str, destination: str, due: float) -> str:
    """The digest of root's excess that an organisation's messages to a destination join, as they would go by now."""
    return _shared(layers, org, destination).name(namespace, destination, due)


def _shared(layers: Layers, org: str, name: str) -> Rhythm:
    return Rhythm(f"shard-{shard_of(org):02}", hourly=f"root {_target(layers, org, name)}")


def _target(layers: Layers, org: str, name: str) -> str:
    """The recipients there, as a word: organisations may have recipients of their own on root's endpoints."""
    parts = []
    for part in layers.deliveries(name):
        try:
            target = layers.target(part)
        except NotReady as error:
            parts.append(f"{org} {error.reason}")
        else:
            parts.append(repr((target.kind, target.endpoint, target.recipients)))
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]


BUDGET = Stage(StageName.BUDGET, budget)
