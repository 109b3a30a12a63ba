"""Who we are in a kubeconfig's context: tokens, files, exec plugins; what cannot be honoured is refused by name."""

import base64
import json
import os
import stat
import sys
import time

import pytest
import yaml

from pipebell.core.errors import SettingsError
from pipebell.kubeconfig import plugin as plugins
from pipebell.kubeconfig.context import NotHonouredError, read
from pipebell.kubeconfig.login import Login, clean_token


@pytest.fixture
def write(tmp_path):
    def write(user=None, cluster=None, name="config", **context):
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u", **context}},
                {"name": "there", "context": {"cluster": "d", "namespace": "far"}},
            ],
            "clusters": [
                {"name": "c", "cluster": {"server": "https://one:1/", **(cluster or {})}},
                {"name": "d", "cluster": {"server": "http://two:2"}},
            ],
            "users": [{"name": "u", "user": user or {}}],
        }  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(user if isinstance(user, str) else yaml.safe_dump(document))
        return str(path)

    return write


def test_a_context_says_where(write):
    path = write({"token": "t0ken\n"}, namespace="team")
    found = read(path)
    assert (found.name, found.server, found.namespace) == ("here", "https://one:1", "team")
    assert Login(found).token() == "t0ken"
    other = read(path, "there")
    assert (other.server, other.namespace) == ("http://two:2", "far")
    assert (Login(other).token(), Login(other).tls()) == (None, None)
    assert "t0ken" not in repr(found)


def test_anchors_are_read_where_pyyaml_is(write, monkeypatch):
    path = write(
        "current-context: a\nclusters: [{name: a, cluster: &c {server: 'http://h:1'}}]\n"
        "contexts: [{name: a, context: {cluster: a}}]\n"
    )
    assert read(path).server == "http://h:1"
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SettingsError, match=r"line 2: an anchor.*pip install 'pipebell\[kubeconfig\]'"):
        read(path)


@pytest.mark.parametrize("field", ["auth-provider", "username", "as", "as-groups"])
def test_what_cannot_be_honoured_is_named(write, field):
    with pytest.raises(NotHonouredError, match=f"with {field}, which") as caught:
        Login(read(write({field: "s3cret", "token": "t"})))
    assert caught.value.field == field


@pytest.mark.parametrize("token", ["TOP\nSECRET", "TOP SECRET", "TOP\tSECRET", "TÖPSECRET", "TOP\x00SECRET"])
def test_a_token_that_no_header_can_hold_is_not_quoted(write, token):
    with pytest.raises(SettingsError, match="line break") as caught:
        Login(read(write({"token": token}))).token()
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("token", ["abc\n", "abc\r\n", " abc ", "abc"])
def test_a_line_break_at_its_end_is_no_part_of_a_token(token):
    assert clean_token(token, "it") == "abc"


def test_a_token_file_wins_and_is_read_again(write, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("one\n")
    login = Login(read(write({"token": "static", "tokenFile": "token"})))
    assert login.token() == "one"
    (tmp_path / "token").write_text("two\n")
    assert login.token() == "one"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert login.token() == "two"
    (tmp_path / "token").unlink()
    monkeypatch.setattr(time, "monotonic", lambda: now + 200)
    assert login.token() == "two"
    with pytest.raises(SettingsError, match="cannot read the token file"):
        Login(read(write({"tokenFile": "token"}))).token()


@pytest.fixture
def program(tmp_path):
    """An exec plugin that counts how often it was run."""

    def make(body, name="plugin", **more):
        script = tmp_path / name
        script.write_text(
            f"#!{sys.executable}\nimport json, os, sys\nopen({str(tmp_path / 'runs')!r}, 'a').write('x')\n{body}\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), **more}}

    make.runs = lambda: len((tmp_path / "runs").read_text())
    return make


def status(**fields):
    return f"print(json.dumps({{'kind': 'ExecCredential', 'status': {fields!r}}}))"


def test_a_plugin_is_run_once_until_its_token_ends(write, program, monkeypatch):
    user = program(status(token="abc\n", expirationTimestamp="2026-01-01T00:10:00Z"))
    login = Login(read(write(user)))
    moment = {"now": 1767225600.0}  # 2026-01-01T00:00:00Z
    monkeypatch.setattr(plugins.time, "time", lambda: moment["now"])
    assert [login.token(), login.token(), program.runs()] == ["abc", "abc", 1]
    moment["now"] += 595
    assert [login.token(), program.runs()] == ["abc", 2]


def test_a_plugin_gets_arguments_variables_and_the_cluster(write, program, monkeypatch):
    monkeypatch.setenv("FROM_OUTSIDE", "outside")
    body = (
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "said = [*sys.argv[1:], os.environ['FROM_OUTSIDE'], os.environ['OWN'], info['spec']['cluster']['server']]\n"
        "print(json.dumps({'status': {'token': '-'.join(said)}}))"
    )
    user = program(body, args=["a", "b"], env=[{"name": "OWN", "value": "own"}], provideClusterInfo=True)
    assert Login(read(write(user))).token() == "a-b-outside-own-https://one:1"


def test_a_plugin_beside_the_kubeconfig(write, program, tmp_path, monkeypatch):
    user = program(status(token="near"))
    user["exec"]["command"] = "./plugin"
    path = write(user)
    monkeypatch.chdir("/")
    assert Login(read(path)).token() == "near"


@pytest.mark.parametrize(
    ("body", "more", "words"),
    [
        ("sys.exit('s3cret')", {}, "exec plugin plugin failed .exit code 1."),
        ("print('s3cret')", {}, "printed no ExecCredential"),
        ("print('[]')", {}, "printed no ExecCredential"),
        ("print(json.dumps({'status': {}}))", {}, "neither a token nor a certificate"),
        ("", {"command": "s3cret-tool-of-nobody", "installHint": "get it\nthere"}, "is not installed: get it there"),
        ("", {"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "speaks client.authentication.k8s.io/v1alpha1"),
        ("", {"interactiveMode": "Always"}, "wants to ask at a terminal"),
        ("", {"command": None}, "without a command"),
        ("", {"command": "/"}, "cannot be run"),
        (status(token="t", expirationTimestamp="soon"), {}, "printed no ExecCredential"),
    ],
)
def test_a_plugin_that_fails_is_one_line(write, program, body, more, words):
    with pytest.raises(SettingsError, match=words) as caught:
        Login(read(write(program(body, **more)))).token()
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value).replace("s3cret-tool-of-nobody", "")


def test_a_plugin_that_hangs_is_given_up(write, program):
    with pytest.raises(SettingsError, match=r"did not end within 0\.5 s"):
        plugins.run(read(write(program("import time; time.sleep(30)"))), timeout=0.5)


def test_certificates_without_their_keys(write):
    for user, missing in (
        ({"client-certificate-data": "eA=="}, "client-key"),
        ({"client-key-data": "eA=="}, "client-cert"),
    ):
        with pytest.raises(SettingsError, match=f"has a user without {missing}"):
            Login(read(write(user))).tls()


@pytest.mark.parametrize("user", [{}, {"exec": True}])
def test_a_real_server_knows_us_by_certificate(cluster, write, program, user):
    """The administrator's client certificate, inline and from a plugin, without the official client."""
    from pipebell.sdk.access import find  # noqa: PLC0415
    from pipebell.sdk.api import Api  # noqa: PLC0415

    path = str(cluster.kubeconfig)
    if user:
        known = read(path)
        pair = [base64.b64decode(known.user[f"client-{part}-data"]).decode() for part in ("certificate", "key")]
        plugin = program(status(clientCertificateData=pair[0], clientKeyData=pair[1]))
        path = write(plugin, {**known.cluster, "server": known.server})
    api = Api(lambda: find(path, environ=dict(os.environ)))
    body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
    answer = api.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    api.close()
    assert answer.document["status"]["userInfo"]["username"] == "pipebell-admin"
