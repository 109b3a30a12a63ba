"""The main job, wide enough to need every right that the operator has."""

import base64
import json
import secrets

from tests.chart.helm import NAMESPACE
from tests.e2e.harness import Api

CONFIG = {"apiVersion": "pipebell.io/v1alpha1", "kind": "NotificationConfig"}
EVENT = {"apiVersion": "pipebell.io/v1alpha1", "kind": "PipelineEvent"}
GONE = "gone"
RETRY = {"maxAttempts": 3, "initialDelaySeconds": 1}


def trust(plane, sinks):
    """What the chart's values below refer to: the CA bundle, and the variables of the root configuration."""
    ca = sinks.slack.ca_file.read_text(encoding="utf-8")
    user, password = next(iter(sinks.smtp.users.items()))
    _apply(plane, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trust"}, "data": {"ca.crt": ca}})
    _apply(plane, _secret("variables", SMTP_USERNAME=user, SMTP_PASSWORD=password))


def values(sinks, **others):
    """The chart's values for these sinks."""
    email = {
        "smtp_host": sinks.smtp.host,
        "smtp_port": sinks.smtp.port,
        "smtp_username": "${SMTP_USERNAME}",
        "smtp_password": "${SMTP_PASSWORD}",
        "from_email": "pipebell@platform.example",
        "to_emails": ["oncall@platform.example"],
    }
    return {
        "root": {"config": {"email": email}, "variablesSecret": "variables"},
        "caBundle": {"configMap": "trust"},
        "settings": {"slackHosts": [f"{sinks.slack.host}:{sinks.slack.port}"], "privateHosts": ["127.0.0.1/32"]},
        **others,
    }


class Job:
    """One run of it in a namespace; names are fresh each time."""

    def __init__(self, plane, sinks, namespace):
        self.plane, self.sinks, self.namespace = plane, sinks, namespace
        self.mark = secrets.token_hex(4)

    def create(self):
        """Everything that users create, all at once."""
        self._apply(_secret(self._name("webhook"), url=self._webhook("slack")))
        reference = {"name": self._name("webhook"), "key": "url"}
        self.sinks.slack.plan(500)
        slack = {"webhookUrlSecretRef": reference}
        self._config("slack", defaultProvider="slack", slack=slack, retryConfig=RETRY, incidents={"enabled": True})
        self._event("slack", "slack")
        self._event("root", "root")
        self._config(
            "shared",
            where=NAMESPACE,
            defaultProvider="slack",
            slack={"webhookUrl": self._webhook("shared")},
            retryConfig=RETRY,
            eventNamespaces={"from": "Selector", "selector": {"matchLabels": {"pipelines": "yes"}}},
        )
        self._event("shared", "shared")
        self._config("wrong", defaultProvider="slack", slack={"webhookUrl": f"{self.sinks.slack.url}/no/webhook"})
        self._event("wrong", "wrong")
        self._event("short", "slack", event="system_error", test=True, ttlSecondsAfterFinished=1)

    def disturb(self):
        """Change a new configuration, without changing what it says, while its first condition is written."""
        api = Api(self.plane)
        name = f"busy-{secrets.token_hex(4)}"
        metadata = {"name": name, "namespace": self.namespace}
        document = CONFIG | {"metadata": metadata, "spec": {"orgSlug": name}}
        api.create(document)
        for turn in range(20):
            change = {"metadata": {"annotations": {"turn": str(turn)}}}
            api.request("PATCH", f"{api.path(document)}/{name}", change, "application/merge-patch+json")
        api._local.connection.close()

    def outcome(self):
        """Phase by event; an event that was deleted is "gone"."""
        path = f"/apis/pipebell.io/v1alpha1/namespaces/{self.namespace}/pipelineevents"
        items = {item["metadata"]["name"]: item for item in self.plane.request("GET", path)["items"]}
        names = ("slack", "root", "shared", "wrong", "short")
        return {
            name: items[self._name(name)].get("status", {}).get("phase") if self._name(name) in items else GONE
            for name in names
        }

    expected = {"slack": "Delivered", "root": "Delivered", "shared": "Delivered", "wrong": "Failed", "short": GONE}  # noqa: RUF012  (read only)

    def arrived(self):
        """How often each message arrived."""
        paths = [post.path for post in self.sinks.slack.posts]
        mails = [mail for mail in self.sinks.smtp.mails if self._name("root") in mail.raw.decode()]
        counts = {name: sum(self._webhook(name).endswith(path) for path in paths) for name in ("slack", "shared")}
        return counts | {"root": len(mails)}

    def incidents(self):
        """Phases of the incidents of the organisation that has them switched on."""
        path = f"/apis/pipebell.io/v1alpha1/namespaces/{self.namespace}/incidents"
        items = self.plane.request("GET", path)["items"]
        return [item.get("status", {}).get("phase") for item in items if item["spec"]["orgSlug"] == self._name("slack")]

    def notices(self):
        """Kubernetes Events about the event that failed."""
        items = self.plane.request("GET", f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [item for item in items if item["involvedObject"]["name"] == self._name("wrong")]

    def _name(self, name):
        return f"{name}-{self.mark}"

    def _webhook(self, name):
        return self.sinks.slack.webhook(f"{name}{self.mark}")

    def _config(self, name, where=None, **spec):
        metadata = {"name": self._name(name), "namespace": where or self.namespace}
        self._apply(CONFIG | {"metadata": metadata, "spec": {"orgSlug": self._name(name), **spec}})

    def _event(self, name, org, *, event="pipeline_failure", **spec):
        body = {"orgSlug": self._name(org), "event": event, "pipelineId": self._name(name), **spec}
        self._apply(EVENT | {"metadata": {"name": self._name(name), "namespace": self.namespace}, "spec": body})

    def _apply(self, document):
        document["metadata"].setdefault("namespace", self.namespace)
        _apply(self.plane, document)


def _secret(name, **data):
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def _apply(plane, document):
    namespace = document["metadata"].get("namespace", NAMESPACE)
    plane.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(document))
