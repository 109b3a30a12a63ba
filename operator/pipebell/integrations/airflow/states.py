"""Which tasks of a run failed, as far as a DAG-level callback may ask."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, get_args

from pipebell.integrations.airflow import facts
from pipebell.integrations.airflow.events import TASK_FAILURE

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("pipebell")


def failed_tasks(context: Mapping[str, Any]) -> list[facts.Task]:
    """The failed tasks of a DAG-level callback's run; empty where they cannot be known.

    Airflow 2 lets callbacks ask the database; Airflow 3 names the task that is the reason, and lets the DAG processor
    ask for states.
    """
    try:
        if (ask := facts.attribute(context.get("dag_run"), "get_task_instances")) is not None:
            return [facts.task_of(item) for item in ask(state=[facts.FAILED])]
    except Exception as error:  # noqa: BLE001  (the message goes out without the list)
        log.warning("pipebell: the failed tasks cannot be listed: %s", error)
        return []
    ti, run = facts.instance_of(context), facts.run_of_context(context)
    cause = facts.task_of(ti) if ti is not None and context.get("reason") == TASK_FAILURE else None
    names = _asked(run.dag, run.run) if run is not None and run.run else []
    if cause is None:
        return [facts.Task(name) for name in names]
    own = (cause.name, f"{cause.name}_{cause.map_index}")
    return [*(facts.Task(name) for name in names if name not in own), cause]


def _asked(dag_id: str, run_id: str) -> list[str]:
    """Airflow 3: failed tasks by the DAG processor's manager, where it answers such questions (else it never would)."""
    try:
        from airflow.dag_processing import processor  # noqa: PLC0415
        from airflow.sdk.execution_time.comms import GetTaskStates  # noqa: PLC0415
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

        if GetTaskStates not in get_args(get_args(processor.ToManager)[0]):
            return []
        states = RuntimeTaskInstance.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id) or {}
    except Exception as error:  # noqa: BLE001  (the message goes out without the list)
        log.warning("pipebell: the failed tasks cannot be listed: %s", error)
        return []
    return sorted(name for name, state in states.items() if str(getattr(state, "value", state)) == facts.FAILED)
