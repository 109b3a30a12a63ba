"""Airflow: every task that fails for good is told, and every DAG run that succeeds, if wanted.

Put this file next to your DAGs and name the callback there:

    from airflow_pipebell import tell_failure

    with DAG("daily_orders", default_args={"on_failure_callback": tell_failure}, params={"org": "acme_corp"}): ...

The callback is synchronous, never raises and takes 2 s at most, so it cannot make a failure worse.
"""

from typing import Any

from pipebell import get_sync_notification_service

DEFAULT_ORG = "acme_corp"


def tell_failure(context: dict[str, Any]) -> None:
    """`on_failure_callback` of a task or of `default_args`."""
    task, error = context["task_instance"], context.get("exception")
    get_sync_notification_service().notify_pipeline_failure(
        org_slug=_org(context),
        pipeline_id=f"{task.dag_id}.{task.task_id}",
        pipeline_logging_id=context["run_id"],
        error_message=error if error is not None else "the task failed",
        details={"try_number": task.try_number, "logical_date": context.get("logical_date")},
        links={"Log": task.log_url},
    )


def tell_success(context: dict[str, Any]) -> None:
    """`on_success_callback` of a DAG."""
    run = context["dag_run"]
    get_sync_notification_service().notify_pipeline_success(_org(context), run.dag_id, run.run_id)


def _org(context: dict[str, Any]) -> str:
    return str((context.get("params") or {}).get("org", DEFAULT_ORG))
