"""`pipebell replay`: again, where it failed."""

import json

import pytest

from pipebell.cli.replay import choose

NOT_READY = {
    "orgSlug": "late",
    "secretRef": {"name": "missing"},
    "slack": {"enabled": True, "webhookUrl": "${X}"},
    "eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"]}],
}


def failed_at_slack(on_stage, make_config, stage, webhook):
    """An event that was delivered by e-mail and failed at Slack; its name."""
    stage.slack.plan(404)
    make_config("acme", webhook=webhook, email=["data@acme.example"])
    done = on_stage("send", "--org", "acme", "--pipeline", "p", "--message", "boom", "--wait")
    assert done.code == 1
    assert "PartiallyDelivered" in done.err
    return done.out.split()[0].removeprefix("pipelineevent/")


def test_replay_sends_only_where_it_failed(on_stage, make_config, stage):
    name = failed_at_slack(on_stage, make_config, stage, "Treplay")
    done = on_stage("replay", name, "--wait")
    assert done.code == 0, done.err
    assert "again to slack" in done.out
    assert len(stage.smtp.journal.wait(1)) == 1
    (post,) = stage.slack.posts
    assert "boom" in json.dumps(post.payload)
    replayed = [item for item in on_stage("history", "-o", "json").json["items"] if "replayOf" in item["spec"]]
    assert replayed[0]["spec"]["replayOf"] == {"name": name, "destinations": ["slack"]}
    original = next(i for i in on_stage("history", "-o", "json").json["items"] if i["metadata"]["name"] == name)
    assert replayed[0]["spec"]["occurredAt"] == original["spec"]["occurredAt"]


def test_replay_refuses_what_succeeded_unless_forced(on_stage, make_config, stage):
    name = failed_at_slack(on_stage, make_config, stage, "Trefuse")
    done = on_stage("replay", name, "--to", "email")
    assert (done.code, "was delivered by email" in done.err) == (1, True)
    assert on_stage("replay", name, "--to", "email", "--force", "--wait").code == 0
    assert len(stage.smtp.journal.wait(2)) == 2
    again = on_stage("replay", name, "--wait").out.split()[0].removeprefix("pipelineevent/")
    done = on_stage("replay", again)
    assert (done.code, "was delivered by slack" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("ended", "wanted", "chosen"),
    [
        ({"slack": "PermanentError", "old": "ConfigChanged"}, [], ["slack"]),
        ({"old": "ConfigChanged"}, [], None),
        ({"slack": "PermanentError", "old": "ConfigChanged"}, ["old"], ["old"]),
    ],
)
def test_what_the_configuration_stopped_naming_is_sent_to_again_only_when_asked_for(ended, wanted, chosen):
    """An unknown name waits: nobody is to wait for one that was taken away."""
    deliveries = [{"destination": name, "phase": "Failed", "reason": reason} for name, reason in ended.items()]
    event = {"metadata": {"name": "x"}, "status": {"phase": "Failed", "deliveries": deliveries}}
    assert choose(event, wanted, force=False) == chosen


def test_replay_of_what_was_suppressed_or_never_sent(on_stage, make_config):
    make_config("acme", webhook="Tmute")
    on_stage("send", "--org", "acme", "--wait")
    muted = on_stage("send", "--org", "acme", "--wait").out.split()[0]
    done = on_stage("replay", muted)
    assert (done.code, "held back by a cooldown" in done.err) == (1, True)
    skipped = on_stage("send", "--org", "acme", "--event", "pipeline_started", "--wait").out.split()[0]
    done = on_stage("replay", skipped, "--wait")
    assert (done.code, "NoTrigger" in done.err) == (1, True)


def test_replay_waits_for_no_unfinished_event(on_stage, apply):
    apply("NotificationConfig", "late", spec=NOT_READY)
    name = on_stage("send", "--org", "late").out.split()[0]
    done = on_stage("replay", name)
    assert (done.code, "is not finished" in done.err) == (1, True)
