"""What an event means to its incident: one of the failures that it counts, or the success that ends it.

Three stages of FEATURES' order: whether another attempt is expected, whether the incident is to be opened at all, and
which destinations have been notified already. Tests and replays pass, and so does whatever was tried before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipebell.core.batching import DigestSpec
from pipebell.core.incidents.keys import name_of
from pipebell.core.incidents.order import occurred_at, order_of
from pipebell.core.incidents.reducer import (
    begin,
    below,
    fail,
    flap,
    flaps,
    happened,
    lasted,
    recovers,
    stable_at,
    superseded,
    take_over,
    to_notify,
    worsens,
)
from pipebell.core.incidents.state import GOES_FIRST, Failure, Success
from pipebell.core.policy.decision import Skip, Suppress, Wait, WaitsFor
from pipebell.core.policy.digest import apart
from pipebell.core.policy.match import Mark, Match
from pipebell.core.policy.override import find_override
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.policy.triggers import match_trigger
from pipebell.core.status import rfc3339
from pipebell.core.vocabulary import EventType, IncidentAction, Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.incidents.state import Incident
    from pipebell.core.layers import Layers
    from pipebell.core.policy.decision import Decision
    from pipebell.core.policy.situation import IncidentFacts
    from pipebell.core.vocabulary import Severity

_FLAPS: Final = "Flapping: it fails and recovers again and again"


def failure_of(event: Event, severity: Severity) -> Failure:
    """What a failure says of its incident."""
    spec = event.spec
    return Failure(
        uid=event.uid,
        name=event.name,
        event=spec.event,
        severity=severity,
        order=order_of(event),
        occurred=occurred_at(event),
        run=spec.pipeline_logging_id or "",
        error=spec.error_message or "",
        pipeline=spec.pipeline_id or "",
        owner=spec.owner or "",
        labels=spec.labels or {},
        retry_expected=spec.attempt is not None and spec.max_attempts is not None and spec.attempt < spec.max_attempts,
    )


def success_of(event: Event) -> Success:
    """What a success says."""
    return Success(order_of(event), occurred_at(event), event.spec.pipeline_logging_id or "")


# ---------------------------------------------------------------------- retryExpected


def retry_expected(s: Situation) -> Decision | Situation:
    """Hold back what the run itself will try again."""
    facts = s.incident
    if facts is None or s.event.exempt:
        return s
    if not facts.known or (facts.early and not s.progress.tried):
        return _not_yet(s, facts)
    if s.progress.tried and not s.may_recover:
        return s
    if facts.key is None or s.match is None or not facts.rules.only_final_attempt:
        return s
    failure = failure_of(s.event, s.match.severity)
    if not failure.retry_expected or superseded(facts.past, failure):
        return s
    until = s.now + facts.rules.retry_expected
    spec = s.event.spec
    message = f"attempt {spec.attempt} of {spec.max_attempts} failed; another one is expected until {rfc3339(until)}"
    mark = Mark(IncidentAction.COUNTED, failure, due=until, retry=True)
    match = replace(s.match, mark=mark)
    return Suppress(StageName.RETRY_EXPECTED, Reason.RETRY_EXPECTED, message, until, "", match.title, match)


def _not_yet(s: Situation, facts: IncidentFacts) -> Wait:
    """What came before has to be known, even of what is on its way: its incident would not hear of what arrives."""
    if not facts.known:
        message = "what was told before is being read"
        return Wait(StageName.RETRY_EXPECTED, WaitsFor.LEDGER, None, message, match=s.match)
    message = "waits for earlier events to be decided"
    return Wait(StageName.RETRY_EXPECTED, WaitsFor.OUTCOME, Reason.WAITING_FOR_SENDER, message, match=s.match)


RETRY_EXPECTED = Stage(StageName.RETRY_EXPECTED, retry_expected)


# ---------------------------------------------------------------------- incident


def incident(s: Situation) -> Decision | Situation:
    """Count a failure, and hold it back below the thresholds; have a success end what it recovers."""
    facts = s.incident
    if facts is None or s.event.exempt:
        return s.skip or s
    if s.event.spec.event is EventType.PIPELINE_SUCCESS:
        return _success(s, facts)
    if facts.key is None or s.progress.tried or s.match is None:
        return s
    return _failure(s, facts, s.match)


def _failure(s: Situation, facts: IncidentFacts, match: Match) -> Decision | Situation:
    failure = failure_of(s.event, match.severity)
    known = facts.incident
    ended = facts.counted and known is not None and not known.open
    on_its_way = known is not None and s.event.uid in known.under_way.values()
    if (superseded(facts.past, failure) or ended) and not (on_its_way and facts.counted):
        message = "the pipeline has succeeded since"
        return Suppress(StageName.INCIDENT, Reason.SUPERSEDED, message, None, "", match.title, match)
    if facts.counted and known is not None:
        after = known
    else:
        assert facts.key is not None  # noqa: S101  (a failure has one; tells mypy)
        at = happened(failure.order, s.now)
        fresh = begin(facts.key, "", failure, facts.past.changes, at)
        after = fail(known or fresh, failure, at)
        if not after.notified and flaps(after, facts.rules, at):
            after = flap(after, well=False, now=at)
    held, ripe = below(after, facts.rules, s.now)
    match = replace(match, mark=Mark(IncidentAction.COUNTED, failure, due=ripe if held else None))
    if held:
        return Suppress(
            StageName.INCIDENT, Reason.BELOW_THRESHOLD, _below(after, facts, ripe), ripe, "", match.title, match
        )
    if after.flapping and not (
        worsens(after, match.severity) or to_notify(after, (*match.destinations, *match.batched), s.event.uid)
    ):
        until = stable_at(after, facts.rules)
        return Suppress(StageName.INCIDENT, Reason.FLAPPING, _FLAPS, until, "", match.title, match)
    return s._replace(match=match, ongoing=after)


def _below(after: Incident, facts: IncidentFacts, ripe: float | None) -> str:
    rules = facts.rules
    if after.failures < rules.notify_after_failures:
        return f"failure {after.failures} in a row; nobody is told before {rules.notify_after_failures}"
    return f"failing for less than {rules.notify_after:.0f} s; told at {rfc3339(ripe or 0.0)} if it goes on"


def _success(s: Situation, facts: IncidentFacts) -> Decision | Situation:
    success = success_of(s.event)
    ended = [item for item in facts.recoverable if recovers(item, success, s.event.name)]
    at = happened(success.order, s.now)
    flapping = [item for item in ended if item.open and (item.flapping or flaps(item, facts.rules, at, more=1))]
    if flapping:
        return _flapping(s, facts, flapping, Mark(IncidentAction.COUNTED, success=success))
    mark = Mark(IncidentAction.RECOVERED, success=success)
    if not ended:
        return _plain(s, mark)
    layers, closes_only = s.resolved.layers, not facts.rules.notify_recovery or s.skip_reason is Reason.EXPIRED
    notified = [name for item in ended for name in item.notified if name not in item.under_way]
    held = [name for item in ended for name in item.under_way]
    if GOES_FIRST in held and not s.progress.tried:
        message = "waits for the failure that it ends"
        return Wait(StageName.INCIDENT, WaitsFor.OUTCOME, Reason.WAITING_FOR_SENDER, message, match=s.match)
    wanted = (*s.match.destinations, *s.match.batched) if s.match is not None else ()
    usable = [name for name in (*notified, *held) if _usable(layers, name, closes_only=closes_only)]
    destinations = tuple(dict.fromkeys((*usable, *wanted, *(s.progress.open if s.progress.attempted else ()))))
    held_now = tuple(name for name in held if name in destinations)
    if s.progress.tried:  # those that it waited for in vain do not get the end
        destinations = tuple(name for name in destinations if name in (*notified, *held, *wanted))
    if not destinations:
        if s.match is not None and s.match.batched:
            return s._replace(match=replace(s.match, mark=mark, note=_recovered(s, ended)), skip=None)
        skip = s.skip or Skip(StageName.INCIDENT, Reason.NO_TRIGGER, "nobody was told of the incident that it ends")
        return replace(skip, stage=StageName.INCIDENT, mark=mark)
    severity = s.match.severity if s.match is not None else s.event.severity
    title = s.match.title if s.match is not None else f"Incident {ended[0].name}"
    match = Match(severity, destinations, 0, title, mark=mark, held=held_now, note=_recovered(s, ended))
    return apart(s._replace(match=replace(match, digest=_digest(s, facts, ended)), skip=None))


def _digest(s: Situation, facts: IncidentFacts, ended: list[Incident]) -> DigestSpec | None:
    """Where a digest had the failure, a digest has its end: the settings are those of the failure's trigger."""
    kind = ended[0].event
    together = [item.destination for each in ended for item in each.notified.values() if item.by_digest]
    if kind is None or not together:
        return s.match.digest if s.match is not None else None
    spec, layers = s.event.spec.model_copy(update={"event": kind, "severity": None}), s.resolved.layers
    found = match_trigger(layers, spec, find_override(layers, spec))
    if isinstance(found, Match) and found.digest is not None:
        return found.digest
    every = facts.rules.storm_within  # many incidents had opened at once
    return DigestSpec(every_seconds=every, destinations=list(dict.fromkeys(together))[:16])


def _flapping(s: Situation, facts: IncidentFacts, found: list[Incident], mark: Mark) -> Decision | Situation:
    """A success that ends nothing, because the incident is flapping: that is sent once."""
    severity, title, layers = s.event.severity, f"Incident {found[0].name}", s.resolved.layers
    notified = [name for item in found for name in item.notified if _usable(layers, name, closes_only=False)]
    destinations = tuple(dict.fromkeys((*notified, *s.progress.open)))
    new = any(not item.flapping for item in found) or bool(s.progress.open)  # on its way, it goes on
    if new and destinations:
        note = f"{_FLAPS}; the next message comes when it has been stable for {lasted(facts.rules.flapping_within)}."
        return s._replace(match=Match(severity, destinations, 0, title, mark=mark, note=note), skip=None)
    match = Match(severity, (), 0, title, mark=mark)
    return Suppress(StageName.INCIDENT, Reason.FLAPPING, _FLAPS, s.now + facts.rules.flapping_within, "", title, match)


def _plain(s: Situation, mark: Mark) -> Decision | Situation:
    """A success that ends nothing: what the trigger says of it."""
    if s.skip is not None:
        return replace(s.skip, stage=StageName.INCIDENT, mark=mark)
    return s._replace(match=replace(s.matched, mark=mark))


def _recovered(s: Situation, ended: list[Incident]) -> str:
    """What a success says of what it ends, such as `Recovered after 42 min and 5 failures.`."""
    began = min((item.first_failure for item in ended if item.first_failure is not None), default=s.now)
    until = max(
        (item.resolved for item in ended if item.resolved is not None), default=happened(order_of(s.event), s.now)
    )
    failures = sum(item.failures for item in ended)
    return f"Recovered after {lasted(until - began)} and {failures} failure{'' if failures == 1 else 's'}."


def _usable(layers: Layers, name: str, *, closes_only: bool) -> bool:
    """Whether a destination that was notified can get the end; `closes_only`: whether there is an alert to close."""
    found = layers.destination(name)
    if found is None or not (layers.enabled(name) and layers.sends_recovery(name)):
        return False
    return found.kind.capabilities.acknowledges or not closes_only


INCIDENT = Stage(StageName.INCIDENT, incident)


# ---------------------------------------------------------------------- repeated


def repeated(s: Situation) -> Decision | Situation:
    """Send to the destinations that are not notified of the incident; to all, if it is worse than they know."""
    facts, after = s.incident, s.ongoing
    if facts is None or after is None:
        return s
    match = s.matched
    if match.destinations and facts.sender is not None and facts.sender != s.event.uid:
        message = f"waits for the outcome of {facts.sender_name or 'another event'}"
        return Wait(
            StageName.REPEATED, WaitsFor.OUTCOME, Reason.WAITING_FOR_SENDER, message, facts.sender_name, match=match
        )
    worse = worsens(after, match.severity)
    missing = match.destinations if worse else to_notify(after, match.destinations, s.event.uid)
    later = match.batched if worse else to_notify(after, match.batched, s.event.uid)
    if not missing and not later:
        following = None if after.muted(s.now) else after.next_reminder
        when = f"; the next reminder is due at {rfc3339(following)}" if following is not None else ""
        message = f"failure {after.failures} of incident {after.name}, which was told already{when}"
        return Suppress(StageName.REPEATED, Reason.REPEATED, message, following, after.opened_by, match.title, match)
    first = not after.notified and set(after.under_way.values()) <= {s.event.uid}  # its own, when it is decided again
    action = IncidentAction.WORSENED if worse else IncidentAction.OPENED if first else IncidentAction.COUNTED
    mark = match.mark._replace(action=action) if match.mark is not None else None
    return s._replace(match=replace(match, destinations=missing, batched=later, mark=mark, note=_so_far(after, s)))


def _so_far(after: Incident, s: Situation) -> str:
    """What a message says beside the failure itself: how it stands with its incident, and what to do."""
    if after.flapping:
        return f"{_FLAPS}; the next message comes when it is stable."
    name = after.name or (name_of(after.key, s.event.uid) if s.event.uid else "")
    what_to_do = take_over(name, s.event.namespace) if name else ""
    if after.failures <= 1 or after.first_failure is None:
        return what_to_do
    ago = lasted(s.now - after.first_failure)
    return f"Failure {after.failures} of an incident that began {ago} ago. {what_to_do}".rstrip()


REPEATED = Stage(StageName.REPEATED, repeated)
