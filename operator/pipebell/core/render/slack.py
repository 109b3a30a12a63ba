"""A notification as the payload of a Slack incoming webhook.

Slack's limits: a section's text 3,000 characters, a field's 2,000, 10 fields, 50 blocks
(https://docs.slack.dev/reference/block-kit/blocks). Besides, all text of a message's blocks together is refused from
about 11,000 characters on (`msg_blocks_too_long`, not on those pages), so the budget below sums up to less.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.render.facts import Facts, Link, facts
from pipebell.core.render.text import mark, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipebell.core.event import Notification
    from pipebell.core.targets import SlackTarget

# Characters after escaping, marks of truncation included.
_SECTION: Final = 2900
_LINKS: Final = 1500
_HEADLINE: Final = 300
_FIELD: Final = 300
_NOTE: Final = 600

_TICK: Final = "\u02cb"  # looks like a backtick and does nothing
_FENCE: Final = re.compile("`{3,}")
_BROADCAST: Final = re.compile("@(?=channel|here|everyone|group)", re.IGNORECASE)
_RESERVED_IN_LINKS: Final = str.maketrans({"<": "%3C", ">": "%3E", "|": "%7C", "`": "%60"})


def slack_payload(notification: Notification, target: SlackTarget) -> dict[str, Any]:
    """What is posted to `target`'s webhook, ready for JSON.

    Nobody is mentioned but by `target`, and never by a test.
    """
    known = facts(notification)
    headline = _headline(known)
    mentions = [] if notification.event.spec.test else _mentions(notification, target)
    payload: dict[str, Any] = {
        "text": " ".join([*mentions, headline]),
        "attachments": [{"color": known.look.color, "fallback": headline.replace("*", ""), "blocks": _blocks(known)}],
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if target.channel:
        payload["channel"] = target.channel
    if target.username:
        payload["username"] = target.username
    if target.icon_emoji:
        payload["icon_emoji"] = target.icon_emoji
    return payload


def _mentions(notification: Notification, target: SlackTarget) -> list[str]:
    if notification.severity.rank < target.mention_min_severity.rank:
        return []
    users = [f"<!subteam^{who}>" if who.startswith("S") else f"<@{who}>" for who in target.mention_users]
    return ["<!channel>", *users] if target.mention_channel else users


def _headline(known: Facts) -> str:
    """One line for the channel and for push notifications.

    Slack may parse words here as if a person had typed them, hence the break in `@here` and its like.
    """
    marks = "".join(f"*[{mark}]* " for mark in known.marks)
    who = f"{known.pipeline} ({known.org})" if known.pipeline else known.org
    who = _BROADCAST.sub("@\u2060", _phrase(who, _HEADLINE))
    return f"{known.look.emoji} {marks}*{known.title}*: {who}"


def _blocks(known: Facts) -> list[dict[str, Any]]:
    blocks = []
    if known.notes:
        blocks.append({"type": "context", "elements": [_mrkdwn(_phrase(note, _NOTE)) for note in known.notes]})
    blocks.append({"type": "section", "fields": [_mrkdwn(field) for field in _fields(known)]})
    if known.message:
        blocks.append(_section(_code("", known.message)))
    if known.details:
        blocks.append(_section(_code("*Details*\n", known.details)))
    if known.links:
        blocks.append(_section(_links(known.links)))
    blocks.append({"type": "context", "elements": [_mrkdwn(_phrase(f"Pipebell · {known.source}", _NOTE))]})
    return blocks


def _fields(known: Facts) -> Iterable[str]:
    yield f"*Organisation*\n{_inline(known.org)}"
    if known.pipeline:
        yield f"*Pipeline*\n{_inline(known.pipeline)}"
    if known.run:
        yield f"*Run*\n{_inline(known.run)}"
    yield f"*Severity*\n{known.severity.capitalize()}"
    yield f"*When*\n{known.when}"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> dict[str, Any]:
    """`verbatim`: Slack does not go looking for mentions, channels and URLs in what reads like them."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _inline(text: str) -> str:
    return f"`{_phrase(text, _FIELD)}`"


def _phrase(text: str, limit: int) -> str:
    """One escaped line that cannot begin or end code; at most `limit` characters."""
    return _fit(one_line(text, limit).replace("`", _TICK), limit, lambda _: "…")


def _code(title: str, text: str) -> str:
    """A code block that its text cannot leave: runs of backticks become look-alikes."""
    return f"{title}```\n{_fit(_FENCE.sub(lambda run: _TICK * len(run[0]), text), _SECTION)}\n```"


def _links(links: Iterable[Link]) -> str:
    """As many links as there is room for, one a line; then how many are missing."""
    lines: list[str] = []
    room, missing = _LINKS, 0
    for link in links:
        line = f"<{_escape(link.url.translate(_RESERVED_IN_LINKS))}|{_phrase(link.title, _FIELD)}>"
        if len(line) < room:
            lines.append(line)
            room -= len(line) + 1
        else:
            missing += 1
    if missing:
        lines.append(f"… (cut off: {missing} more {'link' if missing == 1 else 'links'})")
    return "\n".join(lines)


def _escape(text: str) -> str:
    """https://docs.slack.dev/messaging/formatting-message-text#escaping: these three, everywhere."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _fit(text: str, limit: int, ending: Callable[[int], str] = mark) -> str:
    """Escaped text of at most `limit` characters; an entity is kept whole or left out.

    `ending` makes the mark from the number of characters that are missing.
    """
    escaped = _escape(text[: limit + 1])
    if len(escaped) <= limit:
        return escaped
    kept = escaped[: limit - len(ending(len(text)))]
    entity = kept.rfind("&")
    if entity >= 0 and ";" not in kept[entity:]:
        kept = kept[:entity]
    shown = len(kept) - 4 * kept.count("&amp;") - 3 * (kept.count("&lt;") + kept.count("&gt;"))
    return kept + ending(len(text) - shown)
