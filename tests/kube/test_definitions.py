"""Definitions of another release, on a real API server: what they lack is named, until they are brought up to date."""

from __future__ import annotations

import asyncio
import copy
import json
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from pipebell.cluster import Cluster
from pipebell.core.crds import RESOURCES, definition
from pipebell.kube.client import ApiClient
from pipebell.kube.connection import from_kubeconfig
from pipebell.kube.definitions import Definitions

CLOCK = SimpleNamespace()


@pytest.fixture(scope="module")
def bare():
    """A cluster whose definitions are the test's alone."""
    with Cluster.start() as running:
        yield running


async def until(definitions, missing):
    """The API server publishes a changed definition a moment later."""
    async with asyncio.timeout(60):
        while await definitions.look() is bool(missing) or list(definitions.missing) != missing:  # noqa: ASYNC110  (the server tells nobody)
            await asyncio.sleep(0.3)


async def test_fields_that_are_not_served_are_named_until_they_are(bare):
    now = [definition(resource) for resource in RESOURCES]
    older = copy.deepcopy(now)
    status = older[1]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del status["properties"]["deliveries"]["items"]["properties"]["recipients"]
    async with ApiClient(from_kubeconfig(str(bare.kubeconfig))) as client:
        definitions = Definitions(client, CLOCK)
        assert not await definitions.look(), "nothing is served yet"
        assert definitions.remarks == [], "the watches say that"
        for document in older:
            bare.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(document))
        with capture_logs() as logs:
            await until(definitions, ["PipelineEvent"])
        said = "off, for the served PipelineEvent lacks it: status.deliveries[].recipients"
        assert definitions.remarks == [f"{said} (apply this release's definitions)"]
        assert "definitions_of_another_release" in {line["event"] for line in logs}
        for document in now:
            bare.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(document))
        await until(definitions, [])
        assert definitions.remarks == []
