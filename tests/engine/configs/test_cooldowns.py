"""Which cooldown is configured now: the longest that any event of a type may have."""

from pipebell.core.vocabulary import EventType
from pipebell.engine.configs.cooldowns import ConfiguredCooldowns

KEY = ("team", "config")


def test_an_overrides_cooldown_counts_where_it_is_the_longest(house):
    cooldowns = ConfiguredCooldowns(house.book, house.root)
    house.config(
        eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 60}],
        pipelineOverrides=[
            {"pipelines": ["a"], "cooldownSeconds": 0},
            {"pipelines": ["b"], "cooldownSeconds": 7200},
            {"pipelines": ["c"], "events": ["system_error"], "cooldownSeconds": 9000},
        ],
    )
    assert cooldowns.of(KEY, EventType.PIPELINE_FAILURE) == 7200
    assert cooldowns.of(KEY, EventType.SYSTEM_ERROR) == 9000
    assert cooldowns.of(None, EventType.PIPELINE_FAILURE) == 300


def test_without_overrides_it_is_the_triggers(house):
    cooldowns = ConfiguredCooldowns(house.book, house.root)
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    assert cooldowns.of(KEY, EventType.PIPELINE_FAILURE) == 0
    assert cooldowns.of(KEY, EventType.SYSTEM_ERROR) == 300
