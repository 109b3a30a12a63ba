"""A real API server with our CustomResourceDefinitions, for tests of what it accepts."""

import json
from dataclasses import dataclass

import pytest
from kubernetes import client, config
from tests.core.messages import Raw, make

from pipebell.cluster import Cluster

PLURALS = {
    "NotificationConfig": "notificationconfigs",
    "PipelineEvent": "pipelineevents",
    "Incident": "incidents",
    "Silence": "silences",
}


@dataclass
class Server:
    """The API server as kubectl and as a client as strict as kubectl see it."""

    cluster: Cluster

    def __post_init__(self):
        self._api = client.CustomObjectsApi(config.new_client_from_config(config_file=str(self.cluster.kubeconfig)))

    def kubectl(self, *arguments, document=None):
        return self.cluster.kubectl(*arguments, input=None if document is None else json.dumps(document), check=False)

    def refusal(self, kind, spec):
        """Why the server would not create this; None when it would."""
        document = {"apiVersion": "pipebell.io/v1alpha1", "kind": kind, "metadata": {"name": "trial"}, "spec": spec}
        try:
            self._api.create_namespaced_custom_object(
                *("pipebell.io", "v1alpha1", "default", PLURALS[kind], document),
                dry_run="All",
                field_validation="Strict",
            )
        except client.ApiException as error:
            if error.status not in (400, 422):
                raise
            return json.loads(error.body)["message"]
        return None

    def create(self, kind, name, spec):
        document = {"apiVersion": "pipebell.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        done = self.kubectl("create", "-f", "-", "-o", "json", document=document)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def server(cluster):
    return Server(cluster)


@pytest.fixture(scope="session")
def notify():
    """Makes a typical message with these changes."""
    return make


@pytest.fixture(scope="session")
def raw():
    return Raw
