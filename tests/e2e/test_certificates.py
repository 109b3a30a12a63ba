"""A cluster and a mail server whose certificates lack the identifiers that Python 3.13 began to ask for."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.e2e.harness import event, eventually
from tests.e2e.world import World
from tests.pythons import python

from pipebell.certificates import Authority
from pipebell.cluster import Cluster
from pipebell.sinks import Trust, running

_CRDS = sorted(Path(__file__).parents[2].glob("crds/pipebell.io_*.yaml"))


@pytest.fixture(scope="module")
def bare_world(tmp_path_factory):
    """All that stands on certificates: API server, mail server, webhooks. None has a key identifier."""
    with Cluster.start(identifiers=False) as cluster:
        for path in _CRDS:
            cluster.kubectl("apply", "--server-side", "-f", path)
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        world = World(cluster, tmp_path_factory.mktemp("bare"), Trust(identifiers=False))
        with running(world.smtp, world.slack) as loop:
            world.loop = loop
            world.set_root(world.root_spec())
            yield world
        world.api.close()


@pytest.mark.cluster
@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_the_operator_gets_ready_and_delivers(bare_world, version):
    operator = bare_world.operator(python=python(version)).start()
    try:
        document = event(bare_world.namespace(), "nightly", f"bare-{version}")
        bare_world.api.create(document)
        assert bare_world.api.reaches(document, "Delivered")["status"]["configRef"]["kind"] == "RootConfig"
        assert bare_world.mails_to("admin@cloudact.io")
    finally:
        assert operator.stop() == 0


@pytest.mark.cluster
@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_a_pipeline_reaches_it_too(bare_world, version, tmp_path):
    """The SDK, by the command that is it, with the same certificates; and not with another CA."""
    command = [python(version), "-m", "pipebell.cli.main", "send", "--org", "acme", "-n", bare_world.namespace()]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIPEBELL_SPOOL_DIR": str(tmp_path / "spool")}
    for kubeconfig, code in ((bare_world.cluster.kubeconfig, 0), (stranger(bare_world, tmp_path), 1)):
        given = environ | {"KUBECONFIG": str(kubeconfig)}
        done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr or "certificate" in done.stderr


def stranger(world, folder):
    """The cluster's kubeconfig with another CA of the same name."""
    config = yaml.safe_load(world.kubeconfig.read_text(encoding="utf-8"))
    other = Authority("pipebell-local-cluster", identifiers=False).certificate
    config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(other).decode()
    path = folder / "stranger"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.mark.cluster
@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_an_unknown_ca_is_refused(bare_world, version, tmp_path):
    """Its own name for itself is the same; its key is not."""
    kubeconfig = stranger(bare_world, tmp_path)
    operator = bare_world.operator(python=python(version), kubeconfig=kubeconfig)
    operator.spawn()
    try:
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in operator.text, 60.0, "the refusal in the log")
        assert operator.told("started") is None
        assert operator.alive
    finally:
        operator.kill()
    token = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]["token"]
    assert token not in operator.text
