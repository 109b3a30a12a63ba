"""Everything that takes its time: cooldowns, retries, pauses, waiting for a configuration, retention.

The scenarios wait side by side, each for organisations of its own; a test each tells how one ended.
"""

from __future__ import annotations

import json
import socket
import time
from datetime import datetime

import pytest
from tests.e2e.harness import config, delivery, event, eventually, phase, reason, secret
from tests.e2e.world import ORG_PASSWORD, ORG_USER, PRIVATE_NAME

from pipebell.sinks import Respond, Say, SlackSink, SmtpSink, too_many


def seconds_of(text):
    return datetime.fromisoformat(text).timestamp()


def trigger(**settings):
    return {"eventTriggers": [{"event": "pipeline_failure", **settings}]}


def said(post):
    return json.dumps(post.payload, ensure_ascii=False)


def fifty_at_once_with_a_long_cooldown(world):
    namespace = world.namespace()
    world.api.create(config(namespace, "burst", "burst", **world.slack_only("Burst"), **trigger(cooldownSeconds=300)))
    world.api.create_all([event(namespace, f"e{n:02}", "burst") for n in range(50)], threads=50)
    found = world.api.finished(namespace, 50)
    (sender,) = [name for name, item in found.items() if phase(item) == "Delivered"]
    assert len(world.posts_to("Burst")) == 1
    held = [item["status"] for item in found.values() if phase(item) == "Suppressed"]
    assert len(held) == 49
    assert {(status["reason"], status["suppressedBy"]) for status in held} == {("Cooldown", sender)}
    told = seconds_of(delivery(found[sender], "slack")["deliveredTime"])
    assert {round(seconds_of(status["suppressedUntil"]) - told, 1) for status in held} == {300.0}
    # another type of event, and another organisation, have cooldowns of their own
    other = world.api.create(event(namespace, "other", "burst", "system_error"))
    world.api.reaches(other, "NoTrigger")


def after_the_window_the_next_tells_how_many(world):
    namespace = world.namespace()
    window = 20
    slow = world.slack.webhook("Window")
    world.slack.plan(Respond(wait=8.0), path=slow)
    world.api.create(config(namespace, "c", "window", **world.slack_only("Window"), **trigger(cooldownSeconds=window)))
    world.api.create_all([event(namespace, f"e{n:02}", "window") for n in range(50)], threads=50)

    def waiting():
        return [item for item in world.api.events(namespace).values() if reason(item) == "WaitingForSender"]

    assert eventually(waiting, 60, "status of those that wait for the slow sender")
    found = world.api.finished(namespace, 50)
    (sender,) = [item for item in found.values() if phase(item) == "Delivered"]
    assert len(world.posts_to("Window")) == 1
    opens = seconds_of(delivery(sender, "slack")["deliveredTime"]) + window
    time.sleep(max(0.0, opens - time.time() - 12.0))
    world.api.reaches(world.api.create(event(namespace, "inside", "window")), "Cooldown")
    time.sleep(max(0.0, opens - time.time() + 0.2))
    next_one = world.api.create(event(namespace, "next", "window"))
    assert world.api.reaches(next_one, "Delivered")["status"]["suppressedCount"] == 50
    _, post = world.posts_to("Window")
    assert "50 similar events were held back" in said(post)


def if_the_first_fails_for_good_the_next_is_sent(world):
    namespace = world.namespace()
    world.slack.plan(
        Respond(404, "no_service", wait=1.5), Respond(404, "no_service"), path=world.slack.webhook("First")
    )
    world.api.create(config(namespace, "c", "first", **world.slack_only("First"), **trigger(cooldownSeconds=300)))
    world.api.create_all([event(namespace, f"e{n}", "first") for n in range(10)])
    found = world.api.finished(namespace, 10)
    phases = sorted(phase(item) for item in found.values())
    assert phases == ["Delivered", "Failed", "Failed"] + ["Suppressed"] * 7
    (sender,) = [name for name, item in found.items() if phase(item) == "Delivered"]
    assert {item["status"]["suppressedBy"] for item in found.values() if phase(item) == "Suppressed"} == {sender}
    assert {reason(item) for item in found.values() if phase(item) == "Failed"} == {"PermanentError"}
    assert len(world.posts_to("First")) == 1


def a_mail_server_that_fails_twice_is_tried_at_0_5_and_15_seconds(world):
    namespace = world.namespace()
    with world.another(SmtpSink(users=world.users, trust=world.trust)) as sink:
        sink.plan(451, 451)
        email = world.own_smtp("late@org.example", port=sink.port)
        world.api.create(config(namespace, "late", "late", email=email))
        began = time.time()
        made = world.api.create(event(namespace, "e1", "late"))

        def after(attempts):
            item = delivery(world.api.get(made), "email")
            return item if item and item["attempts"] == attempts else None

        for attempts, delay in ((1, 5), (2, 10)):
            told = eventually(lambda n=attempts: after(n), 60, f"{attempts} attempts in the status")
            assert (told["phase"], told["reason"]) == ("Pending", "Retrying")
            assert "451" in told["message"]
            wait = seconds_of(told["nextAttemptTime"]) - seconds_of(told["lastAttemptTime"])
            assert delay <= wait < delay + 30, "from the end of the attempt, which is told by its beginning"
            assert (phase(world.api.get(made)), reason(world.api.get(made))) == ("Pending", "Retrying")
        found = world.api.reaches(made, "Delivered")
        times = [mail.time - began for mail in sink.attempts]
        assert len(times) == 3
        assert times[1] - times[0] >= 5
        assert times[2] - times[1] >= 10
        assert times[2] < 90, "and not much later"
        assert (delivery(found, "email")["attempts"], "nextAttemptTime" in delivery(found, "email")) == (3, False)
        assert len({mail.message["Message-ID"] for mail in sink.attempts}) == 1


def a_mail_server_that_is_off_is_found_again(world):
    namespace = world.namespace()
    sink = SmtpSink(users=world.users, trust=world.trust)
    retry = {"initialDelaySeconds": 1, "maxAttempts": 6, "maxDelaySeconds": 2}
    email = world.own_smtp("off@org.example", port=sink.port)
    world.api.create(config(namespace, "off", "off", email=email, retryConfig=retry))
    made = world.api.create(event(namespace, "e1", "off"))
    eventually(lambda: (delivery(world.api.get(made), "email") or {}).get("attempts") == 2, 60, "two attempts")
    with world.another(sink):
        found = world.api.reaches(made, "Delivered")
        assert delivery(found, "email")["attempts"] >= 3
        assert len(sink.mails) == 1


def one_provider_fails_for_good_and_the_other_is_not_repeated(world):
    namespace = world.namespace()
    both = trigger(providers=["email", "slack"], cooldownSeconds=0)
    retry = {"initialDelaySeconds": 1, "maxAttempts": 3, "exponentialBackoff": False}
    with world.another(SmtpSink(users=world.users, trust=world.trust)) as sink:
        cases = {
            "refused": ("nobody@gone.example", "PermanentError", 1),
            "exhausted": ("full@gone.example", "RetriesExhausted", 3),
        }
        sink.refuse("nobody@gone.example", 550)
        sink.refuse("full@gone.example", 452)
        for org, (to, _, _) in cases.items():
            email = world.own_smtp(to, port=sink.port)
            spec = world.slack_only(f"Partial_{org}", email=email, retryConfig=retry) | both
            world.api.create(config(namespace, org, org, **spec))
            world.api.create(event(namespace, org, org))
        found = world.api.finished(namespace, 2)
        for org, (_, why, attempts) in cases.items():
            item = found[org]
            assert (phase(item), reason(item)) == ("PartiallyDelivered", why)
            email, slack = delivery(item, "email"), delivery(item, "slack")
            assert (email["phase"], email["attempts"]) == ("Failed", attempts)
            assert (slack["phase"], slack["attempts"]) == ("Delivered", 1)
            assert len([post for post in world.slack.requests if post.path.endswith(f"Partial_{org}")]) == 1
        assert not sink.mails
    # the other way round
    spec = world.slack_only("Partial_slack", email=world.own_smtp("fine@gone.example")) | both
    world.slack.script(world.slack.webhook("Partial_slack")).always = lambda _: Respond(410, "channel_is_archived")
    world.api.create(config(namespace, "slack", "slack", **spec))
    item = world.api.reaches(world.api.create(event(namespace, "slack", "slack")), "PartiallyDelivered")
    assert "archived" in delivery(item, "slack")["message"]
    assert len(world.mails_to("fine@gone.example")) == 1

    def noticed():
        return [n for n in world.api.notices(namespace) if n["involvedObject"]["name"] == "slack"]

    assert eventually(noticed, 60, "a Kubernetes Event")[0]["reason"] == "PermanentError"


def an_endpoint_that_asks_for_a_pause_gets_it(world):
    namespace = world.namespace()
    hook = world.slack.webhook("Paused")
    world.slack.plan(too_many(10), path=hook)
    world.api.create(config(namespace, "paused", "paused", **world.slack_only("Paused"), **trigger(cooldownSeconds=0)))
    world.api.create(config(namespace, "free", "free", **world.slack_only("Free"), **trigger(cooldownSeconds=0)))
    first = world.api.create(event(namespace, "e0", "paused"))
    held = world.api.reaches(first, "RateLimited")
    assert (phase(held), delivery(held, "slack")["attempts"]) == ("Pending", 0)
    world.api.create_all([event(namespace, f"e{n}", "paused") for n in range(1, 6)])
    world.api.reaches(world.api.create(event(namespace, "free", "free")), "Delivered")
    found = world.api.finished(namespace, 7)
    assert {phase(item) for item in found.values()} == {"Delivered"}
    assert {delivery(item, "slack")["attempts"] for item in found.values()} == {1}
    asked = [post for post in world.slack.requests if post.path.endswith("/Paused")]
    assert [post.status for post in asked] == [429] + [200] * 6
    assert asked[1].time - asked[0].time >= 10, "left alone for as long as it asked"
    assert asked[1].headers["x-pipebell-delivery"] != asked[0].headers["x-pipebell-delivery"], "another one probes"
    assert asked[2].time >= asked[1].time


def a_new_secret_or_an_edit_releases_what_waits(world):
    namespace = world.namespace()
    late = config(
        namespace,
        "late-secret",
        "late-secret",
        defaultProvider="slack",
        slack={"webhookUrlSecretRef": {"name": "hooks", "key": "url"}},
    )
    placeholder = config(
        namespace,
        "placeholder",
        "placeholder",
        secretRef={"name": "vars"},
        email=world.own_smtp("${ON_CALL}", smtpUsername="${USER}", smtpPassword="${PASSWORD}"),
    )
    incomplete = config(namespace, "incomplete", "incomplete", email={"smtpPort": 2525})
    configs = [late, placeholder, incomplete]
    world.api.create_all([*configs, secret(namespace, "vars", USER=ORG_USER, PASSWORD=ORG_PASSWORD)])
    made = world.api.create_all(event(namespace, c["metadata"]["name"], c["spec"]["orgSlug"]) for c in configs)
    for item in made:
        assert phase(world.api.reaches(item, "ConfigNotReady")) == "Pending"
    assert "hooks" in world.api.condition(late, "MissingSecret")["message"]
    assert "ON_CALL" in world.api.condition(placeholder, "MissingVariable")["message"]
    world.api.condition(incomplete, "Incomplete")
    world.api.create(secret(namespace, "hooks", url=world.slack.webhook("LateSecret")))
    path = f"/api/v1/namespaces/{namespace}/secrets/vars"
    world.api.request("PATCH", path, {"stringData": {"ON_CALL": "call@org.example"}}, "application/merge-patch+json")
    world.api.merge(incomplete, email=world.own_smtp("edited@org.example"))
    world.api.reaches(made[2], "Delivered")
    for item in made[:2]:
        world.api.reaches(item, "Delivered")
    assert len(world.posts_to("LateSecret")) == 1
    assert len(world.mails_to("call@org.example")) == 1
    assert len(world.mails_to("edited@org.example")) == 1


def a_host_that_is_not_allowed_is_never_asked(world):
    namespace = world.namespace()
    outside = SlackSink(trust=world.trust)
    with world.another(outside), socket.create_server(("127.0.0.2", 0)) as private:
        private.settimeout(0.1)
        port = private.getsockname()[1]
        specs = {
            "webhook": {"defaultProvider": "slack", "slack": {"webhookUrl": outside.webhook()}},
            "address": {"email": world.own_smtp("a@b.io", port=port, smtpHost="127.0.0.2")},
            "metadata": {"email": world.own_smtp("a@b.io", smtpHost="169.254.169.254")},
            "private": {"email": world.own_smtp("a@b.io", smtpHost="10.1.2.3")},
            "name": {"email": world.own_smtp("a@b.io", smtpHost=PRIVATE_NAME)},
            "variable": {
                "secretRef": {"name": "hooks"},
                "defaultProvider": "slack",
                "slack": {"webhookUrl": "${HOOK}"},
            },
        }
        world.api.create(secret(namespace, "hooks", HOOK=outside.webhook("Hidden")))
        for org, spec in specs.items():
            began = time.time()
            made = world.api.create(config(namespace, org, f"host-{org}", **spec))
            condition = world.api.condition(made, "HostNotAllowed")
            assert condition["status"] == "False"
            assert seconds_of(condition["lastTransitionTime"]) - began < 20
            world.api.create(event(namespace, org, f"host-{org}"))
        for org in specs:
            held = world.api.reaches(event(namespace, org, org), "ConfigNotReady")
            assert "HostNotAllowed" in held["status"]["message"]
        time.sleep(1.0)
        assert not outside.requests
        with pytest.raises(TimeoutError):
            private.accept()
    # allowed after an edit: what waited goes out
    world.api.merge(config(namespace, "address", ""), email=world.own_smtp("allowed@b.io"))
    world.api.reaches(event(namespace, "address", ""), "Delivered")


def a_flood_does_not_hold_up_somebody_elses_event(world):
    namespace = world.namespace()
    world.slack.script(world.slack.webhook("Flood")).always = lambda _: Respond(wait=1.0)
    world.api.create(config(namespace, "flood", "flood", **world.slack_only("Flood"), **trigger(cooldownSeconds=0)))
    world.api.create(config(namespace, "single", "single", **world.slack_only("Single")))
    world.api.create_all([event(namespace, f"f{n:03}", "flood") for n in range(150)])
    made = world.api.create(event(namespace, "single", "single"))
    world.api.reaches(made, "Delivered")
    queued = [item for item in world.api.events(namespace).values() if not phase(item)]
    assert queued, "some of the flood waits still: the single one did not wait for it"
    world.api.finished(namespace, 151, 120)
    assert len(world.posts_to("Flood")) == 150


def recipients_refused_for_now_are_the_only_ones_tried_again(world):
    namespace = world.namespace()
    with world.another(SmtpSink(users=world.users, trust=world.trust)) as sink:
        sink.refuse("grey@org.example", 450, times=1)
        email = world.own_smtp("first@org.example", "grey@org.example", port=sink.port, ccEmails=["third@org.example"])
        world.api.create(config(namespace, "grey", "grey", email=email, retryConfig={"initialDelaySeconds": 1}))
        world.api.reaches(world.api.create(event(namespace, "grey", "grey")), "Delivered")
        first, second = sink.mails
        assert (first.recipients, second.recipients) == (
            ("first@org.example", "third@org.example"),
            ("grey@org.example",),
        )
        assert first.message["Message-ID"] == second.message["Message-ID"]
        assert first.message["To"] == second.message["To"]


def finished_events_go_unless_a_cooldown_needs_them(world):
    namespace = world.namespace()
    window = 30
    quiet = config(namespace, "quiet", "quiet", **world.slack_only("Quiet"), **trigger(cooldownSeconds=window))
    free = config(namespace, "brief", "brief", **world.slack_only("Brief"), **trigger(cooldownSeconds=0))
    world.api.create_all([quiet, free])
    short = {"ttlSecondsAfterFinished": 1}
    sender = world.api.create(event(namespace, "sender", "quiet", **short))
    told = seconds_of(delivery(world.api.reaches(sender, "Delivered"), "slack")["deliveredTime"])
    held = world.api.create(event(namespace, "held", "quiet", **short))
    world.api.reaches(held, "Cooldown")
    brief = world.api.create(event(namespace, "brief", "brief", **short))
    kept = world.api.create(event(namespace, "kept", "brief"))
    world.api.reaches(kept, "Delivered")
    eventually(lambda: world.api.get(brief) is None, 120, "the finished event's end")
    # past the window, but what was held back has not been told to anybody yet
    time.sleep(max(0.0, told + window + 6.0 - time.time()))
    assert world.api.get(sender)
    assert world.api.get(held)
    after = world.api.create(event(namespace, "after", "quiet", **short))
    assert world.api.reaches(after, "Delivered")["status"]["suppressedCount"] == 1
    eventually(lambda: world.api.get(sender) is None and world.api.get(held) is None, 120, "the end of what was told")
    assert world.api.get(after), "its own cooldown runs"
    assert world.api.get(kept)


def an_event_deleted_while_it_waits_is_not_sent(world):
    namespace = world.namespace()
    world.slack.plan(500, path=world.slack.webhook("Deleted"))
    spec = world.slack_only("Deleted", retryConfig={"initialDelaySeconds": 8})  # it is deleted before that
    world.api.create(config(namespace, "deleted", "deleted", **spec))
    made = world.api.create(event(namespace, "e1", "deleted"))
    world.api.reaches(made, "Retrying")
    world.api.delete(made)
    following = world.api.create(event(namespace, "e2", "deleted"))
    world.api.reaches(following, "Delivered")
    time.sleep(9)
    (post,) = world.posts_to("Deleted")
    assert post.headers["x-pipebell-delivery"].startswith(world.api.get(following)["metadata"]["uid"])


def a_changed_configuration_counts_for_the_next_attempt(world):
    namespace = world.namespace()
    before, after = world.slack.webhook("Before"), world.slack.webhook("After")
    world.slack.script(before).always = lambda _: Respond(503, "no")
    spec = world.slack_only("Before", retryConfig={"initialDelaySeconds": 15})  # it is changed before that
    made_config = world.api.create(config(namespace, "c", "changing", **spec))
    made = world.api.create(event(namespace, "e1", "changing"))
    world.api.reaches(made, "Retrying")
    world.api.merge(made_config, slack={"webhookUrl": after})
    found = world.api.reaches(made, "Delivered")
    assert (delivery(found, "slack")["attempts"], len(world.posts_to("After"))) == (2, 1)


def a_login_refused_with_an_old_secret_reads_the_new_one(world):
    namespace = world.namespace()
    world.api.create(secret(namespace, "login", USER=ORG_USER, PASSWORD=ORG_PASSWORD))
    users = {ORG_USER: ORG_PASSWORD}
    with world.another(SmtpSink(users=users, trust=world.trust)) as sink:
        email = world.own_smtp("x@y.io", port=sink.port, smtpUsername="${USER}", smtpPassword="${PASSWORD}")
        spec = {"email": email, "secretRef": {"name": "login"}, **trigger(cooldownSeconds=0)}
        world.api.create(config(namespace, "c", "rotated", **spec))
        world.api.reaches(world.api.create(event(namespace, "e1", "rotated")), "Delivered")
        users[ORG_USER] = "rotated-password"
        path = f"/api/v1/namespaces/{namespace}/secrets/login"
        change = {"stringData": {"PASSWORD": "rotated-password"}}
        world.api.request("PATCH", path, change, "application/merge-patch+json")
        sink.plan(Say(status="421 4.7.0 Try again later", drop=True))  # the kept connection is lost: log in again
        world.api.create(event(namespace, "e2", "rotated"))
        found = world.api.finished(namespace, 2)
        assert phase(found["e2"]) == "Delivered"
        assert sink.logins[-2:] == [(ORG_USER, False), (ORG_USER, True)]


SCENARIOS = (
    finished_events_go_unless_a_cooldown_needs_them,
    a_mail_server_that_fails_twice_is_tried_at_0_5_and_15_seconds,
    after_the_window_the_next_tells_how_many,
    a_new_secret_or_an_edit_releases_what_waits,
    an_endpoint_that_asks_for_a_pause_gets_it,
    fifty_at_once_with_a_long_cooldown,
    if_the_first_fails_for_good_the_next_is_sent,
    a_mail_server_that_is_off_is_found_again,
    one_provider_fails_for_good_and_the_other_is_not_repeated,
    a_host_that_is_not_allowed_is_never_asked,
    a_flood_does_not_hold_up_somebody_elses_event,
    recipients_refused_for_now_are_the_only_ones_tried_again,
    an_event_deleted_while_it_waits_is_not_sent,
    a_changed_configuration_counts_for_the_next_attempt,
    a_login_refused_with_an_old_secret_reads_the_new_one,
)


@pytest.fixture(scope="module")
def running(world, operator, at_the_same_time):
    return {scenario: at_the_same_time(scenario, world) for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_is_true_that(running, scenario):
    running[scenario].result()
