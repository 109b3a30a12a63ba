"""Servers that behave like Discord, Google Chat, Telegram and Mattermost: their limits, as they count them.

Sources: the pages that `pipebell.core.destinations` names for each.
"""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pipebell.core.wire import decode, encode
from pipebell.sinks.answers import Respond
from pipebell.sinks.http import HttpSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiohttp import web


def _says(status: int, /, **said: Any) -> Respond:  # noqa: ANN401  (JSON)
    return Respond(status, encode(said).decode())


def _object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object; an empty one for anything else."""
    try:
        found = decode(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class DiscordSink(HttpSink):
    """Takes messages at `/api/webhooks/ID/TOKEN`; with `wait=true` it answers with the message.

    `shown` is what there is to read, by ID; `PATCH …/messages/ID` changes it.
    """

    _LIMITS: ClassVar[Mapping[str, int]] = {"title": 256, "description": 4096}

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  (HttpSink's)
        super().__init__(**options)
        self.shown: dict[str, str] = {}
        self._ids = count(1_205_000_000_000_000_000)

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """200 for what Discord would take; without `wait`, 204 for anything new."""
        found = re.fullmatch(r"/api(?:/v\d+)?/webhooks/\d+/[\w-]+(?:/messages/(\d+))?", request.path)
        if not found or (found[1] is not None) != (request.method == "PATCH"):
            return _says(404, message="404: Not Found", code=0)
        if found[1] is not None and found[1] not in self.shown:
            return _says(404, message="Unknown Message", code=10008)
        if found[1] is None and request.query.get("wait") != "true":
            return Respond(204, "")
        message = _object(body)
        errors = list(self._complaints(message))
        if errors:
            return _says(400, message="Invalid Form Body", code=50035, errors=errors)
        if not message.get("content") and not message.get("embeds"):
            return _says(400, message="Cannot send an empty message", code=50006)
        made = found[1] or str(next(self._ids))
        self.shown[made] = message.get("content") or ""
        return _says(200, id=made, content=message.get("content"))

    def _complaints(self, message: dict[str, Any]) -> Iterator[str]:
        """Lengths, in characters."""
        embeds = message.get("embeds") or []
        texts = [text for embed in embeds for text in self._texts(embed)]
        if len(message.get("content") or "") > 2000 or len(embeds) > 10:  # noqa: PLR2004  (Discord's)
            yield "content or embeds"
        if sum(len(text) for _, text, _ in texts) > 6000:  # noqa: PLR2004
            yield "embeds: together"
        yield from (name for name, text, limit in texts if not 0 < len(text) <= limit)
        if any(len(embed.get("fields") or []) > 25 for embed in embeds):  # noqa: PLR2004
            yield "fields"

    def _texts(self, embed: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
        for name, limit in self._LIMITS.items():
            if name in embed:
                yield name, embed[name], limit
        if "footer" in embed:
            yield "footer", embed["footer"]["text"], 2048
        for field in embed.get("fields") or []:
            yield "field name", field["name"], 256
            yield "field value", field["value"], 1024


class GoogleChatSink(HttpSink):
    """Takes messages at `/v1/spaces/SPACE/messages?key=…&token=…`; a `requestId` that it knows makes no second one."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self.messages: dict[str, dict[str, Any]] = {}
        self._names = count(1)

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """200 with the message's name and thread."""
        space = re.fullmatch(r"/v1/(spaces/[\w-]+)/messages", request.path)
        if space is None:
            return self._error(404, "NOT_FOUND", "Requested entity was not found.")
        if not request.query.get("key") or not request.query.get("token"):
            return self._error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if len(body) > 32_000:  # noqa: PLR2004  (bytes of text and cards)
            return self._error(400, "INVALID_ARGUMENT", "Message is too long.")
        message = _object(body)
        if not message.get("text"):
            return self._error(400, "INVALID_ARGUMENT", "Message cannot be empty.")
        number = next(self._names)
        asked = (message.get("thread") or {}).get("name") if "messageReplyOption" in request.query else None
        made = {
            "name": f"{space[1]}/messages/m{number}",
            "thread": {"name": asked or f"{space[1]}/threads/t{number}"},
            "text": message["text"],
        }
        return _says(200, **self.messages.setdefault(request.query.get("requestId") or f"own-{number}", made))

    @staticmethod
    def _error(code: int, status: str, message: str) -> Respond:
        return _says(code, error={"code": code, "message": message, "status": status})


class TelegramSink(HttpSink):
    """Takes messages at `/botTOKEN/sendMessage`; counts text and entities in UTF-16, as Telegram does."""

    _KINDS: Final = ("bold", "italic", "code", "pre", "text_link")

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._numbers = count(1)

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """200 with the message."""
        if not re.fullmatch(r"/bot\d+:[\w-]+/sendMessage", request.path):
            return self._error(404, "Not Found")
        message = _object(body)
        text = message.get("text") or ""
        units = len(text.encode("utf-16-le")) // 2
        if not text.strip():
            return self._error(400, "Bad Request: message text is empty")
        if units > 4096:  # noqa: PLR2004  (Telegram's)
            return self._error(400, "Bad Request: message is too long")
        entities = message.get("entities") or []
        if len(entities) > 100 or not all(self._sound(entity, units) for entity in entities):  # noqa: PLR2004
            return self._error(400, "Bad Request: ENTITY_BOUNDS_INVALID")
        if not message.get("chat_id"):
            return self._error(400, "Bad Request: chat not found")
        made = {"message_id": next(self._numbers), "chat": {"id": -1001234567890, "type": "supergroup"}, "text": text}
        return _says(200, ok=True, result=made)

    def _sound(self, entity: dict[str, Any], units: int) -> bool:
        start, length = entity["offset"], entity["length"]
        return entity["type"] in self._KINDS and start >= 0 and length > 0 and start + length <= units

    @staticmethod
    def _error(code: int, description: str) -> Respond:
        return _says(code, ok=False, error_code=code, description=description)


class MattermostSink(HttpSink):
    """Takes posts at `/hooks/ID`."""

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """200 `ok` for what Mattermost would take."""
        if not re.fullmatch(r"(/[\w-]+)?/hooks/[a-z0-9]+", request.path):
            return _says(404, id="api.context.404.app_error", message="Sorry, we could not find the page.")
        post = _object(body)
        attachments = post.get("attachments") or []
        if not post.get("text") and not attachments:
            return _says(400, id="web.incoming_webhook.text.app_error", message="No text specified.")
        if len(post.get("text") or "") > 16_383:  # noqa: PLR2004  (characters)
            return _says(400, id="app.post.save.app_error", message="Message is too long.")
        return Respond(200, "ok")
