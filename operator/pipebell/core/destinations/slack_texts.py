"""Organisations' own texts and blocks for Slack: what their templates may make, and what to start from."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from pipebell.core.destinations.slack_blocks import BROADCAST
from pipebell.core.render.mrkdwn import code, escape
from pipebell.core.render.text import clean
from pipebell.core.template import Language

MOST_TEXT: Final = 12_000  # characters of a text without blocks
MOST_BLOCKS: Final = 50
_MENTION: Final = re.compile("<(?=[!@])")


def _nobody(text: str) -> str:
    """Text that mentions nobody, whatever a template says: whom to mention is said by mentionUsers."""
    return BROADCAST.sub("@\u2060", _MENTION.sub("&lt;", clean(text)))


MRKDWN: Final = Language(
    lambda text: escape(text).replace("`", "\u02cb"), lambda text: code("", text) if text else "", _nobody, url=escape
)
BLOCKS_JSON: Final = replace(MRKDWN, json=True)
TEXT: Final = """\
{{ event.emoji }} *{{ event.title }}*: {{ event.pipeline or org }} ({{ org }})
{% for note in event.notes %}
_{{ note }}_
{% endfor %}
*Severity:* {{ severity | capitalize }}   *When:* {{ event.when }}{% if event.run %}   *Run:* {{ event.run }}{% endif %}

{% if event.message %}
{{ event.message | code }}
{% endif %}
{% for link in links %}
<{{ link.url | url }}|{{ link.title }}>
{% endfor %}
"""
BLOCKS: Final = """\
[
  {"type": "section", "text": {"type": "mrkdwn",
    "text": "{{ event.emoji }} *{{ event.title }}*: {{ event.pipeline or org }}"}},
  {"type": "section", "fields": [
    {"type": "mrkdwn", "text": "*Organisation*\\n{{ org }}"},
    {"type": "mrkdwn", "text": "*Severity*\\n{{ severity | capitalize }}"},
    {"type": "mrkdwn", "text": "*When*\\n{{ event.when }}"}
  ]}
  {% if event.message %}
  , {"type": "section", "text": {"type": "mrkdwn", "text": "{{ event.message | code }}"}}
  {% endif %}
  {% for link in links %}
  , {"type": "section", "text": {"type": "mrkdwn", "text": "<{{ link.url | url }}|{{ link.title }}>"}}
  {% endfor %}
]
"""


def no_blocks(made: Any) -> str:  # noqa: ANN401  (JSON)
    """What is wrong with blocks that a template made."""
    if (
        not isinstance(made, list)
        or not made
        or not all(isinstance(block, dict) and block.get("type") for block in made)
    ):
        return 'makes no list of blocks, such as [{"type": "divider"}]'
    if len(made) > MOST_BLOCKS:
        return f"makes {len(made)} blocks: Slack takes {MOST_BLOCKS}"
    return "mentions somebody in a block: name them in mentionUsers" if _mentioning(made) else ""


def _mentioning(made: Any) -> bool:  # noqa: ANN401  (JSON)
    """Whether a rich text holds an element that mentions."""
    if isinstance(made, dict):
        return made.get("type") in ("user", "usergroup", "broadcast") or any(map(_mentioning, made.values()))
    return isinstance(made, list) and any(map(_mentioning, made))
