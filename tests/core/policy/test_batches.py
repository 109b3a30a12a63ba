"""Which digest an event waits for: its moment, its name, and that whoever works it out finds the same."""

import pytest

from pipebell.core.batching import DigestSpec
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationConfigSpec, RootSpec
from pipebell.core.placeholders import Environment, OrgSecrets
from pipebell.core.policy.batches import BatchFacts, OpenDigest, Rhythm, max_items_of, place, rhythm_of

NOW = 1_750_000_000.0  # 2025-06-15T15:06:40Z
EVERY = Rhythm("acme", every=3600)


def facts(*digests, closed=()):
    return BatchFacts(True, {"email": digests}, closed)


def test_the_moment_is_so_long_after_the_first_member_or_the_schedules_next():
    assert EVERY.after(NOW) == NOW + 3600
    assert Rhythm("acme", schedule="0 8 * * *", zone="Europe/Berlin").after(NOW) == 1_750_053_600.0  # 06:00 UTC
    assert Rhythm("acme", hourly="own").after(NOW) == 1_750_003_200.0
    assert Rhythm("acme", hourly="own").after(1_750_003_200.0) == 1_750_006_800.0


def test_an_open_digest_of_the_same_settings_is_joined():
    first = place(facts(), EVERY, "team", "email", NOW)
    known = facts(OpenDigest(first.digest, first.due, first.due))
    assert place(known, EVERY, "team", "email", NOW + 1800) == first
    other = place(known, Rhythm("acme", every=7200), "team", "email", NOW + 1800)
    assert other.digest != first.digest
    assert place(known, EVERY, "team", "slack", NOW + 1800).digest != first.digest


def test_one_whose_moment_has_come_is_not():
    first = place(facts(), EVERY, "team", "email", NOW)
    known = facts(OpenDigest(first.digest, first.due, first.due))
    later = place(known, EVERY, "team", "email", first.due)
    assert later.due == first.due + 3600
    early = facts(OpenDigest(first.digest, first.due, NOW + 10))  # a clock was wrong: it is made earlier
    assert place(early, EVERY, "team", "email", NOW + 20).digest != first.digest


def test_one_that_takes_nothing_more_is_passed_over():
    rhythm = Rhythm("acme", schedule="0 * * * *")
    first = place(facts(), rhythm, "team", "email", NOW)
    assert place(facts(closed={first.digest}), rhythm, "team", "email", NOW).due == first.due + 3600


@pytest.mark.parametrize(
    "other",
    [
        Rhythm("globex", every=3600),
        Rhythm("acme", every=3600, max_items=5),
        Rhythm("acme", schedule="0 * * * *"),
        Rhythm("acme", hourly="own"),
        Rhythm("acme", hourly="root 0123"),
    ],
)
def test_names_differ_where_anything_else_does(other):
    assert other.name("team", "email", NOW) != EVERY.name("team", "email", NOW)
    assert other.name("team", "email", NOW) == other.name("team", "email", NOW)
    assert EVERY.name("team", "email", NOW) != EVERY.name("other", "email", NOW)


def test_the_name_says_when_and_how_many_lines():
    assert EVERY.name("team", "email", NOW).startswith("digest-20250615-150640-")
    assert max_items_of(EVERY.name("team", "email", NOW)) == 100
    rhythm = rhythm_of(DigestSpec(every_seconds=60, max_items=7), "acme")
    assert max_items_of(rhythm.name("team", "email", NOW)) == 7
    assert max_items_of("anything") == 100


@pytest.mark.parametrize(
    ("org", "root", "singly"),
    [
        ({}, {}, True),
        ({"eventTriggers": [{"event": "system_error"}]}, {"restrict": {"org_may_set": ["channel"]}}, True),
        ({"eventTriggers": [{"event": "system_error", "digest": {"everySeconds": 60}}]}, {}, False),
        ({"pipelineOverrides": [{"pipelines": ["*"], "digest": {"everySeconds": 60}}]}, {}, False),
        ({"maxNotificationsPerHour": 5}, {}, False),
        ({}, {"event_triggers": [{"event": "system_error", "digest": {"every_seconds": 60}}]}, False),
        ({}, {"restrict": {"max_notifications_per_hour": 5}}, False),
    ],
)
def test_whether_anything_can_be_told_together_is_known_of_each_layer(org, root, singly):
    own = Layer(NotificationConfigSpec.model_validate({"orgSlug": "acme", **org}), OrgSecrets(None, {}))
    below = Layer(RootSpec.model_validate(root), Environment({}), root=True)
    assert Layers(own, below).singly is singly
    assert Layers(None, below).singly is (singly or bool(org))
