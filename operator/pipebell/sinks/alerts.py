"""Servers that behave like Jira Service Management Operations, Alertmanager and Twilio.

Sources: the pages that `pipebell.core.destinations` names for each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from pipebell.core.wire import decode, encode
from pipebell.sinks.answers import Respond
from pipebell.sinks.http import HttpSink

if TYPE_CHECKING:
    from aiohttp import web


def _says(status: int, /, **said: Any) -> Respond:  # noqa: ANN401  (JSON)
    return Respond(status, encode(said).decode())


@dataclass
class JsmAlert:
    """What somebody on call sees; `count` is how often it came."""

    alias: str
    message: str
    priority: str
    open: bool = True
    count: int = 1
    acknowledged: bool = False


class JsmSink(HttpSink):
    """Takes alerts at `/jsm/ops/integration/v2/alerts`, by any key; one alert for each open alias."""

    PATH: Final = "/jsm/ops/integration/v2/alerts"
    _LIMITS: Final = {"message": 130, "alias": 512, "description": 15_000, "entity": 512, "source": 100}

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  (HttpSink's)
        super().__init__(**options)
        self.alerts: list[JsmAlert] = []

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """202 for what it would look at; an alias that no open alert has is closed in silence."""
        if not re.fullmatch(r"GenieKey \S+", request.headers.get("Authorization", "")):
            return _says(401, message="Could not authenticate")
        try:
            given = decode(body)
        except ValueError:
            return _says(422, message="Request body is not processable.")
        done = re.fullmatch(rf"{self.PATH}/([^/]+)/(close|acknowledge)", request.path)
        if done and request.query.get("identifierType") == "alias":
            for alert in self._open(done[1]):
                alert.open, alert.acknowledged = done[2] != "close", True
            return self._accepted()
        if request.path != self.PATH:
            return _says(404, message="Not Found")
        errors = {name: "is too long" for name, limit in self._LIMITS.items() if len(given.get(name) or "") > limit}
        if not given.get("message") or errors:
            return _says(422, message="Request body is not processable.", errors=errors or {"message": "is missing"})
        known = self._open(given["alias"])
        if known:
            known[0].count += 1
        else:
            self.alerts.append(JsmAlert(given["alias"], given["message"], given.get("priority") or "P3"))
        return self._accepted()

    def _open(self, alias: str) -> list[JsmAlert]:
        return [alert for alert in self.alerts if alert.alias == alias and alert.open]

    @staticmethod
    def _accepted() -> Respond:
        return _says(202, result="Request will be processed", requestId="43a29c5c-3dbf-4fa4-9c26-f4f71023e120")


class AlertmanagerSink(HttpSink):
    """Takes alerts at `…/api/v2/alerts`; one for each set of labels."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self.alerts: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}

    def firing(self, now: float) -> list[dict[str, Any]]:
        """Those that have not ended by this time, in seconds since the epoch."""
        return [alert for alert in self.alerts.values() if _seconds(alert["endsAt"]) > now]

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """200 for alerts that are sound, 400 with a JSON text."""
        if not request.path.endswith("/api/v2/alerts"):
            return Respond(404, "404 page not found")
        try:
            given = decode(body)
        except ValueError:
            return Respond(400, '"parsing alerts body failed"')
        for alert in given:
            labels = alert.get("labels") or {}
            if not labels or not all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) and labels[name] for name in labels):
                return Respond(400, '"at least one label pair required"')
            if _seconds(alert["startsAt"]) > _seconds(alert["endsAt"]):
                return Respond(400, '"start time must be before end time"')
        for alert in given:
            self.alerts[frozenset(alert["labels"].items())] = alert
        return Respond(200, "")


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


class TwilioSink(HttpSink):
    """Takes messages at `/2010-04-01/Accounts/SID/Messages.json`, and lists them: whatever it took, answered or not."""

    PATH: Final = re.compile(r"/2010-04-01/Accounts/AC[0-9A-Za-z]+/Messages\.json")
    _LISTED: Final = 50

    @property
    def messages(self) -> list[dict[str, str]]:
        """What it took, the oldest first."""
        posts = [post for post in self.requests if post.method == "POST" and self.PATH.fullmatch(post.path)]
        return [dict(parse_qsl(post.body.decode())) for post in posts]

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """201 for what Twilio would take."""
        if not self.PATH.fullmatch(request.path):
            return _says(404, code=20404, message="The requested resource was not found", status=404)
        if not request.headers.get("Authorization", "").startswith("Basic "):
            return _says(401, code=20003, message="Authenticate", status=401)
        if request.method == "GET":
            mine = [message for message in reversed(self.messages) if message["To"] == request.query.get("To")]
            listed = [{"body": message["Body"], "status": "sent"} for message in mine[: self._LISTED]]
            return _says(200, messages=listed)
        complaint = _complaint(dict(parse_qsl(body.decode())))
        if complaint is not None:
            return _says(400, code=complaint[0], message=complaint[1], status=400)
        return _says(201, sid=f"SM{len(self.messages):032x}", status="queued")


def _complaint(given: dict[str, str]) -> tuple[int, str] | None:
    """Code and words for what is wrong with a message."""
    if not re.fullmatch(r"\+[1-9]\d{6,14}", given.get("To", "")):
        return 21211, f"Invalid 'To' Phone Number: {given.get('To')}"
    if not given.get("From") and not given.get("MessagingServiceSid"):
        return 21603, "A 'From' phone number is required."
    if not 0 < len(given.get("Body", "")) <= 1600:  # noqa: PLR2004  (Twilio's)
        return 21617, "The concatenated message body exceeds the limit"
    if not 1 <= int(given.get("ValidityPeriod", "36000")) <= 36_000:  # noqa: PLR2004
        return 20001, "ValidityPeriod is invalid"
    return None
