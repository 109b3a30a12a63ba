"""configs/: the JSON files parse as they are, and a real API server takes every sample."""

import json
from pathlib import Path

import pytest
import yaml

from pipebell.core.fields import traits
from pipebell.core.models import NotificationConfigSpec, NotificationSpec, PipelineEventSpec
from pipebell.core.vocabulary import EventType, Severity

CONFIGS = Path(__file__).parents[2] / "configs"
SAMPLES = sorted(path.name for path in (CONFIGS / "samples").glob("*.yaml"))
MODELS = {"NotificationConfig": NotificationConfigSpec, "PipelineEvent": PipelineEventSpec}


def samples(name):
    return list(yaml.safe_load_all((CONFIGS / "samples" / name).read_text(encoding="utf-8")))


SEED = [  # the types of the file-based system; the others are of the operator's own making
    *(EventType.PIPELINE_FAILURE, EventType.PIPELINE_SUCCESS, EventType.PIPELINE_STARTED),
    *(EventType.DATA_QUALITY_FAILURE, EventType.DATA_QUALITY_WARNING),
    *(EventType.RATE_LIMIT_EXCEEDED, EventType.SYSTEM_ERROR),
]


def loaded(*parts):
    return json.loads(CONFIGS.joinpath(*parts).read_text(encoding="utf-8"))


def test_the_root_file_names_every_type_of_event_once():
    root = NotificationSpec.model_validate(loaded("notifications", "config.json"))
    assert [trigger.event for trigger in root.event_triggers] == SEED
    assert root.email.smtp_password == "${SMTP_PASSWORD}"
    assert (root.retry_config.max_attempts, root.retry_config.exponential_backoff) == (3, True)


def test_the_template_parses_once_the_organisation_is_named():
    template = NotificationConfigSpec.model_validate(
        loaded("notifications", "org_template.json") | {"org_slug": "acme"}
    )
    assert template.email.to_emails == ["${ORG_ADMIN_EMAIL}"]
    assert template.email.smtp_host is None, "a host of its own would cut it off from root's transport"


def test_the_sample_organisation_says_only_whom_to_tell():
    spec = NotificationConfigSpec.model_validate(loaded("acme_corp", "notifications.json"))
    assert spec.model_dump(exclude_none=True) == {
        "org_slug": "acme_corp",
        "enabled": True,
        "email": {"to_emails": ["admin@acme.com"]},
    }


def test_the_sample_config_map_holds_the_root_file_as_it_is():
    config_map = next(document for document in samples("root.yaml") if document["kind"] == "ConfigMap")
    assert config_map["metadata"]["name"] == "pipebell-root"
    assert config_map["data"]["config.json"] == (CONFIGS / "notifications" / "config.json").read_text(encoding="utf-8")


def test_the_sample_variables_fill_what_the_root_file_uses():
    secret = next(document for document in samples("root.yaml") if document["kind"] == "Secret")
    root = loaded("notifications", "config.json")
    root.pop("slack")  # disabled there
    used = {part.partition("}")[0] for part in json.dumps(root).split("${")[1:]}
    assert used == set(secret["stringData"])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_parses(name):
    for document in samples(name):
        if document["kind"] in MODELS:
            MODELS[document["kind"]].model_validate(document["spec"])


def test_the_samples_show_each_type_of_event_and_each_setting():
    events = [PipelineEventSpec.model_validate(document["spec"]) for document in samples("events.yaml")]
    assert [event.event for event in events] == SEED
    assert {event.severity for event in events} >= {Severity.ERROR, Severity.WARNING, Severity.CRITICAL, None}
    full = next(document["spec"] for document in samples("full.yaml") if document["kind"] == "NotificationConfig")
    shown = NotificationConfigSpec.model_validate(full)
    assert shown.default_provider == "email"
    for block in (shown.email, shown.slack, shown.retry_config):
        known = traits(type(block))
        unset = {name for name, trait in known.items() if getattr(block, name) is None and not trait.beside}
        unset = {name for name in unset if not name.endswith("_template")}  # what there is built in
        other_source = {
            "smtp_password",
            "smtp_username_secret_ref",
            "webhook_url",
            "smtp_use_tls",
            "bot_token",
            "bot_token_secret_ref",
        }
        assert unset <= other_source | {"allow"}, "each has its other source; allow is root's"


def test_the_secrets_of_a_sample_hold_what_its_config_names():
    for name in ("full.yaml", "slack-only.yaml"):
        secrets = {item["metadata"]["name"]: item["stringData"] for item in samples(name) if item["kind"] == "Secret"}
        spec = next(document["spec"] for document in samples(name) if document["kind"] == "NotificationConfig")
        variables = {part.partition("}")[0] for part in json.dumps(spec).split("${")[1:]}
        assert variables <= set(secrets[spec["secretRef"]["name"]])
        references = [
            value for block in (spec["email"], spec["slack"]) for key, value in block.items() if key.endswith("Ref")
        ]
        assert all(reference["key"] in secrets[reference["name"]] for reference in references)


@pytest.mark.cluster
@pytest.mark.parametrize("name", SAMPLES)
def test_a_real_api_server_takes_every_sample(cluster, namespace, name):
    documents = samples(name)
    elsewhere = {document["metadata"].get("namespace") for document in documents} - {None}
    for other in elsewhere:
        cluster.kubectl("create", "namespace", other, check=False)
    arguments = [] if elsewhere else ["-n", namespace]
    done = cluster.kubectl("apply", "-f", CONFIGS / "samples" / name, *arguments)
    assert len(done.stdout.splitlines()) == len(documents)
    assert "Warning" not in done.stderr
    cluster.kubectl("delete", "-f", CONFIGS / "samples" / name, *arguments, "--wait=false")
