"""`pipebell silence`, `silences` and `unsilence`, from a held event to the message that tells of it."""

import json
import time

import pytest

from pipebell.cli import silences


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def test_from_a_silence_to_the_message_afterwards(on_stage, stage, make_config, place, tmp_path):
    make_config("acme")
    given = ("--pipelines", "orders-*,bill*", "--for", "2h", "--reason", "the warehouse moves", "--ticket", "OPS-7")
    made = on_stage("silence", "acme", *given)
    assert made.code == 0, made.err
    name = made.out.split()[0].removeprefix("silence/")
    taken_in = ("wait", "-n", place, f"sil/{name}", "--for=jsonpath={.status.phase}=Active", "--timeout=60s")
    stage.cluster.kubectl(*taken_in)
    assert name.startswith("acme-")
    assert "pipelines orders-*, bill* of acme, until " in made.out
    event = ("--org", "acme", "--event", "pipeline_failure", "--message", "disk full", "--wait")
    held = on_stage("send", *event, "--pipeline", "orders-nightly")
    assert "Suppressed" in held.out + held.err
    told = on_stage("send", *event, "--pipeline", "payroll")
    assert told.code == 0, told.err
    assert len(stage.slack.posts) == 1

    listed = on_stage("history", "acme").out
    assert f"Silenced by silence/{name}" in listed
    (of_orders,) = on_stage("history", "acme", "-o", "name", "--pipeline", "orders-nightly").out.split()
    of_orders = of_orders.removeprefix("pipelineevent/")
    why = on_stage("why", of_orders)
    assert "the warehouse moves (OPS-7)" in why.out
    assert f"deleting silence/{name} ends it now" in why.out
    another = {"apiVersion": "pipebell.io/v1alpha1", "kind": "PipelineEvent", "metadata": {"name": "next"}}
    another["spec"] = {"orgSlug": "acme", "event": "pipeline_failure", "pipelineId": "orders-weekly"}
    (tmp_path / "next.json").write_text(json.dumps(another))
    preview = on_stage("preview", "--file", tmp_path / "next.json")
    assert f"Suppressed/Silenced: silenced by silence/{name} until " in preview.out

    def count():
        return json.loads(on_stage("silences", "-o", "json").out)["items"][0].get("status", {}).get("matched")

    assert until(count) == 1
    row = on_stage("silences", "acme").out.splitlines()[1]
    for cell in (name, "acme", "orders-*,bill*", "Active", "1", "the warehouse moves"):
        assert cell in row
    assert "1 active, which held 1 back" in on_stage("status").out
    assert on_stage("silences", "globex").out == ""

    ended = on_stage("unsilence", f"silence/{name}")
    assert "one message tells of the 1 event that it held back" in ended.out
    (message,) = until(lambda: stage.slack.posts[1:], 120.0)
    assert "orders-nightly" in str(message.body)
    assert f"Held back by silence {name}" in str(message.body)
    assert "Nothing is silenced of anybody" in on_stage("silences").err


def test_what_cannot_be_meant_is_told_before_anything_is_made(on_stage, place):
    good = ("--reason", "x")
    for arguments, said in (
        (("acme", *good), "say when it ends: --for PERIOD or --until TIME"),
        (("acme", "--for", "1h", "--until", "2030-01-01T00:00:00Z", *good), "and not both"),
        (("acme", "--until", "2020-01-01T00:00:00Z", *good), "before it begins or in the past"),
        (("acme", "--until", "2099-01-01T00:00:00Z", *good), "more than a year"),
        (("acme", "--for", "1h", "--reason", " "), "reason"),
        (("acme", "--for", "1h"), "--reason"),
        (("--for", "1h", *good), "name the organisation, or say --all-orgs"),
        (("acme", "--all-orgs", "--for", "1h", *good), "and not both"),
        (("acme", "--for", "soon", *good), "not a period"),
        (("acme", "--for", "1h", "--label", "env", *good), "KEY=VALUE"),
    ):
        done = on_stage("silence", *arguments)
        assert (done.code, said in done.err) == (2, True), done.err
    assert on_stage("silences", "--all", "-o", "name").out == ""


def test_a_name_that_is_mistyped_and_one_that_is_not_there(on_stage, make_config):
    make_config("acmecorp")
    made = on_stage("silence", "acme-crop", "--until", "2030-01-01T00:00:00Z", "--reason", "x", "--name", "first")
    assert made.code == 2  # more than a year
    made = on_stage("silence", "acme-crop", "--for", "1d", "--reason", "x", "--name", "first", "-o", "json")
    assert "did you mean acmecorp?" in made.err
    assert made.json["spec"]["orgSlug"] == "acme-crop"
    assert made.json["metadata"]["annotations"]["pipebell.io/by"]
    missed = on_stage("unsilence", "fisrt")
    assert (missed.code, "did you mean first?" in missed.err) == (1, True)
    assert "events are told again" in on_stage("unsilence", "first").out


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "all pipelines of every organisation, until T"),
        (
            {"orgSlug": "acme", "events": ["system_error"], "labels": {"env": "p*"}, "maxSeverity": "error"},
            "all pipelines of acme (system_error) with env=p* up to error, until T",
        ),
        ({"pipelines": ["a", "b"], "startsAt": "S"}, "pipelines a, b of every organisation, from S until T"),
    ],
)
def test_in_words(spec, said):
    assert silences.describe({"spec": {"endsAt": "T"} | spec}) == said
