"""The door for events: whatever a watch tells, nothing escapes."""

from __future__ import annotations

import structlog

from pipebell.handlers import on_pipeline_event


class App:
    def __init__(self):
        self.calls = []
        self.intake = self

    def event_seen(self, item):
        self.calls.append(("seen", item["metadata"]["name"]))

    def event_gone(self, item):
        self.calls.append(("gone", item["metadata"]["name"]))


def item(name):
    return {"metadata": {"name": name, "namespace": "team", "uid": name}}


def test_what_is_there_is_seen_and_what_is_deleted_is_gone():
    app = App()
    for kind, name in (("ADDED", "a"), ("MODIFIED", "b"), ("DELETED", "c")):
        on_pipeline_event(app, kind, item(name))
    assert app.calls == [("seen", "a"), ("seen", "b"), ("gone", "c")]


def test_an_error_is_told_and_goes_no_further():
    app = App()
    with structlog.testing.capture_logs() as logs:
        on_pipeline_event(app, "ADDED", {"metadata": None})
        on_pipeline_event(app, "ADDED", {"metadata": {"namespace": "team"}})
    assert app.calls == []
    assert [line["event"] for line in logs] == ["event_not_taken_in"] * 2
