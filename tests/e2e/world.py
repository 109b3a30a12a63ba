"""The world around the operator: the cluster with the manifests, the sinks, and root's ConfigMap."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.harness import GROUP, SYSTEM, Api, Operator, config

from pipebell.cluster.client import Refused
from pipebell.sinks import SlackSink, SmtpSink

REPOSITORY = Path(__file__).parents[2]
ROOT_USER, ROOT_PASSWORD = "root@platform.example", "root-password-Zq81"
ORG_USER, ORG_PASSWORD = "sender@org.example", "org-password-Kx27"
HOSTS = ("localhost", "127.0.0.1", "::1", "smtp.gmail.com", "smtp.sendgrid.net", "email-smtp.us-east-1.amazonaws.com")
PRIVATE_NAME = "mail.innocent.example"  # leads to 127.0.0.2, where nobody may be reached
WEBHOOK_HOSTS = ("localhost", "127.0.0.1", "hooks.slack.com")


class World:
    """Shared by all end-to-end tests of a session."""

    def __init__(self, cluster, folder, trust):
        self.cluster, self.folder, self.trust = cluster, folder, trust
        self.api = Api(cluster)
        self.loop = None
        self.users = {ROOT_USER: ROOT_PASSWORD, ORG_USER: ORG_PASSWORD}
        self.smtp = SmtpSink(users=self.users, trust=trust, names=HOSTS)
        self.slack = SlackSink(trust=trust, names=WEBHOOK_HOSTS)
        self._namespaces = []
        cluster.kubectl("apply", "--server-side", "-k", REPOSITORY / "manifests")
        self.kubeconfig = cluster.kubeconfig_for_service_account(SYSTEM, "pipebell-operator", 7200)

    def run(self, work):
        """Run a coroutine in the sinks' loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30.0)

    @contextmanager
    def another(self, sink):
        """One more sink, for a scenario of its own."""
        self.run(sink.start())
        try:
            yield sink
        finally:
            self.run(sink.stop())

    def namespace(self, **labels):
        """A fresh one; `clear` empties it."""
        name = f"e2e-{secrets.token_hex(4)}"
        self.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        self._namespaces.append(name)
        return name

    def clear(self):
        """Leave no object behind that a later operator would work on."""
        while self._namespaces:
            namespace = self._namespaces.pop()
            for plural in ("pipelineevents", "incidents", "silences", "notificationconfigs"):
                self.api.request("DELETE", f"{GROUP}/namespaces/{namespace}/{plural}")

    def operator(self, *, kubeconfig=None, python=sys.executable, **settings):
        """An operator of these settings that may reach the sinks; not started yet."""
        environ = {
            "PIPEBELL_CA_FILE": str(self.trust.ca_file),
            "PIPEBELL_SLACK_HOSTS": f"127.0.0.1:{self.slack.port}",
            "PIPEBELL_PRIVATE_HOSTS": "127.0.0.1/32",
            "SMTP_USERNAME": ROOT_USER,
            "SMTP_PASSWORD": ROOT_PASSWORD,
            "DEFAULT_ADMIN_EMAIL": "admin@cloudact.io",
            "PIPEBELL_TEST_NAMES": json.dumps(
                dict.fromkeys(HOSTS[3:], ("127.0.0.1", self.smtp.port))
                | {"hooks.slack.com": ("127.0.0.1", self.slack.port), PRIVATE_NAME: ("127.0.0.2", 587)}
            ),
        }
        given = {name if name.isupper() else f"PIPEBELL_{name.upper()}": str(value) for name, value in settings.items()}
        return Operator(self.folder, kubeconfig or self.kubeconfig, environ | given, python)

    @contextmanager
    def running(self, **options):
        """Such an operator, started and warm; it has to end well."""
        running = self.operator(**options).start()
        try:
            self.warm_up()
            yield running
        finally:
            code = running.stop()
        assert code == 0

    def warm_up(self):
        """Wait until a change is seen: a young API server lets its first watches wait for two seconds."""
        document = config(self.namespace(), "canary", "canary", enabled=False)
        self.api.create(document)
        self.api.condition(document, "Ready")

    # ------------------------------------------------------------------ configurations

    def root_spec(self, **changes):
        """A root configuration on the SMTP sink, in the seed's spelling."""
        email = {
            "smtp_host": "127.0.0.1",
            "smtp_port": self.smtp.port,
            "smtp_username": "${SMTP_USERNAME}",
            "smtp_password": "${SMTP_PASSWORD}",
            "from_email": "noreply@cloudact.io",
            "to_emails": ["${DEFAULT_ADMIN_EMAIL}"],
        }
        return {"email": email} | changes

    def set_root(self, text):
        """Replace the root ConfigMap (None: delete it); its resourceVersion."""
        path = f"/api/v1/namespaces/{SYSTEM}/configmaps"
        if text is None:
            try:
                self.api.request("DELETE", f"{path}/pipebell-root")
            except Refused as error:
                if error.code != 404:
                    raise
            return ""
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": SYSTEM, "name": "pipebell-root"},
            "data": {"config.json": text if isinstance(text, str) else json.dumps(text)},
        }
        try:
            made = self.api.request("PUT", f"{path}/pipebell-root", document)
        except Refused as error:
            if error.code != 404:
                raise
            made = self.api.create(document)
        return made["metadata"]["resourceVersion"]

    def slack_only(self, webhook, **changes):
        """The spec of an organisation that is told by Slack, by a webhook of the sink."""
        return {"defaultProvider": "slack", "slack": {"webhookUrl": self.slack.webhook(webhook)}} | changes

    def own_smtp(self, *to, port=None, **changes):
        """`email` of an organisation with its own account on a sink."""
        return {
            "smtpHost": "127.0.0.1",
            "smtpPort": port or self.smtp.port,
            "smtpUsername": ORG_USER,
            "smtpPassword": ORG_PASSWORD,
            "fromEmail": ORG_USER,
            "toEmails": list(to),
        } | changes

    # ------------------------------------------------------------------ what arrived

    def mails_to(self, recipient, sink=None):
        """Accepted e-mails with this recipient."""
        return [mail for mail in (sink or self.smtp).mails if recipient in mail.recipients]

    def posts_to(self, webhook, sink=None):
        """Accepted posts at this webhook."""
        return [post for post in (sink or self.slack).posts if post.path.endswith(f"/{webhook}")]
