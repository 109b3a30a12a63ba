"""What would change a decision, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipebell.core.policy.decision import Deliver, Suppress
from pipebell.core.status import rfc3339
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.policy.decision import Decision

HINTS: Final[dict[tuple[StageName, Reason | None], str]] = {
    (StageName.EXPIRED, Reason.EXPIRED): "send a new event; the platform team can raise PIPEBELL_EVENT_MAX_AGE",
    (StageName.CONFIGURED, Reason.NO_CONFIG): (
        "create a NotificationConfig with spec.orgSlug: {org} in namespace {namespace}, or have a root configuration"
    ),
    (StageName.CONFIGURED, Reason.CONFIG_DISABLED): "set enabled: true in {matched}",
    (StageName.CONFIGURED, Reason.CONFIG_NOT_READY): "correct what the message names; the event goes on by itself then",
    (StageName.CONFIGURED, None): "nothing to do: the configuration is being read",
    (StageName.OVERRIDE, Reason.TRIGGER_DISABLED): "set enabled: true in {matched}, or remove enabled there",
    (StageName.TRIGGER, Reason.NO_TRIGGER): "add an entry with event: {event} to eventTriggers",
    (StageName.TRIGGER, Reason.TRIGGER_DISABLED): "set enabled: true in {matched}",
    (
        StageName.TRIGGER,
        Reason.NO_PROVIDER_ENABLED,
    ): "enable a destination of the trigger, or name an enabled one",
    (StageName.TRIGGER, Reason.NOT_DUE): "name a finished event of this organisation, in this namespace, in replayOf",
    (StageName.SILENCE, Reason.SILENCED): (
        "an event after {until} is sent; deleting {matched} ends it now (pipebell unsilence); tests and replays go out"
    ),
    (StageName.QUIET_HOURS, Reason.QUIET_HOURS): (
        "an event after {until} is sent, and one of the severity that quietHours[].exceptSeverity names at once"
    ),
    (StageName.RETRY_EXPECTED, Reason.RETRY_EXPECTED): (
        "nothing to do: it is told at {until} if no other attempt of this run has come; "
        "onlyFinalAttempt: false tells each"
    ),
    (
        StageName.RETRY_EXPECTED,
        Reason.WAITING_FOR_SENDER,
    ): "nothing to do: it is decided after events created before it",
    (StageName.RETRY_EXPECTED, None): (
        "nothing to do: it is decided as soon as the operator has read what was told before"
    ),
    (StageName.INCIDENT, Reason.BELOW_THRESHOLD): (
        "a lower notifyAfterFailures or notifyAfterSeconds of incidents tells it sooner"
    ),
    (StageName.INCIDENT, Reason.SUPERSEDED): "nothing to do: the next failure opens a new incident",
    (StageName.INCIDENT, Reason.FLAPPING): (
        "nothing to do: how it stands is told when it has been stable for a while: see flapping of incidents"
    ),
    (StageName.INCIDENT, Reason.NO_TRIGGER): (
        "a success is told where it ends an incident of which somebody was told, or where eventTriggers has {event}"
    ),
    (StageName.INCIDENT, Reason.TRIGGER_DISABLED): "set enabled: true in {matched}",
    (StageName.INCIDENT, Reason.NO_PROVIDER_ENABLED): "enable a destination of the trigger, or name an enabled one",
    (StageName.INCIDENT, Reason.EXPIRED): "send a new event; the platform team can raise PIPEBELL_EVENT_MAX_AGE",
    (StageName.REPEATED, Reason.REPEATED): (
        "nothing to do: kubectl get incidents has what was told; a shorter remindAfterSeconds tells more often"
    ),
    (StageName.REPEATED, Reason.WAITING_FOR_SENDER): (
        "nothing to do: it is counted when that one is delivered, and sent when that one fails everywhere"
    ),
    (StageName.COOLDOWN, Reason.COOLDOWN): (
        "an event after {until} is sent; a shorter cooldownSeconds of the trigger suppresses less, 0 nothing"
    ),
    (StageName.COOLDOWN, Reason.WAITING_FOR_SENDER): (
        "nothing to do: it is suppressed when that one is delivered, and sent when that one fails everywhere"
    ),
    (StageName.COOLDOWN, None): "nothing to do: it is decided as soon as the operator has read what was sent before",
    (StageName.DIGEST, Reason.BATCHED): (
        "nothing to do: the digest goes out when it is due; without the trigger's digest such events are told at once"
    ),
    (StageName.DIGEST, None): "nothing to do: it is decided as soon as the operator has read which digests are due",
    (StageName.BUDGET, Reason.BATCHED): (
        "nothing to do: the digest goes out at the end of the hour; a greater maxNotificationsPerHour batches less"
    ),
    (StageName.BUDGET, None): "nothing to do: it is decided as soon as the operator has read what was sent before",
    (StageName.DELIVER, Reason.CONFIG_NOT_READY): "correct what the message names; the event goes out by itself then",
}

OF_NOTICES: Final = "nothing to do: only the operator makes notices, and sends them while its own state calls for them"


def hint(decision: Decision, event: Event) -> str:
    """What a person can do about it; "" where it is sent anyway."""
    if isinstance(decision, Deliver):
        return ""
    until = rfc3339(decision.until) if isinstance(decision, Suppress) and decision.until is not None else ""
    if event.spec.notice is not None and decision.reason in (Reason.NOT_DUE, Reason.SUPERSEDED):
        return OF_NOTICES
    return HINTS[decision.stage, decision.reason].format(
        org=event.spec.org_slug,
        namespace=event.namespace,
        event=event.spec.event.value,
        matched=decision.matched,
        until=until,
    )
