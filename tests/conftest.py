"""What every test may use: one running control plane for the whole session, and namespaces of one's own in it."""

from __future__ import annotations

import gc
import os
import secrets
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipebell import free_port
from pipebell.cluster import Cluster

_CRDS = sorted(Path(__file__).parents[1].glob("crds/pipebell.io_*.yaml"))


def pytest_collection_modifyitems(items):
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish():
    """What is there by now stays: each full collection would go through all of it, a tenth of a second at a time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def cluster():
    with Cluster.start(audit_log=True) as running:
        for path in _CRDS:
            running.kubectl("apply", "--server-side", "-f", path)
        if _CRDS:
            running.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        yield running


@pytest.fixture
def namespace(cluster):
    """A fresh one; that it can be deleted with all that the test left in it is part of every test."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.delete_namespace(name)


# The same inputs in every run: a suite that everybody has to pass is no place for luck. `make fuzz` draws new ones.
# Nor is it one for a machine's speed: an example that takes long on a busy one has failed at nothing.
settings.register_profile(
    "suite", derandomize=True, print_blob=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

# Parts of the tests that run side by side (tests/parts) draw their ports from ranges of their own: a port that a test
# was given and does not listen on yet is free to everybody else.
_SLOT, _PORTS = os.environ.get("PIPEBELL_TEST_SLOT"), 4_000
if _SLOT:
    free_port._RANGE = range(8_000 + _PORTS * int(_SLOT), 8_000 + _PORTS * (int(_SLOT) + 1))
    free_port._REMEMBERED = _PORTS // 2
