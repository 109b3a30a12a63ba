"""Telling that a channel fails: after ten minutes, once, to the organisation's others; and that it works again."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.engine.fakes import START, settle_down
from tests.engine.upkeep.test_health import BOTH, DEAD, GONE, KEY, SLACK, Ward

from pipebell.core.errors import Forbidden
from pipebell.core.health import NOTIFY_AFTER, Evidence, HealthState
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.policy.channels import Notice
from pipebell.core.vocabulary import EventType, NoticeKind
from pipebell.engine.configs.group import Configs
from pipebell.engine.upkeep.channels import ChannelNotices, Platform
from pipebell.engine.upkeep.health import ROOT as ROOT_OWNER
from pipebell.engine.upkeep.notices import NoticeMaker

TELL = {"tell": True}
ROOT_HOOK = "https://hooks.slack.com/services/T/ROOT/X"
ROOT = {
    "email": {"smtp_host": "smtp.root.example", "from_email": "r@example.com", "to_emails": ["ops@example.com"]},
    "slack": {"webhook_url": ROOT_HOOK},
}


class Office(Ward):
    """The same with somebody who tells."""

    def start(self) -> None:
        super().start()
        house = self.house
        self.channels = ChannelNotices(
            house.ports,
            Configs(house.book, house.root, house.resolver),
            self.board,
            NoticeMaker(house.ports, house.max_age),
            Platform("ops", "pipebell-platform", True),
        )
        house.engine.observers.subscribe(self.channels)
        house.engine.books.judges.subscribe(NoticeKind.CHANNEL, self.channels)
        self.tasks.append(asyncio.create_task(self.channels.run()))

    def told(self) -> list[tuple[str, str, str]]:
        """Notices as they were received: by which kind, what, and about which destination."""
        found = []
        for kind in ("email", "slack"):
            for time, message, _, _ in getattr(self.house, kind).sent:
                notice = message.event.spec.notice
                if notice is not None:
                    found.append((time, kind, message.event.spec.event.value, notice.destination))
        return [item[1:] for item in sorted(found)]

    def notices(self) -> list:
        """The events that were made."""
        return [self.house.events.store[place] for place in self.house.events.created]

    def config(self, **spec):
        spec.setdefault("slack", SLACK)
        spec.setdefault("eventTriggers", [BOTH])
        spec.setdefault("channelHealth", TELL)
        return self.house.config(**spec)

    async def wait(self, minutes: float) -> None:
        await self.house.clock.advance(60 * minutes)


@pytest.fixture
async def office(house):
    office = Office(house)
    yield office
    office.stop()


FAILING, RECOVERED = ("email", "channel_failing", "slack"), ("email", "channel_recovered", "slack")


async def test_a_channel_that_fails_for_ten_minutes_is_told_to_the_others_and_once_mended_told_as_recovered(office):
    office.config()
    await office.send(GONE)
    await office.wait(8)
    assert office.told() == []
    await office.wait(2)
    assert office.told() == [FAILING]
    (event,) = office.notices()
    assert (event.namespace, event.spec.org_slug, event.spec.notice.kind) == ("team", "acme", NoticeKind.CHANNEL)
    assert "slack have failed since" in event.spec.error_message
    assert "404: no_service" in event.spec.error_message
    assert office.house.status(event).phase == "Delivered"
    await office.wait(120)
    assert office.told() == [FAILING]  # once
    await office.send()
    assert office.told() == [FAILING, RECOVERED]
    await office.wait(120)
    assert office.told() == [FAILING, RECOVERED]
    assert [office.house.status(event).phase for event in office.notices()] == ["Delivered", "Delivered"]
    assert office.status()["destinations"][1].get("toldTime") is None


async def test_nobody_is_told_of_what_passes_within_ten_minutes(office):
    office.config()
    await office.send(GONE)
    await office.wait(7)
    await office.send()
    await office.wait(60)
    assert office.told() == []


async def test_unset_tells_nobody(office):
    office.config(channelHealth=None)
    await office.send(GONE)
    await office.wait(60)
    assert office.house.events.created == []


async def test_it_is_inherited_field_by_field(office):
    office.house.with_root(json.dumps({"channel_health": {"tell": True}}))
    office.config(channelHealth={"probe": False})
    await office.send(GONE)
    await office.wait(15)
    assert office.told() == [FAILING]


async def test_a_restart_neither_forgets_nor_repeats(office):
    office.config()
    await office.send(GONE)
    await office.wait(5)
    await office.restart()
    await office.wait(5)
    assert office.told() == [FAILING]
    await office.wait(70)
    await office.restart()
    await office.wait(70)
    assert office.told() == [FAILING]
    await office.send()
    await office.wait(1)
    assert office.told() == [FAILING, RECOVERED]
    await office.restart()
    await office.wait(70)
    assert office.told() == [FAILING, RECOVERED]


async def test_killed_before_its_status_says_so_it_tells_once(office):
    office.config()
    await office.send(GONE)
    await office.wait(8)
    office.keep()
    written = list(office.house.configs.patches)
    await office.wait(1.5)
    office.house.configs.patches[:] = written  # nothing of that was written
    await office.restart()
    await office.wait(5)
    assert office.told() == [FAILING]
    await office.send()
    await office.wait(1)
    assert office.told() == [FAILING, RECOVERED]


async def test_a_second_trouble_within_the_hour_is_told_in_the_next(office):
    office.config()
    await office.send(GONE)
    await office.wait(11)
    await office.send()
    await office.wait(1)
    assert office.told() == [FAILING, RECOVERED]
    await office.send(GONE)
    await office.wait(12)
    assert office.told() == [FAILING, RECOVERED]
    await office.wait(60)
    assert office.told() == [FAILING, RECOVERED, FAILING]


async def test_what_a_trigger_says_counts(office):
    pager = {"name": "pager", "slack": {"webhookUrl": "https://hooks.slack.com/services/T/B/PAGER"}}
    named = {"event": "channel_failing", "providers": ["pager", "slack"], "severity": "critical"}
    office.config(destinations=[pager], eventTriggers=[BOTH, named, {"event": "channel_recovered", "enabled": False}])
    await office.send(GONE)
    await office.wait(15)
    assert office.told() == [("slack", "channel_failing", "slack")]
    assert office.house.slack.sent[-1][2].url.endswith("PAGER")
    await office.send()
    await office.wait(15)
    assert len(office.told()) == 1
    assert office.board.get(KEY, "slack").health.notified is None


async def test_a_disabled_trigger_stops_it(office):
    office.config(eventTriggers=[BOTH, {"event": "channel_failing", "enabled": False}])
    await office.send(GONE)
    await office.wait(60)
    assert office.house.events.created == []


async def test_without_another_that_works_nobody_can_be_told_until_there_is_one(office):
    office.config()
    office.house.email.script = [DEAD] * 3
    await office.send(GONE)
    await office.wait(20)
    assert office.house.events.created == []
    await office.send(GONE)  # the mail server is back
    await office.wait(1)
    assert office.told() == [FAILING]


async def test_two_that_share_an_endpoint_are_told_of_once(office):
    office.config(
        destinations=[{"name": "alerts", "slack": SLACK}],
        eventTriggers=[{**BOTH, "providers": ["email", "slack", "alerts"]}],
    )
    await office.send(GONE, GONE)
    await office.wait(30)
    assert len(office.told()) == 1


async def test_the_one_that_fails_stands_in_for_nobody(office):
    mail = {"smtpHost": "smtp.example.com", "fromEmail": "from@example.com", "toEmails": ["to@example.com"]}
    office.config(email={**mail, "failover": ["slack"]})
    await office.send(GONE)
    office.house.email.script = [DEAD] * 3
    await office.wait(20)
    (event,) = office.notices()
    assert [item.destination for item in office.house.status(event).deliveries] == ["email"]
    assert office.told() == [FAILING] * 3  # three attempts of one message


async def test_the_platforms_destinations_are_used_only_where_that_is_asked_for(office):
    office.house.with_root(json.dumps({"email": ROOT["email"]}))
    only = [{**BOTH, "providers": ["slack"]}]
    office.config(email=None, eventTriggers=only)
    await office.send(GONE)
    await office.wait(15)
    assert office.told() == []
    office.config(email=None, eventTriggers=only, channelHealth={"tell": True, "tellRoot": True})
    await office.wait(1)
    assert office.told() == [FAILING]


async def test_the_platforms_own_is_told_to_the_platform(office):
    office.house.with_root(json.dumps({**ROOT, "channel_health": {"tell": True}}))
    office.house.config(email=None, eventTriggers=[BOTH])
    await office.send(DEAD, DEAD, DEAD)
    await office.wait(11)
    (event,) = office.notices()
    assert (event.namespace, event.spec.org_slug) == ("ops", "pipebell-platform")
    assert office.told() == [FAILING]
    assert office.house.notices.posted.count(("ConfigMap", "ops/pipebell-root", "ChannelFailing")) == 1
    await office.send()
    await office.wait(1)
    assert office.told() == [FAILING, RECOVERED]


async def test_a_restart_knows_what_the_platform_was_told(office):
    office.house.with_root(json.dumps({**ROOT, "channel_health": {"tell": True}}))
    office.house.config(email=None, eventTriggers=[BOTH])
    await office.send(DEAD, DEAD, DEAD)
    await office.wait(11)
    assert office.told() == [FAILING]
    await office.restart()
    for event in office.house.events.store.values():  # the pass over all events
        office.channels.on_event(event)
    await office.wait(1)
    health = office.board.get(ROOT_OWNER, "slack").health
    assert (health.state.value, health.since) == ("Failing", START)
    await office.wait(50)
    assert office.told() == [FAILING]
    await office.send()
    await office.wait(1)
    assert office.told() == [FAILING, RECOVERED]
    await office.restart()
    for event in office.house.events.store.values():
        office.channels.on_event(event)
    await office.wait(30)
    assert office.told() == [FAILING, RECOVERED]
    assert office.board.get(ROOT_OWNER, "slack") is None


async def test_replicas_make_one_event_of_the_platforms_trouble(office, house):
    office.house.with_root(json.dumps({**ROOT, "channel_health": {"tell": True}}))
    office.house.config(email=None, eventTriggers=[BOTH])
    await office.wait(43)  # so that they find it due in different hours: one at 16:18, all is by UTC
    await office.send(DEAD, DEAD, DEAD)
    other = _replica(house)
    await office.wait(2)
    await other.send(DEAD, DEAD, DEAD)
    await office.wait(30)
    assert len(office.house.events.created) == 1
    other.stop()


def _replica(house):
    """Another one beside the office's, with a memory of its own."""
    other = Office.__new__(Office)
    other.house, other.tasks = house, []
    Office.start(other)
    return other


def _said(office):
    return [office.house.events.store[place].spec.event.value for place in office.house.events.created]


async def test_what_one_replica_said_hours_ago_another_does_not_say_again(office, house):
    office.house.with_root(json.dumps({**ROOT, "channel_health": {"tell": True}}))
    office.house.config(email=None, eventTriggers=[BOTH])
    await office.send(DEAD, DEAD, DEAD)
    await office.wait(190)
    assert _said(office) == ["channel_failing"]
    other = _replica(house)
    await other.send(DEAD, DEAD, DEAD)
    await office.wait(200)
    assert _said(office) == ["channel_failing"]
    await office.send()  # both hear of it, one after the other
    await office.wait(70)
    assert _said(office) == ["channel_failing", "channel_recovered"]
    other.stop()


async def test_an_ordinary_event_of_its_name_hides_nothing_from_the_other_replicas(office, house):
    office.house.with_root(json.dumps({**ROOT, "channel_health": {"tell": True}}))
    office.house.config(email=None, eventTriggers=[BOTH])
    about = Notice("pipebell-platform", "slack", EventType.CHANNEL_FAILING, 0.0, root=True)
    name = about.name(house.clock.now() + NOTIFY_AFTER)
    house.events.store["ops", name] = house.event(name=name, namespace="ops", org="somebody")
    await office.send(DEAD, DEAD, DEAD)
    await office.wait(190)
    (made,) = house.events.created
    assert made == ("ops", f"{name}.2")
    other = _replica(house)
    await other.send(DEAD, DEAD, DEAD)
    await office.wait(30)
    assert house.events.created == [made]
    other.stop()


async def test_replicas_that_find_it_mended_in_different_hours_say_so_once(office, house):
    office.house.with_root(json.dumps({**ROOT, "channel_health": {"tell": True}}))
    office.house.config(email=None, eventTriggers=[BOTH])
    other = _replica(house)
    await office.send(DEAD, DEAD, DEAD)
    await office.wait(15)
    for replica in (office, other):
        assert replica.board.get(ROOT_OWNER, "slack").health.notified is not None
    channel = other.board.get(ROOT_OWNER, "slack")
    office.board.observe_probe(ROOT_OWNER, "slack", "slack", Evidence(HealthState.HEALTHY), channel.endpoint)
    await office.wait(90)
    other.board.observe_probe(ROOT_OWNER, "slack", "slack", Evidence(HealthState.HEALTHY), channel.endpoint)
    await office.wait(10)
    assert _said(office) == ["channel_failing", "channel_recovered"]
    assert channel.health.notified is None
    other.stop()


async def test_a_second_trouble_of_the_platforms_within_an_hour_is_said_in_the_next(office):
    office.house.with_root(json.dumps({**ROOT, "channel_health": {"tell": True}}))
    office.house.config(email=None, eventTriggers=[BOTH])
    await office.send(DEAD, DEAD, DEAD)
    await office.wait(11)
    await office.send()
    await office.wait(1)
    await office.send(DEAD, DEAD, DEAD)
    await office.wait(15)
    assert _said(office) == ["channel_failing", "channel_recovered"]
    await office.wait(60)
    assert _said(office) == ["channel_failing", "channel_recovered", "channel_failing"]


async def test_without_root_saying_so_it_is_a_kubernetes_event_alone(office):
    office.house.with_root(json.dumps(ROOT))
    office.house.config(email=None, eventTriggers=[BOTH])
    await office.send(DEAD, DEAD, DEAD)
    await office.wait(20)
    assert office.house.events.created == []
    assert office.house.notices.posted.count(("ConfigMap", "ops/pipebell-root", "ChannelFailing")) == 1


@pytest.mark.parametrize("word", ["failing", "recovered"])
async def test_a_notice_that_nothing_calls_for_is_not_sent(office, word):
    office.config()
    await office.send()
    notice = {"kind": "Channel", "destination": "slack"}
    event = office.house.event(name="made-up", event=f"channel_{word}", notice=notice)
    await office.house.submit(event)
    assert (office.house.status(event).phase, office.house.status(event).reason) == ("Skipped", "NotDue")


async def test_a_name_that_follows_from_another_hour_is_not_believed(office):
    office.config()
    await office.send(GONE)
    await office.wait(15)
    (event,) = office.notices()
    copy = office.house.event(
        name=event.name.replace("20250615", "20250616"),
        event="channel_failing",
        notice={"kind": "Channel", "destination": "slack"},
    )
    assert copy.name != event.name
    await office.house.submit(copy)
    assert office.house.status(copy).reason == "NotDue"


async def test_mended_while_it_waits_it_is_not_told(office):
    office.config()
    await office.send(GONE)
    office.house.email.script = [Outcome(OutcomeKind.PAUSE, "Smtp421", "busy", retry_after=300.0)]
    await office.wait(10)
    (event,) = office.notices()
    await office.send()
    await office.wait(30)
    assert office.house.status(event).phase in ("Skipped", "Failed")
    assert office.board.get(KEY, "slack").health.notified is None


async def test_a_refusal_is_recorded_and_not_retried_hot(office):
    office.config()
    tries = []
    create = office.house.events.create

    async def refuse(*arguments):
        tries.append(office.house.clock.now())
        raise Forbidden("exceeded quota")

    office.house.events.create = refuse
    await office.send(GONE)
    await office.wait(25)
    assert len(tries) == 2
    assert ("NotificationConfig", "team/config", "NoticeRefused") in office.house.notices.posted
    office.house.events.create = create
    await office.wait(10)
    assert office.told() == [FAILING]


async def test_switched_off_it_is_forgotten_whom_one_told(office):
    office.config()
    await office.send(GONE)
    await office.wait(11)
    office.config(channelHealth={"tell": False})
    await office.wait(1)
    await office.send()
    await office.wait(5)
    assert office.told() == [FAILING]
    await settle_down()
    assert office.board.troubled == []
    assert office.house.clock.now() > START


async def test_somebodys_event_of_a_notices_name_takes_nothing_from_it(office):
    office.config()
    await office.send(GONE)
    moment = office.board.get(KEY, "slack").health.due()
    name = Notice("acme", "slack", EventType.CHANNEL_FAILING, moment).name(moment)
    office.house.event(name, test=True)
    await office.wait(11)
    assert [event.name for event in office.notices()] == [f"{name}.2"]
    assert office.told() == [FAILING]


async def test_a_notice_that_was_forged_before_it_was_due_is_made_when_it_is(office):
    office.config()
    await office.send(GONE)
    moment = office.board.get(KEY, "slack").health.due()
    name = Notice("acme", "slack", EventType.CHANNEL_FAILING, moment).name(moment)
    about = {"kind": "Channel", "destination": "slack"}
    forged = office.house.event(name, event="channel_failing", notice=about, errorMessage="all is well")
    await office.wait(11)
    (event,) = office.notices()
    assert (event.name, event.uid == forged.uid, office.told()) == (name, False, [FAILING])
