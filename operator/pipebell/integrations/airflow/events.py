"""Endings of tasks and DAG runs as events. Pure: `facts` says what Airflow knows, this says what people read.

One event for each task that failed for good, whoever tells it: its own process with the exception, the DAG processor
when its heartbeat was lost, or the scheduler at the end of the run when it was killed. They agree on the key, so the
first one wins. A run that fails for another reason (it took too long, nothing could run any more) is an event too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pipebell.integrations.airflow.facts import Run, Task, last
from pipebell.integrations.events import FAILURE, SUCCESS, Event, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TASK_FAILURE: Final = "task_failure"  # Airflow's words for why a run failed
TIMED_OUT: Final = "timed_out"
MISSED_DEADLINE: Final = "missed_deadline"
DEADLOCKED: Final = "all_tasks_deadlocked"
_SILENT: Final = "without an error of its own: it was killed, its heartbeat was lost, or somebody set it to failed"
# What Airflow says of a task that could not say anything itself: facts for operators, no cause.
_AIRFLOWS: Final = ("{'DAG Id'", '{"DAG Id"', "Executor ", "The executor ", "Task did not emit heartbeat")
_BY_HAND: Final = re.compile(r"(TaskInstance|Dag Run)'s state was manually set to `")
_MAX_NAMES: Final = 20
_MAX_LINKS: Final = 10


def by_hand(message: object) -> bool:
    """Whether Airflow says so of a state that a person has set."""
    return _BY_HAND.match(str(message)) is not None


def task_failed(org: str, run: Run, task: Task, error: object = None, **details: object) -> Event:
    """A task failed for good. Without an error its process could tell nothing."""
    text = words(error)
    silent = text is None or text.startswith(_AIRFLOWS)
    message = f"task {task.label} failed {_SILENT}" if silent else f"task {task.label} failed: {text}"
    return Event(
        org=org,
        event=FAILURE,
        pipeline=run.dag,
        run=run.run,
        message=message,
        details=_details(run)
        | {
            "task": task.label,
            "try_number": task.try_number or None,
            "reason": "lost" if silent else "exception",
            "airflow": text if silent else None,
        }
        | details,
        links=_links([task]),
        key=run.key("task", *task.key),
    )


def run_failed(
    org: str,
    run: Run,
    reason: str | None,
    failed: Sequence[Task],
    *,
    unfinished: str | None = None,
    silent: bool = False,
) -> Event:
    """A run failed, seen as a whole: why, and which tasks failed.

    Where tasks are the reason it is the same event as that of the task which failed last. `unfinished` is the task that
    a run which took too long was at; `silent` says that the task which failed last would have sent it itself.
    """
    cause = last(failed) if reason in (None, TASK_FAILURE) else None
    key = run.key("task", *cause.key) if cause else run.key("run", reason or "failed")
    names = [task.label for task in failed]
    message = _why(run, reason, names, unfinished)
    if silent and cause:
        message += f" {_SILENT}" if len(names) == 1 else f"; {cause.label} {_SILENT}"
    return Event(
        org=org,
        event=FAILURE,
        pipeline=run.dag,
        run=run.run,
        message=message,
        details=_details(run)
        | {
            "reason": "lost" if silent and cause else reason or TASK_FAILURE,
            "failed_tasks": names[:_MAX_NAMES],
            "failed": len(names) or None,
            "unfinished_task": unfinished,
        },
        links=_links(failed),
        key=key,
    )


def deadline_missed(org: str, run: Run, deadline: Mapping[str, Any]) -> Event:
    """A run has not reached a deadline of its DAG (Airflow 3.1); it may still go on."""
    due = deadline.get("deadline_time")
    details = _details(run) | {"reason": MISSED_DEADLINE, "deadline": None if due is None else str(due)}
    message = f"the DAG run missed its deadline of {due}"
    key = ("airflow", MISSED_DEADLINE, deadline["id"]) if deadline.get("id") else ()
    return Event(org, FAILURE, run.dag, run.run, message, details, key=key)


def run_succeeded(org: str, run: Run) -> Event:
    """A run succeeded."""
    return Event(org, SUCCESS, run.dag, run.run, None, _details(run), key=run.key("run", "success"))


def _why(run: Run, reason: str | None, names: Sequence[str], unfinished: str | None) -> str:
    listed = ", ".join(names[:_MAX_NAMES]) + (f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else "")
    tasks = f"task {listed} failed" if len(names) == 1 else f"{len(names)} tasks failed: {listed}" if names else ""
    if reason == TIMED_OUT:
        within = f" within its dagrun_timeout of {run.timeout}" if run.timeout else " within its dagrun_timeout"
        at = f"; it was at task {unfinished}" if unfinished else ""
        return f"the DAG run did not end{within} ({TIMED_OUT}){at}" + (f"; {tasks}" if tasks else "")
    if reason == DEADLOCKED:
        return f"no task of the DAG run can run any more ({DEADLOCKED})" + (f"; {tasks}" if tasks else "")
    if tasks:
        return tasks
    return f"the DAG run failed: {reason}" if reason not in (None, TASK_FAILURE) else "the DAG run failed"


def _details(run: Run) -> dict[str, Any]:
    return {"logical_date": None if run.logical_date is None else str(run.logical_date)}


def _links(tasks: Sequence[Task]) -> Mapping[str, str]:
    """To the tasks' logs; one is called so, several by their tasks."""
    known = [(task.label, task.log_url) for task in tasks if task.log_url][:_MAX_LINKS]
    return {"Log" if len(known) == 1 else f"Log of {label}": url for label, url in known if url}
