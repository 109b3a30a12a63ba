"""Destinations by names of their own: several of a kind, root's without its key, a name that does not exist."""

from __future__ import annotations

import json
import secrets

import pytest
from tests.e2e.harness import config, event, eventually, phase, reason


@pytest.fixture(scope="module", autouse=True)
def operator(world):
    with world.running(PLATFORM_WEBHOOK=world.slack.webhook("Platform_secretkey")) as running:
        yield running


def test_two_channels_and_two_mailboxes_of_one_organisation(world):
    namespace = world.namespace()
    data, audit = f"data@{namespace}.example", f"audit@{namespace}.example"
    spec = {
        "email": world.own_smtp(data),
        "slack": {"webhookUrl": world.slack.webhook("Named_first")},
        "destinations": [
            {"name": "on-call", "slack": {"webhookUrl": world.slack.webhook("Named_second"), "channel": "#on-call"}},
            {"name": "auditors", "email": world.own_smtp(audit)},
        ],
        "eventTriggers": [
            {"event": "pipeline_failure", "providers": ["email", "slack", "on-call", "auditors"], "cooldownSeconds": 0}
        ],
    }
    world.api.condition(world.api.create(config(namespace, "acme", "acme_corp", **spec)), "Ready")
    made = world.api.create(event(namespace, "e1", "acme_corp"))
    done = world.api.reaches(made, "Delivered")
    deliveries = {item["destination"]: item for item in done["status"]["deliveries"]}
    assert {name: item["provider"] for name, item in deliveries.items()} == {
        "email": "email", "slack": "slack", "on-call": "slack", "auditors": "email",
    }  # fmt: skip
    assert [len(world.mails_to(who)) for who in (data, audit)] == [1, 1]
    assert [len(world.posts_to(hook)) for hook in ("Named_first", "Named_second")] == [1, 1]
    identities = {
        post.headers["x-pipebell-delivery"] for hook in ("Named_first", "Named_second") for post in world.posts_to(hook)
    }
    uid = made["metadata"]["uid"]
    assert identities == {f"{uid}.slack", f"{uid}.on-call"}


def test_roots_destination_by_name_without_its_key(world, operator):
    allowed, other = world.namespace(), world.namespace()
    platform = {"name": "platform", "slack": {"webhook_url": "${PLATFORM_WEBHOOK}"}, "allow": {"namespaces": [allowed]}}
    world.set_root(world.root_spec(destinations=[platform]))
    spec = {"defaultProvider": "platform", "slack": {"enabled": False}}
    world.api.condition(world.api.create(config(allowed, "acme", "acme_corp", **spec)), "Ready")
    made = world.api.create(event(allowed, "e1", "acme_corp"))
    done = world.api.reaches(made, "Delivered")
    (delivery,) = done["status"]["deliveries"]
    assert (delivery["destination"], delivery["provider"]) == ("platform", "slack")
    assert len(world.posts_to("Platform_secretkey")) == 1

    condition = world.api.condition(world.api.create(config(other, "acme", "acme_corp", **spec)), "UnknownDestination")
    assert "there is no destination platform" in condition["message"]
    for text in (json.dumps(done), json.dumps(condition), operator.text):
        assert "secretkey" not in text


def test_a_mistyped_name_holds_up_nobody_but_its_own_deliveries(world):
    namespace = world.namespace()
    hook = f"Spelt{secrets.token_hex(4)}"
    triggers = [{"event": "pipeline_failure", "providers": ["slack", "oncall"], "cooldownSeconds": 0}]
    destinations = [{"name": "on-call", "slack": {"webhookUrl": world.slack.webhook(f"{hook}2")}}]
    document = config(
        namespace, "acme", "acme_corp", **world.slack_only(hook, eventTriggers=triggers, destinations=destinations)
    )
    world.api.create(document)
    condition = world.api.condition(document, "UnknownDestination")
    said = "eventTriggers[pipeline_failure].providers: there is no destination oncall; there are: on-call, slack"
    assert condition["message"].startswith(said)
    made = world.api.create(event(namespace, "e1", "acme_corp"))
    waiting = world.api.reaches(made, "ConfigNotReady")
    deliveries = {item["destination"]: item for item in waiting["status"]["deliveries"]}
    assert (phase(waiting), reason(waiting)) == ("Delivering", "ConfigNotReady")
    assert deliveries["slack"]["phase"] == "Delivered"
    assert "provider" not in deliveries["oncall"]

    triggers[0]["providers"] = ["slack", "on-call"]
    world.api.merge(document, eventTriggers=triggers)
    world.api.condition(document, "Ready")
    done = eventually(
        lambda: (found := world.api.get(made)) and phase(found) not in ("Pending", "Delivering") and found
    )
    deliveries = {item["destination"]: item for item in done["status"]["deliveries"]}
    assert deliveries["slack"]["phase"] == "Delivered"
    assert (deliveries["oncall"]["phase"], deliveries["oncall"]["reason"]) == ("Failed", "ConfigChanged")
    assert len(world.posts_to(hook)) == 1, "what was delivered is not repeated"


def test_own_texts_are_sent_and_what_is_wrong_with_them_is_said(world, operator):
    """One template works, one never does, one breaks on one event's data: everybody is told, by the text that works."""
    namespace, hook, second = world.namespace(), f"Own{secrets.token_hex(4)}", f"Data{secrets.token_hex(4)}"
    spec = {
        "email": world.own_smtp(
            "own@acme.example", htmlTemplate="<p>\n{{ event.message | safe }}", subjectTemplate="Own!"
        ),
        "slack": {"webhookUrl": world.slack.webhook(hook), "textTemplate": "Own words: {{ event.pipeline }}"},
        "destinations": [
            {
                "name": "by-data",
                "slack": {
                    "webhookUrl": world.slack.webhook(second),
                    "textTemplate": "{% if event.details.boom %}{{ '{:>999999999}'.format(1) }}{% endif %}Fine",
                },
            }
        ],
        "pipelineOverrides": [{"pipelines": ["o*"], "providers": ["email", "slack", "by-data"], "cooldownSeconds": 0}],
    }
    made = world.api.create(config(namespace, "acme", "acme_corp", **spec))
    world.api.condition(made, "Ready")

    def templates():
        found = world.api.get(made).get("status", {}).get("conditions", [])
        return next((item for item in found if item["type"] == "TemplatesValid"), None)

    condition = eventually(templates, 60)
    assert (condition["status"], condition["reason"]) == ("False", "Invalid")
    assert condition["message"].startswith("email.htmlTemplate, line 2: unknown filter: filter safe is unknown")

    one = world.api.create(event(namespace, "e1", "acme_corp", pipelineId="orders <!channel>"))
    done = world.api.reaches(one, "Delivered")
    assert "pipelineOverrides[0]" in done["status"]["decision"]["matched"]
    marks = {item["destination"]: item.get("templateFallback") for item in done["status"]["deliveries"]}
    assert marks["slack"] is marks["by-data"] is None
    assert marks["email"].startswith("htmlTemplate, line 2: unknown filter")
    (post,) = world.posts_to(hook)
    assert json.loads(post.body)["text"] == "Own words: orders &lt;!channel&gt;"
    (mail,) = world.mails_to("own@acme.example")
    assert b"Subject: Own!" in mail.raw
    assert b"Sent by Pipebell" in mail.raw

    two = world.api.create(event(namespace, "e2", "acme_corp", pipelineId="orders", details={"boom": True}))
    done = world.api.reaches(two, "Delivered")
    marks = {item["destination"]: item.get("templateFallback") for item in done["status"]["deliveries"]}
    assert marks["slack"] is None
    assert "needs more than 32 MB" in marks["by-data"]
    assert "Pipeline failed" in json.loads(world.posts_to(second)[-1].body)["text"]
    assert "template_failed" in operator.text
