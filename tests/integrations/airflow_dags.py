"""DAGs that end in every way there is, once for each way of telling it; Airflow's DAG folder gets a copy.

A DAG's id is `{ending}__{way}`. `early` and `late` frame them: the first fails while the API server is silent.
"""

import os
import signal
import time
from datetime import UTC, datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:
    from airflow.operators.python import PythonOperator

from pipebell.integrations.airflow import PipebellNotifier


def succeed():
    return None


def fail(ti):
    raise ValueError(f"no rows in try {ti.try_number}")


def recover(ti):
    if ti.try_number == 1:
        raise ValueError("not yet")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def vanish():
    """Supervisor and task are killed at once, as when a machine goes away: only the heartbeat is missed."""
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(600)


ENDINGS = {
    "succeeds": {"load": (succeed, 0)},
    "recovers": {"load": (recover, 1)},
    "fails": {"load": (fail, 1)},
    "killed": {"load": (die, 0)},
    "vanishes": {"load": (vanish, 0)},
    "times_out": {"load": (hang, 0)},
    "two_fail": {"load": (fail, 0), "check": (fail, 0)},
}
WAYS = ("listener", "task", "dag", "all")
LEFT_OUT = ("succeeds__task", "succeeds__dag", "recovers__task", "recovers__dag")  # what `succeeds__all` shows, too


def notifier(way):
    """Where the listener must stay silent only the notifier knows the organisation."""
    return PipebellNotifier() if way == "all" else PipebellNotifier(org="{{ dag.dag_id }}")


# Airflow 2's first try must be gone for good before the second begins, on a slow machine, too.
RETRY_DELAY = timedelta(seconds=8)


def build(dag_id, tasks, way, *, paused=True, on_success=False):
    told = [notifier(way)] if way in ("task", "all") else None
    whole = [notifier(way)] if way in ("dag", "all") else None
    with DAG(
        dag_id,
        schedule="@once",
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        is_paused_upon_creation=paused,
        dagrun_timeout=timedelta(seconds=6) if "times_out" in dag_id else None,
        params={"org": dag_id} if way in ("listener", "all") and "killed" not in dag_id else {},
        tags=[f"org:{dag_id}"] if way in ("listener", "all") else [],
        on_failure_callback=whole,
        on_success_callback=[notifier(way)] if on_success else None,
    ) as dag:
        for name, (function, retries) in tasks.items():
            PythonOperator(
                task_id=name,
                python_callable=function,
                retries=retries,
                retry_delay=RETRY_DELAY,
                on_failure_callback=told,
                on_retry_callback=told,
            )
    return dag


early = build("early", {"load": (fail, 0)}, "listener", paused=False)
early_killed = build("early_killed", {"load": (die, 0)}, "listener", paused=False)
late = build("late", {"load": (succeed, 0)}, "dag", on_success=True)
for ending, tasks in ENDINGS.items():
    for way in WAYS:
        if f"{ending}__{way}" not in LEFT_OUT:
            globals()[f"{ending}__{way}"] = build(f"{ending}__{way}", tasks, way)
