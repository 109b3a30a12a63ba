"""How destinations stand: fed by deliveries, written with the usage, read back by the next owner."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.engine.fakes import EMAIL, START, House, settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.shards import ALL_SHARDS
from pipebell.core.status import NotificationConfigStatus, rfc3339
from pipebell.engine.configs.readiness import Readiness
from pipebell.engine.upkeep import health as health_module
from pipebell.engine.upkeep.health import ROOT, HealthBoard
from pipebell.engine.upkeep.usage import UsageWriter

SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/X"}
OTHER = {"webhookUrl": "https://hooks.slack.com/services/T/B/Y"}
BOTH = {"event": "pipeline_failure", "providers": ["email", "slack"], "cooldownSeconds": 0}
GONE = Outcome(OutcomeKind.PERMANENT, "Http404", "404: no_service")
DEAD = Outcome(OutcomeKind.RETRY, "Timeout", "no answer in time")
KEY = ("team", "config")


class Ward:
    """A house with the parts that keep health, and an API that keeps what they write."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.tasks: list[asyncio.Task[None]] = []
        self.start()

    def start(self) -> None:
        house = self.house
        self.board = HealthBoard(house.ports, house.book, house.root)
        self.readiness = Readiness(house.ports, house.book, house.resolver, ("shared",))
        self.usage = UsageWriter(house.ports, house.book, house.ledger, self.board, self.readiness.conditions)
        self.readiness.adopt(self.board.condition)
        self.board.subscribe(self.usage.on_health)
        house.book.subscribe(self.board, self.readiness)
        house.root.subscribe(self.board)
        house.engine.observers.subscribe(self.usage, self.board)
        self.board.on_root_change()
        self.tasks = [asyncio.create_task(self.usage.run()), asyncio.create_task(self.readiness.run())]

    async def restart(self) -> None:
        """Another process, or another replica, goes on from what the API holds."""
        self.stop()
        self.keep()
        await self.house.restart()
        self.start()
        self.board.on_shards_acquired(ALL_SHARDS)

    def stop(self) -> None:
        for task in self.tasks:
            task.cancel()

    def keep(self) -> None:
        """What was written stands on the objects, as the watch would tell."""
        for config in list(self.house.book):
            status = config.status.model_dump(by_alias=True, exclude_none=True, mode="json")
            for name, written in self.house.configs.patches:
                if name == config.name:
                    status |= written
            status = {key: value for key, value in status.items() if value is not None}
            known = NotificationConfigStatus.model_validate(status)
            self.house.book.put(replace(config, status=known, resource_version=str(next(self.house.events.versions))))

    def status(self) -> dict:
        """What was last written of each part of the status."""
        found = {}
        for _, written in self.house.configs.patches:
            found |= written
        return found

    async def send(self, *outcomes: Outcome, **spec) -> None:
        """One event, whose Slack message meets these answers."""
        self.house.slack.script += outcomes
        await self.house.submit(self.house.event(**spec))
        await self.house.clock.advance(61)


@pytest.fixture
async def ward(house):
    ward = Ward(house)
    yield ward
    ward.stop()


def _conditions(ward):
    return {item["type"]: (item["status"], item["reason"]) for item in ward.status()["conditions"]}


async def test_health_goes_into_the_bookkeeping_write(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await settle_down()
    ward.house.configs.patches.clear()
    await ward.send(GONE)
    (_, written), *more = ward.house.configs.patches
    assert not more
    assert written["counters"]["delivered"] == 1
    assert [(item["name"], item["state"]) for item in written["destinations"]] == [
        ("email", "Healthy"),
        ("slack", "Failing"),
    ]
    slack = written["destinations"][1]
    assert (slack["provider"], slack["reason"], slack["message"]) == ("slack", "Http404", "404: no_service")
    assert slack["since"] == rfc3339(START)
    assert _conditions(ward) == {"Ready": ("True", "Ready"), "Deliverable": ("False", "DestinationFailing")}


async def test_an_event_that_is_slow_to_end_makes_no_write_of_its_health_alone(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await settle_down()
    ward.house.configs.patches.clear()
    ward.house.slack.gate = asyncio.Event()  # the e-mail is delivered long before
    await ward.house.submit(ward.house.event())
    await ward.house.clock.advance(2)
    assert ward.house.configs.patches == []
    ward.house.slack.gate.set()
    await ward.house.clock.advance(61)
    (_, written), *more = ward.house.configs.patches
    assert not more
    assert written["counters"]["delivered"] == 1


async def test_health_does_not_wait_for_the_end_of_an_event_that_is_tried_for_long(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await settle_down()
    ward.house.slack.gate = asyncio.Event()
    await ward.house.submit(ward.house.event())
    await ward.house.clock.advance(5)
    assert ward.status()["destinations"][0]["state"] == "Healthy"
    ward.house.slack.gate.set()


async def test_a_delivery_mends_it(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await ward.send(GONE)
    ward.keep()
    await ward.send()
    assert {item["name"]: item["state"] for item in ward.status()["destinations"]} == {
        "email": "Healthy",
        "slack": "Healthy",
    }
    assert _conditions(ward)["Deliverable"] == ("True", "Delivered")


async def test_what_was_not_used_yet_is_unknown(ward):
    off = {"name": "off", "slack": {**OTHER, "enabled": False}}
    ward.house.config(
        slack=SLACK,
        destinations=[{"name": "spare", "slack": OTHER}, off],
        eventTriggers=[{**BOTH, "providers": ["email"]}],
    )
    await ward.send()
    found = {item["name"]: (item["provider"], item["state"]) for item in ward.status()["destinations"]}
    assert found == {
        "email": ("email", "Healthy"),
        "slack": ("slack", "Unknown"),
        "spare": ("slack", "Unknown"),
    }


async def test_while_nothing_changes_nothing_is_written_for_it(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await ward.send()
    ward.keep()
    written = len(ward.house.configs.patches)
    await ward.house.clock.advance(3600)
    assert len(ward.house.configs.patches) == written
    await ward.send()
    assert len(ward.house.configs.patches) == written + 1
    assert "conditions" not in ward.house.configs.patches[-1][1]


async def test_an_attempt_that_fails_is_told_before_its_event_has_ended(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH], retryConfig={"maxElapsedSeconds": 3600})
    await ward.send(*[DEAD] * 20)
    assert ward.status()["destinations"][1]["state"] == "Failing"
    assert "counters" not in ward.status()


async def test_a_restart_knows_since_when(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await ward.send(GONE)
    await ward.house.clock.advance(300)
    await ward.restart()
    channel = ward.board.get(KEY, "slack")
    assert (channel.health.state.value, channel.health.since) == ("Failing", START)
    assert ward.board.troubled == [channel]
    await ward.send(GONE)
    assert channel.health.since == START


async def test_what_the_watch_tells_only_after_the_takeover_counts_too(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await ward.send(GONE)
    ward.board.on_shards_released(ALL_SHARDS)
    ward.board.on_shards_acquired(ALL_SHARDS)  # the status of before the last write
    ward.keep()
    await ward.send(GONE)
    assert ward.board.get(KEY, "slack").health.since == START


async def test_what_another_replica_keeps_is_not_kept_here(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await ward.send(GONE)
    ward.keep()
    ward.board.on_shards_released(ALL_SHARDS)
    assert (ward.board.of(KEY), ward.board.troubled, ward.board._counts) == ({}, [], {})
    ward.house.ownership.lost.add("acme")
    ward.board.on_shards_acquired(ALL_SHARDS)
    assert ward.board.of(KEY) == {}
    ward.house.ownership.lost.clear()
    ward.board.on_shards_acquired(ALL_SHARDS)
    assert ward.board.get(KEY, "slack").health.state.value == "Failing"


async def test_an_endpoint_of_the_platform_is_not_the_organisations(ward):
    ward.house.with_root('{"slack": {"webhook_url": "https://hooks.slack.com/services/T/ROOT/X"}}')
    ward.house.config(slack={"channel": "#ours"}, eventTriggers=[BOTH])
    await ward.send(Outcome(OutcomeKind.PERMANENT, "Http404", "404: channel_not_found"))
    assert ward.board.of(ROOT) == {}  # it chose the channel
    await ward.send(DEAD, DEAD, DEAD)
    assert [item["name"] for item in ward.status()["destinations"]] == ["email"]
    assert ward.board.failing_of_root() == {"slack": True}
    assert ward.board.failing() == {}
    await ward.send()
    assert ward.board.failing_of_root() == {"slack": False}


async def test_what_was_long_ago_is_not_known_of_the_platforms(ward):
    ward.house.with_root('{"slack": {"webhook_url": "https://hooks.slack.com/services/T/ROOT/X"}}')
    ward.house.config(eventTriggers=[BOTH])
    await ward.send(DEAD, DEAD, DEAD)
    await ward.house.clock.advance(health_module.STALE_AFTER + 1)
    assert ward.board.failing_of_root() == {"slack": False}


async def test_a_destination_that_waits_for_its_secret_fails(ward):
    reference = {"webhookUrlSecretRef": {"name": "slack", "key": "url"}}
    ward.house.config(slack=reference, eventTriggers=[BOTH])
    await ward.send()
    assert ward.board.get(KEY, "slack").health.reason == "MissingSecret"
    ward.house.config(slack=reference, eventTriggers=[{**BOTH, "providers": ["slack"]}], name="only", org="solo")
    await ward.send(org="solo")
    assert ward.board.get(("team", "only"), "slack").health.reason == "MissingSecret"
    ward.house.secrets.store["team", "slack"] = {"url": SLACK["webhookUrl"]}
    ward.house.engine.wake_org("acme")
    await settle_down()
    assert ward.board.get(KEY, "slack").health.state.value == "Healthy"


async def test_a_renamed_destination_and_a_deleted_configuration_leave_nothing_behind(ward):
    named = {"destinations": [{"name": "alerts", "slack": SLACK}]}
    trigger = {**BOTH, "providers": ["alerts"]}
    ward.house.config(**named, eventTriggers=[trigger])
    await ward.send(GONE)
    ward.keep()
    assert [item["name"] for item in ward.status()["destinations"]] == ["alerts", "email"]
    trigger = {**BOTH, "providers": ["alarms"]}
    ward.house.config(destinations=[{"name": "alarms", "slack": SLACK}], eventTriggers=[trigger])
    assert ward.board.of(KEY) == {}
    await ward.send(GONE, GONE, GONE)
    ward.house.book.remove(KEY)
    assert (ward.board._channels, ward.board._counts, ward.board.troubled) == ({}, {}, [])


async def test_the_status_is_cleared_of_destinations_that_are_gone(ward):
    ward.house.config(slack=SLACK, eventTriggers=[{**BOTH, "providers": ["slack"]}])
    await ward.send(GONE)
    ward.keep()
    config = ward.house.book.get(KEY)
    ward.house.book.put(
        replace(
            config,
            spec=config.spec.model_copy(update={"slack": None}),
            generation=config.generation + 1,
            resource_version=str(next(ward.house.events.versions)),
        )
    )
    await ward.house.clock.advance(61)
    assert ward.status()["destinations"] is None
    assert "Deliverable" not in _conditions(ward)


async def test_an_edited_destination_is_not_known_before_it_is_used(ward):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await ward.send(GONE)
    ward.house.config(slack=OTHER, eventTriggers=[BOTH])
    assert ward.board.get(KEY, "slack").health.state.value == "Unknown"
    await ward.send(DEAD, DEAD, DEAD)
    assert ward.board.get(KEY, "slack").health.since > START + 60


@pytest.mark.parametrize("root", [False, True])
async def test_what_no_trigger_names_any_more_does_not_fail_for_ever(ward, root):
    only = {**BOTH, "providers": ["email"]}
    if root:  # whose triggers the organisation has
        ward.house.with_root(json.dumps({"event_triggers": [BOTH]}))
    ward.house.config(slack=SLACK, **({} if root else {"eventTriggers": [BOTH]}))
    await ward.send(GONE)
    ward.house.config(slack=SLACK, **({} if root else {"eventTriggers": [BOTH]}), defaultProvider="email")
    assert ward.board.get(KEY, "slack").health.state.value == "Failing", "it is still used"
    if root:
        ward.house.root.update({"config.json": json.dumps({"event_triggers": [only]})}, "2")
    else:
        ward.house.config(slack=SLACK, eventTriggers=[only])
    assert ward.board.get(KEY, "slack").health.state.value == "Unknown"
    await ward.house.clock.advance(61)
    assert _conditions(ward)["Deliverable"] == ("True", "Delivered")


@pytest.mark.parametrize(
    "use",
    [
        {"email": {**EMAIL, "failover": ["slack"]}},
        {"incidents": {"enabled": True, "escalation": [{"afterSeconds": 600, "providers": ["slack"]}]}},
        {"pipelineOverrides": [{"pipelines": ["x-*"], "providers": ["slack"]}]},
    ],
)
async def test_what_is_used_otherwise_goes_on_failing(ward, use):
    ward.house.config(slack=SLACK, eventTriggers=[BOTH])
    await ward.send(GONE)
    ward.house.config(slack=SLACK, eventTriggers=[{**BOTH, "providers": ["email"]}], **use)
    assert ward.board.get(KEY, "slack").health.state.value == "Failing"


async def test_another_secret_is_another_endpoint(ward):
    ward.house.secrets.store["team", "slack"] = {"url": SLACK["webhookUrl"]}
    ward.house.config(slack={"webhookUrlSecretRef": {"name": "slack", "key": "url"}}, eventTriggers=[BOTH])
    await ward.send(GONE)
    ward.house.secrets.store["team", "slack"] = {"url": OTHER["webhookUrl"]}
    await ward.send(DEAD, DEAD, DEAD)
    assert ward.board.get(KEY, "slack").health.since > START + 60


async def test_parts_of_a_destination_are_one_channel(ward):
    board = ward.board
    sms = {
        "accountSid": "AC" + "0" * 32,
        "authToken": "${TOKEN}",
        "fromNumber": "+15005550006",
        "toNumbers": ["+4915112345678"],
    }
    config = ward.house.config(sms=sms)
    made = board._channel(config.key, "sms", "sms")
    assert board._channel(config.key, "sms", "sms") is made


async def test_what_is_kept_is_bounded_for_each_namespace(ward, monkeypatch):
    monkeypatch.setattr(health_module, "PER_NAMESPACE", 3)
    for number in range(5):
        ward.house.config(org=f"org{number}", name=f"config{number}", email=EMAIL)
        await ward.house.submit(ward.house.event(org=f"org{number}"))
    ward.house.config(org="elsewhere", namespace="other", email=EMAIL)
    await ward.house.submit(ward.house.event(org="elsewhere", namespace="other"))
    assert ward.board._counts == {"team": 3, "other": 1}


async def test_a_notice_about_a_channel_causes_none(ward):
    ward.house.config(slack=SLACK, eventTriggers=[{**BOTH, "event": "channel_failing"}])
    await ward.send(GONE, event="channel_failing")
    assert ward.board.get(KEY, "slack") is None
    assert ward.board.get(KEY, "email").health.state.value == "Healthy"
