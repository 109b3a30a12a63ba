"""What people see of a request: its message or card as plain text, for a terminal and for the documents.

Made from the body that is sent, so nothing shows here that is not in it. Colours, sizes and fonts are left out.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BOLD: Final = re.compile(r"(\*\*|\*)(?=\S)([^*\n]+?)(?<=\S)\1")
_ESCAPED: Final = re.compile(r"\\([^A-Za-z0-9\s])")
_LINK: Final = re.compile(r"<(https?://[^|>\s]+)\|([^>]+)>")
_MARKDOWN_LINK: Final = re.compile(r"\[((?:\\.|[^\]\\])+)\]\(<?(https?://[^)>\s]+)>?\)")
_EDGE: Final = "│ "

Body = dict[str, Any]


def slack(body: Body) -> list[str]:
    """A message of Slack's: its text, and blocks beside a bar."""
    lines = _slack(body["text"])
    for attachment in body.get("attachments") or ():
        for block in attachment["blocks"]:
            lines += _beside(line for text in _texts(block) for line in _slack(text))
    return lines


def _texts(block: Body) -> Iterator[str]:
    if "text" in block:
        yield block["text"]["text"]
    for field in block.get("fields") or ():
        name, _, value = field["text"].partition("\n")
        yield f"{name}: {value}"
    for element in block.get("elements") or ():
        yield element["text"]


def _slack(text: str) -> list[str]:
    return _BOLD.sub(r"\2", html.unescape(_LINK.sub(r"\2 (\1)", text))).splitlines()


def mattermost(body: Body) -> list[str]:
    """A post of Mattermost's with its attachment."""
    lines = _markdown(body["text"])
    for attachment in body.get("attachments") or ():
        lines += _beside(_markdown(attachment.get("text") or ""))
        lines += _beside(_field(each["title"], each["value"]) for each in attachment.get("fields") or ())
        lines += _beside([attachment.get("footer") or ""])
    return lines


def discord(body: Body) -> list[str]:
    """A message of Discord's with its embed."""
    lines = _markdown(body["content"])
    for embed in body.get("embeds") or ():
        lines += _beside([embed["title"], *_markdown(embed.get("description") or "")])
        lines += _beside(_field(each["name"], each["value"]) for each in embed.get("fields") or ())
        lines += _beside([embed["footer"]["text"]])
    return lines


def _field(name: str, value: str) -> str:
    return f"{name}: {' '.join(_markdown(value)).strip('`')}"


def _markdown(text: str) -> list[str]:
    return _ESCAPED.sub(r"\1", _BOLD.sub(r"\2", _MARKDOWN_LINK.sub(r"\1 (\2)", text))).splitlines()


def teams(body: Body) -> list[str]:
    """An adaptive card, and its buttons."""
    lines: list[str] = []
    for attachment in body["attachments"]:
        card = attachment["content"]
        lines += _beside(line for element in card["body"] for line in _element(element))
        buttons = "  ".join(f"[ {action['title']} ]" for action in card.get("actions") or ())
        lines += [buttons] if buttons else []
    return lines


def _element(element: Body) -> list[str]:
    if "facts" in element:
        return [f"{fact['title']}: {' '.join(_markdown(fact['value']))}" for fact in element["facts"]]
    if "inlines" in element:
        return "".join(run["text"] for run in element["inlines"]).splitlines()
    if "items" in element:
        return [line for item in element["items"] for line in _element(item)]
    return _markdown(element.get("text") or "")


def text(body: Body) -> list[str]:
    """A message that is nothing but text."""
    return _BOLD.sub(r"\2", _LINK.sub(r"\2 (\1)", body["text"])).splitlines()


def pagerduty(body: Body) -> list[str]:
    """An alert, what became of it, or a change."""
    payload = body["payload"]
    head = f"{body.get('event_action', 'change')}: {payload['summary']}"
    known = {name: payload.get(name) for name in ("severity", "source", "group", "class")}
    details = payload.get("custom_details") or {}
    lines = [f"{name}: {value}" for name, value in known.items() if value]
    return [head, *_beside([*lines, *_rows(details)]), *_links(body.get("links") or ())]


def jsm(body: Body) -> list[str]:
    """An alert, or its end."""
    if "message" not in body:
        return [body.get("note") or ""]
    lines = [f"{name}: {body[name]}" for name in ("priority", "entity") if body.get(name)]
    return [body["message"], *_beside([*lines, *_rows(body.get("details") or {}), *body["description"].splitlines()])]


def alertmanager(alerts: list[Body]) -> list[str]:
    """Alerts by their labels, and what is said of them."""
    lines = []
    for alert in alerts:
        lines.append(", ".join(f"{name}={value}" for name, value in alert["labels"].items()))
        lines += _beside(_rows(alert.get("annotations") or {}))
    return lines


def _rows(details: Body) -> Iterator[str]:
    for name, value in details.items():
        plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        first, *others = plain.splitlines() or [""]
        yield f"{name}: {first}"
        yield from (f"  {line}" for line in others)


def _links(links: Iterable[Body]) -> list[str]:
    return [f"{link['text']}: {link['href']}" for link in links]


def _beside(lines: Iterable[str]) -> list[str]:
    return [f"{_EDGE}{line}".rstrip() for line in lines]
