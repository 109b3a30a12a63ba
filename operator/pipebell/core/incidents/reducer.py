"""An incident, and what happened: the incident afterwards. Pure; the engine stores it and makes the notices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.incidents.keys import REST
from pipebell.core.incidents.resource import IncidentClass, IncidentPhase
from pipebell.core.incidents.rules import CLASSES, LONGEST_REMINDER
from pipebell.core.incidents.state import Acknowledgement, Incident, Notification
from pipebell.core.vocabulary import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pipebell.core.incidents.keys import IncidentKey
    from pipebell.core.incidents.order import Order
    from pipebell.core.incidents.rules import Escalation, IncidentRules
    from pipebell.core.incidents.state import Failure, Past, Success
    from pipebell.core.vocabulary import Severity

_DATA: Final = IncidentClass.DATA_QUALITY
STABLE: Final = "stable"  # what ended an incident that had flapped
ERROR_KEPT: Final = 500  # characters of the first and the last error
CHANGES_KEPT: Final = 32  # times of changes that are remembered
RUNS_KEPT: Final = 64  # identifiers of runs that are remembered
LONGEST_WAIT: Final = 2_592_000.0  # seconds: no setting asks for a time farther away
_ON_ITS_WAY: Final = 60.0  # seconds between two looks whether a message of it has arrived
_LATE: Final = 5.0  # seconds
_A_SECOND: Final = 0.999  # the API server's times of creation are whole seconds


class Notice(NamedTuple):
    """Something to tell of an incident, by an event of its own. `step` counts those of one kind."""

    kind: NoticeKind
    step: int
    due: float


# ---------------------------------------------------------------------- failures


def superseded(past: Past, failure: Failure) -> bool:
    """Whether a failure is older than its key's last success: created before it, or occurred before it."""
    success = past.success
    if success is None or (success.run and success.run == failure.run and CLASSES[failure.event] is _DATA):
        return False  # a run that ends well says nothing of what it found in the data
    if failure.order < success.order:
        return True
    began = success.occurred if success.occurred is not None else success.order.created
    occurred = failure.occurred if failure.occurred is not None else failure.order.created + _A_SECOND
    return occurred < began


def latest(one: Success | None, other: Success) -> Success:
    """What is known of two successes of a key: the later one's order and run, and when the last of them occurred."""
    if one is None:
        return other
    last = max(one, other, key=lambda success: success.order)
    times = [item.occurred if item.occurred is not None else item.order.created for item in (one, other)]
    return last._replace(occurred=max(times))


def succeeded(past: Past, success: Success, ended: str = "") -> Past:
    """What came before, with one more success, which has ended the incident of this name."""
    newer = past.success is None or past.success.order < success.order
    return past._replace(success=latest(past.success, success), ended=ended if newer else past.ended)


def happened(order: Order, now: float) -> float:
    """When what was created then came to be known: now; its creation, where nobody looked at it for a while."""
    return order.created if now - order.created > _LATE else now


def begin(key: IncidentKey, name: str, failure: Failure, changes: tuple[float, ...] = (), now: float = 0.0) -> Incident:
    """A new incident, before its first failure is counted; `changes` are those of its key before that."""
    return Incident(
        changes=(*changes, now)[-CHANGES_KEPT:],
        key=key,
        name=name,
        opened_by=failure.name,
        pipeline=failure.pipeline,
        event=failure.event,
        severity=failure.severity,
    )


def fail(incident: Incident, failure: Failure, now: float) -> Incident:
    """The incident with one more failure."""
    retries = {run: at for run, at in incident.retries.items() if run != failure.run}
    after = replace(_met(incident, failure, now), failures=incident.failures + 1, retries=retries, due=None)
    if not incident.well:
        return after
    return replace(after, well=False, changes=(*incident.changes, now)[-CHANGES_KEPT:])


def expect_retry(incident: Incident, failure: Failure, rules: IncidentRules, now: float) -> Incident:
    """An attempt has failed that is not the run's last one: it counts as a failure if none follows in time.

    That time is the run's own: another run's attempts neither postpone it nor end it.
    """
    retries = dict(incident.retries)
    if failure.run in retries or len(retries) < RUNS_KEPT:
        retries[failure.run] = now + rules.retry_expected
    return replace(_met(incident, failure, now), retries=retries)


def _met(incident: Incident, failure: Failure, now: float) -> Incident:
    error = failure.error[:ERROR_KEPT]
    runs = incident.runs
    if failure.run:
        runs = (*(run for run in runs if run != failure.run), failure.run)[-RUNS_KEPT:]
    occurred = [time for time in (failure.occurred, incident.failed_occurred) if time is not None]
    opens, last = failure.name == incident.opened_by, incident.failed_order
    after = replace(
        incident,
        severity=worst(incident.severity, failure.severity),
        first_failure=incident.first_failure if incident.first_failure is not None else now,
        failed_occurred=max(occurred, default=None),
        first_error=error if opens else incident.first_error or error,
        pipeline=incident.pipeline or failure.pipeline,
        runs=runs,
    )
    if last is not None and (failure.order < last or (opens and incident.last_event not in ("", failure.name))):
        return after  # it is decided anew, and others came after it
    return replace(
        after,
        event=failure.event,
        last_failure=now,
        failed_order=failure.order,
        last_error=error,
        last_event=failure.name,
        owner=failure.owner,
        labels=failure.labels,
    )


def hold(incident: Incident, due: float | None) -> Incident:
    """Nobody is notified yet; at `due`, if no other failure comes."""
    return incident if incident.notified else replace(incident, due=due)


def below(incident: Incident, rules: IncidentRules, now: float) -> tuple[bool, float | None]:
    """Whether it is below a threshold, and when it will have passed it if no other failure comes."""
    if incident.notified:
        return False, None
    first = incident.first_failure if incident.first_failure is not None else now
    ripe = first + rules.notify_after
    if incident.failures < rules.notify_after_failures:
        return True, None
    return now < ripe, ripe


def to_notify(incident: Incident, destinations: Sequence[str], uid: str = "") -> tuple[str, ...]:
    """Destinations without a message of it, by failover or on its way: those that an event still has to notify."""
    return tuple(
        name
        for name in destinations
        if name not in incident.notified
        and name not in incident.stood_in_for
        and incident.under_way.get(name, uid) in ("", uid)
    )


def worsens(incident: Incident, severity: Severity) -> bool:
    """Whether a failure is more severe than any that was notified of this incident."""
    return (
        bool(incident.notified)
        and incident.notified_severity is not None
        and severity.rank > incident.notified_severity.rank
    )


def worst(one: Severity | None, other: Severity | None) -> Severity | None:
    """The higher of two severities."""
    if one is None or other is None:
        return one or other
    return one if one.rank >= other.rank else other


# ---------------------------------------------------------------------- what was sent


def sending(incident: Incident, destinations: Collection[str], uid: str) -> Incident:
    """An event is being sent to these, and to no others any more."""
    others = {name: whose for name, whose in incident.under_way.items() if whose != uid}
    return replace(incident, under_way=others | dict.fromkeys(destinations, uid))


def notified(
    incident: Incident, notification: Notification, severity: Severity, rules: IncidentRules, now: float
) -> Incident:
    """A destination has a message of it; with the first one it is open."""
    after = replace(incident, notified={**incident.notified, notification.destination: notification})
    if not after.open:  # it ended while this was on its way
        return replace(after, opened=incident.opened if incident.opened is not None else now)
    if incident.notified_severity is not None and severity.rank > incident.notified_severity.rank:
        after = replace(after, acknowledgement=None, acknowledged=None, snoozed_until=None, phase=IncidentPhase.OPEN)
    after = replace(after, notified_severity=worst(incident.notified_severity, severity))
    if incident.phase is not IncidentPhase.PENDING and incident.opened is not None:
        return after
    opened = incident.opened if incident.opened is not None else now
    phase = IncidentPhase.ACKNOWLEDGED if after.muted(now) else IncidentPhase.OPEN
    return replace(
        after,
        phase=phase,
        opened=opened,
        due=None,
        next_reminder=opened + rules.reminder(1) if rules.remind_after else None,
        next_escalation=opened + rules.escalation[0].after if rules.escalation else None,
        step=0,
    )


# ---------------------------------------------------------------------- the end


def recovers(incident: Incident, success: Success, by: str = "") -> bool:
    """Whether a success, the event `by`, ends this incident, or has ended it."""
    if not incident.open:
        return bool(by) and incident.resolved_by == by and not incident.by_hand
    if incident.failed_order is not None and success.order < incident.failed_order:
        return False
    if (
        success.occurred is not None
        and incident.failed_occurred is not None
        and success.occurred < incident.failed_occurred
    ):
        return False
    return incident.key.kind is not IncidentClass.DATA_QUALITY or not success.run or success.run not in incident.runs


def flaps(incident: Incident, rules: IncidentRules, now: float, *, more: int = 0) -> bool:
    """Whether it changes too often; `more` are changes that are about to happen."""
    if not rules.flapping_changes:
        return False
    recent = sum(1 for time in incident.changes if time > now - rules.flapping_within)
    return recent + more > rules.flapping_changes


def flap(incident: Incident, *, well: bool, now: float) -> Incident:
    """It flaps: it stays open, whatever comes."""
    changes = incident.changes if well == incident.well and incident.flapping else (*incident.changes, now)
    return replace(incident, flapping=True, well=well, changes=changes[-CHANGES_KEPT:])


def stable_at(incident: Incident, rules: IncidentRules) -> float | None:
    """When it flaps no more unless it changes again; None where it does not."""
    return max(incident.changes, default=0.0) + rules.flapping_within if incident.flapping else None


def resolve(incident: Incident, by: str, now: float, *, by_hand: bool = False) -> Incident:
    """It is over. `by_hand`: a person says so."""
    return replace(
        incident,
        phase=IncidentPhase.RESOLVED,
        resolved=now,
        resolved_by=by,
        by_hand=by_hand,
        due=None,
        retries={},
        next_reminder=None,
        next_escalation=None,
    )


# ---------------------------------------------------------------------- what people do


def acknowledge(incident: Incident, given: Acknowledgement | None, snoozed: float | None, now: float) -> Incident:
    """What its spec says now. Without an acknowledgement it goes on where it stood."""
    if not incident.open:
        return incident
    if snoozed is not None:
        snoozed = min(snoozed, now + LONGEST_WAIT)
    since = None if given is None else now if given != incident.acknowledgement else incident.acknowledged
    if outlived(snoozed, since):
        snoozed = None
    phase = incident.phase
    if phase is not IncidentPhase.PENDING:
        muted = given is not None or (snoozed is not None and now < snoozed)
        phase = IncidentPhase.ACKNOWLEDGED if muted else IncidentPhase.OPEN
    return replace(incident, acknowledgement=given, acknowledged=since, snoozed_until=snoozed, phase=phase)


def outlived(snoozed: float | None, acknowledged: float | None) -> bool:
    """Whether a snooze was over when somebody acknowledged it: that acknowledgement has nothing to do with it."""
    return snoozed is not None and acknowledged is not None and snoozed <= acknowledged


# ---------------------------------------------------------------------- time


def as_of(incident: Incident, now: float) -> Incident:
    """What was written, as it can be by now: of what was, nothing lies ahead, and nothing waits longer than it may."""
    return replace(
        incident,
        first_failure=_earlier(incident.first_failure, now),
        last_failure=_earlier(incident.last_failure, now),
        opened=_earlier(incident.opened, now),
        notified={name: replace(item, at=min(item.at, now)) for name, item in incident.notified.items()},
        acknowledged=_earlier(incident.acknowledged, now),
        resolved=_earlier(incident.resolved, now),
        changes=tuple(min(time, now) for time in incident.changes),
        snoozed_until=_earlier(incident.snoozed_until, now + LONGEST_WAIT),
    )


def by_rules(incident: Incident, rules: IncidentRules, now: float, cooldown: float = 0.0) -> Incident:
    """The same with nothing due later than these rules, and its trigger's cooldown in seconds, could have it."""
    after = replace(
        incident,
        due=_earlier(incident.due, now + max(rules.notify_after, cooldown)),
        retries={run: min(at, now + rules.retry_expected) for run, at in incident.retries.items()},
    )
    if rules.remind_after:
        after = replace(after, next_reminder=_earlier(after.next_reminder, now + rules.reminder(after.reminders + 1)))
    if rules.escalation:
        first = after.opened if after.step == 0 and after.opened is not None else now
        longest = max(max(step.after, step.repeat) for step in rules.escalation)
        wait = rules.escalation[0].after if after.step == 0 else longest
        after = replace(after, next_escalation=_earlier(after.next_escalation, first + wait))
    return after


def _earlier(time: float | None, latest: float) -> float | None:
    return None if time is None else min(time, latest)


def tick(
    incident: Incident, rules: IncidentRules, now: float, not_before: float | None = None, *, caught_up: bool = False
) -> tuple[Incident, tuple[Notice, ...]]:
    """What time alone brings: an opening that was held, reminders, steps of the escalation, an end by itself.

    The cooldown of its key's last opening lasts until `not_before`. `caught_up`: a silence that tells what still fails
    has ended, which reminds even where nothing else does.
    """
    if not incident.open:
        return incident, ()
    end = ends_by_itself(incident, rules)
    if end is not None and now >= end:
        over = (Notice(NoticeKind.RESOLVED, 1, end),) if incident.notified else ()
        return resolve(incident, "autoResolve", now), over
    stable = stable_at(incident, rules)
    if stable is not None and now >= stable:
        return _stable(incident, rules, stable, now)
    before, incident = incident, _missed(incident, now)
    if incident.phase is IncidentPhase.PENDING:
        return _held(incident, rules, now, not_before, missed=incident is not before)
    if incident.snoozed_until is not None and now >= incident.snoozed_until:
        incident = replace(
            incident,
            snoozed_until=None,
            acknowledgement=None,
            acknowledged=None,
            phase=IncidentPhase.OPEN,
        )
    if incident.muted(now) or incident.flapping:
        return incident, ()
    notices: list[Notice] = []
    incident = _reminded(incident, rules, now, notices, caught_up=caught_up)
    incident = _escalated(incident, rules, now, notices)
    return incident, tuple(notices)


def _stable(incident: Incident, rules: IncidentRules, since: float, now: float) -> tuple[Incident, tuple[Notice, ...]]:
    """It has not changed for a while: one message says how it stands."""
    number = incident.reminders + 1
    notices = (Notice(NoticeKind.REMINDER, number, since),) if incident.notified else ()
    following = now + rules.reminder(number + 1) if rules.remind_after and incident.notified else incident.next_reminder
    after = replace(incident, flapping=False, changes=(), reminders=number, next_reminder=following)
    return (resolve(after, STABLE, now) if incident.well else after), notices


def _missed(incident: Incident, now: float) -> Incident:
    """Runs whose next attempt has not come in time have failed."""
    waits = {run: at for run, at in incident.retries.items() if at > now}
    missed = len(incident.retries) - len(waits)
    return replace(incident, failures=incident.failures + missed, retries=waits) if missed else incident


def _held(
    incident: Incident, rules: IncidentRules, now: float, not_before: float | None, *, missed: bool
) -> tuple[Incident, tuple[Notice, ...]]:
    due = incident.due if incident.due is not None else now if missed else None
    if due is None or now < due:
        return incident, ()
    held, ripe = below(incident, rules, now)
    if held:
        return replace(incident, due=ripe), ()
    if not_before is not None and now < not_before:
        return replace(incident, due=not_before), ()
    if incident.under_way:  # it is opened by that, if that arrives
        return replace(incident, due=now + _ON_ITS_WAY), ()
    return replace(incident, due=None), (Notice(NoticeKind.OPENING, incident.failures, due),)


def _reminded(
    incident: Incident, rules: IncidentRules, now: float, notices: list[Notice], *, caught_up: bool
) -> Incident:
    if incident.next_reminder is None or now < incident.next_reminder:
        return incident
    if not (rules.remind_after or caught_up):
        return replace(incident, next_reminder=None)
    number = incident.reminders + 1
    notices.append(Notice(NoticeKind.REMINDER, number, incident.next_reminder))
    if not rules.remind_after:
        return replace(incident, reminders=number, next_reminder=None)
    following = incident.next_reminder + rules.reminder(number + 1)
    if following <= now:  # nobody looked for a long time: what was missed is not made up for
        following = now + rules.reminder(number + 1)
    return replace(incident, reminders=number, next_reminder=following)


def _escalated(incident: Incident, rules: IncidentRules, now: float, notices: list[Notice]) -> Incident:
    if incident.next_escalation is None or now < incident.next_escalation or incident.opened is None:
        return incident
    if not rules.escalation:
        return replace(incident, next_escalation=None)
    step, at, opened = incident.step + 1, incident.next_escalation, incident.opened
    following = next_step(rules, opened, at)
    while following is not None and following <= now and _begun(rules, opened, following) == _begun(rules, opened, at):
        step, at = step + 1, following  # of one step, what was missed is not made up for
        following = next_step(rules, opened, at)
    notices.append(Notice(NoticeKind.ESCALATION, step, at))
    return replace(incident, step=step, next_escalation=following)


def _begun(rules: IncidentRules, opened: float, at: float) -> list[Escalation]:
    """The steps that have begun by then."""
    return [step for step in rules.escalation if opened + step.after <= at + _A_SECOND]


def escalation_at(rules: IncidentRules, opened: float, due: float) -> tuple[str, ...]:
    """Whom the escalation that is due at this moment tells: those of the last step that has begun."""
    begun = _begun(rules, opened, due)
    last = begun[-1] if begun else rules.escalation[0] if rules.escalation else None
    if last is None:
        return ()
    return tuple(
        dict.fromkeys(name for step in rules.escalation if step.after == last.after for name in step.providers)
    )


def next_step(rules: IncidentRules, opened: float, at: float) -> float | None:
    """When the escalation goes on after the one that was due at `at`; None when it is at its end."""
    later = [opened + step.after for step in rules.escalation if opened + step.after > at + _A_SECOND]
    begun = _begun(rules, opened, at)
    repeats = [step.repeat for step in begun if step.after == begun[-1].after and step.repeat]
    times = [*later, *(at + repeat for repeat in repeats)]
    return min(times, default=None)


def ends_by_itself(incident: Incident, rules: IncidentRules) -> float | None:
    """When it ends although nobody says so; None for never."""
    after = rules.auto_resolve_after(incident.key.kind)
    if incident.key.value == REST:  # no success ends what is many
        after = after or LONGEST_REMINDER
    if not after or incident.last_failure is None:
        return None
    return incident.last_failure + after


def opens_at(incident: Incident) -> float | None:
    """When a pending one is told although no other failure comes; None where nothing says so."""
    times = [incident.due, *incident.retries.values()]
    return min((time for time in times if time is not None), default=None)


def next_look(incident: Incident, rules: IncidentRules) -> float | None:
    """When time brings something next; None when it brings nothing."""
    if not incident.open:
        return None
    times = [ends_by_itself(incident, rules), stable_at(incident, rules), *incident.retries.values()]
    if incident.phase is IncidentPhase.PENDING:
        times.append(incident.due)
    elif incident.snoozed_until is not None:
        times.append(incident.snoozed_until)
    elif incident.acknowledgement is None and not incident.flapping:
        times += [incident.next_reminder, incident.next_escalation]
    return min((time for time in times if time is not None), default=None)


def take_over(name: str, namespace: str) -> str:
    """What whoever reads of it can do, for people."""
    return f"Take it over: pipebell ack {name} -n {namespace}"


def lasted(seconds: float) -> str:
    """How long something took, for people: `42 min`, `4 h`, `2 d 3 h`."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{int(max(0.0, seconds))} s"
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    shown = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(shown[:2])
