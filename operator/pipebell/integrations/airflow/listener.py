"""Hooks that Airflow calls when tasks and runs end, in whatever process that happens.

A task's own process may wait for the event to be sent; the scheduler and the API server must not stand still, and an
exception that leaves a hook ends Airflow 2's scheduler. So nothing here raises, and nothing waits there.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

from airflow.listeners import hookimpl

from pipebell.integrations.airflow import events, facts, settings
from pipebell.integrations.events import Event, send, send_later

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("pipebell")

_MAX_TASKS: Final = 20  # events of one run's tasks; the last of them names up to twenty, and how many there are

_schedulers: set[int] = set()  # this process's id, if it is a scheduler; a forked child has another


@hookimpl  # type: ignore[untyped-decorator]  # (Airflow is not there when types are checked)
def on_starting(component: Any) -> None:  # noqa: ANN401  (Airflow's objects)
    """Remember whether this process is one that must not wait."""
    if "Scheduler" in f"{facts.attribute(component, 'job_type')} {type(component).__name__}":
        _schedulers.add(os.getpid())


@hookimpl  # type: ignore[untyped-decorator]  # (Airflow is not there when types are checked)
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:  # noqa: ANN401, ARG001
    """A try failed. Tell it if it was the last."""
    try:
        chosen = settings.read()
        if not chosen.listener or events.by_hand(error) or not _final(task_instance):
            return
        found = _task_failed(task_instance, error, chosen)
        if found is None:
            return
        if os.getpid() in _schedulers:
            send_later(found, namespace=chosen.namespace)
        else:
            send(found, namespace=chosen.namespace)
    except Exception:
        log.exception("pipebell: a task's failure cannot be sent")


@hookimpl  # type: ignore[untyped-decorator]  # (Airflow is not there when types are checked)
def on_dag_run_failed(dag_run: Any, msg: str) -> None:  # noqa: ANN401
    """A run failed: tell why, and each task whose own process could not."""
    try:
        chosen = settings.read()
        if not chosen.listener or events.by_hand(msg):
            return
        if org := _org(None, facts.attribute(dag_run, "dag"), dag_run, chosen):
            for event in _run_failed(org, dag_run, msg or None):
                send_later(event, namespace=chosen.namespace)
    except Exception:
        log.exception("pipebell: a run's failure cannot be sent")


@hookimpl  # type: ignore[untyped-decorator]  # (Airflow is not there when types are checked)
def on_dag_run_success(dag_run: Any, msg: str) -> None:  # noqa: ANN401
    """A run succeeded: tell it, where that is wanted."""
    try:
        chosen = settings.read()
        if not chosen.listener or not chosen.on_success or events.by_hand(msg):
            return
        if org := _org(None, facts.attribute(dag_run, "dag"), dag_run, chosen):
            send_later(events.run_succeeded(org, facts.run_of(dag_run)), namespace=chosen.namespace)
    except Exception:
        log.exception("pipebell: a run's success cannot be sent")


def _task_failed(ti: Any, error: object, chosen: settings.Settings) -> Event | None:  # noqa: ANN401
    task = facts.attribute(ti, "task")
    dag = facts.attribute(task, "dag")
    dag_run = _dag_run(ti)
    org = _org(facts.attribute(task, "params"), dag, dag_run, chosen)
    if not org:
        return None
    run = facts.run_of(dag_run, dag) if dag_run is not None else facts.Run(str(ti.dag_id), str(ti.run_id))
    return events.task_failed(org, run, facts.task_of(ti), error)


def _run_failed(org: str, dag_run: Any, reason: str | None) -> Iterator[Event]:  # noqa: ANN401
    """The run's event, and one for each other task that failed; those sent already are there under the same name."""
    run = facts.run_of(dag_run)
    reason = reason or (events.TIMED_OUT if facts.late(dag_run) else None)  # Airflow 2 does not say so here
    failed = sorted(_failed(dag_run), key=facts.ending)
    whole = events.run_failed(org, run, reason, failed, silent=True)
    yield whole
    for task in reversed(failed[-_MAX_TASKS:]):
        event = events.task_failed(org, run, task)
        if event.key != whole.key:
            yield event


def _failed(dag_run: Any) -> list[facts.Task]:  # noqa: ANN401
    """The run's failed tasks, asked in the session that the run belongs to.

    In any other the scheduler's own objects would be detached from theirs, which ends Airflow 3's scheduler.
    """
    from sqlalchemy.orm import object_session  # noqa: PLC0415  (Airflow's; tasks' processes need not load it)

    try:
        session = object_session(dag_run)
        if session is None:
            return []
        return [facts.task_of(ti) for ti in dag_run.get_task_instances(state=[facts.FAILED], session=session)]
    except Exception as error:  # noqa: BLE001  (the event goes out without the list)
        log.warning("pipebell: the failed tasks cannot be listed: %s", error)
        return []


def _final(ti: Any) -> bool:  # noqa: ANN401
    """Whether no try follows. Airflow 3's first versions call before they write the state."""
    state = facts.state_of(ti)
    if state in (None, "running"):
        return facts.attribute(facts.attribute(ti, "_ti_context_from_server"), "should_retry") is False
    return state == facts.FAILED


def _dag_run(ti: Any) -> Any:  # noqa: ANN401
    server = facts.attribute(ti, "_ti_context_from_server")
    return facts.attribute(server, "dag_run") if server is not None else facts.attribute(ti, "dag_run")


def _org(params: Any, dag: Any, dag_run: Any, chosen: settings.Settings) -> str | None:  # noqa: ANN401
    """A task's parameters hold its DAG's, and its own."""
    params = params if params is not None else facts.attribute(dag, "params")
    return facts.org_of(params, facts.attribute(dag, "tags"), facts.attribute(dag_run, "conf")) or chosen.org
