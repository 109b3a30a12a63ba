import json
import os
import socket
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pipebell.cluster import Cluster, ClusterError, Refused, StuckNamespace, folders
from pipebell.cluster.processes import Process
from pipebell.cluster.state import State


@pytest.fixture(scope="module")
def own():
    """A cluster that may be stopped and broken; each test leaves it running."""
    with Cluster.start() as running:
        yield running


@pytest.fixture
def state_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "pipebell" / "clusters"


def names(cluster, kind="namespaces"):
    return {item["metadata"]["name"] for item in cluster.request("GET", f"/api/v1/{kind}")["items"]}


def test_clusters_side_by_side_know_nothing_of_each_other(cluster, own):
    own.kubectl("create", "namespace", "only-here")
    assert "only-here" in names(own)
    assert "only-here" not in names(cluster)
    assert own.url != cluster.url
    other = yaml.safe_load(cluster.kubeconfig.read_text())["users"][0]["user"]
    foreign = own.directory / "foreign"
    config = yaml.safe_load(own.kubeconfig.read_text())
    config["users"][0]["user"] = other
    foreign.write_text(yaml.safe_dump(config))
    assert own.kubectl("get", "ns", "--kubeconfig", foreign, check=False).returncode != 0


def test_it_is_the_version_it_says_and_kubectl_can_read_it(cluster):
    version = json.loads(cluster.kubectl("version", "-o", "json").stdout)["serverVersion"]
    assert (version["major"], version["minor"]) == ("1", "37")


def test_its_certificate_passes_strict_verification(cluster):
    context = ssl.create_default_context(cafile=str(cluster.authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    host, port = cluster.url.removeprefix("https://").split(":")
    for name in (host, "localhost", "kubernetes.default.svc"):
        with socket.create_connection((host, int(port))) as raw, context.wrap_socket(raw, server_hostname=name) as tls:
            assert tls.version() == "TLSv1.3"


def test_nobody_else_may_read_its_keys(cluster):
    assert cluster.directory.stat().st_mode & 0o077 == 0
    assert cluster.kubeconfig.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_stored_is_there_after_a_restart_on_the_same_port(own, end):
    url = own.url
    own.kubectl("create", "configmap", f"before-{end}", "--from-literal=a=b")
    getattr(own, end)()
    assert not own.running
    with pytest.raises(ConnectionRefusedError):
        own.request("GET", "/readyz")
    own.resume()
    assert (own.running, own.url) == (True, url)
    assert f"before-{end}" in names(own, "namespaces/default/configmaps")


def test_resuming_what_runs_changes_nothing(own):
    before = own.processes
    own.resume()
    assert own.processes == before


def test_a_port_that_somebody_took_meanwhile_is_named(own):
    own.stop()
    try:
        with socket.socket() as thief:
            port = int(own.url.rpartition(":")[2])
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", port))
            thief.listen()
            with pytest.raises(ClusterError, match=f"port {port} of this cluster is taken by another program"):
                own.resume()
        assert not own.running
    finally:
        own.resume()


def test_a_flag_that_the_api_server_does_not_know_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(folders.tempfile, "tempdir", str(tmp_path))  # other clusters come and go in the common one
    with pytest.raises(ClusterError, match="unknown flag: --no-such-flag"):
        Cluster.start(extra_flags=["--no-such-flag"])
    assert list(folders.passing().iterdir()) == []


def test_deleting_leaves_no_process_and_no_file(state_home):
    started = Cluster.start("gone")
    assert started.directory == state_home / "gone"
    assert Cluster.names() == ["gone"]
    # Whoever comes from another process sees the same.
    again = Cluster.start("gone")
    assert (again.url, again.processes) == (started.url, started.processes)
    started.kubectl("get", "ns")
    assert Cluster.remove("gone")
    assert not any(process.alive() for process in started.processes)
    assert list(state_home.iterdir()) == []
    assert Cluster.find("gone") is None
    assert not Cluster.remove("gone")
    started.delete()  # again, without complaint


def test_a_reused_pid_is_not_our_cluster(state_home):
    """A cluster died with its machine; now its pid is somebody else's, who must not be hurt."""
    directory = state_home / "stale"
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (directory / "store").mkdir(parents=True)
        process = Process(bystander.pid, "another-boot:123")
        State(port=1, store=directory / "store", processes=(process,)).write(directory)
        found = Cluster.find("stale")
        assert found is not None
        assert not found.running
        found.delete()
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")
    assert not directory.exists()


def test_what_a_killed_process_left_is_cleared_away_by_the_next_start(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = folders.passing() / "left"
    living = folders.passing() / "living"
    sleeper = Process.spawn([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", tmp_path)
    for directory, owner in ((left, Process(os.getpid(), "before")), (living, Process.current())):
        (directory / "store").mkdir(parents=True)
        State(port=1, store=directory / "store", owner=owner, processes=(sleeper,)).write(directory)
    State.read(living).running().write(living)
    fresh, old = folders.passing() / "fresh", folders.passing() / "old"
    for directory in (fresh, old):
        directory.mkdir()
        (directory / "cluster.json").write_text("half a st")
    os.utime(old, (0.0, 0.0))
    with Cluster.start():
        assert not left.exists()
        assert not sleeper.alive()
        assert living.exists()
        assert fresh.exists()  # it may be about to start
        assert not old.exists()


def test_a_path_too_long_for_a_socket_moves_the_store_elsewhere(tmp_path):
    directory = tmp_path / ("x" * 90)
    directory.mkdir()
    store = folders.store_in(directory)
    try:
        assert not store.is_relative_to(directory)
        assert len(str(store / "client.sock")) < 104
    finally:
        store.rmdir()
    short = Path(folders.passing(), "t")
    short.mkdir()
    assert folders.store_in(short) == short / "store"
    (short / "store").rmdir()
    short.rmdir()


@pytest.mark.parametrize("name", ["Upper", "../up", "", "a" * 41, "-a"])
def test_a_name_that_cannot_be_one_is_refused(name):
    with pytest.raises(ClusterError, match="cannot name a cluster"):
        Cluster.find(name)


def test_a_damaged_state_says_what_to_delete(state_home):
    (state_home / "odd").mkdir(parents=True)
    (state_home / "odd" / "cluster.json").write_text("{")
    with pytest.raises(ClusterError, match="is damaged: delete the folder"):
        Cluster.find("odd")


def test_a_service_account_gets_in_by_its_token_and_rbac_binds_it(cluster, namespace):
    cluster.kubectl("create", "serviceaccount", "worker", "-n", namespace)
    config = cluster.kubeconfig_for_service_account(namespace, "worker")
    assert "client-key-data" not in config.read_text()
    assert config.stat().st_mode & 0o077 == 0

    def as_worker(*arguments):
        return cluster.kubectl("--kubeconfig", config, *arguments, check=False)

    who = json.loads(as_worker("auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]["username"]
    assert who == f"system:serviceaccount:{namespace}:worker"
    assert "forbidden" in as_worker("get", "configmaps").stderr
    cluster.kubectl("create", "role", "reader", "--verb=list", "--resource=configmaps", "-n", namespace)
    cluster.kubectl(
        "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:worker", "-n", namespace
    )
    assert as_worker("get", "configmaps").returncode == 0  # in its own namespace, which the kubeconfig names


def test_a_missing_service_account_is_refused_with_its_code(cluster):
    with pytest.raises(Refused) as caught:
        cluster.token_for_service_account("default", "nobody")
    assert caught.value.code == 404


def test_the_audit_log_counts_writes_by_user(cluster, namespace):
    event = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "counted", "namespace": namespace}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(event))
    seen = [
        (entry["verb"], entry["user"]["username"], entry["responseStatus"]["code"])
        for entry in cluster.audit()
        if entry["objectRef"].get("name") == "counted" and entry["objectRef"]["namespace"] == namespace
    ]
    assert seen == [("get", "pipebell-admin", 404), ("create", "pipebell-admin", 201)]


def test_without_an_audit_log_nothing_is_counted_in_vain(own):
    with pytest.raises(ClusterError, match="audit_log=True"):
        own.audit()


def test_a_namespace_goes_with_all_it_holds(cluster):
    cluster.kubectl("create", "namespace", "full")
    for number in range(3):
        cluster.kubectl("create", "configmap", f"a{number}", "-n", "full")
    cluster.kubectl("create", "secret", "generic", "s", "-n", "full")
    cluster.kubectl("create", "service", "clusterip", "svc", "--tcp=80", "-n", "full")
    cluster.delete_namespace("full")
    assert "full" not in names(cluster)


def test_a_namespace_stuck_on_a_finalizer_says_on_what(cluster):
    cluster.kubectl("create", "namespace", "stuck")
    held = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": "stuck", "finalizers": ["pipebell.io/test"]},
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps(held))
    with pytest.raises(StuckNamespace, match="configmaps/held") as caught:
        cluster.delete_namespace("stuck", seconds=0.2)
    assert caught.value.remaining == ["configmaps/held (finalizers: pipebell.io/test)"]
    cluster.kubectl(
        "patch", "configmap", "held", "-n", "stuck", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    cluster.delete_namespace("stuck")
    assert "stuck" not in names(cluster)


def test_kubectl_says_why_it_failed(cluster):
    with pytest.raises(ClusterError, match='namespaces "nowhere" not found'):
        cluster.kubectl("get", "namespace", "nowhere")


def test_state_survives_its_file(tmp_path):
    state = State(port=5, store=tmp_path, extra_flags=("--v=1",), audit_log=True, owner=Process(1, "x"))
    state = replace(state, processes=(Process(2, "y"),)).write(tmp_path)
    assert State.read(tmp_path) == state
