"""`pipebell verify`, with the rights of whoever types it; nothing is ever sent."""

import pytest


def test_by_command_with_the_clusters_secrets(on_stage, make_config, stage):
    make_config("acme", webhook="Tverify", email=["data@acme.example"])
    done = on_stage("verify", "acme")
    assert done.code == 0, done.out
    assert "acme: NotificationConfig" in done.out
    assert "ok    email: login: user name and password are right" in done.out
    assert "ok    slack: webhook" in done.out
    assert stage.smtp.mails == []
    assert stage.slack.posts == []


def test_by_command_for_everybody_in_the_namespace(on_stage, apply, make_config, stage):
    make_config("acme", webhook="Tall")
    email = {
        "smtpHost": stage.smtp.host, "smtpPort": stage.smtp.port, "smtpUsername": "globex",
        "smtpPassword": "${SMTP_PASSWORD}", "fromEmail": "a@globex.example", "toEmails": ["b@globex.example"],
    }  # fmt: skip
    apply("Secret", "globex-secret", stringData={"SMTP_PASSWORD": "wrong"})
    apply(
        "NotificationConfig",
        "globex",
        spec={"orgSlug": "globex", "email": email, "secretRef": {"name": "globex-secret"}},
    )
    done = on_stage("verify", "-o", "json")
    assert done.code == 1
    results = {result["org"]: result for result in done.json}
    assert results["acme"]["ok"] is True
    assert results["globex"]["checks"]["email"][-1]["what"] == "login"
    assert stage.users["globex"] not in done.out


def test_what_is_missing_is_named(on_stage, apply):
    apply("NotificationConfig", "late", spec={
        "orgSlug": "late", "slack": {"enabled": True, "webhookUrl": "${X}"}, "secretRef": {"name": "missing"},
        "eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"]}],
    })  # fmt: skip
    done = on_stage("verify", "late")
    assert done.code == 1
    assert "slack.webhookUrl: there is no Secret missing" in done.out


def test_name_port_and_tls_without_the_credentials(on_stage, apply, stage, place):
    """Whoever may see configurations but no Secrets still learns of a wrong name, port or certificate."""
    stage.cluster.kubectl("create", "serviceaccount", "viewer", "-n", place)
    role = ("--clusterrole=pipebell-view", f"--serviceaccount={place}:viewer")
    stage.cluster.kubectl("create", "rolebinding", "viewer", "-n", place, *role)
    kubeconfig = stage.cluster.kubeconfig_for_service_account(place, "viewer")
    email = {
        "smtpHost": stage.smtp.host, "smtpPort": stage.smtp.port, "smtpUsername": "globex",
        "smtpPassword": "${SMTP_PASSWORD}", "fromEmail": "a@globex.example", "toEmails": ["b@globex.example"],
    }  # fmt: skip
    apply("Secret", "s", stringData={"SMTP_PASSWORD": stage.users["globex"]})
    apply("NotificationConfig", "globex", spec={"orgSlug": "globex", "email": email, "secretRef": {"name": "s"}})
    done = on_stage("verify", "globex", "-o", "json", "--kubeconfig", kubeconfig)
    found = [(finding["what"], finding["ok"]) for finding in done.json[0]["checks"]["email"]]
    assert found == [("name", True), ("connection", True), ("TLS", True), ("secrets", False)]
    done = on_stage("verify", "globex", "--kubeconfig", kubeconfig, env={"PIPEBELL_CA_FILE": ""})
    assert "wrong email: certificate" in done.out


@pytest.fixture
def somebody(stage, place):
    """A kubeconfig of somebody in the namespace with these of Pipebell's roles, and no right to read Secrets."""

    def make(name, *roles):
        stage.cluster.kubectl("create", "serviceaccount", name, "-n", place)
        for role in roles:
            binding = (f"--clusterrole=pipebell-{role}", f"--serviceaccount={place}:{name}")
            stage.cluster.kubectl("create", "rolebinding", f"{name}-{role}", "-n", place, *binding)
        return stage.cluster.kubeconfig_for_service_account(place, name)

    return make


def account(stage, password):
    return {
        "smtpHost": stage.smtp.host, "smtpPort": stage.smtp.port, "smtpUsername": "globex",
        "smtpPassword": password, "fromEmail": "a@globex.example", "toEmails": ["b@globex.example"],
    }  # fmt: skip


def test_the_operator_tries_what_one_may_not_read(on_stage, apply, stage, somebody):
    """Somebody who may edit configurations and read no Secret learns that the password is wrong, and never which."""
    editor = somebody("editor", "view", "edit")
    apply("Secret", "s", stringData={"SMTP_PASSWORD": "a-wrong-one", "URL": stage.slack.webhook("Tremote")})
    apply(
        "NotificationConfig",
        "globex",
        spec={
            "orgSlug": "globex",
            "secretRef": {"name": "s"},
            "email": account(stage, "${SMTP_PASSWORD}"),
            "slack": {"enabled": True, "webhookUrl": "${URL}"},
            "eventTriggers": [{"event": "pipeline_failure", "providers": ["email", "slack"]}],
        },
    )
    done = on_stage("verify", "globex", "-o", "json", "--kubeconfig", editor, timeout=240)
    assert done.code == 1, done.err
    assert "asking the operator" in done.err
    (result,) = done.json
    (email,), (slack,) = result["checks"]["email"], result["checks"]["slack"]
    assert (email["what"], email["ok"], email["reason"]) == ("operator", False, "SmtpAuthFailed")
    assert "user name or password is wrong: 535" in email["message"]
    assert (slack["ok"], slack["reason"]) == (True, "Verified")
    assert "a-wrong-one" not in done.out + done.err
    assert not [note for note in result["notes"] if "stand-in" in note]
    assert stage.smtp.mails == []


def test_why_the_operator_was_not_asked(on_stage, apply, stage, place, somebody):
    """Whoever may not ask it, or finds none, gets as far as one comes alone, and hears why."""
    apply("Secret", "s", stringData={"SMTP_PASSWORD": stage.users["globex"]})
    email = account(stage, "${SMTP_PASSWORD}")
    apply("NotificationConfig", "globex", spec={"orgSlug": "globex", "email": email, "secretRef": {"name": "s"}})
    viewer, editor = somebody("viewer", "view"), somebody("editor", "view", "edit")
    stage.cluster.kubectl("create", "role", "leases", "-n", place, "--verb=list", "--resource=leases")
    account_name = f"--serviceaccount={place}:editor"
    stage.cluster.kubectl("create", "rolebinding", "leases", "-n", place, "--role=leases", account_name)
    elsewhere = ["--operator-namespace", place]
    for kubeconfig, options, why in (
        (viewer, [], 'cannot patch resource "notificationconfigs"'),
        (editor, ["--timeout", "0"], "was not asked"),
        (editor, elsewhere, f"no operator runs in namespace {place}"),
    ):
        done = on_stage("verify", "globex", "-o", "json", "--kubeconfig", kubeconfig, *options, timeout=240)
        (result,) = done.json
        found = [(finding["what"], finding["ok"]) for finding in result["checks"]["email"]]
        assert found == [("name", True), ("connection", True), ("TLS", True), ("secrets", False)]
        assert [note for note in result["notes"] if why in note], result["notes"]
