"""Jobs and assets that end in every way there is, watched by Pipebell's sensors: a code location for Dagster."""

import os
import signal
import time

import dagster as dg

from pipebell.integrations.dagster import PipebellResource, pipebell_sensors


@dg.op
def succeed():
    return None


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def recover(context: dg.OpExecutionContext):
    if context.retry_number == 0:
        raise ValueError("not yet")


@dg.op
def fail():
    raise ValueError("no rows")


@dg.op
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@dg.op
def hang():
    time.sleep(600)


@dg.op
def notify(pipebell: PipebellResource):
    pipebell.notify("data_quality_warning", pipeline="by_hand", message="few rows")


def job(name, op, tags=None):
    @dg.job(name=name, tags={"pipebell/org": name, **(tags or {})})
    def made():
        op()

    return made


JOBS = [
    job("succeeds", succeed),
    job("recovers", recover),
    job("fails", fail),
    job("fails_again", fail, {"dagster/max_retries": "1"}),
    job("killed", die),
    job("times_out", hang, {"dagster/max_runtime": "5"}),
    job("by_hand", notify),
]


@dg.asset
def orders():
    return None


@dg.asset_check(asset=orders)
def has_rows():
    return dg.AssetCheckResult(passed=False, metadata={"rows": 0}, description="0 rows")


@dg.asset_check(asset=orders)
def is_fresh():
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=orders)
def has_ids():
    return dg.AssetCheckResult(passed=True)


checked = dg.define_asset_job("checked", dg.AssetSelection.assets(orders), tags={"pipebell/org": "checked"})


@dg.sensor(jobs=[*JOBS, checked], default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1)
def start():
    """Every job once, by the daemon itself."""
    for each in (*JOBS, checked):
        yield dg.RunRequest(run_key=each.name, job_name=each.name)


defs = dg.Definitions(
    jobs=[*JOBS, checked],
    assets=[orders],
    asset_checks=[has_rows, is_fresh, has_ids],
    sensors=[start, *pipebell_sensors(org="platform", minimum_interval_seconds=1)],
    resources={"pipebell": PipebellResource(org="by_hand", timeout=10.0)},
)
