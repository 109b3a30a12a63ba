"""A server that behaves like Slack's incoming webhooks.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: 200 `ok`, or an error's name as plain text.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pipebell.core.wire import decode
from pipebell.sinks import slack_rules
from pipebell.sinks.answers import Respond
from pipebell.sinks.http import HttpSink

if TYPE_CHECKING:
    from aiohttp import web

_PATH: Final = re.compile(r"/services/T\w+/B\w+/\w+")
_TEXTS: Final = MappingProxyType(
    {
        200: "ok",
        400: "invalid_payload",
        403: "action_prohibited",
        404: "no_service",
        410: "channel_is_archived",
        429: "rate_limited",
        500: "rollup_error",
    }
)


def too_many(retry_after: int) -> Respond:
    """Slack's 429, to be obeyed for this many seconds (https://docs.slack.dev/apis/web-api/rate-limits)."""
    return Respond(429, _TEXTS[429], {"Retry-After": str(retry_after)})


class SlackSink(HttpSink):
    """Any path like Slack's (`/services/T…/B…/…`) is a webhook; `webhook(name)` makes the URL of one."""

    texts = _TEXTS

    def webhook(self, name: str = "Default") -> str:
        """The URL of a webhook; different names (letters, digits, '_') are different webhooks."""
        return f"{self.url}/services/T00000000/B00000000/{name}"

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """`ok` for what Slack would take, and its word for what is wrong with everything else."""
        if not _PATH.fullmatch(request.path):
            return Respond(404, "no_team")
        if request.method != "POST":
            return Respond(400, "invalid_payload")
        try:
            complaint = slack_rules.complaint(decode(body))
        except ValueError:
            complaint = "invalid_payload"
        return Respond(400, complaint) if complaint else Respond()
