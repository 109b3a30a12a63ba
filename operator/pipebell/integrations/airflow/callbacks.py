"""Which event a callback's context tells of, on task and on DAG level."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipebell.integrations.airflow import events, facts, states

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.integrations.events import Event

_RETRY = "up_for_retry"
_GOOD = "success"


def event_of(
    context: Mapping[str, Any],
    org: str,
    *,
    event: str | None = None,
    severity: str | None = None,
    message: str | None = None,
) -> Event | None:
    """The event; None for a try that is not the last, unless `event` asks for it by name."""
    found = _event(context, org, asked=event is not None)
    if found is None:
        return None
    changed = message is not None or event not in (None, found.event)  # then nobody else tells the same
    return replace(
        found,
        event=event or found.event,
        severity=severity,
        message=message or found.message,
        key=(*found.key, "changed", message) if changed and found.key else found.key,
    )


def _event(context: Mapping[str, Any], org: str, *, asked: bool) -> Event | None:
    run = facts.run_of_context(context) or facts.Run("unknown", facts.attribute(context, "run_id"))
    if isinstance(deadline := context.get("deadline"), dict):
        return events.deadline_missed(org, run, deadline)
    ti, reason = facts.instance_of(context), context.get("reason")
    if ti is None or "reason" in context:
        if reason == _GOOD or (reason is None and facts.state_of(context.get("dag_run")) == _GOOD):
            return events.run_succeeded(org, run)
        failed = states.failed_tasks(context)
        unfinished = facts.task_of(ti).label if ti is not None and reason == events.TIMED_OUT else None
        return events.run_failed(org, run, reason, failed, unfinished=unfinished)
    task, state = facts.task_of(ti), facts.state_of(ti)
    if state == _GOOD:
        key = run.key("success", *task.key)
        return replace(events.run_succeeded(org, run), key=key, details={"task": task.label})
    if state == _RETRY and not asked:
        return None
    return events.task_failed(org, run, task, context.get("exception"))
