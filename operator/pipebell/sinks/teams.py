"""A server that behaves like a workflow of Microsoft Teams with the template "Send webhook alerts to a channel".

It answers 202 before it has looked at the card, and posts no card that is too large or is none: what the channel shows
is `cards`, not `posts`.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pipebell.sinks.answers import Respond
from pipebell.sinks.http import HttpSink

if TYPE_CHECKING:
    from aiohttp import web

    from pipebell.sinks.records import Post

_PATH: Final = re.compile(r"/powerautomate/automations/direct/workflows/\w+/triggers/manual/paths/invoke")
_LIMIT: Final = 27_000  # bytes: less than the 28 KB that are documented, as it has been seen
_CARD: Final = "application/vnd.microsoft.card.adaptive"
_UNSIGNED: Final = '{"error":{"code":"DirectApiAuthorizationRequired","message":"The request must be signed."}}'
_MISSING: Final = '{"error":{"code":"WorkflowNotFound","message":"The workflow could not be found."}}'


class TeamsSink(HttpSink):
    """Each workflow's URL is signed; `workflow(name)` makes one."""

    texts = MappingProxyType({202: "", 401: _UNSIGNED, 404: _MISSING, 429: ""})

    def workflow(self, name: str = "Default") -> str:
        """The URL of a workflow; different names (letters, digits, '_') are different workflows."""
        path = f"/powerautomate/automations/direct/workflows/{name}/triggers/manual/paths/invoke"
        return f"{self.url}{path}?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=signature-of-{name}"

    @property
    def cards(self) -> list[dict[str, Any]]:
        """The cards that the channels show."""
        return [card for post in self.posts if (card := _shown(post)) is not None]

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:  # noqa: ARG002  (it looks at nothing)
        """202 for whoever knows the signature."""
        if not _PATH.fullmatch(request.path):
            return Respond(404, _MISSING)
        name = request.path.split("/")[5]
        signed = f"?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=signature-of-{name}"
        if not request.raw_path.endswith(signed):  # byte for byte, as it was made
            return Respond(401, _UNSIGNED)
        return Respond(202, "")


def _shown(post: Post) -> dict[str, Any] | None:
    """The card that a request makes the channel show; None when the run fails after the 202."""
    if len(post.body) > _LIMIT:
        return None
    try:
        (attachment,) = post.payload["attachments"]
        card = attachment["content"]
        shown = attachment["contentType"] == _CARD and card["type"] == "AdaptiveCard" and card["body"]
    except (ValueError, KeyError, TypeError):
        return None
    return card if shown else None
