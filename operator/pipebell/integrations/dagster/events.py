"""Dagster's runs and asset checks as events. Pure: works on whatever has Dagster's attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipebell.integrations.events import FAILURE, QUALITY_FAILURE, QUALITY_WARNING, SUCCESS, Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WILL_RETRY: Final = "dagster/will_retry"
_ORG: Final = "pipebell/org"
_ASSET_JOB: Final = "__ASSET_JOB"
_MAX_NAMES: Final = 20
_CRASH: Final = "ChildProcessCrashException"  # what Dagster raises for a step whose process is gone
_TOO_LONG: Final = "Exceeded maximum runtime"  # what run monitoring says of `dagster/max_runtime`


def will_retry(run: Any) -> bool:  # noqa: ANN401  (Dagster's objects)
    """Whether Dagster runs it again by itself: then its failure is nobody's business yet."""
    return str(run.tags.get(WILL_RETRY, "")).lower() == "true"


def org_of(run: Any, org: str) -> str:  # noqa: ANN401
    """The organisation of a run: its tag `pipebell/org`, else the sensors'."""
    return run.tags.get(_ORG) or org


def pipeline_of(run: Any) -> str:  # noqa: ANN401
    """The job's name; Dagster's own job for assets is named by its asset, if there is but one."""
    if run.job_name.startswith(_ASSET_JOB):
        assets = [key.to_user_string() for key in run.asset_selection or ()]
        return assets[0] if len(assets) == 1 else "assets"
    return str(run.job_name)


def run_failed(
    run: Any,  # noqa: ANN401
    org: str,
    message: str | None,
    steps: Sequence[tuple[str, str | None]],
    failed_checks: Sequence[str] = (),
    url: str | None = None,
) -> Event:
    """A run failed for good. `steps` are those that failed, each with its error."""
    errors = [_step(*item) for item in steps]
    reason = "step_failure" if steps else "run_failure"
    if any(_CRASH in (error or "") for _, error in steps):
        reason = "crashed"
    elif (message or "").startswith(_TOO_LONG):
        reason = "timed_out"
    text = "\n".join(errors[:_MAX_NAMES]) or message or "the run failed"
    return Event(
        org=org_of(run, org),
        event=FAILURE,
        pipeline=pipeline_of(run),
        run=run.run_id,
        message=text,
        details=_details(run)
        | {
            "reason": reason,
            "failed_steps": [step for step, _ in steps][:_MAX_NAMES],
            "failed_checks": list(failed_checks)[:_MAX_NAMES],
            "dagster": message if steps else None,
        },
        links={"Run": url} if url else {},
        key=("dagster", run.run_id, "failed"),
    )


def run_succeeded(run: Any, org: str, url: str | None = None) -> Event:  # noqa: ANN401
    """A run succeeded."""
    links = {"Run": url} if url else {}
    key = ("dagster", run.run_id, "success")
    return Event(org_of(run, org), SUCCESS, pipeline_of(run), run.run_id, None, _details(run), links, key)


def check_failed(run: Any, org: str, evaluation: Any, url: str | None = None) -> Event:  # noqa: ANN401
    """An asset check failed: of severity ERROR it is a data_quality_failure, of WARN a data_quality_warning."""
    severity = str(getattr(evaluation.severity, "value", evaluation.severity)).upper()
    asset = evaluation.asset_key.to_user_string()
    partition = getattr(evaluation, "partition", None)
    said = f": {evaluation.description}" if evaluation.description else ""
    metadata = {name: _plain(value) for name, value in (evaluation.metadata or {}).items()}
    return Event(
        org=org_of(run, org),
        event=QUALITY_WARNING if severity == "WARN" else QUALITY_FAILURE,
        pipeline=pipeline_of(run),
        run=run.run_id,
        message=f"asset check {evaluation.check_name} of {asset} failed{said}",
        details=_details(run)
        | {"check": evaluation.check_name, "asset": asset, "severity": severity, "partition": partition}
        | {"metadata": metadata},
        links={"Run": url} if url else {},
        key=("dagster", run.run_id, "check", asset, evaluation.check_name, partition),
    )


def failing(evaluations: Iterable[Any]) -> list[Any]:
    """The evaluations that did not pass; the last one counts where a check was evaluated again."""
    latest = {
        (item.asset_key.to_user_string(), item.check_name, getattr(item, "partition", None)): item
        for item in evaluations
    }
    return [item for item in latest.values() if not item.passed]


def _step(name: str, error: str | None) -> str:
    if error and _CRASH in error:
        return f"step {name} failed without an error of its own: its process was killed, or crashed"
    return f"step {name} failed: {error}" if error else f"step {name} failed"


def _details(run: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"job": run.job_name, "partition": run.tags.get("dagster/partition")}


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A metadata value as JSON has it."""
    inner = getattr(value, "value", value)
    return inner if isinstance(inner, (str, int, float, bool, list, dict)) or inner is None else str(inner)
