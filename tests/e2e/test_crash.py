"""SIGKILL: whatever was under way goes on where it stopped, nothing is lost, and nothing is sent twice needlessly."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import datetime

import pytest
from tests.e2e.harness import config, delivery, event, eventually, phase, reason

from pipebell.sinks import Respond, SmtpSink

ORGS = 8


def trigger(**settings):
    return {"eventTriggers": [{"event": "pipeline_failure", **settings}]}


def test_a_retry_goes_on_where_it_stopped(world, operator):
    """E-mail is down for two attempts; the operator is killed after the first, and again after the second."""
    namespace = world.namespace()
    both = trigger(providers=["email", "slack"])
    retry = {"initialDelaySeconds": 3, "maxAttempts": 3, "exponentialBackoff": False}
    with world.another(SmtpSink(users=world.users, trust=world.trust)) as sink:
        sink.plan(451, 451)
        spec = world.slack_only("GoesOn", email=world.own_smtp("a@b.io", port=sink.port), retryConfig=retry)
        world.api.create(config(namespace, "c", "goes-on", **spec | both))
        made = world.api.create(event(namespace, "e1", "goes-on"))

        def after(attempts):
            item = delivery(world.api.get(made), "email")
            return item if item and item["attempts"] == attempts and item["phase"] == "Pending" else None

        for attempts in (1, 2):
            before = eventually(lambda n=attempts: after(n), 60, f"{attempts} attempts in the status")
            operator.kill()
            time.sleep(0.5)
            assert after(attempts) == before
            operator.start()
            started = time.time()
            due = datetime.fromisoformat(before["nextAttemptTime"]).timestamp()
            (_, *_, last) = eventually(lambda n=attempts: len(sink.attempts) > n and sink.attempts)
            assert due <= last.time < max(due, started) + 15.0, "the schedule survives as well"
        found = world.api.reaches(made, "Delivered")
        assert [mail.status[:3] for mail in sink.attempts] == ["451", "451", "250"], "not from scratch"
        assert delivery(found, "email")["attempts"] == 3
        assert {mail.message["Message-ID"] for mail in sink.attempts} == {delivery(found, "email")["messageId"]}
        assert len(world.posts_to("GoesOn")) == 1, "what succeeded is not repeated"


def test_killed_between_the_providers_yes_and_the_record_it_sends_the_same_again(world, operator):
    """The one duplicate there may be, forced: the operator dies while Slack's yes is on the way."""
    namespace = world.namespace()
    hook = world.slack.webhook("Yes")
    with world.another(SmtpSink(users=world.users, trust=world.trust)) as sink:
        spec = world.slack_only("Yes", email=world.own_smtp("a@b.io", port=sink.port))
        world.api.create(config(namespace, "c", "yes", **spec | trigger(providers=["slack", "email"])))
        world.slack.plan(Respond(wait=60.0), path=hook)  # until it is killed
        made = world.api.create(event(namespace, "e1", "yes"))
        eventually(lambda: world.posts_to("Yes") and sink.mails, 60, "both have it")
        # the e-mail's success is recorded although Slack is slow; wait for that, so that only Slack is open
        eventually(lambda: (delivery(world.api.get(made), "email") or {}).get("phase") == "Delivered")
        operator.kill()
        operator.start()
        world.api.reaches(made, "Delivered")
        first, second = world.posts_to("Yes")
        assert first.headers["x-pipebell-delivery"] == second.headers["x-pipebell-delivery"]
        assert first.payload == second.payload
        assert len(sink.mails) == 1


def test_three_kills_at_random_moments_with_200_events_in_flight_lose_nothing(world, operator):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  (pytest shows it when the test fails)
    chance = random.Random(seed)
    namespace = world.namespace()
    for number in range(ORGS):
        hook = f"Chaos{number}"
        world.slack.script(world.slack.webhook(hook)).always = lambda _: Respond(wait=chance.uniform(0.05, 1.5))
        spec = world.slack_only(hook, email=world.own_smtp(f"chaos-{number}@b.io"))
        spec |= trigger(providers=["slack", "email"], cooldownSeconds=0)
        world.api.create(config(namespace, f"c{number}", f"chaos-{number}", **spec))
    posts_before, mails_before = len(world.slack.requests), len(world.smtp.attempts)

    def sent():
        """How often each delivery came, by its identity."""
        posts = Counter(post.headers["x-pipebell-delivery"] for post in world.slack.requests[posts_before:])
        return posts + Counter(str(mail.message["Message-ID"]) for mail in world.smtp.attempts[mails_before:])

    def recorded(found):
        """Identities of the deliveries that the resources know of."""
        return {
            item.get("messageId") or f"{each['metadata']['uid']}.slack"
            for each in found.values()
            for item in each.get("status", {}).get("deliveries", [])
            if item["phase"] == "Delivered"
        }

    world.api.create_all(event(namespace, f"e{n:03}", f"chaos-{n % ORGS}") for n in range(200))
    may_repeat: Counter[str] = Counter()
    for _ in range(3):
        time.sleep(chance.uniform(0.3, 1.5))
        operator.kill()
        time.sleep(1.0)  # what it had sent arrives
        may_repeat.update(set(sent()) - recorded(world.api.events(namespace)))
        operator.start()
    found = world.api.finished(namespace, 200, 90)
    assert {phase(item) for item in found.values()} == {"Delivered"}
    times = sent()
    assert set(times) == recorded(found), "each arrived, under its own identity, and none other did"
    assert len(times) == 400
    repeated = Counter({identity: count - 1 for identity, count in times.items() if count > 1})
    print(f"in flight at the kills {may_repeat.total()}, duplicates {repeated.total()}")  # noqa: T201  (the same)
    assert repeated <= may_repeat, "only what was in flight at a kill may come again, once for each kill"


@pytest.fixture(scope="module")
def crowd(world, operator):
    """A namespace full of finished events."""
    namespace = world.namespace()
    world.api.create(config(namespace, "c", "crowd", enabled=False))
    world.api.create_all(event(namespace, f"e{n:04}", "crowd") for n in range(1500))
    world.api.finished(namespace, 1500, 120)
    return namespace


def test_sigterm_finishes_and_records_what_is_under_way(world, operator):
    namespace = world.namespace()
    world.slack.script(world.slack.webhook("Term")).always = lambda _: Respond(wait=2.0)
    world.api.create(config(namespace, "c", "term", **world.slack_only("Term"), **trigger(cooldownSeconds=0)))
    world.api.create_all(event(namespace, f"e{n}", "term") for n in range(30))
    eventually(lambda: len(world.posts_to("Term")) >= 5)
    assert operator.stop() == 0
    sent = {post.headers["x-pipebell-delivery"].partition(".")[0] for post in world.posts_to("Term")}
    found = world.api.events(namespace)
    assert {item["metadata"]["uid"] for item in found.values() if phase(item) == "Delivered"} == sent
    operator.start()
    world.api.finished(namespace, 30)
    assert len(world.posts_to("Term")) == 30, "a clean restart sends nothing twice"


def test_a_burst_across_a_kill_is_still_one_notification(world, operator):
    """The sender is killed while sending; it goes on as the sender, and the others stay held back."""
    namespace = world.namespace()
    world.slack.plan(Respond(500, "no"), Respond(wait=3.0), path=world.slack.webhook("Across"))
    spec = world.slack_only("Across", retryConfig={"initialDelaySeconds": 8})  # it is killed before that
    world.api.create(config(namespace, "c", "across", **spec | trigger(cooldownSeconds=300)))
    world.api.create_all([event(namespace, f"e{n:02}", "across") for n in range(20)], threads=20)
    eventually(lambda: [item for item in world.api.events(namespace).values() if reason(item) == "Retrying"])
    operator.kill()
    operator.start()
    found = world.api.finished(namespace, 20)
    assert Counter(phase(item) for item in found.values()) == {"Delivered": 1, "Suppressed": 19}
    assert len(world.posts_to("Across")) == 1


def test_a_cooldown_and_what_it_held_back_survive_a_kill_among_thousands_of_finished_events(world, operator, crowd):
    namespace, cooldown = world.namespace(), 20
    spec = world.slack_only("Survives") | trigger(cooldownSeconds=cooldown)
    world.api.create(config(namespace, "c", "survives", **spec))
    sender = world.api.create(event(namespace, "sender", "survives"))
    opens = datetime.fromisoformat(delivery(world.api.reaches(sender, "Delivered"), "slack")["deliveredTime"])
    world.api.reaches(world.api.create(event(namespace, "held-1", "survives")), "Cooldown")
    world.api.reaches(world.api.create(event(namespace, "held-2", "survives")), "Cooldown")
    operator.kill()
    while_away = world.api.create(event(namespace, "while-away", "survives"))
    operator.start()
    held = world.api.reaches(while_away, "Cooldown")
    assert held["status"]["suppressedBy"] == "sender"
    assert [line["events"] for line in operator.lines() if line["msg"] == "cooldowns_rebuilt"][-1] >= 1500
    rest = opens.timestamp() + cooldown - time.time()
    assert rest > 0, "the machine was too slow to prove anything"
    time.sleep(rest + 0.3)
    after = world.api.create(event(namespace, "after", "survives"))
    assert world.api.reaches(after, "Delivered")["status"]["suppressedCount"] == 3
    assert len(world.posts_to("Survives")) == 2


def test_deleting_a_namespace_full_of_events_and_configs_does_not_hang(world, operator, crowd):
    """Finished ones, one that waits for its retry, one that is being sent, one that waits for its configuration."""
    world.slack.script(world.slack.webhook("Retries")).always = lambda _: Respond(500, "no")
    world.slack.script(world.slack.webhook("Hangs")).always = lambda _: Respond(wait=60.0)
    at = operator.log.stat().st_size
    for org in ("Retries", "Hangs"):
        world.api.create(config(crowd, org.lower(), org, **world.slack_only(org)))
        world.api.create(event(crowd, org.lower(), org))
    world.api.create(config(crowd, "incomplete", "incomplete", email={"smtpPort": 25}))
    world.api.create(event(crowd, "waits", "incomplete"))
    world.api.reaches(event(crowd, "retries", ""), "Retrying")
    world.api.reaches(event(crowd, "waits", ""), "ConfigNotReady")
    world.cluster.delete_namespace(crowd, 120.0)
    world._namespaces.remove(crowd)
    # the operator lets go of all of them, and serves others as before
    eventually(lambda: operator.metric("pipebell_unfinished_events") <= 1, 60, "nothing is left of them")
    namespace = world.namespace()
    world.api.create(config(namespace, "c", "alive", **world.slack_only("Alive")))
    world.api.reaches(world.api.create(event(namespace, "e", "alive")), "Delivered")
    assert [line for line in operator.lines(at) if line["level"] == "error"] == []
    operator.kill()  # the post that hangs would put off its end
    operator.start()
