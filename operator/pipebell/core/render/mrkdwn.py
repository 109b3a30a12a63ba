"""Slack's mrkdwn from hostile text: escaped, kept inside its code, cut with a visible mark.

Slack's limits: a section's text 3,000 characters, a field's 2,000, 10 fields, 50 blocks
(https://docs.slack.dev/reference/block-kit/blocks). Besides, all text of a message's blocks together is refused from
about 11,000 characters on (`msg_blocks_too_long`, not on those pages), so the budget below sums up to less.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.render.text import mark, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pipebell.core.render.digest import Row, Section, View
    from pipebell.core.render.facts import Link

# Characters after escaping, marks of truncation included.
_SECTION: Final = 2900
_LINKS: Final = 1500
_GROUPS: Final = 7500  # of a digest's groups together, which are
_MOST_GROUPS: Final = 40  # at most
_SAID: Final = 300
FIELD: Final = 300

_TICK: Final = "\u02cb"  # looks like a backtick and does nothing
_STAR: Final = "\u2217"  # looks like an asterisk and does nothing
_FENCE: Final = re.compile("`{3,}")
_HARMLESS: Final = re.compile(r"(?! )[A-Za-z0-9 ,.:;/_+=@#()-]*(?<! )")
_RESERVED_IN_LINKS: Final = str.maketrans({"<": "%3C", ">": "%3E", "|": "%7C", "`": "%60"})


def section(text: str) -> dict[str, Any]:
    """A block of text."""
    return {"type": "section", "text": mrkdwn(text)}


def mrkdwn(text: str) -> dict[str, Any]:
    """`verbatim`: Slack does not go looking for mentions, channels and URLs in what reads like them."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def inline(text: str) -> str:
    """One line as inline code."""
    return f"`{phrase(text, FIELD)}`"


def phrase(text: str, limit: int) -> str:
    """One escaped line that cannot begin or end code; at most `limit` characters."""
    if len(text) <= limit and _HARMLESS.fullmatch(text):  # as nearly all names are: the same, sooner
        return text
    return fit(one_line(text, limit).replace("`", _TICK), limit, lambda _: "…")


def code(title: str, text: str) -> str:
    """A code block that its text cannot leave: runs of backticks become look-alikes."""
    return f"{title}```\n{fit(_FENCE.sub(lambda run: _TICK * len(run[0]), text), _SECTION)}\n```"


def link_list(links: Iterable[Link]) -> str:
    """As many links as there is room for, one a line; then how many are missing."""
    lines: list[str] = []
    room, missing = _LINKS, 0
    for link in links:
        line = f"<{escape(link.url.translate(_RESERVED_IN_LINKS))}|{phrase(link.title, FIELD)}>"
        if len(line) < room:
            lines.append(line)
            room -= len(line) + 1
        else:
            missing += 1
    if missing:
        lines.append(f"… (cut off: {missing} more {'link' if missing == 1 else 'links'})")
    return "\n".join(lines)


def groups(digest: View) -> Iterator[str]:
    """The groups of a digest, each the text of a section; as many as there is room for, then what is missing."""
    room, left, missing = _GROUPS, _MOST_GROUPS, 0
    for group in digest.sections:
        text, out = _group(group, min(_SECTION, room)) if left else ("", len(group.rows))
        missing += out
        if text:
            yield text
            room, left = room - len(text), left - 1
    if missing:
        yield f"… (cut off: {missing} more {'line' if missing == 1 else 'lines'})"
    if digest.omitted:
        yield phrase(digest.omitted, FIELD)


def _group(group: Section, room: int) -> tuple[str, int]:
    """A group's text, and how many of its rows have no place in it."""
    lines = [f"*{phrase(group.title, FIELD).replace('*', _STAR)}* ({group.counts})"]
    room -= len(lines[0])
    if room < _SAID:
        return "", len(group.rows)
    shown = 0
    for row in group.rows:
        line = _row_line(row)
        if len(line) + 1 > room:
            break
        lines.append(line)
        room, shown = room - len(line) - 1, shown + 1
    if group.more and room > _SAID:
        lines.append(f"… and {group.more:,} more")
    return "\n".join(lines), len(group.rows) - shown


def _row_line(row: Row) -> str:
    line = f"`{row.when}` {row.severity} `{phrase(row.said, _SAID)}`"
    if not row.link[1]:
        return line
    address = escape(row.link[1].translate(_RESERVED_IN_LINKS))
    return f"{line} <{address}|{phrase(row.link[0], FIELD)}>"


def escape(text: str) -> str:
    """https://docs.slack.dev/messaging/formatting-message-text#escaping: these three, everywhere."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fit(text: str, limit: int, ending: Callable[[int], str] = mark) -> str:
    """Escaped text of at most `limit` characters; an entity is kept whole or left out.

    `ending` makes the mark from the number of characters that are missing.
    """
    escaped = escape(text[: limit + 1])
    if len(escaped) <= limit:
        return escaped
    kept = escaped[: limit - len(ending(len(text)))]
    entity = kept.rfind("&")
    if entity >= 0 and ";" not in kept[entity:]:
        kept = kept[:entity]
    shown = len(kept) - 4 * kept.count("&amp;") - 3 * (kept.count("&lt;") + kept.count("&gt;"))
    return kept + ending(len(text) - shown)
