"""The file-based system's tree becomes manifests that kubectl takes, and nothing is lost in silence."""

import base64
import json
from pathlib import Path

import pytest
import yaml

from pipebell.cli.dotenv import parse

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
    assert list(found) == ["_root/configmap.yaml", "acme-corp/notificationconfig.yaml"], "no Secret without values"
    root = found["_root/configmap.yaml"]
    assert (root["metadata"]["name"], root["metadata"]["namespace"]) == ("pipebell-root", "pipebell-system")
    assert root["data"]["config.json"] == (CONFIGS / "notifications" / "config.json").read_text()
    for name in ("SMTP_USERNAME", "SMTP_PASSWORD", "DEFAULT_ADMIN_EMAIL", "SLACK_WEBHOOK_URL"):
        assert name in done.out
    assert found["acme-corp/notificationconfig.yaml"]["spec"] == {
        "orgSlug": "acme_corp", "enabled": True, "email": {"toEmails": ["admin@acme.com"]},
    }  # fmt: skip


def test_an_organisation_without_values_gets_a_list_that_nothing_applies(migrate, tree, tmp_path):
    template = json.loads((CONFIGS / "notifications" / "org_template.json").read_text()) | {"org_slug": "Globex.EU"}
    done, found = migrate(tree(**{"Globex.EU": template}), "-n", "globex")
    assert done.code == 0
    spec = found["globex-eu/notificationconfig.yaml"]["spec"]
    assert (spec["orgSlug"], spec["secretRef"]) == ("Globex.EU", {"name": "globex-eu-notifications"})
    assert list(found) == ["globex-eu/notificationconfig.yaml"]
    template = tmp_path / "out" / "globex-eu" / "variables.env.example"
    assert parse(template.read_text()) == {}
    assert "#ORG_ADMIN_EMAIL=\n#SLACK_WEBHOOK_URL=\n" in template.read_text()
    assert template.stat().st_mode & 0o077 == 0, "people write into it"
    assert template.suffix not in (".json", ".yaml", ".yml"), "which kubectl apply -R reads"
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
        "typo/notifications.json: lost: email.to_emails[0]: must be an e-mail address",
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
    assert found["acme/secret.yaml"]["stringData"] == {"SMTP_PASSWORD_2": "hunter22", "SLACK_WEBHOOK_URL": url}
    assert found["acme/notificationconfig.yaml"]["spec"]["email"]["smtpPassword"] == "${SMTP_PASSWORD_2}"
    assert (
        json.loads(found["_root/configmap.yaml"]["data"]["config.json"])["email"]["smtp_password"] == "${SMTP_PASSWORD}"
    )
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert ("hunter22" in path.read_text()) == (path.name == "secret.yaml")
            assert (path.stat().st_mode & 0o777 == 0o600) == (path.name in ("secret.yaml", "variables.env.example"))


def test_it_is_idempotent_and_leaves_filled_secrets_alone(migrate, tree, tmp_path):
    url = "https://hooks.slack.com/services/T/B/X"
    configs = tree(acme={"slack": {"webhook_url": "${SLACK_WEBHOOK_URL}"}})
    env = tmp_path / ".env"
    env.write_text(f"SLACK_WEBHOOK_URL={url}\nUNRELATED=secret\n")
    _, first = migrate(configs, "--env-file", env)
    assert first["acme/secret.yaml"]["stringData"] == {"SLACK_WEBHOOK_URL": url}
    tree(acme={"email": {"to_emails": ["${ORG_ADMIN_EMAIL}"]}, "slack": {"webhook_url": "${SLACK_WEBHOOK_URL}"}})
    _, second = migrate(configs)
    assert second["acme/secret.yaml"]["stringData"] == {"SLACK_WEBHOOK_URL": url}
    assert "#ORG_ADMIN_EMAIL=" in (tmp_path / "out" / "acme" / "variables.env.example").read_text()
    env.write_text("SLACK_WEBHOOK_URL=https://hooks.slack.com/services/other\nORG_ADMIN_EMAIL=a@b.example\n")
    done, second = migrate(configs, "--env-file", env)
    assert second["acme/secret.yaml"]["stringData"] == {"SLACK_WEBHOOK_URL": url, "ORG_ADMIN_EMAIL": "a@b.example"}
    assert "has another value for SLACK_WEBHOOK_URL and keeps it" in done.out
    assert "hooks.slack.com" not in done.out
    assert not (tmp_path / "out" / "acme" / "variables.env.example").exists()
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
    env = tmp_path / ".env"
    env.write_text("ORG_ADMIN_EMAIL=a@b.example\nSLACK_WEBHOOK_URL=https://hooks.slack.com/services/T/B/X\n")
    done, found = migrate(configs, "-n", place, "--env-file", env)
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
    stage.cluster.kubectl("wait", "-n", place, "nc/acme-corp", "--for=condition=Ready", "--timeout=60s")

    sent = on_stage("send", "--org", "acme_corp", "--pipeline", "p", "--message", "boom", "--wait")

    assert sent.code == 0, sent.err
    (mail,), (post,) = stage.smtp.journal.wait(1), stage.slack.journal.wait(1)
    assert mail.recipients == ("data@acme.example",)
    assert mail.message["From"].endswith("<noreply@cloudact.io>")
    assert post.payload["channel"] == "#from-json"
    assert "Critical" in json.dumps(post.payload)


NASTY = r"""
export SMTP_USERNAME="user@acme.example"   # who
SMTP_PASSWORD='pa$$ "w0rd" ${X} \n # é'
ORG_ADMIN_EMAIL = admin@acme.example
SLACK_WEBHOOK_URL="https://hooks.slack.com/services/T0/B0/$ecret"
ROOT_PASSWORD=1e3
ROOT_USER=y
LINES="one
two: [x]
"
UNRELATED="not to be taken"
"""
ORG = {
    "email": {
        "smtp_host": "smtp.acme.example",
        "smtp_username": "${SMTP_USERNAME}",
        "smtp_password": "${SMTP_PASSWORD}",
        "from_email": "a@acme.example",
        "to_emails": ["${ORG_ADMIN_EMAIL}"],
    },
    "slack": {"webhook_url": "${SLACK_WEBHOOK_URL}"},
}
ROOT = {
    "email": {
        "smtp_host": "${LINES}",
        "smtp_username": "${ROOT_USER}",
        "smtp_password": "${ROOT_PASSWORD}",
        "from_email": "a@root.example",
        "to_emails": ["a@root.example"],
    }
}
WANTED = {
    "acme-notifications": {
        "SMTP_USERNAME": "user@acme.example",
        "SMTP_PASSWORD": 'pa$$ "w0rd" ${X} \\n # é',
        "ORG_ADMIN_EMAIL": "admin@acme.example",
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/$ecret",
    },
    "pipebell-root-variables": {"ROOT_PASSWORD": "1e3", "ROOT_USER": "y", "LINES": "one\ntwo: [x]\n"},
}


def credentials(cluster, namespace):
    """All Secrets of a namespace, decoded."""
    items = cluster.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    return {
        item["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in item["data"].items()}
        for item in items
    }


@pytest.mark.parametrize("forgetful", [False, True], ids=["env file each time", "env file once, secrets deleted"])
def test_migrate_apply_edit_five_times_leaves_the_same_credentials(
    migrate, tree, cluster, namespace, tmp_path, forgetful
):
    env = tmp_path / ".env.local"
    env.write_text(NASTY)
    out = tmp_path / "out"
    for turn in range(5):
        org = ORG | {"email": ORG["email"] | {"subject_prefix": f"[{turn}]"}}  # the edit
        configs = tree(acme=org, root=ROOT)
        given = ["--env-file", env] if turn == 0 or not forgetful else []
        done, _ = migrate(configs, "-n", namespace, "--root-namespace", namespace, *given)
        assert done.code == 0
        for value in ("w0rd", "1e3", "$ecret", "not to be taken"):
            assert value not in done.out + done.err
        cluster.kubectl("apply", "-R", "-f", out)
        assert credentials(cluster, namespace) == WANTED
        spec = cluster.request("GET", f"/apis/pipebell.io/v1alpha1/namespaces/{namespace}/notificationconfigs/acme")
        assert spec["spec"]["email"]["subjectPrefix"] == f"[{turn}]"
        if forgetful:  # as SECURITY-minded people do once they are applied
            for path in out.rglob("secret.yaml"):
                path.unlink()
    assert not any("UNRELATED" in path.read_text() for path in out.rglob("*") if path.is_file())


def test_a_skeleton_of_an_earlier_version_takes_nothing_away_any_more(migrate, tree, cluster, namespace, tmp_path):
    """It had empty values, and `kubectl apply -R` wiped what was in the cluster with it."""
    old = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "acme-notifications", "namespace": namespace},
        "stringData": dict.fromkeys(WANTED["acme-notifications"], ""),
    }
    filled = old | {"stringData": WANTED["acme-notifications"]}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(filled))
    folder = tmp_path / "out" / "acme"
    folder.mkdir(parents=True)
    (folder / "secret.yaml").write_text(yaml.safe_dump(old))
    migrate(tree(acme=ORG), "-n", namespace)
    cluster.kubectl("apply", "-R", "-f", tmp_path / "out")
    assert credentials(cluster, namespace)["acme-notifications"] == WANTED["acme-notifications"]
    assert not (folder / "secret.yaml").exists()


def test_files_with_secrets_lose_modes_that_are_too_wide_and_links_are_not_followed(migrate, tree, tmp_path):
    configs = tree(acme={"email": {"smtp_host": "h.example", "smtp_password": "hunter22", "to_emails": ["a@b.c"]}})
    path = tmp_path / "out" / "acme" / "secret.yaml"
    migrate(configs)
    path.chmod(0o644)
    migrate(configs)
    assert path.stat().st_mode & 0o777 == 0o600, "although nothing else changed"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(path.read_text())
    path.unlink()
    path.symlink_to(elsewhere)
    migrate(configs)
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["Data", "data_team", "a" * 64, "-a", "a b", "../x", "a.b", ""])
@pytest.mark.parametrize("option", ["-n", "--root-namespace"])
def test_what_is_no_namespaces_name_is_refused_before_anything_is_written(migrate, tree, tmp_path, option, name):
    done, found = migrate(tree(acme=ORG), option, name)
    assert (done.code, found) == (2, {})
    assert "no namespace's name" in done.err
    assert not (tmp_path / "out").exists()


def test_an_environment_file_that_cannot_be_read_stops_it(migrate, tree, tmp_path):
    env = tmp_path / ".env"
    env.write_text('A="hunter22')
    done, found = migrate(tree(acme=ORG), "--env-file", env)
    assert (done.code, found) == (1, {})
    assert "line 1: A: its quote is never closed" in done.err
    assert "hunter22" not in done.err


@pytest.mark.parametrize(
    "value", ["y", "N", "on", "1e3", "0o17", "0x1f", "1_000", "null", "~", "2026-01-01", "=", "<<"]
)
def test_what_looks_like_something_else_stays_a_text(migrate, tree, cluster, namespace, tmp_path, value):
    """kubectl reads YAML by other rules than Python."""
    env = tmp_path / ".env"
    env.write_text(f"SMTP_PASSWORD={value}\n")
    org = {"email": {"smtp_host": "h.example", "smtp_password": "${SMTP_PASSWORD}", "from_name": value}}
    migrate(tree(acme=org), "-n", namespace, "--env-file", env)
    cluster.kubectl("apply", "-R", "-f", tmp_path / "out")
    assert credentials(cluster, namespace)["acme-notifications"] == {"SMTP_PASSWORD": value}
