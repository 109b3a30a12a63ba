"""A notification as an e-mail's subject, plain text and HTML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipebell.core.render.facts import REPLAY, Facts, facts, marked
from pipebell.core.render.text import one_line

if TYPE_CHECKING:
    from jinja2 import Template

    from pipebell.core.message import Message

SUBJECT_LIMIT: Final = 250  # characters; mail programs show fewer, RFC 5322 lets a header have 998 a line
_PREFIX_LIMIT: Final = 80
_PIPELINE_LIMIT: Final = 80
_PREHEADER_LIMIT: Final = 140
_BODY: Final = re.compile("<body[^>]*>", re.IGNORECASE)
# Where an organisation has a template of the text alone: mail programs show the HTML.
_PAGE: Final = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"></head><body>'
    '<div dir="auto" style="white-space:pre-wrap;overflow-wrap:anywhere;'
    "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif\">{}</div>"
    "</body></html>\n"
)


@dataclass(frozen=True, slots=True)
class EmailContent:
    """What an e-mail says. `subject` is one line without control characters."""

    subject: str
    text: str
    html: str


def email_content(message: Message, prefix: str | None = None, *, reply: bool = False) -> EmailContent:
    """The content of an e-mail whose subject begins with `prefix`.

    Of a `reply` it is the subject of what it answers, by which mail programs keep a conversation together; that it is a
    replay, its text says.
    """
    known = facts(message)
    rows = known.rows
    own = message.texts
    subject = _subject(known, prefix or "", own.get("subject_template"), reply=reply)
    text, html = own.get("text_template"), own.get("html_template")
    if text is not None and html is None:
        html = _PAGE.format(escape(text))
    if text is not None and html is not None:
        return EmailContent(subject, marked(known, text), _marked_page(known, html))
    preheader = one_line(known.brief or known.headline, _PREHEADER_LIMIT)
    page = _template().render(known=known, rows=rows, subject=subject, preheader=preheader) if html is None else ""
    return EmailContent(subject, _plain(known, rows), page or _marked_page(known, html or ""))


def _marked_page(known: Facts, html: str) -> str:
    """An organisation's own page, that says of a test that it is one."""
    if not known.marks:
        return html
    marks = f"<p><strong>{escape(marked(known, '').strip())}</strong></p>"
    body = _BODY.search(html)
    return html[: body.end()] + marks + html[body.end() :] if body else marks + html


def _subject(known: Facts, prefix: str, own: str | None, *, reply: bool) -> str:
    pipeline = one_line(known.pipeline, _PIPELINE_LIMIT)
    marks = (f"[{mark}]" for mark in known.marks if not (reply and mark == REPLAY))
    words = ["Re:" if reply else "", one_line(prefix, _PREFIX_LIMIT), *marks]
    if own is not None:
        return one_line(" ".join(word for word in (*words, own) if word), SUBJECT_LIMIT)
    words.append(f"{known.severity}:")
    what = f"{known.title}: {pipeline} ({known.org})" if pipeline else f"{known.title} ({known.org})"
    return one_line(" ".join(word for word in (*words, what) if word), SUBJECT_LIMIT)


def _plain(known: Facts, rows: list[tuple[str, str]]) -> str:
    lines = [f"{known.look.emoji} {known.headline}", ""]
    if known.notes:
        lines += [*known.notes, ""]
    lines += [f"{name + ':':<14}{value}" for name, value in rows]
    if known.digest is not None:
        lines += ["", "Events", "------", known.message]
    elif known.message:
        lines += ["", "Message", "-------", known.message]
    if known.details:
        lines += ["", "Details", "-------", known.details]
    if known.links:
        lines += ["", "Links", "-----", *(f"{link.title}: {link.url}" for link in known.links)]
    # RFC 3676, 4.3: the line before a signature
    lines += ["", "-- ", f"Sent by Pipebell for the PipelineEvent {known.source}", ""]
    return "\n".join(lines)


@cache
def _template() -> Template:
    """Compiled once, at first use."""
    environment = Environment(
        loader=PackageLoader("pipebell.core.render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("email.html.j2")
