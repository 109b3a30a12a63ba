"""`pipebell secret from-env`: what a configuration names, of a file as people have it, and nothing else."""

import base64
import json

import pytest
import yaml
from tests.cli.test_dotenv import FOUND, NASTY

SPEC = {
    "orgSlug": "acme",
    "secretRef": {"name": "acme-secret"},
    "email": {"smtpHost": "h.example", "smtpPassword": "${DOUBLE}", "smtpUsername": "${KEY}"},
    "slack": {"webhookUrl": "${NOT_THERE}"},
}
CONFIG = {
    "apiVersion": "pipebell.io/v1alpha1",
    "kind": "NotificationConfig",
    "metadata": {"name": "acme"},
    "spec": SPEC,
}


@pytest.fixture
def env(tmp_path):
    path = tmp_path / ".env.local"
    path.write_text(NASTY)
    return path


@pytest.fixture
def config(tmp_path):
    def write(document=CONFIG, name="config.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
        return path

    return write


def test_only_what_the_configuration_names_and_what_has_a_value(cli, env, config):
    done = cli("secret", "from-env", env, "--config", config(), "-n", "data")
    assert done.code == 0, done.err
    secret = yaml.safe_load(done.out)
    assert secret["metadata"]["name"] == "acme-secret"
    assert secret["metadata"]["namespace"] == "data"
    assert secret["stringData"] == {"DOUBLE": FOUND["DOUBLE"], "KEY": FOUND["KEY"]}
    assert "no value for NOT_THERE: left out" in done.err


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("configs/notifications/config.json", {"email": {"smtp_password": "${PLAIN}"}}, "pipebell-root-variables"),
        ("configs/Acme_Corp/notifications.json", {"slack": {"webhook_url": "${PLAIN}"}}, "acme-corp-notifications"),
        (
            "root.yaml",
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "pipebell-root", "namespace": "ops"},
                "data": {"config.json": '{"email": {"smtp_password": "${PLAIN}"}}'},
            },
            "pipebell-root-variables",
        ),
    ],
)
def test_root_and_the_old_json_files_have_their_secrets_names(cli, env, config, name, document, expected):
    done = cli("secret", "from-env", env, "--config", config(document, name))
    secret = yaml.safe_load(done.out)
    assert (secret["metadata"]["name"], secret["stringData"]) == (expected, {"PLAIN": "value"})
    assert secret["metadata"].get("namespace") == (document.get("metadata") or {}).get("namespace")


def test_it_goes_to_a_file_that_nobody_else_reads(cli, env, config, tmp_path):
    target = tmp_path / "secret.yaml"
    target.write_text("old")
    target.chmod(0o666)
    done = cli("secret", "from-env", env, "--config", config(), "--to", target)
    assert (done.code, done.out) == (0, "")
    assert "Secret acme-secret with KEY, DOUBLE" in done.err
    assert target.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(target.read_text())["stringData"]["DOUBLE"] == FOUND["DOUBLE"]


@pytest.mark.parametrize(
    ("document", "code", "said"),
    [
        ({"spec": {}}, 1, "exactly one configuration"),
        (CONFIG | {"spec": SPEC | {"emial": {}}}, 1, "unknown field"),
        (CONFIG | {"spec": {"orgSlug": "acme"}}, 1, "uses no ${VAR}"),
        (CONFIG | {"spec": SPEC | {"email": {}, "slack": SPEC["slack"]}}, 1, "no value for any variable"),
    ],
)
def test_what_cannot_be_done_is_one_line(cli, env, config, document, code, said):
    done = cli("secret", "from-env", env, "--config", config(document))
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert FOUND["DOUBLE"] not in done.err


def test_usage(cli, env, config):
    assert cli("secret", "from-env", env).code == 2
    assert cli("secret", "from-env", env, "--config", config(), "--org", "acme").code == 2
    assert cli("secret", "from-env", "/nowhere", "--config", config()).code == 2
    assert cli("secret", "from-env", env, "--config", config(), "--name", "No_Name").code == 2


def test_values_are_not_shown_on_a_terminal(env, config):
    from tests.cli.test_terminal import on_a_terminal  # noqa: PLC0415  (the only test that needs one)

    code, shown = on_a_terminal("secret", "from-env", env, "--config", config(), env={})
    assert code == 2
    assert "pipe it into" in shown
    assert "quoted" not in shown


def test_the_clusters_configuration_and_kubectl(cli, env, cluster, namespace):
    environ = {"KUBECONFIG": cluster.kubeconfig}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(CONFIG))
    for _ in range(2):
        done = cli("secret", "from-env", env, "--org", "acme", "-n", namespace, env=environ)
        assert done.code == 0, done.err
        cluster.kubectl("apply", "-f", "-", input=done.out)
        made = cluster.request("GET", f"/api/v1/namespaces/{namespace}/secrets/acme-secret")["data"]
        values = {key: base64.b64decode(value).decode() for key, value in made.items()}
        assert values == {"DOUBLE": FOUND["DOUBLE"], "KEY": FOUND["KEY"]}
    assert cli("secret", "from-env", env, "--org", "nobody", "-n", namespace, env=environ).code == 1
