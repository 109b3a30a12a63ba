"""Every command on a bad day: one clear line with the fix, and exit code 1."""

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipebell.cli.client import EVENTS, bare

NAMES = {
    "x": "x",
    "pipelineevent/x": "x",
    "pipelineevents/x": "x",
    "PipelineEvent/x": "x",
    "pe/x": "x",
    "pipelineevent.pipebell.io/x": "x",
    "incident/x": "incident/x",
    "pipelineevent.example.com/x": "pipelineevent.example.com/x",
    "a/b/c": "a/b/c",
    "pe/": "",
}

EVENT = {
    "apiVersion": "pipebell.io/v1alpha1",
    "kind": "PipelineEvent",
    "metadata": {"name": "x"},
    "spec": {"orgSlug": "acme", "event": "pipeline_failure"},
}


@pytest.mark.parametrize("word", NAMES)
def test_a_name_may_have_its_kind_before_it(word):
    assert bare(word, EVENTS) == NAMES[word]


COMMANDS = {
    "send": ["send", "--org", "acme"],
    "test": ["test", "acme"],
    "history": ["history"],
    "replay": ["replay", "some-event"],
    "replay --failed": ["replay", "--failed", "--since", "2h", "--yes"],
    "incidents": ["incidents"],
    "ack": ["ack", "some-incident"],
    "verify": ["verify", "acme"],
    "preview": ["preview", "some-event"],
    "preview -f": ["preview", "-f", "event.json"],
}


@pytest.fixture(params=list(COMMANDS))
def arguments(request, tmp_path):
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    return [str(tmp_path / part) if part == "event.json" else part for part in COMMANDS[request.param]]


def one_line(done):
    assert done.code == 1, done
    assert done.err.startswith("Error: "), done.err
    assert done.err.count("\n") == 1, done.err
    return done.err


def test_no_cluster_at_all(cli, arguments):
    assert "give --kubeconfig FILE" in one_line(cli(*arguments))


def test_a_kubeconfig_that_is_not_there(cli, arguments):
    assert "there is no kubeconfig /nowhere" in one_line(cli(*arguments, "--kubeconfig", "/nowhere"))


@pytest.mark.parametrize("text", ["{", "[]", "a: b", "clusters: 7\ncurrent-context: x", "apiVersion: v1\ncontexts: []"])
def test_a_kubeconfig_that_is_none(cli, tmp_path, text):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    assert str(path) in one_line(cli("history", "--kubeconfig", path))


def test_an_api_server_that_is_away(cli, arguments, tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text(
        "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: a, user: {token: t}}]\n"
        "contexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n"
    )
    assert "https://127.0.0.1:1 refused the connection" in one_line(cli(*arguments, "--kubeconfig", path))


def test_a_context_that_is_not_there(on_stage, arguments):
    assert "has no context 'nope'; it has:" in one_line(on_stage(*arguments, "--context", "nope"))


@pytest.fixture(scope="module")
def nobody(stage):
    """The kubeconfig of a service account without any right."""
    name = f"nobody-{secrets.token_hex(3)}"
    stage.cluster.kubectl("create", "namespace", name)
    stage.cluster.kubectl("create", "serviceaccount", "nobody", "-n", name)
    yield stage.cluster.kubeconfig_for_service_account(name, "nobody")
    stage.cluster.delete_namespace(name)


def test_no_permission(on_stage, arguments, nobody):
    line = one_line(on_stage(*arguments, "--kubeconfig", nobody))
    assert "not permitted: " in line
    assert "ask for the role" in line


def test_a_token_that_is_not_accepted(on_stage, stage, tmp_path):
    text = json.loads(stage.cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)
    text["users"] = [{"name": user["name"], "user": {"token": "made-up"}} for user in text["users"]]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(text))
    line = one_line(on_stage("history", "--kubeconfig", path))
    assert "does not accept your credentials" in line
    assert "made-up" not in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["replay", "no-such-event"], "there is no PipelineEvent no-such-event in namespace"),
        (["preview", "no-such-event"], "there is no PipelineEvent no-such-event in namespace"),
        (["verify"], "has no NotificationConfig: name an organisation"),
    ],
)
def test_wrong_names(on_stage, arguments, expected):
    assert expected in one_line(on_stage(*arguments))


@pytest.mark.parametrize("arguments", [["send", "--org", "acme"], ["test", "acme"]])
def test_a_namespace_that_is_not_there(on_stage, arguments):
    assert "there is no namespace nowhere" in one_line(on_stage(*arguments, namespace="nowhere"))


def test_an_organisation_that_cannot_be(on_stage):
    assert "spec.orgSlug" in one_line(on_stage("send", "--org", "no spaces please"))


def test_a_configuration_that_cannot_be_read(on_stage, stage, place):
    """A service account that may see configurations but no Secrets: what is missing is said, nothing is guessed."""
    stage.cluster.kubectl("create", "serviceaccount", "viewer", "-n", place)
    stage.cluster.kubectl(
        "create",
        "rolebinding",
        "viewer",
        "-n",
        place,
        "--clusterrole=pipebell-view",
        f"--serviceaccount={place}:viewer",
    )
    spec = {
        "orgSlug": "acme", "secretRef": {"name": "s"}, "slack": {"enabled": True, "webhookUrl": "${X}"},
        "eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"]}],
    }  # fmt: skip
    config = {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "NotificationConfig",
        "metadata": {"name": "acme"},
        "spec": spec,
    }
    stage.apply(json.dumps(config), namespace=place)
    kubeconfig = stage.cluster.kubeconfig_for_service_account(place, "viewer")
    done = on_stage("verify", "acme", "--kubeconfig", kubeconfig)
    assert done.code == 1
    assert "credentials are in a Secret that you may not read" in done.out
    assert "you may not read the root configuration" in done.out


def test_no_crds(cluster_without_crds, cli, arguments):
    done = cli(*arguments, "--kubeconfig", cluster_without_crds.kubeconfig)
    assert "install Pipebell's CRDs" in one_line(done)


@pytest.fixture(scope="module")
def cluster_without_crds():
    from pipebell.cluster import Cluster  # noqa: PLC0415

    with Cluster.start() as cluster:
        yield cluster


def test_a_server_that_says_when_to_ask_again_is_asked_again(cli, tmp_path):
    """As one does of which definitions were applied a moment ago (storage is (re)initializing)."""
    answers = [(429, {"Retry-After": "0"}), (429, {"Retry-After": "0"}), (200, {}), (429, {})]

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers = answers.pop(0)
            body = json.dumps({"items": [], "metadata": {}, "message": "storage is (re)initializing"}).encode()
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = tmp_path / "kubeconfig"
        path.write_text(
            f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{server.server_port}'}}}}]\n"
            "users: [{name: a, user: {}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n"
        )
        done = cli("incidents", "--kubeconfig", path)
        assert (done.code, done.out) == (0, ""), done.err
        assert "storage is (re)initializing; try again later" in one_line(cli("incidents", "--kubeconfig", path))
        server.shutdown()
    assert answers == []


@pytest.mark.parametrize("command", [["preview"], ["why"], ["replay"], ["ack"], ["resolve"], ["unsilence"]])
@pytest.mark.parametrize("name", ["", "a/status", "?watch=true", "A_b", ".", "x\n"])
def test_what_can_be_no_name_is_not_asked_for(cli, cluster, namespace, command, name):
    """As part of a path it would be another request."""
    said = one_line(cli(*command, name, "--kubeconfig", cluster.kubeconfig, "-n", namespace))
    assert "no name" in said or "there is no" in said or "not found" in said
