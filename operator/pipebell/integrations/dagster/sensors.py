"""The sensors. Dagster's daemon evaluates them: a worker that was killed cannot keep its failure to itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import dagster

from pipebell.integrations.dagster import events
from pipebell.integrations.events import send

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger("pipebell")

_TIMEOUT = 2.0  # seconds for each event, of the daemon's time


def pipebell_sensors(
    org: str,
    *,
    name: str = "pipebell",
    namespace: str | None = None,
    on_success: bool = False,
    monitor_all_code_locations: bool = False,
    minimum_interval_seconds: int | None = None,
) -> list[Any]:
    """Sensors for `Definitions(sensors=…)`, running from the start.

    One tells runs that failed and that Dagster will not retry; the other tells asset checks that failed in runs that
    succeeded, and the runs themselves with `on_success`. A run's tag `pipebell/org` names another organisation.
    `name` tells several sets apart; `namespace` is where the events go.
    """
    options: dict[str, Any] = {
        "default_status": dagster.DefaultSensorStatus.RUNNING,
        "minimum_interval_seconds": minimum_interval_seconds,
        "monitor_all_code_locations": monitor_all_code_locations,
    }

    @dagster.run_failure_sensor(
        name=f"{name}_run_failures", description="Tells runs that failed for good by Pipebell.", **options
    )  # type: ignore[untyped-decorator]  # (Dagster is not there when types are checked)
    def run_failures(context: dagster.RunFailureSensorContext) -> None:
        try:
            if not events.will_retry(_fresh(context)):
                send(_failed(context, org), namespace=namespace, timeout=_TIMEOUT)
        except Exception:
            log.exception("pipebell: the failure of run %s cannot be sent", context.dagster_run.run_id)

    @dagster.run_status_sensor(
        run_status=dagster.DagsterRunStatus.SUCCESS,
        name=f"{name}_asset_checks",
        description="Tells asset checks that failed in runs that succeeded by Pipebell.",
        **options,
    )  # type: ignore[untyped-decorator]
    def asset_checks(context: dagster.RunStatusSensorContext) -> None:
        try:
            run, url = context.dagster_run, _url(context)
            found = [events.check_failed(run, org, item, url) for item in events.failing(_evaluations(context))]
            if on_success:
                found.append(events.run_succeeded(run, org, url))
            for event in found:
                send(event, namespace=namespace, timeout=_TIMEOUT)
        except Exception:
            log.exception("pipebell: the checks of run %s cannot be sent", context.dagster_run.run_id)

    return [run_failures, asset_checks]


def _failed(context: Any, org: str) -> Any:  # noqa: ANN401
    checks = [f"{item.asset_key.to_user_string()}.{item.check_name}" for item in events.failing(_evaluations(context))]
    message = context.failure_event.message
    return events.run_failed(context.dagster_run, org, message, _steps(context), checks, _url(context))


def _fresh(context: Any) -> Any:  # noqa: ANN401
    """The run as it is now: Dagster decides about retrying after the sensor's context was made."""
    return context.instance.get_run_by_id(context.dagster_run.run_id) or context.dagster_run


def _steps(context: Any) -> list[tuple[str, str | None]]:  # noqa: ANN401
    """The steps that failed, each with the error that the step's code raised."""
    found = []
    for event in context.get_step_failure_events():
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause  # Dagster wraps what the code raised
        found.append((event.step_key or "?", error.message.strip() if error is not None else None))
    return found


def _evaluations(context: Any) -> Sequence[Any]:  # noqa: ANN401
    kind = dagster.DagsterEventType.ASSET_CHECK_EVALUATION
    entries = context.instance.all_logs(context.dagster_run.run_id, of_type=kind)
    return [entry.dagster_event.event_specific_data for entry in entries if entry.dagster_event is not None]


def _url(context: Any) -> str | None:  # noqa: ANN401
    """The run's page, where the sensor knows the webserver's address (Dagster+ does)."""
    base = getattr(context.instance, "dagster_url", None) or getattr(context.instance, "webserver_url", None)
    return f"{str(base).rstrip('/')}/runs/{context.dagster_run.run_id}" if isinstance(base, str) else None
