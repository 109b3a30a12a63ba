"""Rules for some pipelines, carried out: who is told of what, and what the status says of it."""

from __future__ import annotations

from tests.engine.fakes import settle_down

from pipebell.core.vocabulary import Phase, Reason, StageName

SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}
RULES = [
    {"pipelines": ["scratch-*"], "enabled": False},
    {"pipelines": ["billing-*"], "severity": "critical", "providers": ["email", "slack"], "cooldownSeconds": 0},
    {"pipelines": ["billing-invoices"], "enabled": False},
    {"pipelines": ["*"], "events": ["pipeline_success"], "owner": "data-*", "providers": ["slack"]},
]


async def test_who_is_told_depends_on_the_pipeline(house):
    house.config(slack=SLACK, pipelineOverrides=RULES)
    plain = house.event(pipelineId="orders")
    scratch = house.event(pipelineId="scratch-1")
    billing = [house.event(pipelineId="billing-invoices") for _ in range(2)]
    told = house.event(pipelineId="orders", event="pipeline_success", owner="data-platform")
    other = house.event(pipelineId="orders", event="pipeline_success", owner="web")
    await house.submit(plain, scratch, *billing, told, other)
    assert sorted(house.email.names) == sorted(event.name for event in (plain, *billing))
    assert sorted(house.slack.names) == sorted(event.name for event in (*billing, told))

    status = house.status(scratch)
    assert (status.phase, status.reason) == (Phase.SKIPPED, Reason.TRIGGER_DISABLED)
    assert (status.decision.stage, status.decision.matched) == (StageName.OVERRIDE, "pipelineOverrides[0]")
    status = house.status(billing[1])
    assert (status.phase, status.severity) == (Phase.DELIVERED, "critical")
    assert "under pipelineOverrides[1] (severity, providers, cooldownSeconds)" in status.decision.matched
    assert {sent[1].severity for sent in house.slack.sent} == {"critical", "info"}
    assert house.status(other).reason is Reason.NO_TRIGGER
    assert house.status(told).severity == "info"


async def test_a_changed_rule_counts_for_what_is_still_to_be_sent(house):
    house.config(email={"toEmails": ["a@example.com"]}, pipelineOverrides=RULES)
    waiting = house.event(pipelineId="scratch-1"), house.event(pipelineId="orders")
    await house.submit(*waiting)
    assert house.status(waiting[1]).phase is Phase.PENDING
    house.config(slack=SLACK, pipelineOverrides=[{"pipelines": ["orders"], "providers": ["slack"]}])
    house.engine.wake_org("acme")
    await settle_down()
    assert house.slack.names == [waiting[1].name]
