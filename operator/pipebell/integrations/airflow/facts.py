"""What Airflow's objects say, whatever its version: contexts of callbacks, runs and task instances. Pure.

Airflow 2 hands database objects over, Airflow 3 hands data classes to callbacks and database objects to the
scheduler's listeners; contexts of DAG-level callbacks may be nearly empty (3.0). Nothing here raises for what is
missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TAG: Final = "org:"
FAILED: Final = "failed"


@dataclass(frozen=True)
class Run:
    """A DAG run. `attempt` tells a run that was cleared and ran again from what it was before."""

    dag: str
    run: str | None
    attempt: str = ""
    logical_date: object = None
    timeout: object = None

    def key(self, *what: object) -> tuple[object, ...]:
        """What all who tell of this ending of this run agree on; empty where the run is not known well enough.

        Then one ending may become two events, which is better than two endings becoming one.
        """
        return ("airflow", self.dag, self.run, self.attempt, *what) if self.run and self.attempt else ()


@dataclass(frozen=True)
class Task:
    """A task instance, one try of it."""

    name: str
    map_index: int = -1
    try_number: int = 0
    log_url: str | None = None
    ended: datetime | None = None

    @property
    def label(self) -> str:
        """Its name, and which of the mapped ones it is."""
        return self.name if self.map_index < 0 else f"{self.name}[{self.map_index}]"

    @property
    def key(self) -> tuple[object, ...]:
        """What all who tell of this try agree on, within the run."""
        return (self.name, self.map_index, self.try_number)


def run_of_context(context: Mapping[str, Any]) -> Run | None:
    """The run that a callback's context is about; None where it does not say (DAG level, Airflow 3.0)."""
    ti, dag, dag_run = instance_of(context), context.get("dag"), context.get("dag_run")
    dag_id = _first("dag_id", ti, dag_run, dag)
    if dag_id is None:
        return None
    run_id = context.get("run_id") or _first("run_id", ti, dag_run) or _first("dag_run_id", dag_run)  # its name in JSON
    logical = context.get("logical_date") or _first("logical_date", dag_run) or _first("execution_date", dag_run)
    return Run(str(dag_id), _text(run_id), _attempt(dag_run), logical, _first("dagrun_timeout", dag))


def run_of(dag_run: Any, dag: Any = None) -> Run:  # noqa: ANN401  (Airflow's objects)
    """A run, from the object that Airflow has for it."""
    dag = dag if dag is not None else attribute(dag_run, "dag")
    logical = attribute(dag_run, "logical_date") or attribute(dag_run, "execution_date")
    timeout = _first("dagrun_timeout", dag)
    return Run(str(dag_run.dag_id), _text(dag_run.run_id), _attempt(dag_run), logical, timeout)


def late(dag_run: Any) -> bool:  # noqa: ANN401
    """Whether a run was ended after its DAG's dagrun_timeout."""
    timeout = attribute(attribute(dag_run, "dag"), "dagrun_timeout")
    start, end = _aware(attribute(dag_run, "start_date")), _aware(attribute(dag_run, "end_date"))
    if not isinstance(timeout, timedelta) or start is None:
        return False
    return (end or datetime.now(timezone.utc)) - start >= timeout


def instance_of(context: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The task instance of a context, if it has one."""
    return context.get("task_instance") or context.get("ti")


def task_of(ti: Any) -> Task:  # noqa: ANN401
    """A task instance, from the object that Airflow has for it."""
    index, number = attribute(ti, "map_index"), attribute(ti, "try_number")
    return Task(
        name=str(ti.task_id),
        map_index=index if isinstance(index, int) else -1,
        try_number=number if isinstance(number, int) else 0,
        log_url=_text(attribute(ti, "log_url")),
        ended=attribute(ti, "end_date"),
    )


def ending(task: Task) -> datetime:
    """When it ended; what never did comes first."""
    return _aware(task.ended) or datetime.min.replace(tzinfo=timezone.utc)


def last(tasks: Iterable[Task]) -> Task | None:
    """The one that ended last, which Airflow 3 takes for the cause of the run's failure; of equals the last."""
    return next(iter(sorted(tasks, key=ending)[::-1]), None)


def state_of(thing: Any) -> str | None:  # noqa: ANN401
    """The state of a run or a task instance, as a word."""
    state = attribute(thing, "state")
    return None if state is None else str(getattr(state, "value", state))


def org_of(params: Any, tags: Any = None, conf: Any = None) -> str | None:  # noqa: ANN401
    """The organisation that a DAG names: its parameter `org`, else a tag `org:SLUG`.

    A run's `conf` may say otherwise where the parameter is declared, as in the contexts that Airflow makes.
    """
    org = _text(_get(params, "org"))
    if org and isinstance(conf, dict):
        org = _text(conf.get("org")) or org
    if org:
        return org
    found = sorted(name[len(_TAG) :].strip() for tag in tags or () if (name := _tag(tag)).startswith(_TAG))
    return next((org for org in found if org), None)


def attribute(thing: Any, name: str) -> Any:  # noqa: ANN401
    """An attribute (an item of what came as JSON), or None: some are properties that ask a database which is away."""
    try:
        return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
    except Exception:  # noqa: BLE001  (Airflow's own errors, and those of SQLAlchemy, differ by version)
        return None


def _first(name: str, *things: Any) -> Any:  # noqa: ANN401
    return next((value for thing in things if (value := attribute(thing, name)) is not None), None)


def _get(mapping: Any, name: str) -> Any:  # noqa: ANN401
    """A parameter's value: ParamsDict resolves it, a serialised DAG may hold it in a Param."""
    try:
        value = mapping[name] if mapping is not None and name in mapping else None
    except Exception:  # noqa: BLE001  (a parameter that does not meet its own schema)
        return None
    return attribute(value, "value") if value is not None and not isinstance(value, str) else value


def _tag(tag: Any) -> str:  # noqa: ANN401
    """A tag's name: a string, or a row of the table of tags."""
    return tag if isinstance(tag, str) else str(attribute(tag, "name") or "")


def _attempt(dag_run: Any) -> str:  # noqa: ANN401
    start = _aware(attribute(dag_run, "start_date"))
    return start.astimezone(timezone.utc).isoformat(timespec="microseconds") if start else ""


def _aware(moment: object) -> datetime | None:
    if not isinstance(moment, datetime):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _text(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None
