"""A machine whose clock is eight days ahead for a while: nothing expires, nothing is deleted, no time is wrong."""

from __future__ import annotations

import re
import time
from datetime import datetime

import pytest
from tests.e2e.harness import config, event, eventually, phase

DAYS = 8 * 86400


@pytest.fixture
def ahead(tmp_path):
    """Sets the operator's clock so many seconds ahead; the path is what the operator reads it from."""

    def put(seconds):
        path.write_text(str(seconds), encoding="ascii")

    path = tmp_path / "clock"
    put(0)
    put.path = path
    return put


def seconds(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("by", [DAYS, -DAYS])
def test_a_clock_that_is_wrong_for_a_while(world, ahead, by):
    world.set_root(None)
    namespace = world.namespace()
    world.api.create(config(namespace, "told", "told", **world.slack_only("Clock"), eventTriggers=[
        {"event": "pipeline_failure", "cooldownSeconds": 0},
    ]))  # fmt: skip
    waiting_for = config(namespace, "unready", "unready", defaultProvider="slack", slack={"webhookUrl": "${NOT_THERE}"})
    world.api.create(waiting_for)
    operator = world.operator(PIPEBELL_TEST_CLOCK=ahead.path).start()
    try:
        finished, waiting = event(namespace, "finished", "told"), event(namespace, "waiting", "unready")
        for document in (finished, waiting):
            world.api.create(document)
        world.api.reaches(finished, "Delivered")
        world.api.reaches(waiting, "ConfigNotReady")

        ahead(by)
        eventually(lambda: "clock is" in operator.body("/readyz"), 60, "the clock in /readyz")
        side = "ahead of" if by > 0 else "behind"
        assert re.search(rf"clock is 691[12]\d\d s {side} the API server's", operator.body("/readyz"))
        world.api.merge(waiting_for, enabled=True)  # has it decided anew
        during = event(namespace, "during", "told")
        world.api.create(during)
        status = world.api.reaches(during, "Delivered")["status"]
        assert abs(seconds(status["completionTime"]) - time.time()) < 300, "no wrong time is left behind"
        time.sleep(7.0)  # the sweeper looks every five seconds

        ahead(0)
        eventually(lambda: operator.body("/readyz") == "ok", 60, "the clock is right again")
        time.sleep(6.0)
        found = world.api.events(namespace)
        assert {name: phase(item) for name, item in found.items()} == {
            "finished": "Delivered",
            "during": "Delivered",
            "waiting": "Pending",
        }
        assert operator.told("finished_events_deleted") is None
    finally:
        operator.stop()
