"""What the annotation pipebell.io/verify brings: one answer for each token, at most once a minute, by one replica."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.fakes import EMAIL, settle_down

from pipebell.core.errors import NotFound, Unavailable
from pipebell.core.finding import Finding
from pipebell.core.shards import shard_of
from pipebell.core.status import NotificationConfigStatus
from pipebell.engine.upkeep.verification import A_MINUTE, LONGEST, OF_NAMESPACE, SETTLED, Verifier

SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}
BOTH = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
GOOD = [
    Finding("name", True, "smtp.example.com is 1.2.3.4"),
    Finding("login", True, "user name and password are right"),
]
WRONG = [
    Finding("name", True, "smtp.example.com is 1.2.3.4"),
    Finding("login", False, "user name or password is wrong: 535", "it takes an app password", "SmtpAuthFailed"),
]


@pytest.fixture
async def verifier(house):
    heard: list[bool] = []
    made = Verifier(house.ports, house.book, house.resolver, heard.append)
    made.heard = heard
    house.book.subscribe(made)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()


def annotate(house, config, token: str, **changes: Any):
    """The object as the watch tells of it once its annotation is another."""
    known = house.book.get(config.key) or config
    new = replace(known, verify=token, resource_version=str(next(house.events.versions)), **changes)
    house.configs.store[new.key] = new
    house.book.put(new)
    return new


def edit(house, config, **spec):
    """The same object with another spec and its annotation as it is."""
    before = house.book.get(config.key)
    new = house.config(name=config.name, namespace=config.namespace, **spec)
    return annotate(house, replace(new, verify=before.verify), before.verify)


def answers(house, name="config"):
    return [patch["verification"] for patched, patch in house.configs.patches if patched == name]


def destinations(answer):
    return {item["name"]: (item["ok"], item["reason"]) for item in answer["destinations"]}


async def test_each_destination_is_answered_for(house, verifier):
    house.slack.findings = [Finding("webhook", False, "answers 404", "make a new one", "Http404")]
    house.email.findings = GOOD
    config = house.config(slack=SLACK, eventTriggers=BOTH)
    annotate(house, config, "t1")
    await settle_down()
    (answer,) = answers(house)
    assert (answer["token"], answer["observedGeneration"]) == ("t1", config.generation)
    assert answer["time"] == "2025-06-15T15:06:40.000Z"
    assert destinations(answer) == {"email": (True, "Verified"), "slack": (False, "Http404")}
    assert answer["destinations"][1]["message"] == "answers 404; make a new one"
    assert verifier.heard == [False]
    assert house.email.sent == house.slack.sent == []


async def test_nobody_asks_and_nothing_is_tried(house, verifier):
    config = house.config()
    verifier.on_shards_acquired([shard_of(config.org_slug)])
    await house.clock.advance(600)
    assert (house.email.verified, answers(house)) == ([], [])


async def test_a_wrong_password(house, verifier):
    house.email.findings = WRONG
    annotate(house, house.config(), "t1")
    await settle_down()
    (answer,) = answers(house)
    assert destinations(answer) == {"email": (False, "SmtpAuthFailed")}
    assert "app password" in answer["destinations"][0]["message"]


async def test_the_secrets_are_read_anew(house, verifier):
    house.secrets.store["team", "s"] = {"PASSWORD": "x"}
    email = EMAIL | {"smtpUsername": "u", "smtpPassword": "${PASSWORD}"}
    annotate(house, house.config(email=email, secretRef={"name": "s"}), "t1")
    await settle_down()
    assert ("team", "s", True) in house.secrets.asked
    ((target, namespace),) = house.email.verified
    assert (target.password, namespace) == ("x", "team")


async def test_a_second_request_waits_for_the_minute(house, verifier):
    config = house.config()
    annotate(house, config, "t1")
    await settle_down()
    annotate(house, config, "t2")
    annotate(house, config, "t3")
    await house.clock.advance(59)
    assert [answer["token"] for answer in answers(house)] == ["t1"]
    await house.clock.advance(2)
    assert [answer["token"] for answer in answers(house)] == ["t1", "t3"]


async def test_the_same_token_is_answered_once(house, verifier):
    config = house.config()
    annotate(house, config, "t1")
    await settle_down()
    annotate(house, config, "t1")
    verifier.on_shards_acquired([shard_of(config.org_slug)])
    await house.clock.advance(600)
    assert len(answers(house)) == 1


async def test_a_token_that_changes_while_one_runs(house, verifier):
    house.email.verify_gate = asyncio.Event()
    config = house.config()
    annotate(house, config, "t1")
    await settle_down()
    annotate(house, config, "t2")
    await settle_down()
    house.email.verify_gate.set()
    await settle_down()
    assert [answer["token"] for answer in answers(house)] == ["t1"]
    await house.clock.advance(61)
    assert [answer["token"] for answer in answers(house)] == ["t1", "t2"]
    assert len(house.email.verified) == 2


async def test_a_configuration_that_is_edited_meanwhile(house, verifier):
    """The answer says which generation it is about, and another edit is no reason to try again by itself."""
    house.email.verify_gate = asyncio.Event()
    config = house.config()
    annotate(house, config, "t1")
    await settle_down()
    newer = edit(house, config, email=EMAIL | {"smtpHost": "smtp.other.example"})
    house.email.verify_gate.set()
    await house.clock.advance(300)
    (answer,) = answers(house)
    assert answer["observedGeneration"] == config.generation != newer.generation
    annotate(house, newer, "t2")
    await settle_down()
    assert answers(house)[-1]["observedGeneration"] == newer.generation
    assert [target.host for target, _ in house.email.verified] == ["smtp.example.com", "smtp.other.example"]


async def test_one_that_is_deleted_meanwhile(house, verifier):
    house.email.verify_gate = asyncio.Event()
    config = annotate(house, house.config(), "t1")
    await settle_down()
    house.book.remove(config.key)
    house.configs.refuses = NotFound("gone")
    house.email.verify_gate.set()
    await house.clock.advance(300)
    assert (answers(house), len(house.email.verified)) == ([], 1)
    assert not verifier._done


async def test_an_answer_stands_over_a_restart(house, verifier):
    """Whoever takes over goes by what is written: the minute, and which token was answered."""
    config = house.config()
    written = {"token": "t1", "time": "2025-06-15T15:06:30Z", "destinations": []}
    status = NotificationConfigStatus.model_validate({"verification": written})
    annotate(house, config, "t1", status=status)
    await house.clock.advance(120)
    assert answers(house) == []
    annotate(house, config, "t2", status=status)
    await settle_down()
    assert [answer["token"] for answer in answers(house)] == ["t2"]


async def test_a_time_of_the_future_holds_nothing_up_for_more_than_a_minute(house, verifier):
    written = {"token": "t1", "time": "2099-01-01T00:00:00Z", "destinations": []}
    status = NotificationConfigStatus.model_validate({"verification": written})
    annotate(house, house.config(), "t2", status=status)
    await house.clock.advance(59)
    assert answers(house) == []
    await house.clock.advance(2)
    assert [answer["token"] for answer in answers(house)] == ["t2"]


async def test_another_replicas_is_left_to_it_and_answered_when_it_is_ours(house, verifier):
    house.ownership.lost.add("acme")
    config = annotate(house, house.config(), "t1")
    await house.clock.advance(120)
    assert house.email.verified == []
    house.ownership.lost.clear()
    verifier.on_shards_acquired([shard_of(config.org_slug)])
    await house.clock.advance(SETTLED + 1)
    assert [answer["token"] for answer in answers(house)] == ["t1"]


async def test_what_the_replica_before_has_answered_is_heard_of_first(house, verifier):
    """Its write may reach our watch a moment after its shards do."""
    house.ownership.lost.add("acme")
    config = annotate(house, house.config(), "t1")
    house.ownership.lost.clear()
    verifier.on_shards_acquired([shard_of(config.org_slug)])
    await settle_down()
    written = {"token": "t1", "time": "2025-06-15T15:06:39Z", "destinations": []}
    annotate(house, config, "t1", status=NotificationConfigStatus.model_validate({"verification": written}))
    await house.clock.advance(300)
    assert (answers(house), house.email.verified) == ([], [])


async def test_one_that_becomes_anothers_while_it_is_tried_is_not_answered_by_us(house, verifier):
    house.email.verify_gate = asyncio.Event()
    annotate(house, house.config(), "t1")
    await settle_down()
    house.ownership.lost.add("acme")
    house.email.verify_gate.set()
    await house.clock.advance(300)
    assert (answers(house), verifier.heard) == ([], [])


async def test_an_answer_that_cannot_be_written_is_tried_again_after_a_minute(house, verifier):
    house.configs.refuses = Unavailable("away")
    annotate(house, house.config(), "t1")
    await settle_down()
    house.configs.refuses = None
    await house.clock.advance(59)
    assert answers(house) == []
    await house.clock.advance(2)
    assert [answer["token"] for answer in answers(house)] == ["t1"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"enabled": False}, "ConfigDisabled"),
        ({"email": {**EMAIL, "enabled": False}}, "NoProviderEnabled"),
    ],
)
async def test_why_nothing_was_tried(house, verifier, spec, reason):
    annotate(house, house.config(**spec), "t1")
    await settle_down()
    (answer,) = answers(house)
    assert (answer["reason"], answer["destinations"]) == (reason, [])
    assert answer["message"]


async def test_one_that_another_outranks(house, verifier):
    house.config(name="first")
    annotate(house, house.config(name="second"), "t1")
    await settle_down()
    (answer,) = answers(house, "second")
    assert (answer["reason"], "first" in answer["message"]) == ("Conflict", True)


async def test_an_earlier_reason_is_taken_back(house, verifier):
    config = house.config(enabled=False)
    annotate(house, config, "t1")
    await settle_down()
    edit(house, config, enabled=True)
    annotate(house, config, "t2")
    await house.clock.advance(61)
    last = answers(house)[-1]
    assert (last["token"], last["reason"], last["message"]) == ("t2", None, None), "null in a merge-patch deletes"


async def test_a_destination_that_is_not_ready_keeps_the_others_from_nothing(house, verifier):
    spec = {"slack": {"webhookUrl": "${URL}"}, "secretRef": {"name": "none"}, "eventTriggers": BOTH}
    annotate(house, house.config(**spec), "t1")
    await settle_down()
    assert destinations(answers(house)[0]) == {"email": (True, "Verified"), "slack": (False, "MissingSecret")}


async def test_a_mistake_of_ours_is_told_as_such(house, verifier):
    house.email.findings = ValueError("secret-password")
    annotate(house, house.config(), "t1")
    await settle_down()
    (answer,) = answers(house)
    assert destinations(answer) == {"email": (False, "InternalError")}
    assert "secret-password" not in repr(answer)


async def test_servers_that_never_answer_come_to_an_end(house, verifier):
    house.email.verify_gate = asyncio.Event()
    house.slack.findings = GOOD
    annotate(house, house.config(slack=SLACK, eventTriggers=BOTH), "t1")
    await house.clock.advance(LONGEST + 1)
    (answer,) = answers(house)
    assert destinations(answer) == {"email": (False, "Timeout"), "slack": (True, "Verified")}


async def test_a_namespace_whose_servers_are_silent_holds_up_nobody_else(house, verifier):
    house.email.verify_gate, house.email.silent_for = asyncio.Event(), "hostile"
    for number in range(40):
        annotate(house, house.config(org=f"o{number}", namespace="hostile", name=f"c{number}"), "t")
    await settle_down()
    assert len(house.email.verified) == OF_NAMESPACE
    annotate(house, house.config(namespace="quiet", name="good"), "t")
    await settle_down()
    assert [answer["token"] for answer in answers(house, "good")] == ["t"]
    house.email.verify_gate.set()
    await house.clock.advance(70)
    assert len(house.email.verified) == 41, "those that had to wait are tried in their turn"


async def test_a_namespace_that_makes_and_deletes_configurations_has_so_many_checks_a_minute(house, verifier):
    for number in range(200):
        config = annotate(house, house.config(namespace="hostile"), f"t{number}", uid=f"uid-{number}")
        await settle_down()
        house.book.remove(config.key)
    assert len(house.email.verified) == A_MINUTE
    annotate(house, house.config(namespace="quiet", name="good"), "t")
    annotate(house, house.config(namespace="hostile", name="last"), "t")
    await settle_down()
    assert (len(answers(house, "good")), len(answers(house, "last"))) == (1, 0)
    await house.clock.advance(61)
    assert len(answers(house, "last")) == 1


async def test_nothing_that_a_terminal_obeys_and_nothing_long(house, verifier):
    house.email.findings = [Finding("login", False, "no \x1b]0;PWNED\x07\x1b[2J\u202e" + "x" * 5000, "", "Smtp554")]
    annotate(house, house.config(), "t1")
    await settle_down()
    message = answers(house)[0]["destinations"][0]["message"]
    assert message.isprintable()
    assert len(message) <= 1024


async def test_of_the_platforms_endpoint_only_how_it_stands_is_told(house, verifier):
    house.with_root('{"email": {"smtp_host": "smtp.inner.example", "from_email": "a@b.example"}}')
    house.email.findings = [Finding("login", False, "smtp.inner.example says 535", "look", "SmtpAuthFailed")]
    annotate(house, house.config(email={"toEmails": ["me@acme.example"]}), "t1")
    await settle_down()
    (answer,) = answers(house)
    assert destinations(answer) == {"email": (False, "SmtpAuthFailed")}
    assert "inner" not in repr(answer)
    house.email.findings = [Finding("recipients", False, "me@acme.example is refused: 550", "toEmails", "Smtp550")]
    annotate(house, house.config(email={"toEmails": ["me@acme.example"]}), "t2")
    await house.clock.advance(61)
    assert "me@acme.example is refused" in answers(house)[-1]["destinations"][0]["message"], "its own recipient"
