"""Own texts on an event's way: what was made is sent, what failed is replaced and said, and nothing waits for it."""

from __future__ import annotations

from dataclasses import replace

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import Phase

SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x", "textTemplate": "own {{ org }}"}
BOTH = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")


class FakeTemplates:
    """Makes a text of each template's source; remembers what it was asked, and fails as it is told."""

    def __init__(self):
        self.asked = []
        self.failure = ""

    async def render(self, message, kind, sources):
        self.asked.append((message.event.name, kind, dict(sources)))
        texts = {} if self.failure else {name: f"made of {text}" for name, text in sources.items()}
        return replace(message, texts=texts), self.failure

    async def check(self, spec, namespace=""):
        return [f"{place}: wrong" for place, text in spec.all_templates() if "wrong" in text]


async def with_templates(house):
    house.templates = FakeTemplates()
    await house.restart()
    return house.templates


async def test_each_destination_gets_its_own_words(house):
    fake = await with_templates(house)
    house.config(slack=SLACK, eventTriggers=BOTH)
    event = house.event()
    await house.submit(event)
    assert house.slack.sent[0][1].texts == {"text_template": "made of own {{ org }}"}
    assert house.email.sent[0][1].texts == {}
    assert fake.asked == [(event.name, "slack", {"text_template": "own {{ org }}"})]
    assert [delivery.template_fallback for delivery in house.status(event).deliveries] == [None, None]


async def test_without_templates_nothing_is_asked(house):
    fake = await with_templates(house)
    house.config()
    await house.submit(house.event())
    assert fake.asked == []


async def test_what_failed_is_marked_and_delivered_all_the_same(house):
    fake = await with_templates(house)
    fake.failure = "textTemplate, line 1: division by zero"
    house.config(slack=SLACK, eventTriggers=BOTH)
    event = house.event()
    await house.submit(event)
    status = house.status(event)
    assert status.phase is Phase.DELIVERED
    marks = {delivery.destination: delivery.template_fallback for delivery in status.deliveries}
    assert marks == {"email": None, "slack": fake.failure}
    assert house.slack.sent[0][1].texts == {}


async def test_each_attempt_is_worded_by_what_is_configured_then(house):
    fake = await with_templates(house)
    fake.failure = "textTemplate: broken"
    house.config(slack=SLACK, eventTriggers=BOTH[:1])
    house.slack.script = [RETRY]
    event = house.event()
    await house.submit(event)
    assert {delivery.template_fallback for delivery in house.status(event).deliveries} == {None, "textTemplate: broken"}
    fake.failure = ""
    house.config(slack=SLACK | {"textTemplate": "mended"}, eventTriggers=BOTH)
    await house.clock.advance(10)
    assert house.slack.sent[-1][1].texts == {"text_template": "made of mended"}
    assert [delivery.template_fallback for delivery in house.status(event).deliveries] == [None, None]


async def test_where_no_templates_can_be_run_that_is_said(house):
    house.config(slack=SLACK, eventTriggers=BOTH)
    event = house.event()
    await house.submit(event)
    marks = {delivery.destination: delivery.template_fallback for delivery in house.status(event).deliveries}
    assert marks == {"email": None, "slack": "templates cannot be run here"}
