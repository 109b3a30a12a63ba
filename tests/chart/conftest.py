"""A control plane of the chart's own: Helm wants to own what it installs, the definitions included."""

import pytest
from tests.chart.helm import CHART, NAMESPACE, helm

from pipebell.cluster import Cluster


@pytest.fixture(scope="package")
def plane():
    with Cluster.start(audit_log=True) as running:
        yield running


@pytest.fixture(scope="module")
def install(plane):
    """Install the chart; everything is uninstalled afterwards."""
    releases = []

    def run(values=None, *arguments, release="pipebell", namespace=NAMESPACE):
        releases.append((release, namespace))
        command = ("install", release, CHART, "--namespace", namespace, "--create-namespace", *arguments)
        return helm(*command, values=values or {}, kubeconfig=plane.kubeconfig)

    yield run
    for release, namespace in releases:
        helm("uninstall", release, "--namespace", namespace, "--ignore-not-found", kubeconfig=plane.kubeconfig)
