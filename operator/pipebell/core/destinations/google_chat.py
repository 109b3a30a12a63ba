"""Google Chat by a space's webhook: what is configured, what is posted, and what the answers mean.

Sources: https://developers.google.com/workspace/chat/quickstart/webhooks for the URL and threads,
https://developers.google.com/workspace/chat/format-messages for the markup, and
https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/create for the limit of 32,000 bytes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field

from pipebell.core.destinations.base import Capabilities, DestinationSpec, Hosts
from pipebell.core.destinations.http import HTTP_RULES, Answer, HttpKind, HttpRequest, HttpTarget, Response, status
from pipebell.core.fields import ENDPOINT, SecretUrl, with_references
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.render import shown
from pipebell.core.render.bounded import JOINER, TICK, line, listed
from pipebell.core.render.facts import Facts, Link, facts, marked
from pipebell.core.render.fit import cut_middle, longest_fit
from pipebell.core.render.text import clean
from pipebell.core.template import Language, Template, TemplateText, template_field
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

HOSTS: Final = ("chat.googleapis.com",)
BODY: Final = 32_000  # bytes of the whole request
_LONGEST: Final = 28_000  # characters of the message, and of the details
_VALUE: Final = 300  # bytes, as below
_WHO: Final = 600
_NOTES: Final = 1200
_LINKS: Final = 3000
_SPACE: Final = re.compile(r"/(spaces/[A-Za-z0-9_-]{1,100})/messages")
_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_THREAD: Final = re.compile(rf"spaces/[A-Za-z0-9_-]{{1,100}}/threads/({_ID.pattern})")

_MENTION_OR_LINK: Final = re.compile(r"<(?=\w+[:/])|@(?=all\b)", re.IGNORECASE)
_STYLES: Final = str.maketrans({"*": "\u2217", "_": "\u02cd", "~": "\u223c", "`": TICK})
_RESERVED_IN_LINKS: Final = str.maketrans({"<": "%3C", ">": "%3E", "|": "%7C"})

_MENTION: Final = re.compile(r"<(?=users/)|@(?=all\b)", re.IGNORECASE)
_MARKUP: Final = Language(
    lambda text: escape(text),
    lambda text: f"```\n{_verbatim(text)}\n```" if text else "",
    lambda text: _MENTION.sub(lambda sign: sign[0] + JOINER, clean(text)),
)
_OWN: Final = """\
{{ event.emoji }} *{{ event.title }}*: {{ event.pipeline or org }} ({{ org }})
{% for note in event.notes %}
{{ note }}
{% endfor %}
*Severity:* {{ severity | capitalize }}
*When:* {{ event.when }}
{% if event.message %}
{{ event.message | code }}
{% endif %}
{% for link in links %}
<{{ link.url | url }}|{{ link.title }}>
{% endfor %}
"""


@with_references
class GoogleChatSpec(DestinationSpec):
    """Google Chat through a space's webhook."""

    webhook_url: Annotated[SecretUrl | None, ENDPOINT] = Field(
        None,
        description=(
            "The space's webhook (https), or exactly ${VAR}. It is a credential: prefer ${VAR} or webhookUrlSecretRef."
        ),
    )
    text_template: Annotated[TemplateText | None, Template(_MARKUP, _OWN, limit=_LONGEST)] = template_field("the text")


@dataclass(frozen=True, slots=True)
class GoogleChatTarget(HttpTarget):
    """A space's webhook."""

    kind = "googleChat"


def target(block: Block) -> GoogleChatTarget:
    """The webhook. Raises NotReady, naming the field or variable."""
    return GoogleChatTarget(url=block.required("webhook_url"), trusted=block.trusted, where=block.path)


def request(message: Message, target: GoogleChatTarget, attempt: Attempt) -> HttpRequest:
    """What is posted: as much as 32,000 bytes hold. The thread of an earlier message is continued by its name."""
    query = f"requestId={hashlib.sha256(attempt.delivery_id.encode()).hexdigest()[:40]}"
    thread, space = None, _SPACE.search(target.url)
    if attempt.replies_to and space and _ID.fullmatch(attempt.replies_to):
        thread = {"name": f"{space[1]}/threads/{attempt.replies_to}"}
        query += "&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
    known = facts(message)
    own = message.texts.get("text_template")
    head, tail = _around(known)

    def build(longest: int) -> bytes:
        text = f"{head}\n{_body(known, longest)}{tail}" if own is None else cut_middle(marked(known, own), longest)
        made: dict[str, Any] = {"text": text}
        return encode(made | {"thread": thread} if thread else made)

    url = target.url.partition("#")[0]
    return HttpRequest(f"{url}{'&' if '?' in url else '?'}{query}", longest_fit(build, BODY, _LONGEST))


def _around(known: Facts) -> tuple[str, str]:
    """What stands before the message and after the details."""
    marks = "".join(f"*[{mark}]* " for mark in known.marks)
    who = f"{known.pipeline} ({known.org})" if known.pipeline else known.org
    head = [f"{known.look.emoji} {marks}*{known.title}*: `{line(who, _WHO, _verbatim)}`"]
    head += [f"_{line(note, _NOTES // len(known.notes), escape)}_" for note in known.notes]
    head += [f"*{name}:* `{line(value, _VALUE, _verbatim)}`" for name, value in known.rows]
    tail = [listed(known.links, _LINKS, _link)] if known.links else []
    tail.append(f"Pipebell · `{line(known.source, _VALUE, _verbatim)}`")
    return "\n".join(head), "\n".join(tail)


def _body(known: Facts, longest: int) -> str:
    parts = []
    if known.message:
        parts.append(f"```\n{_verbatim(cut_middle(known.message, longest))}\n```\n")
    if known.details:
        parts.append(f"*Details*\n```\n{_verbatim(cut_middle(known.details, longest))}\n```\n")
    return "".join(parts)


def escape(text: str) -> str:
    """Text that means nothing but itself. There are no escapes: signs of the markup become look-alikes."""
    return _harmless(text).translate(_STYLES)


def _harmless(text: str) -> str:
    """`<users/all>` mentions everybody, and `<https://…|…>` hides where it leads: wherever they stand."""
    return _MENTION_OR_LINK.sub(lambda sign: sign[0] + JOINER, text)


def _verbatim(text: str) -> str:
    """Text within code, which it cannot leave."""
    return _harmless(text.replace("`", TICK))


def _link(link: Link) -> str:
    title = line(link.title, 200, escape).replace("|", "\u2223").replace(">", "\u203a").replace("<", "\u2039")
    return f"<{link.url.translate(_RESERVED_IN_LINKS)}|{title}>"


def _error(response: Response, word: str) -> str:
    error = response.get("error")
    found = error.get(word) if isinstance(error, dict) else None
    return found if isinstance(found, str) else ""


def said(response: Response) -> str:
    """Google's own words."""
    return _error(response, "message") or response.text


def receipt(response: Response, _target: GoogleChatTarget) -> str | None:
    """The message's thread. Not the space: everybody can read a handle, and it may be root's."""
    thread = response.get("thread")
    name = thread.get("name") if isinstance(thread, dict) else None
    found = _THREAD.fullmatch(name) if isinstance(name, str) else None
    return found[1] if found else None


def form(url: str) -> str | None:
    """What is wrong with a URL of Google's own host, as far as can be seen."""
    parts = urlsplit(url)
    if parts.hostname not in HOSTS:
        return None
    if re.fullmatch(r"/v1/spaces/[^/]+/messages", parts.path) and "key=" in parts.query and "token=" in parts.query:
        return None
    return "it is https://chat.googleapis.com/v1/spaces/…/messages?key=…&token=… as Google Chat shows it"


def _bad_key(response: Response) -> bool:
    return "API key" in _error(response, "message")


_NEW_ONE: Final = "make a new webhook in the space, and update webhookUrl"

GOOGLE_CHAT: Final = HttpKind(
    name="googleChat",
    title="Google Chat",
    spec=GoogleChatSpec,
    target=target,
    request=request,
    hosts=Hosts(exact=HOSTS),
    capabilities=Capabilities(threads=True, limit=BODY, per_second=1.0),
    answers=(
        Answer(status(400), OutcomeKind.PERMANENT, f"the URL's key is not valid: {_NEW_ONE}", when=_bad_key),
        Answer(status(400), OutcomeKind.PERMANENT, "Google Chat cannot read the message: please report this"),
        Answer(status(401), OutcomeKind.PERMANENT, f"the URL's token is not valid: {_NEW_ONE}"),
        Answer(
            status(403),
            OutcomeKind.PERMANENT,
            f"the webhook may not post there (removed, or forbidden by an administrator): {_NEW_ONE}",
        ),
        Answer(status(404), OutcomeKind.PERMANENT, f"the space or its webhook is gone: {_NEW_ONE}"),
        *HTTP_RULES,
    ),
    said=said,
    receipt=receipt,
    form=form,
    first_pause=2.0,
    longest_pause=60.0,
    success=(
        200,
        '{"name": "spaces/AAAAexample/messages/m1.m1", "thread": {"name": "spaces/AAAAexample/threads/m1"}}',
    ),
    shows=shown.text,
    example={
        "webhookUrl": (
            "https://chat.googleapis.com/v1/spaces/AAAAexample/messages"
            "?key=KeyOfTheProject0123&token=TokenOfTheWebhook0123%3D"
        ),
    },
)
