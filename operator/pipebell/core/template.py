"""Organisations' own texts: what a template's field is, and how the values in it become part of a text.

The engine (`pipebell.templates`) leaves a mark for each value that a template prints. Here a value is put into the
place of its mark, escaped for the language of the text: whatever a template does, no event's text gets out unescaped.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from urllib.parse import quote

from pydantic import AfterValidator, Field, StringConstraints

from pipebell.core.render.text import clean, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGEST: Final = 8192  # bytes of one template
ALL_TOGETHER: Final = 131_072  # bytes of all templates of a configuration
TOO_MUCH: Final = f"must have templates of at most {ALL_TOGETHER} bytes altogether: shorten or remove some"
MOST: Final = 131_072  # characters that a template may make
_LINE: Final = 1000  # characters of what is one line; each receiver cuts it to its own limit
_DEEPEST: Final = 40  # levels of JSON: no card and no block is as deep
_MARK: Final = re.compile("\0([0-9]{1,6})\0")
_STRING: Final = re.compile(r'\\.|"', re.DOTALL)
_RESERVED: Final = re.compile(r"""[\s<>()|"'`{}\\^]""")
_RUNS: Final = re.compile(
    r"""((?:href|src|action)\s*=\s*(?:["']\s*)?)(?:javascript|vbscript|data)\s*:""", re.IGNORECASE
)


class TemplateError(Exception):
    """A template, or what it makes, cannot be used; the message says why."""


def _same(text: str) -> str:
    return text


def _fine(_made: Any) -> str:  # noqa: ANN401
    return ""


@dataclass(frozen=True, slots=True)
class Language:
    """What a template makes, and what text means there.

    `escape` makes a value mean nothing but itself, `code` puts it into a block of code, `url` makes an address of signs
    that mean nothing a part of the text. `finish` is done to each text in the end: nobody is mentioned by it. `json`:
    the text is JSON, and its values and texts are escaped besides.
    """

    escape: Callable[[str], str] = _same
    code: Callable[[str], str] = _same
    finish: Callable[[str], str] = clean
    json: bool = False
    url: Callable[[str], str] = _same


def _without_scripts(text: str) -> str:
    return _RUNS.sub(r"\1#", clean(text))


TEXT: Final = Language()
LINE: Final = Language(finish=lambda text: one_line(text, _LINE))
HTML: Final = Language(
    html.escape, lambda text: f"<pre>{html.escape(text)}</pre>", finish=_without_scripts, url=html.escape
)

# To start an alert's own text from.
ALERT: Final = """\
{{ event.headline }}
{% for note in event.notes %}
{{ note }}
{% endfor %}

{{ event.message }}

{% for link in links %}
{{ link.title }}: {{ link.url }}
{% endfor %}
{{ event.details_text }}
"""


@dataclass(frozen=True, slots=True)
class Template:
    """Marks a field as a template. `starter` makes about the built-in text; `accepts` complains of what was made.

    `limit` is how many bytes or characters the receiver shows: what is longer is cut visibly.
    """

    language: Language
    starter: str
    accepts: Callable[[Any], str] = _fine
    limit: int | None = None


def short_template(value: str) -> str:
    """A configuration with all its templates has to fit into kubectl's annotation."""
    if len(value.encode(errors="replace")) > LONGEST:
        raise ValueError(f"must have at most {LONGEST} bytes: shorten the template")
    return value


TemplateText = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), AfterValidator(short_template)]
"""A template's source; a field is `Annotated[TemplateText | None, Template(…)]`."""


def template_field(what: str) -> Any:  # noqa: ANN401  (pydantic's own)
    """The declaration of a field that holds a template for `what`."""
    return Field(None, description=f"Template (Jinja) of {what}; at most 8 KiB. Default: the built-in text.")


class Printed(NamedTuple):
    """A value that a template printed. `way`: "" as text, "json", "code" or "url" by the filters of these names."""

    value: Any
    way: str = ""


def assemble(text: str, values: Sequence[Printed], template: Template, escaped: list[str] | None = None) -> Any:  # noqa: ANN401  (text, or JSON)
    """What a template made, with its values in their places. Raises TemplateError.

    `escaped` is given the values that do not stand there as they are.
    """
    language = template.language
    parts = _MARK.split(text)
    made: list[str] = []
    within = False  # a text of JSON
    size = 0
    for place, part in enumerate(parts):
        made.append(_printed(values, int(part), language, within=within) if place % 2 else part)
        if place % 2 and escaped is not None and int(part) < len(values):
            raw = said(values[int(part)].value)
            escaped += [raw] if raw not in made[-1] else []
        size += len(made[-1])
        if size > MOST:
            raise TemplateError(f"makes more than {MOST:,} characters")
        if language.json and not place % 2:
            quotes = sum(found[0] == '"' for found in _STRING.finditer(part))
            within = within != bool(quotes % 2)
    whole = "".join(made).replace("\0", "")
    result = _document(whole, language) if language.json else language.finish(whole).strip("\n")
    if not language.json and not result.strip():
        raise TemplateError("makes an empty text")
    complaint = template.accepts(result)
    if complaint:
        raise TemplateError(complaint)
    return result


def _printed(values: Sequence[Printed], number: int, language: Language, *, within: bool) -> str:
    if number >= len(values):  # a filter has changed the mark
        return ""
    value, way = _plain(values[number].value), values[number].way
    if language.json and not within and way != "url":
        return json.dumps(_escaped(value, language.escape), ensure_ascii=False)
    as_json = way == "json" and not (within and isinstance(value, str))
    text = json.dumps(value, ensure_ascii=False) if as_json else said(value)
    if way == "url":
        text = language.url(_address(text))
    else:
        text = language.code(text) if way == "code" else language.escape(text)
    if not language.json:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted[1:-1] if within else quoted


def _address(text: str) -> str:
    """An address of the web whose signs mean nothing in any markup; "" for any other."""
    if not text.startswith(("https://", "http://")):
        return ""
    return _RESERVED.sub(lambda sign: quote(sign[0], safe=""), text)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A value without what only the engine writes, and without numbers that JSON does not know."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if not isinstance(value, float) or value - value == 0 else None


def _escaped(value: Any, escape: Callable[[str], str]) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, list):
        return [_escaped(item, escape) for item in value]
    if isinstance(value, dict):
        return {key: _escaped(item, escape) for key, item in value.items()}
    return value


def said(value: Any) -> str:  # noqa: ANN401
    """A value as text."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _document(text: str, language: Language) -> Any:  # noqa: ANN401
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise TemplateError(f"makes invalid JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):
        raise TemplateError("makes JSON that cannot be read") from None
    return _finished(document, language.finish, _DEEPEST)


def _finished(value: Any, finish: Callable[[str], str], left: int) -> Any:  # noqa: ANN401
    if not left:
        raise TemplateError("makes JSON that is nested too deeply")
    if isinstance(value, str):
        return finish(value)
    if isinstance(value, list):
        return [_finished(item, finish, left - 1) for item in value]
    if isinstance(value, dict):
        return {key: _finished(item, finish, left - 1) for key, item in value.items()}
    return value if not isinstance(value, float) or value - value == 0 else None
