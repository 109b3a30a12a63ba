"""What receivers of Markdown (Discord, Mattermost) are shown alike: a headline with notes, and texts in code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipebell.core.render.bounded import block, line, shares, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.render.facts import Facts

_WHO: Final = 600  # bytes
_DETAILS: Final = "**Details**\n"


def headline(known: Facts, notes: int, escape: Callable[[str], str]) -> str:
    """What happened and to whom, in bold, and the notes below it, which share so many bytes."""
    marks = "".join(f"**[{mark}]** " for mark in known.marks)
    who = f"{known.pipeline} ({known.org})" if known.pipeline else known.org
    head = f"{known.look.emoji} {marks}**{known.title}**: {line(who, _WHO, escape)}"
    return "\n".join([head, *(line(note, notes // len(known.notes), escape) for note in known.notes)])


def in_code(known: Facts, room: int, verbatim: Callable[[str], str]) -> str:
    """The message and the details in `room` bytes, each in a block of code that its text cannot leave."""

    def code(text: str, limit: int, title: str = "") -> str:
        return f"{title}```\n{block(text, limit, verbatim)}\n```"

    around = size(code("", 0)) if known.message else 0
    if known.details:
        around += size(code("", 0, _DETAILS)) + 1
    message, details = shares(verbatim(known.message), verbatim(known.details), room - around)
    parts = [
        code(known.message, message) if known.message else "",
        code(known.details, details, _DETAILS) if known.details else "",
    ]
    return "\n".join(part for part in parts if part)
