"""The cluster's rules on files, without a cluster."""

import json
from pathlib import Path

import pytest

from pipebell.cli import rules

CONFIGS = Path(__file__).parents[2] / "configs"

ENV = "# comment\nexport SMTP_USERNAME=me\nSMTP_PASSWORD='p#w'\nDEFAULT_ADMIN_EMAIL=\"admin@example.com\" # who\nSLACK_WEBHOOK_URL=https://hooks.slack.com/services/T/B/X\n"


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def config(**spec):
    return {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "NotificationConfig",
        "metadata": {"name": "acme"},
        "spec": {"orgSlug": "acme"} | spec,
    }


def test_what_ships_is_valid(cli):
    done = cli("validate", CONFIGS)
    assert done.code == 0, done.out
    assert "wrong" not in done.out


@pytest.mark.parametrize(
    ("spec", "where", "what"),
    [
        ({"email": {"toEmails": ["not an address"]}}, "spec.email.toEmails[0]", "must be an e-mail address"),
        ({"eventTriggers": [{"event": "pipeline_failed"}]}, "spec.eventTriggers[0].event", ""),
        ({"eventTriggers": [{"event": "system_error", "cooldownSeconds": -1}]}, "cooldownSeconds", ""),
        ({"slack": {"webhookUrl": "http://hooks.slack.com/x"}}, "spec.slack.webhookUrl", "https"),
        ({"email": {"smtpPrt": 25}}, "spec.email.smtpPrt", "did you mean smtpPort"),
        ({"email": {"smtpPassword": "a${B}"}}, "spec.email.smtpPassword", "whole value"),
        ({"slack": {"webhookUrl": "${URL}"}}, "spec.slack.webhookUrl", "spec.secretRef names no Secret"),
    ],
)
def test_what_the_cluster_rejects_is_named_by_field(cli, write, spec, where, what):
    done = cli("validate", write("nc.yaml", config(**spec)))
    assert done.code == 1
    assert where in done.out
    assert what in done.out


def test_it_rejects_what_the_api_server_rejects_and_no_more(cli, write, stage, place):
    specs = [
        {}, {"orgSlug": "a b"}, {"orgSlug": "a.b-C_d"}, {"email": {"smtpPort": 0}}, {"email": {"smtpPort": 65535}},
        {"retryConfig": {"maxAttempts": 0}}, {"slack": {"mentionUsers": ["bob"]}}, {"slack": {"iconEmoji": "bell"}},
        {"eventTriggers": [{"event": "system_error"}, {"event": "system_error"}]}, {"defaultProvider": "sms"},
        {"email": {"smtpPassword": "x", "smtpPasswordSecretRef": {"name": "a", "key": "b"}}}, {"enabled": "yes"},
        {"eventNamespaces": {"from": "Selector"}}, {"email": {"fromEmail": "${X}"}, "secretRef": {"name": "s"}},
    ]  # fmt: skip
    for number, spec in enumerate(specs):
        document = config(**spec)
        document["metadata"]["name"] = f"n{number}"
        offline = cli("validate", write("nc.json", document)).code == 0
        done = stage.cluster.kubectl(
            "apply", "-n", place, "--dry-run=server", "-f", "-", input=json.dumps(document), check=False
        )
        assert offline == (done.returncode == 0), (spec, done.stderr)


def test_a_silence_has_rules_too(cli, write):
    head = {"apiVersion": "pipebell.io/v1alpha1", "kind": "Silence", "metadata": {"name": "migration"}}
    spec = {"endsAt": "2030-01-31T08:00:00Z", "reason": "the warehouse moves"}
    good = cli("validate", write("good.json", head | {"spec": spec}))
    assert (good.code, "not looked at" in good.out) == (0, False), good.out
    for change, said in (({"endsAt": None}, "endsAt"), ({"reason": " "}, "reason"), ({"pipeline": "x"}, "pipelines?")):
        done = cli("validate", write("bad.json", head | {"spec": spec | change}))
        assert (done.code, said in done.out) == (1, True), done.out


def test_events_and_the_root_configuration_have_rules_too(cli, write):
    event = {"apiVersion": "pipebell.io/v1alpha1", "kind": "PipelineEvent", "metadata": {"name": "Bad_Name"}}
    done = cli("validate", write("pe.yaml", event | {"spec": {"orgSlug": "a", "event": "nope"}, "extra": 1}))
    assert done.code == 1
    for where in ("metadata.name", "spec.event", "extra: unknown field"):
        assert where in done.out
    root = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pipebell-root"}}
    done = cli("validate", write("root.yaml", root | {"data": {"config.json": '{"email": {"to": []}}'}}))
    assert (done.code, "data.email.to: unknown field" in done.out) == (1, True)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        (
            "a/notifications.json",
            '{"enabled": true,}',
            "is not valid JSON: Illegal trailing comma before end of object",
        ),
        ("a/notifications.json", '{"enabled": true, "enabled": false}', "enabled: stands there twice"),
        ("x.yaml", "a: [1", "is not valid YAML"),
        ("x.yaml", "", "holds nothing"),
        ("x.yaml", "- 1", "must be an object"),
        ("x.yaml", "spec: &a {b: 1, b: 2}", "stands there twice (from line 1)"),
    ],
)
def test_syntax_is_told_with_its_place(cli, write, name, text, what):
    done = cli("validate", write(name, text))
    assert done.code == 1
    assert what in done.out or ("JSON" in what and "is not valid JSON" in done.out and "line 1" in done.out)


def test_an_environment_file_fills_placeholders_and_its_values_have_rules(cli, write):
    root = CONFIGS / "notifications" / "config.json"
    env = write(".env.local", ENV)
    assert cli("validate", root, "--env-file", env).code == 0
    env.write_text(ENV.replace("admin@example.com", "nobody"))
    done = cli("validate", root, "--env-file", env)
    assert done.code == 1
    assert "email.toEmails[0]: the value of ${DEFAULT_ADMIN_EMAIL} is not an e-mail address" in done.out
    assert "p#w" not in done.out + done.err
    env.write_text(ENV.replace("SMTP_PASSWORD", "SMTP_PASSWRD"))
    done = cli("validate", root, "--env-file", env)
    assert (done.code, "${SMTP_PASSWORD} is not in the environment file" in done.out) == (1, True)
    env.write_text("no equals sign")
    assert "line 1: is not NAME=value" in cli("validate", root, "--env-file", env).err


def test_an_organisation_with_half_a_transport_is_told_beforehand(cli, write):
    root = write("notifications/config.json", (CONFIGS / "notifications" / "config.json").read_text())
    org = write("acme/notifications.json", {"email": {"smtp_port": 2525}})
    done = cli("validate", root, org)
    assert done.code == 1
    assert "email.smtpHost is not set (with smtpPort of your own" in done.out


ROOTS_OWN = {
    "destinations": [
        {"name": "on-call", "allow": {"namespaces": ["team-*"]}, "pagerduty": {"routing_key": "${PAGERDUTY}"}}
    ]
}


@pytest.mark.parametrize(
    ("namespace", "code", "said"),
    [
        ("team-a", 0, "NotificationConfig acme: ok"),
        ("other", 1, "there is no destination on-call"),
        (None, 0, "on-call is the platform's, which admits some namespaces only: the file names none"),
    ],
)
def test_roots_destinations_are_for_the_namespaces_that_root_admits(cli, write, namespace, code, said):
    org = config(eventTriggers=[{"event": "pipeline_failure", "providers": ["on-call"]}])
    if namespace is not None:
        org["metadata"]["namespace"] = namespace
    done = cli("validate", write("notifications/config.json", ROOTS_OWN), write("org.json", org))
    assert (done.code, said in done.out) == (code, True), done.out


def test_json_for_scripts_and_standard_input(cli):
    done = cli("validate", "-o", "json", "-", stdin=json.dumps(config(email={"x": 1})))
    (result,) = done.json
    assert (done.code, result["kind"], result["problems"][0]["path"]) == (1, "NotificationConfig", "spec.email.x")


def test_a_file_that_is_not_there_is_one_line(cli):
    done = cli("validate", "/no/such/file.yaml")
    assert (done.code, "cannot be read: No such file" in done.out) == (1, True)
    done = cli("validate", "x" * 3_000)
    assert (done.code, "cannot be read: File name too long" in done.out) == (1, True)


@pytest.mark.parametrize(
    "item",
    [
        {"kind": "Secret", "stringData": True, "data": "x"},
        {"kind": "Secret", "metadata": 7, "data": ["a"]},
        {"kind": "ConfigMap", "data": {"config.json": 7}},
        {"kind": "ConfigMap", "data": ["config.json"]},
        {"kind": "NotificationConfig", "metadata": [], "spec": {"\x1b[2J" + "x" * 999: 1}},
    ],
    ids=json.dumps,
)
def test_no_shape_of_a_document_is_too_odd(item):
    (document,) = rules.read(Path("x.json"), json.dumps(item))
    rules.usable(document, None, None, {})
    for problem in document.problems:
        assert str(problem).isprintable()
        assert len(str(problem)) < 700


def document(kind, **spec):
    return {"apiVersion": "pipebell.io/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


INCIDENT = {"orgSlug": "acme", "class": "Run", "key": "pipelineId=x", "openedBy": "e"}


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (document("Incident", **INCIDENT), ": ok"),
        (document("Incident", **INCIDENT, snoozedUntil="later"), "spec.snoozedUntil: must be a time with its zone"),
        (document("Incident", **INCIDENT, acknowledgement={"by": ""}), "spec.acknowledgement.by: "),
        (
            document("Incident", **INCIDENT, resolutoin={"by": "x"}),
            "spec.resolutoin: unknown field; did you mean resolution?",
        ),
        (document("Silence", orgSlug="acme", reason="x"), "spec.endsAt: "),
        (document("NotificationConfg"), "has no kind NotificationConfg; did you mean NotificationConfig?"),
        (document("silence"), "has no kind silence; did you mean Silence?"),
        (document("Route"), "has no kind Route; it has NotificationConfig, PipelineEvent, Silence, Incident"),
    ],
)
def test_every_kind_is_known(cli, write, manifest, told):
    done = cli("validate", write("x.yaml", manifest))
    assert (done.code, told in done.out) == (0 if told == ": ok" else 1, True), done.out


def test_what_is_not_ours_is_not_called_ok(cli, write):
    done = cli("validate", write("x.yaml", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}))
    assert done.code == 0
    assert done.out.endswith("Service x: note: is none of Pipebell's kinds: not looked at\n")
    assert done.out.count("\n") == 1
