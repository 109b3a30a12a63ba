"""Whether each configuration can be used: what its conditions say, and when."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.engine.fakes import EMAIL, START, settle_down

from pipebell.core.errors import Forbidden, NotReady, Problem
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.status import Condition, NotificationConfigStatus, rfc3339
from pipebell.core.vocabulary import NotReadyReason, Phase, Reason
from pipebell.engine.configs.follower import ConfigFollower
from pipebell.engine.configs.readiness import ConditionValue, Readiness

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
PAUSE = Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=60)
BOTH = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}


@pytest.fixture
async def readiness(house):
    readiness = Readiness(house.ports, house.book, house.resolver, ("shared",))
    readiness.subscribe(house.engine)
    task = asyncio.create_task(readiness.run())
    yield readiness
    task.cancel()


def conditions(house, name="config"):
    patches = [patch for patched, patch in house.configs.patches if patched == name]
    return {item["type"]: item for item in patches[-1]["conditions"]} if patches else {}


async def test_a_usable_configuration_is_ready_and_written_once(house, readiness):
    config = house.config()
    readiness.changed(config)
    await settle_down()
    readiness.changed(config)
    await settle_down()
    ready = conditions(house)["Ready"]
    assert (ready["status"], ready["observedGeneration"]) == ("True", config.generation)
    assert len(house.configs.patches) == 1


async def test_nothing_is_written_over_what_stands_there(house, readiness):
    stands = Condition(
        type="Ready",
        status="True",
        reason="Ready",
        message="notifications can be sent",
        last_transition_time=rfc3339(START),
        observed_generation=1,
    )
    config = house.config()
    known = replace(config, status=NotificationConfigStatus(observed_generation=config.generation, conditions=[stands]))
    house.book.remove(config.key)
    house.book.put(known)
    readiness.found(known)
    await house.clock.advance(1)
    assert house.configs.patches == []


@pytest.mark.parametrize(
    ("spec", "reason", "named"),
    [
        ({"email": {"toEmails": ["a@x.example"]}}, "Incomplete", "email.smtpHost"),
        ({"secretRef": {"name": "s"}, "email": EMAIL | {"toEmails": ["${TO}"]}}, "MissingSecret", "Secret s"),
        ({"slack": {"enabled": True}}, "Incomplete", "slack.webhookUrl"),
        (
            {
                "email": EMAIL,
                "secretRef": {"name": "s"},
                "pagerduty": {"routingKey": "${KEY}"},
                "eventTriggers": [{"event": "pipeline_failure", "providers": ["email"]}],
                "incidents": {"enabled": True, "escalation": [{"afterSeconds": 900, "providers": ["pagerduty"]}]},
            },
            "MissingSecret",
            "pagerduty.routingKey",
        ),
    ],
)
async def test_what_is_wrong_is_named(house, readiness, spec, reason, named):
    readiness.changed(house.config(**spec))
    await settle_down()
    ready = conditions(house)["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert named in ready["message"]
    assert house.notices.posted == [("NotificationConfig", "team/config", reason)]


async def test_an_unparsable_configuration_is_invalid(house, readiness):
    config = replace(house.config(), spec=None, problems=(Problem("email.smtpPort", "is not a port"),))
    house.book.remove(config.key)
    house.book.put(config)
    readiness.changed(config)
    await settle_down()
    assert conditions(house)["Ready"]["reason"] == "Invalid"
    assert "email.smtpPort" in conditions(house)["Ready"]["message"]


async def test_of_two_for_one_organisation_the_younger_conflicts_until_the_other_goes(house, readiness):
    first, second = house.config(name="a"), house.config(name="b")
    readiness.found(first)
    readiness.found(second)
    await settle_down()
    assert conditions(house, "a")["Ready"]["status"] == "True"
    assert conditions(house, "b")["Ready"]["reason"] == "Conflict"
    house.book.remove(first.key)
    readiness.on_config_change(first, None)
    await settle_down()
    assert conditions(house, "b")["Ready"]["status"] == "True"
    assert second.key == ("team", "b")


async def test_a_secret_that_appears_is_noticed_and_events_go_on(house, readiness):
    config = house.config(email=EMAIL | {"toEmails": ["${TO}"]}, secretRef={"name": "s"})
    readiness.changed(config)
    event = house.event()
    await house.submit(event)
    assert house.status(event).phase is Phase.PENDING
    house.secrets.store["team", "s"] = {"TO": "a@acme.example"}
    await house.clock.advance(6)
    assert conditions(house)["Ready"]["status"] == "True"
    assert house.status(event).phase is Phase.DELIVERED


async def test_sharing_without_permission_is_said(house, readiness):
    readiness.changed(house.config(eventNamespaces={"from": "All"}))
    readiness.changed(house.config(name="s", namespace="shared", eventNamespaces={"from": "All"}))
    await settle_down()
    assert conditions(house)["Shared"]["reason"] == "NotPermitted"
    assert conditions(house, "s")["Shared"]["status"] == "True"


async def test_a_host_refused_at_connect_time_counts_although_a_check_finds_nothing(house, readiness):
    config = house.config()
    readiness.on_config_refused(config, NotReady(NotReadyReason.HOST_NOT_ALLOWED, "smtp.example.com is 10.0.0.1"))
    await settle_down()
    assert conditions(house)["Ready"]["reason"] == "HostNotAllowed"
    await house.clock.advance(61)
    assert conditions(house)["Ready"]["status"] == "True"


async def test_a_secret_that_may_not_be_read_holds_back_only_what_needs_it_and_is_asked_for_again(house, readiness):
    house.config(slack={"webhookUrlSecretRef": {"name": "s", "key": "url"}}, eventTriggers=BOTH)
    known = house.secrets.read

    async def read(namespace, name, *, fresh=False):
        raise Forbidden("403")

    house.secrets.read = read
    event = house.event()
    await house.submit(event)
    assert len(house.email.sent) == 1
    assert house.status(event).phase is Phase.DELIVERING
    house.secrets.read = known
    house.secrets.store["team", "s"] = {"url": SLACK["webhookUrl"]}
    house.resolver.subscribe(readiness)
    house.engine.wake(event.uid)
    await house.clock.advance(60)
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_secret_is_polled_by_one_chain_however_many_events_wait(house, readiness):
    house.config(email=EMAIL | {"toEmails": ["${TO}"]}, secretRef={"name": "s"})
    house.resolver.subscribe(readiness)
    for _ in range(40):
        await house.submit(house.event())
    house.secrets.asked.clear()
    await house.clock.advance(120)
    assert 2 <= sum(fresh for *_, fresh in house.secrets.asked) <= 10


async def test_a_wrong_value_in_a_secret_is_looked_at_again(house, readiness):
    house.secrets.store["team", "s"] = {"TO": "nobody at all"}
    config = house.config(email=EMAIL | {"toEmails": ["${TO}"]}, secretRef={"name": "s"})
    readiness.changed(config)
    event = house.event()
    await house.submit(event)
    assert conditions(house)["Ready"]["reason"] == "Invalid"
    house.secrets.store["team", "s"] = {"TO": "a@acme.example"}
    await house.clock.advance(6)
    assert conditions(house)["Ready"]["status"] == "True"
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_refused_host_says_nothing_of_the_edit_that_mended_it(house, readiness):
    config = house.config()
    readiness.on_config_refused(config, NotReady(NotReadyReason.HOST_NOT_ALLOWED, "smtp.example.com is 10.0.0.1"))
    await settle_down()
    readiness.changed(house.config(email=EMAIL | {"smtpHost": "mended.example.com"}))
    await settle_down()
    assert conditions(house)["Ready"]["status"] == "True"


async def test_conditions_wait_for_root(house):
    house.root.listed.clear()
    house.root.current = replace(house.root.current, spec=None)
    readiness = Readiness(house.ports, house.book, house.resolver, ())
    readiness.subscribe(house.engine)
    task = asyncio.create_task(readiness.run())
    readiness.changed(house.config(email={"toEmails": ["a@acme.example"]}))
    await settle_down()
    assert house.configs.patches == []
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "2")
    await settle_down()
    assert conditions(house)["Ready"]["status"] == "True"
    task.cancel()


async def test_who_leans_on_an_invalid_root_is_not_ready(house, readiness):
    house.root.update({"config.json": "{"}, "3")
    readiness.changed(house.config())
    await settle_down()
    assert conditions(house)["Ready"]["reason"] == "Invalid"
    assert "root" in conditions(house)["Ready"]["message"]


DELIVERABLE = ConditionValue("Deliverable", status=False, reason="DestinationFailing", message="slack fails")


async def test_the_condition_of_the_deliveries_is_written_with_the_others_and_kept(house, readiness):
    found = [DELIVERABLE]
    readiness.adopt(lambda _: found[0])
    config = house.config()
    readiness.changed(config)
    await settle_down()
    assert {kind: item["status"] for kind, item in conditions(house).items()} == {
        "Ready": "True",
        "Deliverable": "False",
    }
    written = [Condition.model_validate(item) for item in conditions(house).values()]
    status = NotificationConfigStatus(observed_generation=config.generation, conditions=written)
    house.book.put(known := replace(config, status=status, resource_version="1000"))
    assert readiness.conditions(known) is None  # it stands there
    readiness.changed(known)
    await settle_down()
    assert len(house.configs.patches) == 1
    found[0] = replace(DELIVERABLE, status=True, reason="Delivered", message="slack works")
    changed = {item["type"]: item for item in readiness.conditions(known)}
    assert (changed["Ready"]["status"], changed["Deliverable"]["status"]) == ("True", "True")
    found[0] = None
    assert [item["type"] for item in readiness.conditions(known)] == ["Ready"]


async def test_conditions_that_this_process_has_not_judged_yet_are_written_as_they_stand(house, readiness):
    readiness.adopt(lambda _: DELIVERABLE)
    config = house.config()
    stands = Condition(
        type="Ready", status="False", reason="Conflict", message="another one", last_transition_time=rfc3339(START)
    )
    status = NotificationConfigStatus(observed_generation=config.generation, conditions=[stands])
    known = replace(config, status=status)
    made = {item["type"]: item for item in readiness.conditions(known)}
    assert (made["Ready"]["reason"], made["Deliverable"]["reason"]) == ("Conflict", "DestinationFailing")
    edited = replace(known, generation=config.generation + 1)
    assert readiness.conditions(edited) is None  # it is judged at any moment


# ---------------------------------------------------------------------- templates


class FakeTemplates:
    """Complains of what says so itself; remembers how often it was asked."""

    def __init__(self):
        self.checked = 0

    async def check(self, spec, namespace=""):
        self.checked += 1
        return [f"{place}, line 1: is wrong" for place, text in spec.all_templates() if "wrong" in text]


@pytest.fixture
def templates(readiness):
    readiness._runner = FakeTemplates()
    return readiness._runner


async def test_a_configuration_without_templates_has_no_condition_of_them(house, readiness, templates):
    readiness.changed(house.config())
    await settle_down()
    assert set(conditions(house)) == {"Ready"}
    assert templates.checked == 0


async def test_wrong_templates_are_named_and_the_configuration_stays_ready(house, readiness, templates):
    named = [{"name": "on-call", "slack": SLACK | {"textTemplate": "wrong"}}]
    readiness.changed(house.config(email=EMAIL | {"textTemplate": "wrong", "htmlTemplate": "fine"}, destinations=named))
    await settle_down()
    found = conditions(house)
    assert found["Ready"]["status"] == "True"
    assert (found["TemplatesValid"]["status"], found["TemplatesValid"]["reason"]) == ("False", "Invalid")
    assert found["TemplatesValid"]["message"] == (
        "email.textTemplate, line 1: is wrong; destinations[on-call].slack.textTemplate, line 1: is wrong; "
        "the built-in text is used where it fails"
    )


async def test_templates_are_tried_once_a_version_however_often_it_is_looked_at(house, readiness, templates):
    config = house.config(email=EMAIL | {"textTemplate": "fine"})
    for _ in range(3):
        readiness.changed(config, fresh=True)
        await settle_down()
    assert templates.checked == 1
    assert conditions(house)["TemplatesValid"]["status"] == "True"
    readiness.changed(replace(config, generation=config.generation + 1))
    mended = house.config(email=EMAIL | {"textTemplate": "wrong"})
    readiness.changed(mended)
    await settle_down()
    assert templates.checked == 2
    assert conditions(house)["TemplatesValid"]["status"] == "False"


class Readied(ConfigFollower):
    """Counts how often events are let go on."""

    def __init__(self):
        self.times = 0

    def on_config_ready(self, config):
        self.times += 1


@pytest.mark.parametrize("removed", ["named", "slack"])
async def test_a_digest_for_a_destination_that_was_removed_waits_without_keeping_anybody_busy(
    house, readiness, removed
):
    """Nothing that the configuration says uses it any more, so it is Ready all the time."""
    house.no_root()
    house.resolver.subscribe(readiness)
    seen = Readied()
    readiness.subscribe(seen)
    digest = {"everySeconds": 600}
    triggers = [{"event": "pipeline_failure", "providers": [removed], "digest": digest}]
    place = {"slack": SLACK} if removed == "slack" else {"destinations": [{"name": removed, "slack": SLACK}]}
    house.config(eventTriggers=triggers, **place)
    digests = asyncio.create_task(house.digests.run())
    member = house.event()
    await house.submit(member)
    assert house.status(member).phase is Phase.SUPPRESSED
    readiness.changed(house.config(eventTriggers=[{"event": "pipeline_failure", "providers": ["email"]}]))
    await house.clock.advance(601)
    (told,) = [event for event in house.events.store.values() if event.spec.notice is not None]
    assert told.status.reason is Reason.CONFIG_NOT_READY
    assert conditions(house)["Ready"]["status"] == "True"
    before = seen.times
    await house.clock.advance(600)
    assert 1 <= seen.times - before <= 12, "looked at again, less and less often"
    await house.clock.advance(36_000)
    assert seen.times - before <= 90
    old = house.book.get(("team", "config"))
    new = house.config(eventTriggers=[{"event": "pipeline_failure", "providers": ["email"]}], **place)
    readiness.on_config_change(old, new)
    await settle_down()
    assert house.status(told).phase is Phase.DELIVERED, "an edit is enough"
    digests.cancel()
    await house.engine.close(0)
