"""What `kubectl apply` says to a typo: the field and the fix, word for word."""

import pytest

pytestmark = pytest.mark.cluster

EVENT_TYPES = (
    '"pipeline_failure", "pipeline_success", "pipeline_started", "data_quality_failure", "data_quality_warning", '
    '"rate_limit_exceeded", "system_error"'
)
WHOLE = "a ${VAR} placeholder must be the whole value: put the complete text into the variable"


def trigger(**fields):
    return {"eventTriggers": [{"event": "system_error"} | fields]}


# What is applied, and the line that answers it.
CONFIGS = {
    "unknown event type": (
        trigger(event="pipeline_failed"),
        f'spec.eventTriggers[0].event: Unsupported value: "pipeline_failed": supported values: {EVENT_TYPES}',
    ),
    "bad e-mail address": (
        {"email": {"toEmails": ["ops@example.com", "nobody"]}},
        (
            'spec.email.toEmails[1]: Invalid value: "nobody": must be an e-mail address, such as ops@example.com, '
            "or exactly ${VAR}"
        ),
    ),
    "negative cooldown": (
        trigger(cooldownSeconds=-5),
        (
            "spec.eventTriggers[0].cooldownSeconds: Invalid value: -5: spec.eventTriggers[0].cooldownSeconds in body "
            "should be greater than or equal to 0"
        ),
    ),
    "http webhook": (
        {"slack": {"webhookUrl": "http://hooks.slack.com/services/T0/B0/secret"}},
        "spec.slack.webhookUrl: Invalid value: must be an https:// URL or exactly ${VAR}",
    ),
    "placeholder inside a webhook": (
        {"slack": {"webhookUrl": "https://hooks.slack.com/services/${TOKEN}"}},
        f"spec.slack.webhookUrl: Invalid value: {WHOLE}",
    ),
    "placeholder inside a password": (
        {"email": {"smtpPassword": "secret-${X}"}},
        f"spec.email.smtpPassword: Invalid value: {WHOLE}",
    ),
    "placeholder where none is filled": (
        {"email": {"fromName": "${NAME}"}},
        'spec.email.fromName: Invalid value: "${NAME}": takes no ${VAR} placeholder: write the value itself',
    ),
    "host with a scheme": (
        {"email": {"smtpHost": "smtp://mail.example.com"}},
        (
            'spec.email.smtpHost: Invalid value: "smtp://mail.example.com": must be a host name or an IP address, '
            "such as smtp.example.com, or exactly ${VAR}"
        ),
    ),
    "port out of range": (
        {"email": {"smtpPort": 70000}},
        "spec.email.smtpPort: Invalid value: 70000: spec.email.smtpPort in body should be less than or equal to 65535",
    ),
    "text for a number": (
        {"email": {"smtpPort": "587"}},
        'spec.email.smtpPort: Invalid value: "string": spec.email.smtpPort in body must be of type integer: "string"',
    ),
    "two sources for a password": (
        {"email": {"smtpPassword": "x", "smtpPasswordSecretRef": {"name": "s", "key": "k"}}},
        "spec.email: Invalid value: set smtpPassword or smtpPasswordSecretRef, not both",
    ),
    "two sources for a webhook": (
        {"slack": {"webhookUrl": "${W}", "webhookUrlSecretRef": {"name": "s", "key": "k"}}},
        "spec.slack: Invalid value: set webhookUrl or webhookUrlSecretRef, not both",
    ),
    "a name to mention": (
        {"slack": {"mentionUsers": ["@bob"]}},
        (
            'spec.slack.mentionUsers[0]: Invalid value: "@bob": must be a Slack ID: U123456 or W123456 for a user, '
            "S123456 for a group (not an @name)"
        ),
    ),
    "emoji without colons": (
        {"slack": {"iconEmoji": "robot_face"}},
        'spec.slack.iconEmoji: Invalid value: "robot_face": must look like :robot_face:',
    ),
    "unknown severity": (
        trigger(severity="eror"),
        'spec.eventTriggers[0].severity: Invalid value: "eror": must be info, warning, error or critical, in any case',
    ),
    "unknown provider": (
        {"defaultProvider": "e mail"},
        'spec.defaultProvider: Invalid value: "e mail": must be the name of a destination, such as email or on-call',
    ),
    "trigger twice": (
        {"eventTriggers": [{"event": "system_error"}, {"event": "system_error"}]},
        'spec.eventTriggers[1]: Duplicate value: {"event":"system_error"}',
    ),
    "provider twice": (
        trigger(providers=["email", "email"]),
        'spec.eventTriggers[0].providers[1]: Duplicate value: "email"',
    ),
    "org with a space": (
        {"orgSlug": "acme corp"},
        (
            'spec.orgSlug: Invalid value: "acme corp": must begin with a letter or digit and hold only letters, '
            "digits, '_', '.' and '-' (at most 63)"
        ),
    ),
    "from without its selector": (
        {"eventNamespaces": {"from": "Selector"}},
        "spec.eventNamespaces: Invalid value: selector goes with from: Selector, and only with it",
    ),
    "unknown field": (
        {"emial": {"toEmails": ["ops@example.com"]}},
        'strict decoding error: unknown field "spec.emial"',
    ),
    "the JSON file's spelling": (
        {"email": {"to_emails": ["ops@example.com"]}},
        'strict decoding error: unknown field "spec.email.to_emails"',
    ),
}

EVENTS = {
    "unknown event type": (
        {"event": "failure"},
        f'spec.event: Unsupported value: "failure": supported values: {EVENT_TYPES}',
    ),
    "message too long": (
        {"errorMessage": "x" * 32_769},
        "spec.errorMessage: Too long: may not be more than 32768 bytes",  # the API server means characters
    ),
    "time in words": (
        {"occurredAt": "yesterday"},
        'spec.occurredAt: Invalid value: "yesterday": spec.occurredAt in body must be of type date-time: "yesterday"',
    ),
    "link that runs": (
        {"links": [{"title": "x", "url": "javascript:alert(1)"}]},
        'spec.links[0].url: Invalid value: "javascript:alert(1)": must be an http:// or https:// URL without spaces',
    ),
    "unknown field": (
        {"error_message": "boom"},
        'strict decoding error: unknown field "spec.error_message"',
    ),
}


def applied(server, kind, spec):
    document = {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "typo", "namespace": "default"},
    }
    return server.kubectl("apply", "--dry-run=server", "-f", "-", document=document | {"spec": spec})


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_with_a_typo_is_answered_by_the_field_and_the_mend(server, name):
    fields, answer = CONFIGS[name]
    result = applied(server, "NotificationConfig", {"orgSlug": "acme"} | fields)
    assert result.returncode == 1
    assert answer in result.stderr


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_with_a_typo_is_answered_by_the_field_and_the_mend(server, name):
    fields, answer = EVENTS[name]
    result = applied(server, "PipelineEvent", {"orgSlug": "acme", "event": "system_error"} | fields)
    assert result.returncode == 1
    assert answer in result.stderr


@pytest.mark.parametrize(
    "fields",
    [
        {"slack": {"webhookUrl": "http://hooks.slack.com/services/T0/B0/hush-hush"}},
        {"slack": {"webhookUrl": "https://hooks.slack.com/hush-hush " + "x" * 2048}},
        {"slack": {"webhookUrl": ["https://hooks.slack.com/hush-hush"]}},
        {"slack": {"webhookUrl": "https://x/hush-hush", "webhookUrlSecretRef": {"name": "s", "key": "k"}}},
        {"email": {"smtpPassword": "hush-hush${X}"}},
        {"email": {"smtpPassword": "hush-hush" * 200}},
        {"email": {"smtpPassword": "hush-hush", "smtpPasswordSecretRef": {"name": "s", "key": "k"}}},
    ],
)
def test_an_answer_about_a_credential_does_not_quote_it(server, fields):
    result = applied(server, "NotificationConfig", {"orgSlug": "acme"} | fields)
    assert result.returncode == 1
    assert "hush-hush" not in result.stderr
