"""Microsoft Teams by a workflow's webhook: an adaptive card in a channel.

Sources, below https://learn.microsoft.com/microsoftteams/platform/: webhooks-and-connectors/how-to/connectors-using for
the message and its limits, task-modules-and-cards/cards/cards-format for Markdown and mentions;
https://adaptivecards.io/explorer/ for the elements of a card.

A workflow answers 202 before it has looked at the card, and drops one that is too large: only we can see to its size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

from pydantic import Field, StringConstraints

from pipebell.core.destinations.base import Capabilities, DestinationSpec, Hosts
from pipebell.core.destinations.http import (
    HTTP_RULES,
    Answer,
    HttpKind,
    HttpRequest,
    HttpTarget,
    Response,
    status,
)
from pipebell.core.errors import NotReady
from pipebell.core.fields import ENDPOINT, FOLLOWS_ENDPOINT, AnyCaseSeverity, SecretUrl, Spec, pattern, with_references
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.render import shown
from pipebell.core.render.bounded import line
from pipebell.core.render.facts import Facts, Link, facts
from pipebell.core.render.fit import cut_middle, longest_fit
from pipebell.core.render.text import clean
from pipebell.core.template import Language, Template, TemplateText, template_field
from pipebell.core.vocabulary import EventType, NotReadyReason, Severity
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

LIMIT: Final = 26_000  # bytes of the request: the workflow's 28 KB hold what Teams adds to it as well
_HEADLINE: Final = 1200  # bytes of UTF-8
_VALUE: Final = 900
_NOTE: Final = 500
_TITLE: Final = 200
_LINKS: Final = 5000  # bytes of JSON
_MENTIONS: Final = 5000
_BUTTONS: Final = 4  # links that are buttons; Teams hides more than six

_RETIRED: Final = (".webhook.office.com", "outlook.office.com", "outlook.office365.com")
_WAY_OUT: Final = (
    "is an Office 365 connector, which Microsoft switched off in May 2026: in Teams, open the channel's menu, "
    "Workflows, choose 'Send webhook alerts to a channel', and use the URL that it shows"
)

_COLORS: Final = {
    Severity.INFO: "Accent",
    Severity.WARNING: "Warning",
    Severity.ERROR: "Attention",
    Severity.CRITICAL: "Attention",
}

_MARKUP: Final = re.compile(r"[\\`*_\[\]~]")
_LIST: Final = re.compile(r"^(\s*)([-+]|\d+(?=\.))")
_AT: Final = re.compile(r"<(?=\s*(?:/\s*)?at\b)", re.IGNORECASE)
_BRACES: Final = re.compile(r"\{(?=\{)")
_RESERVED_IN_LINKS: Final = str.maketrans({sign: quote(sign) for sign in '()<>{}\\"'})


class MentionedUser(Spec):
    """Somebody to mention."""

    id: Annotated[
        str,
        StringConstraints(
            min_length=1,
            max_length=128,
            pattern=pattern(
                r"^[A-Za-z0-9.!#^~_@+'-]+$", "must be a user's sign-in name (ana@example.com) or Entra object ID"
            ),
        ),
    ] = Field(description="The user's sign-in name (UPN) or Entra object ID.")
    name: Annotated[
        str,
        StringConstraints(
            min_length=1,
            max_length=60,
            pattern=pattern(
                r"^[^\x00-\x1f\x7f<>&$]+$", "must be a name, without control characters, '<', '>', '&', '$'"
            ),
        ),
    ] = Field(description="The name that the mention shows.")


_JSON: Final = Language(
    lambda text: "\n".join(map(escape, text.split("\n"))),
    lambda text: "\n\n".join(map(escape, text.split("\n"))),
    lambda text: defused(clean(text)),
    json=True,
)
_CARD: Final = """\
{
  "type": "AdaptiveCard",
  "version": "1.4",
  "body": [
    {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": true,
      "text": "{{ event.emoji }} {{ event.headline }}"},
    {"type": "FactSet", "facts": [
      {"title": "Organisation", "value": "{{ org }}"},
      {"title": "Severity", "value": "{{ severity | capitalize }}"},
      {"title": "When", "value": "{{ event.when }}"}
    ]},
    {"type": "TextBlock", "wrap": true, "text": "{{ event.message }}"}
  ]
  {% if links %}
  , "actions": [{"type": "Action.OpenUrl", "title": "{{ links[0].title }}", "url": "{{ links[0].url | url }}"}]
  {% endif %}
}
"""
_OWN: Final = 20_000  # bytes of a card that a template made: mentions and what is around it need room as well


def _no_card(made: Any) -> str:  # noqa: ANN401  (JSON)
    """What is wrong with a card that a template made."""
    if not isinstance(made, dict) or made.get("type") != "AdaptiveCard" or not isinstance(made.get("body"), list):
        return 'makes no card: it has to be {"type": "AdaptiveCard", "version": "1.4", "body": […]}'
    size = len(encode(made))
    return "" if size <= _OWN else f"makes a card of {size:,} bytes: Teams takes {_OWN:,}"


@with_references
class TeamsSpec(DestinationSpec):
    """Microsoft Teams through a workflow's webhook."""

    webhook_url: Annotated[SecretUrl | None, ENDPOINT] = Field(
        None,
        description=(
            "URL of the workflow 'Send webhook alerts to a channel' (https), or exactly ${VAR}. "
            "It is a credential: prefer ${VAR} or webhookUrlSecretRef."
        ),
    )
    mention_users: Annotated[Annotated[list[MentionedUser], Field(max_length=20)] | None, FOLLOWS_ENDPOINT] = Field(
        None, description="Users to mention."
    )
    mention_min_severity: AnyCaseSeverity | None = Field(
        None, description="Mention only from this severity on. Default critical."
    )
    card_template: Annotated[TemplateText | None, Template(_JSON, _CARD, lambda made: _no_card(made))] = template_field(
        "the adaptive card, as JSON"
    )


@dataclass(frozen=True, slots=True)
class TeamsTarget(HttpTarget):
    """A workflow, and whom to mention."""

    kind = "teams"
    mention_users: tuple[MentionedUser, ...] = ()
    mention_min_severity: Severity = Severity.CRITICAL


def target(block: Block) -> TeamsTarget:
    """The workflow. Raises NotReady, naming the field or variable."""
    made = TeamsTarget(
        url=block.required("webhook_url"),
        trusted=block.trusted,
        where=block.path,
        mention_users=tuple(block.get("mention_users") or ()),
        mention_min_severity=block.get("mention_min_severity") or Severity.CRITICAL,
    )
    if _retired(made.host):
        raise NotReady(NotReadyReason.INVALID, f"{block.path}.webhookUrl {_WAY_OUT}")
    return made


def _retired(host: str) -> bool:
    return any(host == name or (name.startswith(".") and host.endswith(name)) for name in _RETIRED)


def request(message: Message, target: TeamsTarget, attempt: Attempt) -> HttpRequest:  # noqa: ARG001  (a kind's signature)
    """The message as the workflow takes it: never more than `LIMIT` bytes."""
    known = facts(message)
    longest = max(len(known.message), len(known.details))
    body = longest_fit(lambda most: encode(payload(message, target, known, most)), LIMIT, longest)
    return HttpRequest(target.url, body)


def payload(message: Message, target: TeamsTarget, known: Facts, longest: int) -> dict[str, Any]:
    """The message; its error and its details have at most `longest` characters each.

    Nobody is mentioned but by `target`, and never by a test.
    """
    mentions = _mentions(message, target)
    own = message.texts.get("card_template")
    if own is not None:
        return _posted(_with_mentions(own, mentions))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full", "entities": mentions},
        "body": list(_body(message, known, mentions, longest)),
    }
    buttons = _buttons(known)
    if buttons:
        card["actions"] = buttons
    return _posted(card)


def _with_mentions(own: dict[str, Any], mentions: list[dict[str, Any]]) -> dict[str, Any]:
    """An organisation's own card, in which those are mentioned whom the configuration names."""
    mentioned = [_text(" ".join(mention["text"] for mention in mentions))] if mentions else []
    return {**own, "msteams": {"width": "Full", "entities": mentions}, "body": [*mentioned, *own["body"]]}


def _posted(card: dict[str, Any]) -> dict[str, Any]:
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _body(message: Message, known: Facts, mentions: list[dict[str, Any]], longest: int) -> Iterator[dict[str, Any]]:
    marks = "".join(f"[{mark}] " for mark in known.marks)
    headline = line(f"{known.look.emoji} {marks}{known.headline}", _HEADLINE, escape)
    good = message.event.spec.event is EventType.PIPELINE_SUCCESS and message.severity is Severity.INFO
    color = "Good" if good else _COLORS[message.severity]
    yield _text(headline, size="Medium", weight="Bolder", color=color)
    if mentions:
        yield _text(" ".join(mention["text"] for mention in mentions))
    for note in known.notes:
        yield _text(line(note, _NOTE, escape), isSubtle=True)
    yield {
        "type": "FactSet",
        "facts": [{"title": title, "value": line(value, _VALUE, escape)} for title, value in known.rows],
    }
    if known.message:
        yield _literal(cut_middle(known.message, longest))
    if known.details:
        yield _text("Details", weight="Bolder")
        yield _literal(cut_middle(known.details, longest))
    listed = _list(known)
    if listed:
        yield _text(listed)
    yield _text(line(f"Pipebell · {known.source}", _NOTE, escape), isSubtle=True, size="Small")


def _text(text: str, **looks: object) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True, **looks}


def _literal(text: str) -> dict[str, Any]:
    """Lines as they are: a TextRun knows no Markdown."""
    return {
        "type": "RichTextBlock",
        "separator": True,
        "inlines": [{"type": "TextRun", "text": defused(text), "fontType": "Monospace"}],
    }


def escape(text: str) -> str:
    """One line in which no sign has a meaning (https://learn.microsoft.com/adaptive-cards/authoring-cards/text-features)."""
    text = _MARKUP.sub(lambda sign: f"\\{sign[0]}", defused(text))
    return _LIST.sub(lambda start: f"{start[1]}\\{start[2]}" if start[2] in "-+" else f"{start[1]}{start[2]}\\", text)


def defused(text: str) -> str:
    """Text that mentions nobody, and whose `{{DATE(…)}}` is not reckoned."""
    return _BRACES.sub("{\u2060", _AT.sub("\u2039", text))


def _mentions(message: Message, target: TeamsTarget) -> list[dict[str, Any]]:
    """As many as there is room for."""
    if message.test or message.severity.rank < target.mention_min_severity.rank:
        return []
    found, room = [], _MENTIONS
    for user in target.mention_users:
        text = f"<at>{user.name}</at>"
        mention = {"type": "mention", "text": text, "mentioned": {"id": user.id, "name": user.name}}
        room -= len(encode(mention)) + len(text.encode())
        if room < 0:
            break
        found.append(mention)
    return found


def _linked(known: Facts) -> tuple[Link, ...]:
    """Those for which there is room."""
    found, room = [], _LINKS
    for link in known.links:
        size = len(encode([link.title, link.url]))
        if size <= room:
            found.append(link)
            room -= size
    return tuple(found)


def _buttons(known: Facts) -> list[dict[str, Any]]:
    return [
        {"type": "Action.OpenUrl", "title": line(link.title, _TITLE, defused), "url": link.url}
        for link in _linked(known)[:_BUTTONS]
    ]


def _list(known: Facts) -> str:
    """Links beyond the buttons, and how many are missing."""
    shown = _linked(known)
    lines = [
        f"[{line(link.title, _TITLE, escape)}]({link.url.translate(_RESERVED_IN_LINKS)})" for link in shown[_BUTTONS:]
    ]
    missing = len(known.links) - len(shown)
    if missing:
        lines.append(f"… (cut off: {missing} more {'link' if missing == 1 else 'links'})")
    return "\n\n".join(lines)


# ---------------------------------------------------------------------------- answers


def _code(response: Response) -> str:
    """Power Automate's word for what is wrong: `{"error": {"code": …, "message": …}}`."""
    error = response.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


def said(response: Response) -> str:
    """The word alone: the message beside it may quote the request."""
    return _code(response) or response.text


def _disabled(response: Response) -> bool:
    return _code(response) == "WorkflowTriggerIsNotEnabled"


_GONE: Final = (
    "there is no such workflow: it may have been deleted or turned off, or its owner has left; "
    "look into Workflows, or make a new one and update webhookUrl"
)
_SIGNATURE: Final = (
    "the workflow does not accept the URL's signature: copy its URL again, whole, "
    "and let the trigger be called by anyone"
)

TEAMS: Final = HttpKind(
    name="teams",
    title="Microsoft Teams",
    spec=TeamsSpec,
    target=target,
    request=request,
    hosts=Hosts(suffixes=(".environment.api.powerplatform.com", ".logic.azure.com")),
    capabilities=Capabilities(limit=LIMIT, per_second=1.0, burst=3),
    answers=(
        Answer(range(400, 500), OutcomeKind.PERMANENT, "the workflow is turned off: turn it on", when=_disabled),
        Answer(status(400), OutcomeKind.PERMANENT, "the workflow refuses the card: please report this"),
        Answer(status(401), OutcomeKind.PERMANENT, _SIGNATURE),
        Answer(status(403), OutcomeKind.PERMANENT, _SIGNATURE),
        Answer(status(404), OutcomeKind.PERMANENT, _GONE),
        Answer(status(410), OutcomeKind.PERMANENT, _GONE),
        Answer(status(413), OutcomeKind.PERMANENT, "the card is too large for the workflow: please report this"),
        *HTTP_RULES,
    ),
    said=said,
    success=(202, ""),
    shows=shown.teams,
    example={
        "webhookUrl": (
            "https://default0a1b2c3d.4e.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/"
            "0f1e2d3c/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=c2lnbmF0dXJl"
        ),
        "mentionUsers": [{"id": "ana@example.com", "name": "Ana Lima"}],
        "mentionMinSeverity": "critical",
    },
)
