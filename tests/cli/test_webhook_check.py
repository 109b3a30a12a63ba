"""A webhook's host, name, certificate and form are told apart, and no message is posted."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from pipebell.cli import webhook_check
from pipebell.core.destinations.alertmanager import ALERTMANAGER, AlertmanagerTarget
from pipebell.core.destinations.slack import SLACK, SlackTarget
from pipebell.core.hosts import HostPolicy
from pipebell.providers.tls import client_context
from pipebell.sinks import SlackSink, Trust, running


@pytest.fixture(scope="module")
def trust(tmp_path_factory):
    return Trust(tmp_path_factory.mktemp("trust"))


def webhook(target, ca_file="", hosts=()):
    *before, last = webhook_check.check(SLACK, target, HostPolicy({"slack": hosts}), client_context(str(ca_file)))
    assert "services" not in repr((before, last)).replace("hooks.slack.com/services/T…", "")
    return last


def test_webhooks(trust):
    with running(SlackSink(trust=trust)) as _:
        pass
    sink = SlackSink(trust=trust)
    with running(sink):
        good, host = SlackTarget(sink.webhook("Tgood")), (f"{sink.host}:{sink.port}",)
        assert webhook(good, str(sink.ca_file), host).ok
        assert sink.posts == []
        assert webhook(good, "", host).what == "certificate"
        refused = webhook(good, str(sink.ca_file))
        assert (refused.what, "PIPEBELL_ALLOWED_HOSTS" in refused.fix) == ("host", True)
    assert webhook(good, str(sink.ca_file), host).what == "connection"
    example = SlackTarget("https://hooks.slack.com/services/YOUR/WEBHOOK/URL")
    assert (webhook(example).what, webhook(example).ok) == ("form", False)


def test_an_alertmanager_without_tls():
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    asked = []
    server = HTTPServer(("127.0.0.1", 0), Ready)
    Thread(target=server.serve_forever, daemon=True).start()
    target = AlertmanagerTarget(f"http://127.0.0.1:{server.server_port}/api/v2/alerts", trusted=True)
    *_, last = webhook_check.check(ALERTMANAGER, target, HostPolicy(), client_context())
    server.shutdown()
    server.server_close()
    assert (last.ok, asked) == (True, ["/api/v2/status"])
