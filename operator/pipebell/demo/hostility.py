"""Whether hostile text did anything: what it would have had to leave in a header, in HTML or in a Slack payload."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

from pipebell.demo.cast import HOSTILE as EVENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.sinks import Mail

__all__ = ["EVENT", "in_headers", "in_html", "in_slack"]

_MENTION: Final = re.compile(r"<[!@#][^>]*>")


def in_headers(mail: Mail) -> list[str]:
    """Recipients and headers that the event's text has added."""
    found = [f"recipient {address}" for address in mail.recipients if address.endswith("@evil.example")]
    found += [f"header {name}" for name in mail.message if name.lower() == "bcc"]
    return found + [f"{part} is broken" for part in ("plain", "html") if mail.message.get_body((part,)) is None]


def in_html(text: str) -> list[str]:
    """Elements and attributes that only the event's text can have brought."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "iframe", "object"):
            self.found.append(f"<{tag}>")
        self.found += [name for name, _ in attrs if name.startswith("on")]


def in_slack(payload: Any, *, allowed: str) -> list[str]:  # noqa: ANN401  (JSON)
    """Mentions anywhere in the payload besides the one that the configuration asks for."""
    return [found for text in _texts(payload) for found in _MENTION.findall(text) if found != allowed]


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401  (JSON)
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
