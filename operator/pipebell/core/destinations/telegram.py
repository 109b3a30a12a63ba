"""Telegram by a bot: what is configured, what is sent, and what the answers mean (https://core.telegram.org/bots/api).

Text is sent as it is, with entities that say what is bold, code or a link: there is nothing to escape, and nothing in
an event can become markup.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from pipebell.core.destinations.base import Capabilities, DestinationSpec, Hosts
from pipebell.core.destinations.http import (
    HTTP_RULES,
    Answer,
    HttpKind,
    HttpRequest,
    HttpTarget,
    Response,
    Sent,
    status,
)
from pipebell.core.fields import (
    ENDPOINT,
    FOLLOWS_ENDPOINT,
    Fillable,
    fillable,
    whole_number,
    whole_placeholder,
    with_references,
)
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.render import shown
from pipebell.core.render.bounded import JOINER, block, line, shares, size
from pipebell.core.render.facts import Facts, facts, marked
from pipebell.core.render.text import clean
from pipebell.core.template import Language, Template, TemplateText, template_field
from pipebell.core.wire import decode, encode

if TYPE_CHECKING:
    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

HOSTS: Final = ("api.telegram.org",)
TEXT: Final = 4096  # bytes of UTF-8, where Telegram counts characters: never more than it takes
_WHO: Final = 240
_VALUE: Final = 120
_NOTE: Final = 200
_TITLE: Final = 40
_LINKS: Final = 10

_BOT_TOKEN: Final = r"[0-9]{1,20}:[A-Za-z0-9_-]{1,200}"  # noqa: S105  (a rule, not a password)
_CHAT: Final = r"-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{1,63}"

_BotToken = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=256,
        pattern=fillable(_BOT_TOKEN, "must be a bot's token as BotFather shows it (digits, a colon, letters),"),
    ),
    AfterValidator(whole_placeholder),
    Fillable(_BOT_TOKEN, "a bot's token (digits, a colon, letters)", secret=True, referable=True),
]
_Chat = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=140,
        pattern=fillable(_CHAT, "must be a chat's ID in quotes, such as '-1001234567890', or @channelname,"),
    ),
    AfterValidator(whole_placeholder),
    Fillable(_CHAT, "a chat's ID or @channelname"),
]
_Topic = Annotated[int, Field(strict=True, ge=1, le=2_147_483_647), BeforeValidator(whole_number)]

_PLAIN: Final = Language(finish=lambda text: _harmless(clean(text)))
_OWN: Final = """\
{{ event.emoji }} {{ event.title }}: {{ event.pipeline or org }} ({{ org }})
{% for note in event.notes %}
{{ note }}
{% endfor %}
Severity: {{ severity | capitalize }}
When: {{ event.when }}
{% if event.message %}
{{ event.message }}
{% endif %}
{% for link in links %}
{{ link.title }}: {{ link.url }}
{% endfor %}
"""


@with_references
class TelegramSpec(DestinationSpec):
    """Telegram through a bot."""

    bot_token: Annotated[_BotToken | None, ENDPOINT] = Field(
        None, description="The bot's token; write ${VAR} and keep the value in the Secret that secretRef names."
    )
    chat_id: Annotated[_Chat | None, FOLLOWS_ENDPOINT] = Field(
        None, description="ID of the chat (in quotes: it is a text), @channelname, or exactly ${VAR}."
    )
    message_thread_id: Annotated[_Topic | None, FOLLOWS_ENDPOINT] = Field(
        None, description="ID of a topic of a group with topics."
    )
    text_template: Annotated[TemplateText | None, Template(_PLAIN, _OWN, limit=TEXT)] = template_field(
        "the text, which has no markup"
    )


@dataclass(frozen=True, slots=True)
class TelegramTarget(HttpTarget):
    """A bot's address and a chat. The token stands in the URL's path."""

    kind = "telegram"
    chat_id: str = ""
    message_thread_id: int | None = None
    bot_token: str = field(default="", repr=False)

    @property
    def endpoint(self) -> tuple[object, ...]:
        """A 429 pauses one chat of a bot: its limits are counted by chat."""
        return (self.url, self.chat_id)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token by itself too, and its secret half."""
        return (*HttpTarget.secrets.__get__(self), self.bot_token, self.bot_token.partition(":")[2])


def target(block: Block) -> TelegramTarget:
    """The bot and the chat. Raises NotReady, naming the field or variable."""
    token = block.required("bot_token")
    return TelegramTarget(
        url=f"https://{HOSTS[0]}/bot{token}/sendMessage",
        trusted=block.trusted,
        where=block.path,
        chat_id=block.required("chat_id"),
        message_thread_id=block.get("message_thread_id"),
        bot_token=token,
    )


def request(message: Message, target: TelegramTarget, attempt: Attempt) -> HttpRequest:
    """What is sent; a reply to the message of an earlier delivery."""
    made = _Text()
    own, known = message.texts.get("text_template"), facts(message)
    if own is None:
        _compose(made, known)
    else:
        made.add(block(marked(known, own), TEXT))
    body: dict[str, Any] = {
        "chat_id": target.chat_id,
        "text": made.text,
        "entities": made.entities,
        "link_preview_options": {"is_disabled": True},
    }
    if target.message_thread_id is not None:
        body["message_thread_id"] = target.message_thread_id
    chat, _, number = (attempt.replies_to or "").partition("/")
    if chat == _fingerprint(target.chat_id) and number.isdecimal():
        body["reply_parameters"] = {"message_id": int(number), "allow_sending_without_reply": True}
    return HttpRequest(target.url, encode(body))


def look(target: TelegramTarget) -> HttpRequest:
    """What a bot is asked without posting anything: who it is."""
    return HttpRequest(target.url.removesuffix("sendMessage") + "getMe", b"", {}, "GET")


class _Text:
    """Text, and which parts of it are what. Telegram counts offsets in UTF-16."""

    def __init__(self) -> None:
        self.text = ""
        self.entities: list[dict[str, Any]] = []
        self._at = 0

    def add(self, text: str, kind: str = "", **more: str) -> None:
        if not text:
            return
        length = len(text.encode("utf-16-le")) // 2
        if kind:
            self.entities.append({"type": kind, "offset": self._at, "length": length, **more})
        self.text += text
        self._at += length


def _compose(made: _Text, known: Facts) -> None:
    """Everything in at most 4,096 bytes: what the short parts leave is for the message and the details."""
    made.add(f"{known.look.emoji} ")
    for mark in known.marks:
        made.add(f"[{mark}]", "bold")
        made.add(" ")
    made.add(known.title, "bold")
    made.add(": ")
    made.add(line(f"{known.pipeline} ({known.org})" if known.pipeline else known.org, _WHO), "code")
    for note in known.notes:
        made.add("\n")
        made.add(line(note, _NOTE), "italic")
    for name, value in known.rows:
        made.add(f"\n{name}: ")
        made.add(line(value, _VALUE), "code")
    end = _Text()
    for link in known.links[:_LINKS]:
        end.add("\n")
        end.add(line(link.title, _TITLE, _harmless), "text_link", url=link.url)
    end.add("\n")
    end.add(line(f"Pipebell · {known.source}", _VALUE), "code")
    room = TEXT - size(made.text) - size(end.text)
    room -= (len("\n") if known.message else 0) + (len("\nDetails\n") if known.details else 0)
    message, details = shares(known.message, known.details, room)
    if known.message:
        made.add("\n")
        made.add(block(known.message, message), "pre")
    if known.details:
        made.add("\nDetails\n")
        made.add(block(known.details, details), "pre", language="json")
    made.entities += [{**entity, "offset": entity["offset"] + made._at} for entity in end.entities]  # noqa: SLF001  (its own class)
    made.text += end.text


def _harmless(text: str) -> str:
    """`@name` outside of code would tell somebody."""
    return text.replace("@", f"@{JOINER}")


def then(sent: Sent, response: Response) -> HttpRequest | None:
    """The same as plain text, should Telegram not take the entities."""
    if not sent.first or response.status != 400 or "entit" not in said(response).lower():  # noqa: PLR2004  (HTTP)
        return None
    body = decode(sent.request.body)
    body.pop("entities")
    body["text"] = block(body["text"], TEXT, _harmless)
    return HttpRequest(sent.request.url, encode(body))


def _parameter(response: Response, name: str) -> int | None:
    parameters = response.get("parameters")
    value = parameters.get(name) if isinstance(parameters, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def said(response: Response) -> str:
    """Telegram's own words; with the new ID of a group that has one."""
    words = response.get("description")
    if not isinstance(words, str):
        return response.text
    moved = _parameter(response, "migrate_to_chat_id")
    return words if moved is None else f"{words}: {moved}"


def pause(response: Response) -> float | None:
    """Seconds of the body's `retry_after`."""
    return _parameter(response, "retry_after")


def receipt(response: Response, target: TelegramTarget) -> str | None:
    """Which message of which chat it is, for replies."""
    result = response.get("result")
    number = result.get("message_id") if isinstance(result, dict) else None
    return f"{_fingerprint(target.chat_id)}/{number}" if isinstance(number, int) else None


def _fingerprint(chat: str) -> str:
    """The chat may come from a Secret: a handle, which everybody can read, does not name it."""
    return hashlib.sha256(chat.encode()).hexdigest()[:12]


def form(url: str) -> str | None:
    """What is wrong with the address of Telegram's own host, as far as can be seen."""
    return None if re.search(rf"/bot{_BOT_TOKEN}/sendMessage$", url) else "botToken is no bot's token"


_TOKEN: Final = "the bot's token was revoked or mistyped: ask BotFather for one, and update botToken"  # noqa: S105  (a hint)

TELEGRAM: Final = HttpKind(
    name="telegram",
    title="Telegram",
    spec=TelegramSpec,
    target=target,
    request=request,
    then=then,
    hosts=Hosts(exact=HOSTS),
    capabilities=Capabilities(threads=True, characters=TEXT, per_second=0.3, burst=2),
    answers=(
        Answer(
            status(400),
            OutcomeKind.PERMANENT,
            "the group became a supergroup: set chatId to its new ID",
            when=lambda response: _parameter(response, "migrate_to_chat_id") is not None,
        ),
        Answer(status(400), OutcomeKind.PERMANENT, "Telegram refused the message: check chatId and messageThreadId"),
        Answer(status(401), OutcomeKind.PERMANENT, _TOKEN),
        Answer(
            status(403), OutcomeKind.PERMANENT, "the bot may not write there: add it to the chat, or have it unblocked"
        ),
        Answer(status(404), OutcomeKind.PERMANENT, _TOKEN),
        *HTTP_RULES,
    ),
    hints={
        "Bad Request: chat not found": "there is no such chat, or the bot is not in it: check chatId, add the bot",
        "Bad Request: message thread not found": "there is no such topic: check messageThreadId",
        "Bad Request: TOPIC_CLOSED": "the topic is closed: reopen it, or choose another by messageThreadId",
        "Bad Request: not enough rights to send text messages to the chat": "allow the bot to write in the chat",
        "Bad Request: need administrator rights in the channel chat": "make the bot an administrator of the channel",
        "Forbidden: bot was blocked by the user": "the person blocked the bot: have it unblocked",
        "Forbidden: bot can't initiate conversation with a user": "the person has to write to the bot first",
    },
    said=said,
    pause=pause,
    receipt=receipt,
    form=form,
    look=look,
    success=(200, '{"ok": true, "result": {"message_id": 4711, "chat": {"id": -1001234567890, "type": "supergroup"}}}'),
    shows=shown.text,
    example={
        "botToken": "1234567890:Token-of-the-bot_0123456789abcdefghi",
        "chatId": "-1001234567890",
        "messageThreadId": 7,
    },
)
