"""Mail servers as they are: throttling, few connections, few recipients, greylisting, slow, and refusing one message.

The scenarios wait side by side, each with a server of its own; a test each tells how one ended.
"""

from __future__ import annotations

import time

import pytest
from tests.e2e.harness import PATIENCE, config, delivery, event, eventually, phase

from pipebell.sinks import Limits, Rate, Say, SmtpSink

ORGANISATIONS, MESSAGES = 40, 60
TOO_MUCH = "450 4.7.1 Error: too much mail from 127.0.0.1"


def at_once(**settings):
    return {"eventTriggers": [{"event": "pipeline_failure", "cooldownSeconds": 0, **settings}]}


def server(world, limits=None):
    made = SmtpSink(users=world.users, trust=world.trust)
    if limits is not None:
        made.limit(limits)
    return world.another(made)


def organisations(world, sink, count=ORGANISATIONS):
    """Organisations in four namespaces that share one account on the sink: those and the namespace of each."""
    namespaces = [world.namespace() for _ in range(4)]
    made = {f"org-{n}": namespaces[n % 4] for n in range(count)}
    world.api.create_all(
        config(namespace, org, org, email=world.own_smtp(f"{org}@b.io", port=sink.port), **at_once())
        for org, namespace in made.items()
    )
    return made


def none_is_lost(world, limits, needed, work=0.0):
    """All organisations fail at once behind this server, which needs this many seconds for their messages."""
    with server(world, limits) as sink:
        if work:
            sink.script().always = lambda _: Say(wait=work)
        places = organisations(world, sink)
        names = list(places)
        events = [event(places[org], f"e{n}", org) for n, org in ((n, names[n % len(names)]) for n in range(MESSAGES))]
        world.api.create_all(events)

        def delivered():
            return len(sink.mails) >= MESSAGES

        eventually(delivered, needed * 3 + PATIENCE, f"{MESSAGES} mails", every=0.2)
        for namespace in set(places.values()):
            for item in world.api.finished(namespace, MESSAGES // 4).values():
                assert (phase(item), delivery(item, "email")["attempts"]) == ("Delivered", 1)
        assert len({mail.message["Message-ID"] for mail in sink.mails}) == len(sink.mails) == MESSAGES
        return sink


def none_is_lost_behind_five_a_second(world):
    none_is_lost(world, Limits(rate=Rate(5, 1.0)), MESSAGES / 5)


def none_is_lost_behind_three_connections(world):
    sink = none_is_lost(world, Limits(connections=3), MESSAGES * 0.5 / 3, work=0.5)
    assert sink.connections <= 6, "it is believed"


def none_is_lost_behind_three_connections_that_are_told_late(world):
    limits = Limits(connections=3, connections_at="data", connections_status="432 4.3.2 sender thread limit exceeded")
    none_is_lost(world, limits, MESSAGES * 0.5 / 3, work=0.5)


def none_is_lost_behind_too_much_mail(world):
    none_is_lost(world, Limits(rate=Rate(3, 1.0, TOO_MUCH, at="mail")), MESSAGES / 3)


def one_message_that_is_always_refused_starves_nobody(world):
    with server(world) as sink:
        sink.script("mail").always = lambda sender: Say(status="421 4.7.0 Not this") if "bad" in sender else None
        namespaces = {org: world.namespace() for org in ("bad", "good")}
        for org, namespace in namespaces.items():
            email = world.own_smtp(f"{org}@b.io", port=sink.port, fromEmail=f"{org}@org.example")
            retry = {"maxAttempts": 2, "initialDelaySeconds": 1}
            world.api.create(config(namespace, org, org, email=email, retryConfig=retry, **at_once()))
        made = world.api.create(event(namespaces["bad"], "bad", "bad"))
        world.api.reaches(made, "RateLimited")
        waits = []
        while phase(world.api.get(made)) != "Failed":
            began = time.monotonic()
            good = event(namespaces["good"], f"e{len(waits)}", "good")
            world.api.reaches(world.api.create(good), "Delivered", 120)
            waits.append(time.monotonic() - began)
            assert len(waits) < 80
            time.sleep(2.0)
        assert max(waits) < 60
        found = world.api.reaches(made, "RetriesExhausted")
        assert (delivery(found, "email")["refusals"], delivery(found, "email")["attempts"]) == (6, 2)
        assert len(world.mails_to("good@b.io", sink)) == len(waits)


def dead_recipients_starve_nobody_and_the_living_are_served(world):
    """The server ends the connection after 20 errors."""
    with server(world, Limits(errors=20)) as sink:
        dead = [f"dead{n}@b.io" for n in range(24)]
        for who in dead:
            sink.refuse(who, 550)
        namespace, other = world.namespace(), world.namespace()
        email = world.own_smtp(*dead, port=sink.port, ccEmails=["living@b.io"])
        world.api.create(config(namespace, "dead", "dead", email=email, **at_once()))
        world.api.create(config(other, "good", "good", email=world.own_smtp("good@b.io", port=sink.port), **at_once()))
        made = world.api.create(event(namespace, "e", "dead"))
        world.api.reaches(made, "RateLimited")
        world.api.reaches(world.api.create(event(other, "e", "good")), "Delivered", 60)
        found = world.api.reaches(made, "PartiallyDelivered", 120)
        status = delivery(found, "email")
        assert sorted(status["refusedRecipients"]) == sorted(dead)
        assert "24 recipients not served" in status["message"]
        assert len(world.mails_to("living@b.io", sink)) == 1


def all_of_120_recipients_are_served_ten_at_a_time(world):
    with server(world, Limits(recipients=10)) as sink:
        namespace = world.namespace()
        to, cc = [f"r{n}@b.io" for n in range(100)], [f"c{n}@b.io" for n in range(20)]
        email = world.own_smtp(*to, port=sink.port, ccEmails=cc)
        world.api.create(config(namespace, "many", "many", email=email, **at_once()))
        found = world.api.reaches(world.api.create(event(namespace, "e1", "many")), "Delivered")
        assert delivery(found, "email")["attempts"] == 1
        assert sorted(who for mail in sink.mails for who in mail.recipients) == sorted(to + cc)
        assert len(sink.mails) == 12
        sink.refuse(to[7], 550)
        sink.refuse(cc[3], 550)
        found = world.api.reaches(world.api.create(event(namespace, "e2", "many")), "PartiallyDelivered")
        assert delivery(found, "email")["refusedRecipients"] == [to[7], cc[3]]
        assert "2 recipients not served" in found["status"]["message"]


def greylisting_is_sat_out(world):
    """For longer than the three attempts of old took."""
    with server(world, Limits(greylist=25.0)) as sink:
        namespace = world.namespace()
        email = world.own_smtp("first@b.io", "second@b.io", port=sink.port)
        world.api.create(config(namespace, "grey", "grey", email=email, **at_once()))
        found = world.api.reaches(world.api.create(event(namespace, "e", "grey")), "Delivered", 120)
        assert delivery(found, "email")["attempts"] in (3, 4), "the fourth after 35 s, or a third that was late"
        assert len(sink.mails) == 1


def a_slow_answer_after_the_final_dot_is_one_mail(world):
    with server(world) as sink:
        sink.plan(Say(wait=35.0))
        namespace = world.namespace()
        email = world.own_smtp("slow@b.io", port=sink.port)
        world.api.create(config(namespace, "slow", "slow", email=email, **at_once()))
        found = world.api.reaches(world.api.create(event(namespace, "e", "slow")), "Delivered", 120)
        assert delivery(found, "email")["attempts"] == 1
        assert len(sink.attempts) == 1


def a_silent_name_server_delays_nobody_elses_mail(world):
    with server(world) as sink:
        evil, victim = world.namespace(), world.namespace()
        world.api.create_all(
            config(
                evil,
                f"evil-{n}",
                f"evil-{n}",
                email=world.own_smtp("x@b.io", port=sink.port, smtpHost=f"silent-{n}.example"),
                **at_once(),
            )
            for n in range(80)
        )
        email = world.own_smtp("victim@b.io", port=sink.port, smtpHost="localhost")
        world.api.create(config(victim, "victim", "victim", email=email, **at_once()))
        world.api.create_all(event(evil, f"e{n}", f"evil-{n}") for n in range(80))
        time.sleep(2.0)
        for n in range(5):
            began = time.monotonic()
            world.api.reaches(world.api.create(event(victim, f"v{n}", "victim")), "Delivered")
            assert time.monotonic() - began < 20, "a name server's silence lasts 40 s"
            time.sleep(1.0)
        counted = [delivery(item, "email") for item in world.api.events(evil).values() if "status" in item]
        assert sum(one["attempts"] for one in counted if one) <= 20, "most wait for their turn, which is no attempt"
        world.api.request("DELETE", f"/apis/pipebell.io/v1alpha1/namespaces/{evil}/pipelineevents")


SCENARIOS = (
    none_is_lost_behind_five_a_second,
    none_is_lost_behind_three_connections,
    none_is_lost_behind_three_connections_that_are_told_late,
    none_is_lost_behind_too_much_mail,
    one_message_that_is_always_refused_starves_nobody,
    dead_recipients_starve_nobody_and_the_living_are_served,
    all_of_120_recipients_are_served_ten_at_a_time,
    greylisting_is_sat_out,
    a_slow_answer_after_the_final_dot_is_one_mail,
    a_silent_name_server_delays_nobody_elses_mail,
)


@pytest.fixture(scope="module")
def running(world, operator, at_the_same_time):
    yield {scenario: at_the_same_time(scenario, world) for scenario in SCENARIOS}
    operator.kill()  # the name server that is silent would put off its end
    operator.start()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_is_true_that(running, scenario):
    running[scenario].result()
