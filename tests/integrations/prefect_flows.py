"""Flows that end in every way there is: run one by its name as argument, or `serve` them by Prefect's runner."""

import os
import signal
import sys
import time

from prefect import flow
from prefect.context import get_run_context

from pipebell.integrations.prefect import on_crashed, on_failure, pipebell_hooks


def hooks(org):
    return pipebell_hooks(org=org, on_success=org == "success_told")


@flow(**hooks("succeeds"))
def succeeds():
    return None


@flow(**hooks("success_told"))
def success_told():
    return None


@flow(retries=1, **hooks("recovers"))
def recovers():
    if get_run_context().flow_run.run_count == 1:
        raise ValueError("not yet")


@flow(retries=1, **hooks("fails"))
def fails():
    raise ValueError(f"no rows in run {get_run_context().flow_run.run_count}")


@flow(timeout_seconds=1, **hooks("times_out"))
def times_out():
    time.sleep(60)


@flow(**hooks("terminated"))
def terminated():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


@flow(**hooks("killed"))
def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@flow(on_failure=[on_failure], on_crashed=[on_crashed])
def fails_plainly(org: str = "fails_plainly"):
    raise ValueError(f"no rows for {org}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        from prefect import serve

        served = (succeeds, recovers, fails, times_out, terminated, killed)
        serve(*(each.to_deployment(name="here") for each in served), limit=2)
    else:
        globals()[sys.argv[1]]()
