"""A cluster and a mail server whose certificates lack the identifiers that Python 3.13 began to ask for."""

from __future__ import annotations

import base64
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
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
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
def test_an_unknown_ca_is_refused(bare_world, version):
    """Its own name for itself is the same; its key is not."""
    config = yaml.safe_load(bare_world.kubeconfig.read_text(encoding="utf-8"))
    stranger = Authority("pipebell-local-cluster", identifiers=False).certificate
    config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(stranger).decode()
    kubeconfig = bare_world.folder / f"stranger-{version}"
    kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
    operator = bare_world.operator(python=python(version), kubeconfig=kubeconfig)
    operator.spawn()
    try:
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in operator.text, 60.0, "the refusal in the log")
        assert operator.told("started") is None
        assert operator.alive
    finally:
        operator.kill()
    token = config["users"][0]["user"]["token"]
    assert token not in operator.text
