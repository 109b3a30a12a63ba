"""Pipelines that fail and recover at random, over restarts and outages: what is told equals what a model expects."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from tests.engine.events.test_incidents import ON, SLACK
from tests.engine.fakes import settle_down

from pipebell.core.incidents.resource import IncidentPhase
from pipebell.core.outcome import Outcome, OutcomeKind

PIPELINES = [f"p{number}" for number in range(6)]
STEPS = 120


@pytest.mark.parametrize("seed", range(16))
async def test_every_opening_has_its_end_and_no_end_lacks_its_opening(house, seed):
    draw = random.Random(seed)
    house.keep()
    trigger = {"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}
    house.config(
        slack=SLACK,
        eventTriggers=[trigger],
        incidents={**ON, "flapping": {"changes": 0}, "storm": {"openings": 0}},
        retryConfig={"maxAttempts": 100},
    )
    expected = defaultdict(list)  # failures of each incident of a pipeline, in order
    over = dict.fromkeys(PIPELINES, True)
    for _ in range(STEPS):
        pipeline, failed = draw.choice(PIPELINES), draw.random() < 0.6
        if failed and over[pipeline]:
            expected[pipeline].append(0)
        expected[pipeline][-1:] = [expected[pipeline][-1] + 1] if failed else expected[pipeline][-1:]
        over[pipeline] = not failed
        await disturb(house, draw)
        kind = "pipeline_failure" if failed else "pipeline_success"
        await house.submit(house.event(event=kind, pipelineId=pipeline))
        await house.clock.advance(draw.choice((0.1, 1.0, 5.0)))
    house.incidents.away = house.events.away = False
    await house.restart()
    await house.clock.advance(3600)
    found = defaultdict(list)
    for incident in house.incidents.store.values():
        found[incident.spec.pipeline_id].append(incident.status)
    assert {name: [item.failures for item in items] for name, items in found.items()} == {
        name: counts for name, counts in expected.items() if counts
    }
    for name, items in found.items():
        phases = [item.phase for item in items]
        last = IncidentPhase.RESOLVED if over[name] else IncidentPhase.OPEN
        assert phases == [IncidentPhase.RESOLVED] * (len(items) - 1) + [last]
    check_messages(house, expected, over)


async def disturb(house, draw):
    """Now and then: killed at a random moment, one of the APIs away for a while, an endpoint that does not answer."""
    if draw.random() < 0.1:
        await house.restart()
    if draw.random() < 0.1:
        house.incidents.away = True
        await house.clock.advance(draw.choice((0.5, 3.0)))
        house.incidents.away = False
        await house.clock.advance(5)
    if draw.random() < 0.1:
        house.slack.script = [Outcome(OutcomeKind.RETRY, "Timeout", "no answer")]
    await settle_down()


def check_messages(house, expected, over):
    """Per pipeline: each opening and each end once, but for what was tried again; an end may be tried for longer."""
    told = defaultdict(set)
    for _, message, _, _ in house.slack.sent:
        if message.event.spec.notice is None:
            told[message.event.spec.pipeline_id].add((message.event.spec.event.value, message.event.name))
    for name, counts in expected.items():
        kinds = Counter(kind for kind, _ in told[name])
        assert kinds["pipeline_failure"] == len(counts), name
        assert kinds["pipeline_success"] == len(counts) - (not over[name]), name
