"""The file-based system's tree becomes manifests that kubectl takes, and nothing is lost in silence."""

import json
from pathlib import Path

import pytest
import yaml

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def tree(tmp_path):
    """Writes `configs/`; texts are taken as they are."""

    def write(**files):
        for name, content in files.items():
            folder = "notifications" if name == "root" else name
            path = tmp_path / "configs" / folder / ("config.json" if name == "root" else "notifications.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path / "configs"

    return write


@pytest.fixture
def migrate(cli, tmp_path):
    def run(configs, *arguments):
        done = cli("migrate", configs, "--to", tmp_path / "out", *arguments)
        found = {
            path.relative_to(tmp_path / "out").as_posix(): yaml.safe_load(path.read_text())
            for path in sorted((tmp_path / "out").rglob("*.yaml"))
        }
        return done, found

    return run


def test_the_seeds_tree(migrate):
    done, found = migrate(CONFIGS)
    assert done.code == 0
    assert list(found) == ["_root/configmap.yaml", "_root/secret.yaml", "acme-corp/notificationconfig.yaml"]
    root = found["_root/configmap.yaml"]
    assert (root["metadata"]["name"], root["metadata"]["namespace"]) == ("pipebell-root", "pipebell-system")
    assert root["data"]["config.json"] == (CONFIGS / "notifications" / "config.json").read_text()
    assert found["_root/secret.yaml"]["stringData"] == dict.fromkeys(
        ["SMTP_USERNAME", "SMTP_PASSWORD", "DEFAULT_ADMIN_EMAIL", "SLACK_WEBHOOK_URL"], ""
    )
    assert found["acme-corp/notificationconfig.yaml"]["spec"] == {
        "orgSlug": "acme_corp", "enabled": True, "email": {"toEmails": ["admin@acme.com"]},
    }  # fmt: skip


def test_an_organisation_gets_a_secret_without_values(migrate, tree):
    template = json.loads((CONFIGS / "notifications" / "org_template.json").read_text()) | {"org_slug": "Globex.EU"}
    done, found = migrate(tree(**{"Globex.EU": template}), "-n", "globex")
    assert done.code == 0
    spec = found["globex-eu/notificationconfig.yaml"]["spec"]
    assert (spec["orgSlug"], spec["secretRef"]) == ("Globex.EU", {"name": "globex-eu-notifications"})
    secret = found["globex-eu/secret.yaml"]
    assert secret["metadata"]["namespace"] == "globex"
    assert secret["stringData"] == {"ORG_ADMIN_EMAIL": "", "SLACK_WEBHOOK_URL": ""}
    assert "ORG_ADMIN_EMAIL, SLACK_WEBHOOK_URL" in done.out


def test_what_is_inferred_and_what_is_lost_is_reported_by_file_and_path(migrate, tree):
    configs = tree(
        root='{"enabled": true,',
        broken="{nope",
        typo={"org_slug": "typo", "email": {"smtp_prt": 25, "to_emails": ["x"]}},
        noslug={"email": {"to_emails": ["a@b.c"]}},
        renamed={"org_slug": "other", "email": {"to_emails": ["a@b.c"]}},
        acme={"org_slug": "acme", "email": {"to_emails": ["a@b.c"]}},
        acme_copy={"org_slug": "acme", "email": {"to_emails": ["copy@b.c"]}},
    )
    done, found = migrate(configs)
    assert done.code == 1
    lines = done.out.splitlines()
    for expected in (
        "notifications/config.json: lost: is not valid JSON",
        "broken/notifications.json: lost: is not valid JSON: Expecting property name enclosed in double quotes at line",
        "typo/notifications.json: lost: email.smtp_prt: unknown field; did you mean",
        "typo/notifications.json: lost: email.to_emails[0]: is not an e-mail address",
        "noslug/notifications.json: inferred: org_slug: noslug",
        "renamed/notifications.json: inferred: org_slug: renamed (the folder's name; the file says other)",
        "acme_copy/notifications.json: lost: org_slug: says acme, but stands in acme_copy/: acme is configured twice",
        "3 of 7 files taken over",
    ):
        assert any(line.startswith(expected) for line in lines), (expected, done.out)
    assert sorted(found) == [f"{org}/notificationconfig.yaml" for org in ("acme", "noslug", "renamed")]
    assert found["acme/notificationconfig.yaml"]["spec"]["email"]["toEmails"] == ["a@b.c"]


def test_plain_text_credentials_leave_the_configuration(migrate, tree, tmp_path):
    url = "https://hooks.slack.com/services/T0/B0/xyz"
    email = {"smtp_host": "smtp.acme.com", "smtp_username": "${SMTP_USERNAME}", "smtp_password": "hunter22"}
    root = {"email": email | {"from_email": "a@b.c", "to_emails": ["a@b.c"]}}
    org = {"email": email | {"from_email": "a@b.c", "to_emails": ["${SMTP_PASSWORD}"]}, "slack": {"webhook_url": url}}
    done, found = migrate(tree(root=root, acme=org))
    assert done.code == 0
    assert done.out.count("plain-text credential: email.smtp_password") == 2
    assert "plain-text credential: slack.webhook_url" in done.out
    assert "hunter22" not in done.out + done.err
    assert found["acme/secret.yaml"]["stringData"] == {
        "SMTP_USERNAME": "", "SMTP_PASSWORD_2": "hunter22", "SMTP_PASSWORD": "", "SLACK_WEBHOOK_URL": url,
    }  # fmt: skip
    assert found["acme/notificationconfig.yaml"]["spec"]["email"]["smtpPassword"] == "${SMTP_PASSWORD_2}"
    assert (
        json.loads(found["_root/configmap.yaml"]["data"]["config.json"])["email"]["smtp_password"] == "${SMTP_PASSWORD}"
    )
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert ("hunter22" in path.read_text()) == (path.name == "secret.yaml")
            assert (path.stat().st_mode & 0o777 == 0o600) == (path.name == "secret.yaml")


def test_it_is_idempotent_and_leaves_filled_secrets_alone(migrate, tree, tmp_path):
    configs = tree(acme={"slack": {"webhook_url": "${SLACK_WEBHOOK_URL}"}})
    _, first = migrate(configs)
    path = tmp_path / "out" / "acme" / "secret.yaml"
    path.write_text(path.read_text().replace("''", "https://hooks.slack.com/services/T/B/X"))
    tree(acme={"email": {"to_emails": ["${ORG_ADMIN_EMAIL}"]}, "slack": {"webhook_url": "${SLACK_WEBHOOK_URL}"}})
    _, second = migrate(configs)
    assert second["acme/secret.yaml"]["stringData"] == {
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/X", "ORG_ADMIN_EMAIL": "",
    }  # fmt: skip
    stamp = {item: item.stat().st_mtime_ns for item in (tmp_path / "out").rglob("*.yaml")}
    assert migrate(configs)[1] == second
    assert {item: item.stat().st_mtime_ns for item in (tmp_path / "out").rglob("*.yaml")} == stamp
    assert first != second


def test_names_that_would_collide_are_told_apart(migrate, tree):
    to = {"email": {"to_emails": ["a@b.c"]}}
    _, found = migrate(tree(**{"acme_corp": to, "acme-corp": to, "_": to, "root": {}}))
    names = [item["metadata"]["name"] for name, item in found.items() if "notificationconfig" in name]
    assert len(set(names)) == 2
    assert {item["spec"]["orgSlug"] for name, item in found.items() if "notificationconfig" in name} == {
        "acme_corp", "acme-corp",
    }  # fmt: skip


def test_what_the_cluster_would_find_wanting_is_said(migrate, tree):
    root = json.loads((CONFIGS / "notifications" / "config.json").read_text())
    done, _ = migrate(tree(root=root, acme={"email": {"smtp_username": "me", "to_emails": ["a@b.c"]}}))
    assert done.code == 0
    assert "acme/notifications.json: note: would not be Ready: email.smtpHost is not set" in done.out


def test_a_folder_without_such_files_is_one_line(cli, tmp_path):
    done = cli("migrate", tmp_path)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert cli("migrate", tmp_path / "nowhere").code == 2


def test_json_for_scripts(migrate, tree):
    done, _ = migrate(tree(broken="{"), "-o", "json")
    (file,) = done.json["files"]
    assert (done.code, file["lost"], file["file"]) == (1, True, "broken/notifications.json")


def test_five_hundred_organisations_are_taken_by_the_api_server(migrate, tree, stage, place, tmp_path):
    template = json.loads((CONFIGS / "notifications" / "org_template.json").read_text())
    configs = tree(**{f"org_{number}": template | {"org_slug": f"org_{number}"} for number in range(500)})
    done, found = migrate(configs, "-n", place)
    assert (done.code, len(found)) == (0, 1000)
    assert "500 of 500 files taken over (500 organisations): 1000 manifests" in done.out
    folders = sorted((tmp_path / "out").iterdir())
    applied = stage.cluster.kubectl("apply", *(part for folder in folders[:10] for part in ("-f", folder)))
    assert applied.stdout.count("created") == 20
    # kubectl sends ten a second; what it would send for the others is sent directly, as strictly.
    for folder in folders[10:]:
        for path in folder.iterdir():
            item = yaml.safe_load(path.read_text())
            home = "apis/pipebell.io/v1alpha1" if item["kind"] == "NotificationConfig" else "api/v1"
            plural = f"{item['kind'].lower()}s"
            stage.cluster.request("POST", f"/{home}/namespaces/{place}/{plural}?fieldValidation=Strict", item)


def test_applied_it_does_what_the_json_promised(migrate, tree, stage, place, on_stage, tmp_path):
    """A partial organisation with a plain-text webhook: root's transport, its own recipients, its own channel."""
    url = stage.slack.webhook("Tmigrated")
    org = {
        "org_slug": "acme_corp",
        "email": {"to_emails": ["data@acme.example"]},
        "slack": {"enabled": True, "webhook_url": url, "channel": "#from-json"},
        "event_triggers": [{"event": "pipeline_failure", "severity": "CRITICAL", "providers": ["email", "slack"]}],
    }
    done, _ = migrate(tree(acme_corp=org), "-n", place)
    assert done.code == 0
    stage.cluster.kubectl("apply", "-R", "-f", tmp_path / "out")
    stage.cluster.kubectl("wait", "-n", place, "nc/acme-corp", "--for=condition=Ready", "--timeout=20s")

    sent = on_stage("send", "--org", "acme_corp", "--pipeline", "p", "--message", "boom", "--wait")

    assert sent.code == 0, sent.err
    (mail,), (post,) = stage.smtp.journal.wait(1), stage.slack.journal.wait(1)
    assert mail.recipients == ("data@acme.example",)
    assert mail.message["From"].endswith("<noreply@cloudact.io>")
    assert post.payload["channel"] == "#from-json"
    assert "Critical" in json.dumps(post.payload)
