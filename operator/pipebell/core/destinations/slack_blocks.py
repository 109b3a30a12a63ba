"""How a message looks in Slack: a headline, and below it an attachment's blocks.

https://docs.slack.dev/reference/block-kit/blocks has the limits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.render.fit import cut_middle
from pipebell.core.render.mrkdwn import code, groups, inline, link_list, mrkdwn, phrase, section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipebell.core.render.facts import Facts

BROADCAST: Final = re.compile("@(?=channel|here|everyone|group)", re.IGNORECASE)
_HEADLINE: Final = 300  # characters after escaping
_NOTE: Final = 600
_BOUND: Final = 2900  # characters of a text in a block


def headline(known: Facts) -> str:
    """One line for the channel and for push notifications.

    Slack may parse words here as if a person had typed them, hence the break in `@here` and its like.
    """
    marks = "".join(f"*[{mark}]* " for mark in known.marks)
    who = f"{known.pipeline} ({known.org})" if known.pipeline else known.org
    who = BROADCAST.sub("@\u2060", phrase(who, _HEADLINE))
    return f"{known.look.emoji} {marks}*{known.title}*: {who}"


def blocks(known: Facts) -> list[dict[str, Any]]:
    """What stands below the headline, as Block Kit has it."""
    made = []
    if known.notes:
        made.append({"type": "context", "elements": [mrkdwn(phrase(note, _NOTE)) for note in known.notes]})
    made.append({"type": "section", "fields": [mrkdwn(line) for line in _fields(known)]})
    if known.digest is not None:
        made += [section(text) for text in groups(known.digest)]
    elif known.message:
        made.append(section(code("", known.message)))
    if known.details:
        made.append(section(code("*Details*\n", known.details)))
    if known.links:
        made.append(section(link_list(known.links)))
    made.append({"type": "context", "elements": [mrkdwn(phrase(f"Pipebell · {known.source}", _NOTE))]})
    return made


def _fields(known: Facts) -> Iterable[str]:
    for name, value in known.rows:
        yield f"*{name}*\n{value if name in ('Severity', 'When', 'Attempt') else inline(value)}"


def fitting(made: Any) -> Any:  # noqa: ANN401  (JSON)
    """Blocks whose texts Slack takes."""
    if isinstance(made, list):
        return [fitting(item) for item in made]
    if isinstance(made, dict):
        return {name: fitting(item) for name, item in made.items()}
    return cut_middle(made, _BOUND) if isinstance(made, str) else made
