"""A server that behaves like Slack's Web API: https://docs.slack.dev/reference/methods/chat.postMessage.

Errors come with status 200, as Slack's do.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.wire import decode, encode
from pipebell.sinks import slack_rules
from pipebell.sinks.answers import Respond
from pipebell.sinks.http import HttpSink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

POST: Final = "/api/chat.postMessage"
UPDATE: Final = "/api/chat.update"
_LONGEST_EDIT: Final = 4000  # characters of text
_FIRST: Final = 1_503_435_956  # seconds since the epoch


@dataclass
class Shown:
    """A message in a channel; `thread` is the ts of the message that it answers."""

    channel: str
    ts: str
    thread: str | None
    text: str
    edits: int = 0


def refuse(word: str) -> Respond:
    """An error of the API."""
    return Respond(200, encode({"ok": False, "error": word}).decode())


def too_many(retry_after: int) -> Respond:
    """Slack's 429, to be obeyed for this many seconds."""
    return Respond(429, encode({"ok": False, "error": "ratelimited"}).decode(), {"Retry-After": str(retry_after)})


class SlackApiSink(HttpSink):
    """`channels` are known by ID and by name.

    `tokens` says of each token in which of them its app is; None: every token is known and in all of them.
    """

    texts = MappingProxyType({429: '{"ok":false,"error":"ratelimited"}'})

    def __init__(
        self,
        *,
        tokens: Mapping[str, tuple[str, ...]] | None,
        channels: Mapping[str, str],
        **options: Any,  # noqa: ANN401  (HttpSink's)
    ) -> None:
        super().__init__(**options)
        self.tokens, self.channels = tokens, channels
        self.shown: list[Shown] = []
        self._numbers = itertools.count(1)

    def delete(self, ts: str) -> None:
        """Somebody removes a message."""
        self.shown = [message for message in self.shown if message.ts != ts]

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:
        """What Slack would say; a message that it takes is shown."""
        if request.path not in (POST, UPDATE):
            return refuse("unknown_method")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return refuse("not_authed")
        if self.tokens is not None and token not in self.tokens:
            return refuse("invalid_auth")
        try:
            message = decode(body)
        except ValueError:
            return refuse("invalid_json")
        mine = tuple(self.channels.values()) if self.tokens is None else self.tokens[token]
        return self._posted(message, mine) if request.path == POST else self._updated(message)

    def _posted(self, message: Any, mine: tuple[str, ...]) -> Respond:  # noqa: ANN401  (whatever was sent)
        if complaint := slack_rules.complaint(message):
            return refuse(complaint if complaint != "invalid_payload" else "invalid_arguments")
        name = str(message.get("channel", "")).removeprefix("#")
        channel = next((each for each, called in self.channels.items() if name in (each, called)), None)
        if channel is None:
            return refuse("channel_not_found")
        if self.channels[channel] not in mine:
            return refuse("not_in_channel")
        thread = message.get("thread_ts")
        if thread is not None and not any(each.ts == thread and each.channel == channel for each in self.shown):
            return refuse("message_not_found")
        ts = f"{_FIRST + next(self._numbers)}.000100"
        self.shown.append(Shown(channel, ts, thread, message.get("text", "")))
        said = {"text": message.get("text", ""), "ts": ts, **({"thread_ts": thread} if thread is not None else {})}
        return Respond(200, encode({"ok": True, "channel": channel, "ts": ts, "message": said}).decode())

    def _updated(self, message: Any) -> Respond:  # noqa: ANN401
        """Channels go by ID alone here, and only what is there can be changed."""
        if complaint := slack_rules.complaint(message):
            return refuse(complaint if complaint != "invalid_payload" else "invalid_arguments")
        if message.get("channel") not in self.channels:
            return refuse("channel_not_found")
        if len(message.get("text") or "") > _LONGEST_EDIT:
            return refuse("msg_too_long")
        place = (message["channel"], message.get("ts"))
        shown = next((each for each in self.shown if (each.channel, each.ts) == place), None)
        if shown is None:
            return refuse("message_not_found")
        shown.text, shown.edits = message.get("text", ""), shown.edits + 1
        return Respond(200, encode({"ok": True, "channel": shown.channel, "ts": shown.ts, "text": shown.text}).decode())
