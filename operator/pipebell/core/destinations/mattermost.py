"""Mattermost by incoming webhooks: what is configured, what is posted, and what the answers mean.

Sources: https://developers.mattermost.com/integrate/webhooks/incoming/ and …/reference/message-attachments/. The server
also reads Slack's markup in both (`<!channel>`, `<https://…|…>`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from pipebell.core.destinations.base import Capabilities, DestinationSpec, Hosts
from pipebell.core.destinations.http import HTTP_RULES, Answer, HttpKind, HttpRequest, HttpTarget, Response, status
from pipebell.core.fields import ENDPOINT, ONE_LINE, SecretUrl, no_placeholder, with_references
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.render import shown
from pipebell.core.render.bounded import JOINER, TICK, block, line, listed, size
from pipebell.core.render.facts import Facts, Link, facts, marked
from pipebell.core.render.markdown import headline, in_code
from pipebell.core.render.text import clean
from pipebell.core.template import Language, Template, TemplateText, template_field
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

TEXT: Final = 16_383  # bytes of all texts of a post, where Mattermost counts the characters of its text
_WHO: Final = 600
_VALUE: Final = 300
_NOTES: Final = 1200
_LINKS: Final = 3000

_MARKUP: Final = re.compile(r"[\\*_~|`>\[\]#]|:(?=//|\w+:)")
_MENTIONS: Final = re.compile(r"<(?=[!@#]|\w+:)|@(?=\w)")
_RESERVED_IN_LINKS: Final = str.maketrans({"(": "%28", ")": "%29", "<": "%3C", ">": "%3E", "\\": "%5C", "|": "%7C"})

_Line = Annotated[str, StringConstraints(max_length=80, pattern=ONE_LINE), AfterValidator(no_placeholder)]

_MARKDOWN: Final = Language(
    lambda text: escape(text),
    lambda text: f"```\n{_verbatim(text)}\n```" if text else "",
    lambda text: _harmless(clean(text)),
)
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
[{{ link.title }}]({{ link.url | url }})
{% endfor %}
"""


@with_references
class MattermostSpec(DestinationSpec):
    """Mattermost through an incoming webhook."""

    webhook_url: Annotated[SecretUrl | None, ENDPOINT] = Field(
        None,
        description=(
            "Incoming webhook (https), or exactly ${VAR}. It is a credential: prefer ${VAR} or webhookUrlSecretRef."
        ),
    )
    channel: _Line | None = Field(
        None, description="Another channel than the webhook's (its name in the URL, such as town-square), or @user."
    )
    username: _Line | None = Field(None, description="Name that the message is posted under.")
    text_template: Annotated[TemplateText | None, Template(_MARKDOWN, _OWN, limit=TEXT)] = template_field(
        "the text, instead of headline and attachment"
    )


@dataclass(frozen=True, slots=True)
class MattermostTarget(HttpTarget):
    """An incoming webhook and how to post there."""

    kind = "mattermost"
    channel: str | None = None
    username: str | None = None

    @property
    def recipients(self) -> str:
        """The channel, where the configuration names one."""
        return self.channel or ""


def target(block: Block) -> MattermostTarget:
    """The webhook and the looks. Raises NotReady, naming the field or variable."""
    return MattermostTarget(
        url=block.required("webhook_url"),
        trusted=block.trusted,
        where=block.path,
        channel=block.get("channel"),
        username=block.get("username"),
    )


def request(message: Message, target: MattermostTarget, attempt: Attempt) -> HttpRequest:  # noqa: ARG001  (a kind's signature)
    """What is posted to the webhook."""
    return HttpRequest(target.url, encode(payload(message, target)))


def payload(message: Message, target: MattermostTarget) -> dict[str, Any]:
    """The message as Mattermost takes it, ready for JSON. Nobody is mentioned."""
    known = facts(message)
    own = message.texts.get("text_template")
    text = headline(known, _NOTES, escape) if own is None else block(marked(known, own), TEXT)
    made: dict[str, Any] = {"text": text}
    if own is None:
        made["attachments"] = [_attachment(known, TEXT - size(text))]
    if target.channel:
        made["channel"] = target.channel
    if target.username:
        made["username"] = target.username
    return made


def escape(text: str) -> str:
    """One line of text that means nothing but itself."""
    return _harmless(_MARKUP.sub(lambda sign: f"\\{sign[0]}", text))


def _harmless(text: str) -> str:
    """Nobody is mentioned, in code neither: what Slack's markup means is replaced before code is looked for."""
    return _MENTIONS.sub(lambda sign: sign[0] + JOINER, text)


def _verbatim(text: str) -> str:
    """Text within code, which it cannot leave."""
    return _harmless(text.replace("`", TICK))  # in this order: a tick counts as a letter, and makes a name of an @


def _attachment(known: Facts, room: int) -> dict[str, Any]:
    """What is left beside the short texts is for the message and the details."""
    fields: list[dict[str, Any]] = [
        {"title": name, "value": f"`{line(value, _VALUE, _verbatim)}`", "short": True} for name, value in known.rows
    ]
    if known.links:
        fields.append({"title": "Links", "value": listed(known.links, _LINKS, _link), "short": False})
    made: dict[str, Any] = {
        "fallback": line(_harmless(known.headline), _WHO),
        "color": known.look.color,
        "fields": fields,
        "footer": line(f"Pipebell · {known.source}", _VALUE),
    }
    used = size(made["fallback"]) + size(made["footer"])
    used += sum(size(each["title"]) + size(each["value"]) for each in fields)
    body = in_code(known, room - used, _verbatim)
    if body:
        made["text"] = body
    return made


def _link(link: Link) -> str:
    return f"[{line(link.title, 200, escape)}]({link.url.translate(_RESERVED_IN_LINKS)})"


def said(response: Response) -> str:
    """Mattermost's own words: the message of its JSON."""
    words = response.get("message")
    return words if isinstance(words, str) else response.text


def form(url: str) -> str | None:
    """What is wrong with a URL, as far as can be seen."""
    path = urlsplit(url).path
    return None if re.search(r"/hooks/[A-Za-z0-9]+/?$", path) else "it ends in /hooks/… as Mattermost shows it"


MATTERMOST: Final = HttpKind(
    name="mattermost",
    title="Mattermost",
    spec=MattermostSpec,
    target=target,
    request=request,
    hosts=Hosts(anywhere=True),
    capabilities=Capabilities(characters=TEXT),
    answers=(
        Answer(
            status(400),
            OutcomeKind.PERMANENT,
            "Mattermost refused the message: check webhookUrl and channel (its name in the URL)",
        ),
        Answer(
            status(401),
            OutcomeKind.PERMANENT,
            "the webhook was deleted or mistyped: make a new one and update webhookUrl",
        ),
        Answer(status(403), OutcomeKind.PERMANENT, "the webhook may not post to this channel: remove channel"),
        Answer(status(404), OutcomeKind.PERMANENT, "there is no such webhook or channel: check webhookUrl and channel"),
        Answer(status(413), OutcomeKind.PERMANENT, "the message is too large for this server"),
        Answer(status(501), OutcomeKind.PERMANENT, "incoming webhooks are disabled: an administrator may enable them"),
        *HTTP_RULES,
    ),
    said=said,
    form=form,
    shows=shown.mattermost,
    example={
        "webhookUrl": "https://mattermost.example.com/hooks/xxx1hook2id3of4mattermost",
        "channel": "pipeline-alerts",
        "username": "Pipebell",
    },
)
