"""A server that behaves like PagerDuty's Events API v2.

https://developer.pagerduty.com/docs/send-alert-event and …/send-change-event: 202 for what it takes, 400 with what is
wrong, 413 beyond 512 KB, 429 without a time. It keeps one alert for each open dedup_key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.wire import decode, encode
from pipebell.sinks.answers import Respond
from pipebell.sinks.http import HttpSink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from pipebell.sinks.records import Post

ALERTS: Final = "/v2/enqueue"
CHANGES: Final = "/v2/change/enqueue"
_LIMIT: Final = 512 * 1024  # bytes
_SUMMARY: Final = 1024  # characters
_KEY: Final = re.compile(r"[A-Za-z0-9]{32}")
_DEDUP_KEY: Final = 255
_ACTIONS: Final = ("trigger", "acknowledge", "resolve")
_SEVERITIES: Final = ("critical", "error", "warning", "info")
_BUSY: Final = '{"status":"throttle exceeded","message":"Requests for this service are arriving too quickly."}'


@dataclass
class Alert:
    """What somebody on call sees: `log` has an entry for each event that came for it."""

    key: str
    dedup_key: str
    summary: str
    severity: str
    open: bool = True
    log: list[str] = field(default_factory=list)


class PagerDutySink(HttpSink):
    """Takes events at `/v2/enqueue` and `/v2/change/enqueue`, by every key of 32 letters and digits."""

    texts = MappingProxyType({429: _BUSY, 500: '{"message":"Internal Server Error"}'})

    @property
    def alerts(self) -> list[Alert]:
        """Every alert there ever was, in the order in which they were opened."""
        alerts: list[Alert] = []
        current: dict[tuple[str, str], Alert] = {}
        for post in self._of(ALERTS):
            event = post.payload
            identity = (event["routing_key"], event.get("dedup_key") or f"drawn-{len(alerts)}")
            alert = current.get(identity)
            if event["event_action"] == "trigger" and (alert is None or not alert.open):
                payload = event["payload"]
                alert = current[identity] = Alert(*identity, payload["summary"], payload["severity"])
                alerts.append(alert)
            if alert is not None and alert.open:  # what finds no open alert is dropped silently
                alert.log.append(event["event_action"])
                alert.open = event["event_action"] != "resolve"
        return alerts

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The payloads of all change events."""
        return [post.payload["payload"] for post in self._of(CHANGES)]

    def _of(self, path: str) -> Iterator[Post]:
        return (post for post in self.posts if post.path == path)

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """202 for what PagerDuty would take."""
        if request.path not in (ALERTS, CHANGES):
            return Respond(404, '{"message":"Not Found"}')
        if len(body) > _LIMIT:
            return Respond(413, "")
        try:
            event = decode(body)
        except ValueError:
            return _invalid("JSON parse error")
        errors = _complaints(event, change=request.path == CHANGES)
        if errors:
            return _invalid(*errors)
        said = {"status": "success", "message": "Event processed", "dedup_key": event.get("dedup_key")}
        return Respond(202, encode(said).decode())


def _invalid(*errors: str) -> Respond:
    said = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return Respond(400, encode(said).decode())


def _complaints(event: Any, *, change: bool) -> list[str]:  # noqa: ANN401  (whatever was sent)
    """What is wrong with it, in PagerDuty's manner."""
    if not isinstance(event, dict):
        return ["Event must be an object"]
    key, payload = event.get("routing_key"), event.get("payload")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return ["'routing_key' is invalid"]
    errors = []
    if change and key.startswith("R"):
        errors.append("change events are not supported by rulesets")
    action = event.get("event_action")
    if not change and action not in _ACTIONS:
        errors.append("'event_action' must be one of trigger, acknowledge, resolve")
    dedup_key = event.get("dedup_key")
    if not change and (action != "trigger" or dedup_key is not None):
        length = len(dedup_key) if isinstance(dedup_key, str) else 0
        if not 0 < length <= _DEDUP_KEY:
            errors.append("'dedup_key' is missing or longer than 255 characters")
    if change or action == "trigger":
        errors += _of_payload(payload, change=change)
    return errors


def _of_payload(payload: Any, *, change: bool) -> Iterator[str]:  # noqa: ANN401
    if not isinstance(payload, dict):
        yield "'payload' is missing"
        return
    summary = payload.get("summary")
    if not isinstance(summary, str) or not 0 < len(summary) <= _SUMMARY:
        yield "'payload.summary' is missing, or longer than 1024 characters"
    if not change and payload.get("severity") not in _SEVERITIES:
        yield "'payload.severity' must be one of critical, error, warning, info"
    if not change and not payload.get("source"):
        yield "'payload.source' is missing"
    if not isinstance(payload.get("custom_details", {}), dict):
        yield "'payload.custom_details' must be an object"
