"""Discord by a channel's webhook: what is configured, what is posted, and what the answers mean.

Sources: https://discord.com/developers/docs/resources/webhook#execute-webhook and /resources/message#embed-object for
the limits, /topics/opcodes-and-status-codes#json for the codes, /topics/rate-limits for pauses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

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
from pipebell.core.fields import ENDPOINT, FOLLOWS_ENDPOINT, SecretUrl, no_placeholder, pattern, with_references
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.render import shown
from pipebell.core.render.bounded import TICK, block, line, listed, size
from pipebell.core.render.facts import Facts, Link, facts, marked
from pipebell.core.render.markdown import headline, in_code
from pipebell.core.template import Language, Template, TemplateText, template_field
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

HOSTS: Final = ("discord.com", "discordapp.com")
# Bytes of UTF-8, where Discord counts characters: never more than it takes, whatever it takes for a character.
CONTENT: Final = 2000
DESCRIPTION: Final = 4096
VALUE: Final = 1024
EMBED: Final = 6000  # all texts of all embeds together
_VALUE: Final = 200  # of the short ones
_FOOTER: Final = 320
_NOTES: Final = 1200

_NO_MESSAGE: Final = 10008
_SNOWFLAKE: Final = re.compile(r"[0-9]{1,20}")

_MARKUP: Final = re.compile(r"[\\*_~|`>\[\]<@]|:(?=//|\w+:)")
_RESERVED_IN_LINKS: Final = str.maketrans({"(": "%28", ")": "%29", "<": "%3C", ">": "%3E", "\\": "%5C", "`": "%60"})

_Snowflake = Annotated[
    str,
    StringConstraints(max_length=20, pattern=pattern(r"^[0-9]{1,20}$", "must be an ID of digits, in quotes")),
]
_Name = Annotated[
    str,
    StringConstraints(
        max_length=80, pattern=pattern(r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$", "must be one line")
    ),
    AfterValidator(no_placeholder),
]

_MARKDOWN: Final = Language(lambda text: escape(text), lambda text: f"```\n{_ticked(text)}\n```" if text else "")
_OWN: Final = """\
{{ event.emoji }} **{{ event.title }}**: {{ event.pipeline or org }} ({{ org }})
{% for note in event.notes %}
{{ note }}
{% endfor %}
**Severity:** {{ severity | capitalize }}
**When:** {{ event.when }}
{% if event.message %}
{{ event.message | code }}
{% endif %}
{% for link in links %}
[{{ link.title }}](<{{ link.url | url }}>)
{% endfor %}
"""


@with_references
class DiscordSpec(DestinationSpec):
    """Discord through a channel's webhook."""

    webhook_url: Annotated[SecretUrl | None, ENDPOINT] = Field(
        None,
        description=(
            "The channel's webhook (https), or exactly ${VAR}. "
            "It is a credential: prefer ${VAR} or webhookUrlSecretRef."
        ),
    )
    username: _Name | None = Field(None, description="Name that the message is posted under. Default: the webhook's.")
    thread_id: Annotated[_Snowflake | None, FOLLOWS_ENDPOINT] = Field(
        None, description="ID of a thread or forum post of the webhook's channel to post in."
    )
    text_template: Annotated[TemplateText | None, Template(_MARKDOWN, _OWN, limit=CONTENT)] = template_field(
        "the text, instead of headline and card"
    )


@dataclass(frozen=True, slots=True)
class DiscordTarget(HttpTarget):
    """A webhook and how to post there."""

    kind = "discord"
    username: str | None = None
    thread_id: str | None = None


def target(block: Block) -> DiscordTarget:
    """The webhook and the looks. Raises NotReady, naming the field or variable."""
    return DiscordTarget(
        url=block.required("webhook_url"),
        trusted=block.trusted,
        where=block.path,
        username=block.get("username"),
        thread_id=block.get("thread_id"),
    )


def request(message: Message, target: DiscordTarget, attempt: Attempt) -> HttpRequest:
    """What is posted, or put in the place of an earlier message.

    With `wait`, Discord answers once the message is saved, and says if it is not.
    """
    made = payload(message, target)
    if attempt.edits is None or not _SNOWFLAKE.fullmatch(attempt.edits):
        return HttpRequest(_url(target), encode(made))
    made.pop("username", None)  # it stays who it was
    return HttpRequest(_url(target, f"/messages/{attempt.edits}"), encode(made), method="PATCH")


def then(sent: Sent, response: Response) -> HttpRequest | None:
    """Where the message that was to be changed is gone, a new one says it."""
    return HttpRequest(_url(sent.target), encode(payload(sent.message, sent.target))) if gone(sent, response) else None


def gone(sent: Sent, response: Response) -> bool:
    """Whether the message that was to be changed is not there."""
    return sent.request.method == "PATCH" and response.status == 404 and _code_of(response) == _NO_MESSAGE  # noqa: PLR2004  (HTTP)


def _url(target: DiscordTarget, of: str = "") -> str:
    url, mark, query = target.url.partition("#")[0].partition("?")
    more = [query] if mark else []
    if not of:
        more.append("wait=true")
    if target.thread_id:
        more.append(f"thread_id={target.thread_id}")
    return f"{url}{of}{'?' if more else ''}{'&'.join(more)}"


def payload(message: Message, target: DiscordTarget) -> dict[str, Any]:
    """The message as Discord takes it, ready for JSON. Nobody is mentioned."""
    known = facts(message)
    made: dict[str, Any] = {
        "content": headline(known, _NOTES, escape),
        "embeds": [_embed(known)],
        "allowed_mentions": {"parse": []},
    }
    own = message.texts.get("text_template")
    if own is not None:
        made |= {"content": block(marked(known, own), CONTENT), "embeds": []}
    if target.username:
        made["username"] = target.username
    return made


def escape(text: str) -> str:
    """One line of text that means nothing but itself: a backslash before each sign of Discord's Markdown."""
    return _MARKUP.sub(lambda sign: f"\\{sign[0]}", text)


def _embed(known: Facts) -> dict[str, Any]:
    """A card whose texts have at most 6,000 bytes: what the short ones leave is for the message and the details."""
    fields = [
        {"name": name, "value": f"`{line(value, _VALUE, _ticked)}`", "inline": True} for name, value in known.rows
    ]
    if known.links:
        fields.append({"name": "Links", "value": listed(known.links, VALUE, _link), "inline": False})
    made: dict[str, Any] = {
        "title": known.title,
        "color": int(known.look.color.removeprefix("#"), 16),
        "fields": fields,
        "footer": {"text": line(f"Pipebell · {known.source}", _FOOTER)},
    }
    used = size(made["title"]) + size(made["footer"]["text"])
    used += sum(size(text) for each in fields for text in (str(each["name"]), str(each["value"])))
    description = in_code(known, min(DESCRIPTION, EMBED - used), _ticked)
    if description:
        made["description"] = description
    return made


def _ticked(text: str) -> str:
    return text.replace("`", TICK)


def _link(link: Link) -> str:
    return f"[{line(link.title, 200, escape)}](<{link.url.translate(_RESERVED_IN_LINKS)}>)"


def _code_of(response: Response) -> int | None:
    code = response.get("code")
    return code if isinstance(code, int) else None


def said(response: Response) -> str:
    """Discord's own words: the message of its JSON."""
    words = response.get("message")
    code = _code_of(response)
    if not isinstance(words, str):
        return response.text
    return f"{words} (code {code})" if code else words


def pause(response: Response) -> float | None:
    """Seconds of the body's `retry_after`, a fraction."""
    seconds = response.get("retry_after")
    return float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None


def receipt(response: Response, _target: DiscordTarget) -> str | None:
    """The message's ID."""
    found = response.get("id")
    return found if isinstance(found, str) and _SNOWFLAKE.fullmatch(found) else None


def form(url: str) -> str | None:
    """What is wrong with a URL of Discord's own hosts, as far as can be seen."""
    parts = urlsplit(url)
    if parts.hostname not in HOSTS or re.fullmatch(r"/api(/v[0-9]+)?/webhooks/[0-9]+/[^/]+", parts.path):
        return None
    return "it is https://discord.com/api/webhooks/ID/TOKEN as Discord shows it, with nothing after the token"


def _coded(*codes: int) -> Any:  # noqa: ANN401  (a predicate of answers)
    return lambda response: _code_of(response) in codes


_GONE: Final = "the webhook was deleted or mistyped: make a new one and update webhookUrl"

DISCORD: Final = HttpKind(
    name="discord",
    title="Discord",
    spec=DiscordSpec,
    target=target,
    request=request,
    hosts=Hosts(exact=HOSTS),
    capabilities=Capabilities(edits=True, characters=EMBED, per_second=0.4, burst=5),
    answers=(
        Answer(range(400, 500), OutcomeKind.PERMANENT, _GONE, when=_coded(10015, 50027)),
        Answer(
            range(400, 500), OutcomeKind.PERMANENT, "there is no such thread: check threadId", when=_coded(10003, 10008)
        ),
        Answer(
            range(400, 500),
            OutcomeKind.PERMANENT,
            "the webhook's channel is a forum: set threadId to the ID of one of its posts",
            when=_coded(220001),
        ),
        Answer(range(400, 500), OutcomeKind.PERMANENT, "the thread is archived: unarchive it", when=_coded(50083)),
        Answer(status(400), OutcomeKind.PERMANENT, "Discord cannot read the message: please report this"),
        Answer(status(401), OutcomeKind.PERMANENT, _GONE),
        Answer(status(403), OutcomeKind.PERMANENT, "Discord refuses the webhook: make a new one and update webhookUrl"),
        Answer(status(404), OutcomeKind.PERMANENT, _GONE),
        *HTTP_RULES,
    ),
    said=said,
    pause=pause,
    receipt=receipt,
    then=then,
    gone=gone,
    form=form,
    probe=True,
    success=(200, '{"id": "1205000000000000001", "channel_id": "1205000000000000000"}'),
    shows=shown.discord,
    example={
        "webhookUrl": "https://discord.com/api/webhooks/1205000000000000002/Token-of-the-webhook_0123456789",
        "username": "Pipebell",
        "threadId": "1205000000000000003",
    },
)
