"""Overrides: fields merge, lists replace, credentials follow their endpoint, placeholders stay in their layer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipebell.core.backoff import RetryPolicy
from pipebell.core.errors import NotReady
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationSpec
from pipebell.core.placeholders import Environment, OrgSecrets, secrets_of
from pipebell.core.policy.triggers import destinations_in_use
from pipebell.core.vocabulary import NotReadyReason, Severity

ENVIRON = {
    "SMTP_USERNAME": "root-user",
    "SMTP_PASSWORD": "root-password",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/r",
}
ROOT = {
    "email": {
        "smtp_host": "smtp.root.example",
        "smtp_port": 2525,
        "smtp_username": "${SMTP_USERNAME}",
        "smtp_password": "${SMTP_PASSWORD}",
        "from_email": "noreply@root.example",
        "from_name": "Root",
        "to_emails": ["admin@root.example"],
        "cc_emails": ["boss@root.example"],
    },
    "slack": {"webhook_url": "${SLACK_WEBHOOK_URL}", "channel": "#root"},
}
OWN = {"smtpHost": "smtp.acme.example", "toEmails": ["admin@acme.com"]}


def layers(org, root=ROOT, secrets=None):
    org_layer = None
    if org is not None:
        spec = NotificationSpec.model_validate(org)
        name = spec.secret_ref.name if spec.secret_ref else None
        org_layer = Layer(spec, OrgSecrets(name, secrets or {}))
    root_layer = None if root is None else Layer(NotificationSpec.model_validate(root), Environment(ENVIRON), root=True)
    return Layers(org_layer, root_layer)


def email(*args, **kwargs):
    return layers(*args, **kwargs).target("email")


def refusal(*args, provider="email", **kwargs):
    with pytest.raises(NotReady) as caught:
        layers(*args, **kwargs).target(provider)
    return caught.value


def test_the_seeds_partial_org_inherits_the_transport_and_the_sender():
    target = email({"email": {"to_emails": ["admin@acme.com"]}})
    assert (target.host, target.port, target.username, target.password) == (
        "smtp.root.example",
        2525,
        "root-user",
        "root-password",
    )
    assert (target.from_email, target.from_name, target.trusted) == ("noreply@root.example", "Root", True)
    assert (target.to, target.cc) == (("admin@acme.com",), ("boss@root.example",))


def test_an_empty_list_replaces_roots():
    assert email({"email": {"ccEmails": []}}).cc == ()
    assert refusal({"email": {"toEmails": []}}).reason is NotReadyReason.INCOMPLETE


def test_an_orgs_sender_on_roots_transport_is_reply_to():
    target = email({"email": {"fromEmail": "data@acme.com"}})
    assert (target.from_email, target.reply_to) == ("noreply@root.example", "data@acme.com")


@pytest.mark.parametrize(
    "own",
    [
        {"smtpPort": 25},
        {"smtpUsername": "u"},
        {"smtpPassword": "p"},
        {"smtpUseTls": True},
        {"smtpTls": "Auto"},
        {"smtpHelo": "mail.acme.example"},
        {"smtpUsernameSecretRef": {"name": "s", "key": "k"}},
        {"smtpPasswordSecretRef": {"name": "s", "key": "k"}},
    ],
)
def test_any_part_of_a_transport_means_all_of_it(own):
    error = refusal({"email": own}, secrets={"s": {"k": "v"}})
    assert error.reason is NotReadyReason.INCOMPLETE
    assert "email.smtpHost" in error.message


def test_an_own_host_inherits_no_credential_and_no_port():
    target = email({"email": OWN})
    assert (target.host, target.port, target.username, target.password) == ("smtp.acme.example", 587, None, None)
    assert (target.trusted, target.use_tls) == (False, True)
    assert (target.from_email, target.reply_to, target.to) == ("noreply@root.example", None, ("admin@acme.com",))


def test_an_own_host_does_not_learn_roots_recipients():
    error = refusal({"email": {"smtpHost": "smtp.acme.example"}})
    assert (error.reason, error.message[:14]) == (NotReadyReason.INCOMPLETE, "email.toEmails")
    assert "root.example" not in error.message
    assert email({"email": OWN}).cc == ()


def test_an_own_transport_sends_as_the_org():
    target = email({"email": OWN | {"fromEmail": "data@acme.com"}})
    assert (target.from_email, target.reply_to) == ("data@acme.com", None)


def test_an_own_webhook_inherits_the_looks_but_is_not_trusted():
    target = layers({"slack": {"webhookUrl": "https://hooks.slack.com/o"}}).target("slack")
    assert (target.url, target.trusted, target.channel) == ("https://hooks.slack.com/o", False, "#root")
    assert target.mention_min_severity is Severity.CRITICAL
    inherited = layers({"slack": {"channel": "#acme"}}).target("slack")
    assert (inherited.url, inherited.trusted, inherited.channel) == ("https://hooks.slack.com/r", True, "#acme")


def test_an_org_never_reads_the_operators_environment():
    error = refusal({"email": OWN | {"smtpUsername": "${SMTP_USERNAME}", "smtpPassword": "x"}})
    assert error.reason is NotReadyReason.MISSING_SECRET
    assert "root-user" not in str(error)


def test_secrets_fill_placeholders_and_references_once():
    org = {
        "secretRef": {"name": "s"},
        "email": OWN
        | {"smtpUsername": "${USER}", "smtpPasswordSecretRef": {"name": "t", "key": "pw"}, "toEmails": ["${TO}"]},
    }
    assert secrets_of(NotificationSpec.model_validate(org)) == {"s", "t"}
    secrets = {"s": {"USER": "${OTHER}", "TO": "a@acme.com\n"}, "t": {"pw": "pw"}}
    target = email(org, secrets=secrets)
    assert (target.username, target.password, target.to) == ("${OTHER}", "pw", ("a@acme.com",))
    assert "pw" not in repr(target).replace("password", "")


@pytest.mark.parametrize(
    ("secrets", "reason", "named"),
    [
        ({}, NotReadyReason.MISSING_SECRET, "Secret s"),
        ({"s": {}}, NotReadyReason.MISSING_VARIABLE, "TO"),
        ({"s": {"TO": ""}}, NotReadyReason.MISSING_VARIABLE, "TO"),
        ({"s": {"TO": "hunter2 not an address"}}, NotReadyReason.INVALID, "email.toEmails[0]"),
    ],
)
def test_what_is_missing_is_named_and_no_value_told(secrets, reason, named):
    error = refusal({"secretRef": {"name": "s"}, "email": {"toEmails": ["${TO}"]}}, secrets=secrets)
    assert error.reason is reason
    assert named in error.message
    assert "hunter2" not in error.message


def test_a_filled_host_that_is_no_host_is_refused():
    org = {"secretRef": {"name": "s"}, "slack": {"webhookUrl": "${URL}"}}
    error = refusal(org, secrets={"s": {"URL": "http://hooks.slack.com/x"}}, provider="slack")
    assert error.reason is NotReadyReason.INVALID


def test_credentials_are_never_sent_without_tls():
    org = {"email": OWN | {"smtpUseTls": False, "smtpUsername": "u", "smtpPassword": "p"}}
    assert refusal(org).reason is NotReadyReason.INVALID
    org["email"]["smtpPort"] = 465
    assert email(org).use_tls


@pytest.mark.parametrize(
    ("own", "port", "use_tls", "implicit"),
    [
        ({}, 587, True, False),
        ({"smtpUseTls": False}, 587, False, False),
        ({"smtpPort": 465}, 465, True, True),
        ({"smtpPort": 465, "smtpUseTls": False}, 465, True, True),
        ({"smtpTls": "Auto", "smtpPort": 465}, 465, True, True),
        ({"smtpTls": "Auto", "smtpPort": 2465}, 2465, True, False),
        ({"smtpTls": "StartTls", "smtpPort": 465}, 465, True, False),
        ({"smtpTls": "Implicit", "smtpPort": 2465}, 2465, True, True),
        ({"smtpTls": "Implicit"}, 465, True, True),
    ],
)
def test_how_tls_begins(own, port, use_tls, implicit):
    target = email({"email": OWN | own})
    assert (target.port, target.use_tls, target.implicit_tls) == (port, use_tls, implicit)


@pytest.mark.parametrize("flag", [True, False])
def test_two_words_about_tls_are_one_too_many(flag):
    error = refusal({"email": OWN | {"smtpTls": "Auto", "smtpUseTls": flag}})
    assert error.reason is NotReadyReason.INCOMPLETE
    assert "email.smtpTls" in error.message
    assert "email.smtpUseTls" in error.message


def test_the_name_for_ehlo_belongs_to_the_transport():
    root = ROOT | {"email": ROOT["email"] | {"smtp_helo": "pipebell.root.example"}}
    assert email({}, root=root).helo == "pipebell.root.example"
    assert email({"email": OWN}, root=root).helo is None
    assert email({"email": OWN | {"smtpHelo": "[192.0.2.1]"}}).helo == "[192.0.2.1]"


def test_a_user_name_without_a_password_is_incomplete():
    assert "smtpPassword" in refusal({"email": OWN | {"smtpUsername": "u"}}).message


def test_without_root_the_org_stands_alone():
    org = {"email": OWN | {"fromEmail": "a@acme.com", "toEmails": ["b@acme.com"]}}
    assert email(org, root=None).to == ("b@acme.com",)
    assert refusal({}, root=None).reason is NotReadyReason.INCOMPLETE


def test_a_disabled_root_still_lends_its_fields():
    assert email({"email": {}}, root=ROOT | {"enabled": False}).host == "smtp.root.example"


def test_retry_settings_merge_field_by_field():
    merged = layers({"retryConfig": {"maxAttempts": 9}}, root=ROOT | {"retry_config": {"initial_delay_seconds": 1}})
    assert merged.retry == RetryPolicy(max_attempts=9, initial_delay_seconds=1)


def test_triggers_replace_roots_as_a_whole_and_null_is_unset():
    root = ROOT | {"event_triggers": [{"event": "system_error"}], "default_provider": "slack"}
    assert [t.event for t in layers({}, root=root).triggers] == ["system_error"]
    assert [t.event for t in layers({"eventTriggers": [{"event": "pipeline_started"}]}, root=root).triggers] == [
        "pipeline_started"
    ]
    assert layers({"eventTriggers": None, "defaultProvider": None}, root=root).default_provider == "slack"


def test_destinations_in_use_are_those_of_enabled_triggers():
    triggers = [
        {"event": "system_error", "providers": ["slack"]},
        {"event": "pipeline_failure", "enabled": False, "providers": ["email"]},
    ]
    assert list(destinations_in_use(layers({"eventTriggers": triggers}))) == ["slack"]
    assert list(destinations_in_use(layers({}))) == ["email"]
    assert list(destinations_in_use(layers({"email": {"enabled": False}}))) == []


def seed_blocks():
    text = (Path(__file__).parents[2] / "configs" / "notifications").resolve()
    return [json.loads(path.read_text()) for path in sorted(text.glob("*.json"))]


@pytest.mark.parametrize("document", seed_blocks())
def test_the_seeds_files_parse_as_they_are(document):
    spec = NotificationSpec.model_validate(document)
    assert spec.email is not None


def test_both_spellings_are_one():
    snake = NotificationSpec.model_validate(ROOT)
    camel = NotificationSpec.model_validate(
        json.loads(re.sub(r"_([a-z])(?=[a-z_]*\")", lambda m: m[1].upper(), json.dumps(ROOT)))
    )
    assert snake == camel


def test_what_was_asked_about_a_destination_is_remembered_and_what_was_refused_is_asked_again():
    found = layers({"email": OWN})
    assert found.target("email") is found.target("email")
    assert found.fallback("email") is None
    assert found.destination("email/2").name == "email"
    assert found == layers({"email": OWN})
    incomplete = layers({"slack": {"channel": "#a"}}, root=None)
    for _ in range(2):
        with pytest.raises(NotReady):
            incomplete.target("slack")
