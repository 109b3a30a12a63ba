"""Commands as people type them, each a process: against a real cluster with operator, mail server and Slack.

The first of each command starts Python and imports what it needs, as everywhere; the others are forked (`forks.py`).
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass

import pytest
from tests.cli.forks import Forks

from pipebell.cli.commands import COMMANDS
from pipebell.demo.stage import NAMESPACE, Stage

_FORKS = Forks()
_begun = set()  # commands that have had a Python of their own


@pytest.fixture(scope="session", autouse=True)
def _forks():
    yield
    _FORKS.close()


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def execute(*arguments, env=None, stdin=None, cwd=None, timeout=90):
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PIPEBELL_", "KUBE"))}
    environ |= {"HOME": "/nonexistent", "COLUMNS": "200"} | {key: str(value) for key, value in (env or {}).items()}
    command = [sys.executable, "-m", "pipebell.cli.main", *map(str, arguments)]
    if _may_be_forked(arguments, environ):
        done = Done(*_FORKS.run(command[3:], env=environ, stdin=stdin, cwd=cwd, timeout=timeout))
        assert "Traceback" not in done.err, done.err
        return done
    done = subprocess.run(
        command, env=environ, input=stdin, capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def _may_be_forked(arguments, environ):
    """What has begun once, is no program's wrapper, and asks nothing of the interpreter."""
    entry = COMMANDS.get(str(arguments[0])) if arguments else None
    if entry is None or entry.raw or "_PIPEBELL_COMPLETE" in environ:
        return False
    asked = {key for key in environ if key.startswith(("PYTHON", "LANG", "LC_"))}
    if any(environ[key] != os.environ.get(key) for key in asked):
        return False
    first = arguments[0] not in _begun
    _begun.add(arguments[0])
    return not first


@pytest.fixture
def cli(tmp_path):
    """Without any cluster."""

    def run(*arguments, env=None, **options):
        return execute(*arguments, env={"PIPEBELL_SPOOL_DIR": tmp_path / "spool"} | (env or {}), **options)

    return run


@pytest.fixture(scope="session")
def stage():
    with Stage() as stage:
        stage.start()
        stage.put_root(stage.root_json())
        variables = {name: value for name, value in stage.environment().items() if not name.startswith("PIPEBELL_")}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pipebell-root-variables"}}
        stage.apply(json.dumps(secret | {"stringData": variables}), namespace=NAMESPACE)
        yield stage


@pytest.fixture
def place(stage):
    """A fresh namespace on the stage."""
    name = f"cli-{secrets.token_hex(4)}"
    stage.cluster.kubectl("create", "namespace", name)
    stage.smtp.journal.clear()
    stage.slack.journal.clear()
    yield name
    stage.cluster.delete_namespace(name)


@pytest.fixture
def on_stage(stage, place, tmp_path):
    """On the stage's cluster, in the fresh namespace, trusting what its operator trusts."""

    def run(*arguments, env=None, namespace=place, **options):
        known = stage.environment()
        environ = {key: known[key] for key in ("PIPEBELL_CA_FILE", "PIPEBELL_SLACK_HOSTS")}
        environ |= {"KUBECONFIG": stage.cluster.kubeconfig, "PIPEBELL_SPOOL_DIR": tmp_path / "spool"}
        return execute(arguments[0], "-n", namespace, *arguments[1:], env=environ | (env or {}), **options)

    return run


@pytest.fixture
def apply(stage, place):
    """Apply an object and, for a configuration, wait until the operator has judged it."""

    def put(kind, name, **fields):
        api = "v1" if kind in ("Secret", "ConfigMap") else "pipebell.io/v1alpha1"
        stage.apply(json.dumps({"apiVersion": api, "kind": kind, "metadata": {"name": name}} | fields), namespace=place)
        if kind == "NotificationConfig":
            stage.cluster.kubectl(
                "wait", "-n", place, f"nc/{name}", "--for=jsonpath={.status.observedGeneration}", "--timeout=60s"
            )

    return put


@pytest.fixture
def make_config(stage, apply):
    """An organisation that is told by Slack (and by e-mail on root's transport, when asked)."""

    def make(org, *, email=None, webhook="T1", **spec):
        url = stage.slack.webhook(webhook)
        apply("Secret", f"{org}-secret", stringData={"SLACK_WEBHOOK_URL": url})
        providers = ["slack", "email"] if email else ["slack"]
        apply(
            "NotificationConfig",
            org.replace("_", "-"),
            spec={
                "orgSlug": org,
                "secretRef": {"name": f"{org}-secret"},
                "slack": {"enabled": True, "webhookUrl": "${SLACK_WEBHOOK_URL}"},
                "email": {"toEmails": email or ["nobody@example.com"]},
                "eventTriggers": [{"event": "pipeline_failure", "providers": providers, "cooldownSeconds": 60}],
                "retryConfig": {"maxAttempts": 1},
            }
            | spec,
        )
        return webhook

    return make


INCIDENT = {"orgSlug": "acme", "class": "Run", "openedBy": "first"}


@pytest.fixture
def alone(cluster, namespace, tmp_path):
    """In a fresh namespace without an operator, which would have a mind of its own about incidents."""

    def run(*arguments, env=None, where=namespace, **options):
        environ = {"KUBECONFIG": cluster.kubeconfig, "PIPEBELL_SPOOL_DIR": tmp_path / "spool"} | (env or {})
        return execute(arguments[0], "-n", where, *arguments[1:], env=environ, **options)

    return run


@pytest.fixture
def incident(cluster, namespace):
    """Puts an incident there; its status as the operator has it."""

    def put(name, pipeline="billing", status=None, **spec):
        document = {"apiVersion": "pipebell.io/v1alpha1", "kind": "Incident", "metadata": {"name": name}}
        document["spec"] = INCIDENT | {"key": pipeline or "*"} | ({"pipelineId": pipeline} if pipeline else {}) | spec
        cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(document))
        if status:
            patch = json.dumps({"status": status})
            command = ("patch", "-n", namespace, f"inc/{name}", "--subresource=status", "--type=merge", "-p", patch)
            cluster.kubectl(*command)
        return name

    return put


@pytest.fixture
def account(cluster, namespace):
    """A kubeconfig for a ServiceAccount of the namespace with these rights on objects of ours."""

    def make(name, plural, *verbs):
        cluster.kubectl("create", "serviceaccount", name, "-n", namespace)
        if verbs:
            rights = [f"--verb={verb}" for verb in verbs]
            cluster.kubectl("create", "role", name, *rights, f"--resource={plural}.pipebell.io", "-n", namespace)
            who = f"--serviceaccount={namespace}:{name}"
            cluster.kubectl("create", "rolebinding", name, f"--role={name}", who, "-n", namespace)
        return {"KUBECONFIG": cluster.kubeconfig_for_service_account(namespace, name)}

    return make
