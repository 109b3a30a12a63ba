"""What of an event a destination is not sent for want of room: the event's texts, looked for in the request itself.

This works for any kind, for it asks no renderer: a text is found again under any escaping, because signs that some
markup gives a meaning, or that stand for such signs, are left out of both. What a kind never tells is not cut: whether
it tells a field, the same message with short texts shows.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import asdict, dataclass, replace
from functools import cache
from html import unescape
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from pydantic.alias_generators import to_camel

from pipebell.core.event import Link
from pipebell.core.render.facts import facts
from pipebell.core.render.gsm7 import fold
from pipebell.core.render.text import TOO_LONG, clean, cleaned, one_line, pretty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipebell.core.message import Message

_WHOLE: Final = 1 << 24  # characters: more than any event has
_ENTITY: Final = re.compile(r"&(?:amp;)*(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-f]+);", re.IGNORECASE)
# Signs of some markup, of JSON, and those that renderers put in their places.
_LEFT_OUT: Final = frozenset("\\`'\"*_~|<>&{}[],:\u02cb\u02cd\u2217\u223c\u2223\u2039\u203a")
_MARK: Final = re.compile(r"…\(cutoff(\d+)(?:more)?characters\)")
_NOTHING: Final = 8  # signs: a beginning as short as that is found anywhere
_PLACES: Final = 8  # of one text that are looked at
_NEAR: Final = 64  # characters by which what was found may differ from what a mark says
_AFTER_URL: Final = r"(?![\w/?&=%#.~+-])"


@dataclass(frozen=True, slots=True)
class Cut:
    """A field of which not all is sent. `length` and `shown` are characters; of `links`, links."""

    field: str
    length: int
    shown: int

    @property
    def row(self) -> tuple[str, str, str]:
        """The same for people."""
        unit = "" if self.field == "links" else " characters"
        return self.field, f"{self.length:,}{unit}", f"{self.shown:,}"


class _Form(NamedTuple):
    """A text as a renderer may have got it, without what escapes change; where each sign of that stands in it.

    The last `ending` of its `length` characters are a mark.
    """

    bare: str
    places: list[int]
    length: int
    ending: int = 0


class _Field(NamedTuple):
    """A text of the message, and its parts where it is sent as an object."""

    name: str
    text: str
    forms: tuple[_Form, ...]
    parts: str = ""


class _Haystack(NamedTuple):
    """What is sent: every text by itself, and all in a row, as the parts of an object stand there."""

    apart: str
    together: str
    raw: str


def found(message: Message, render: Callable[[Message], Any]) -> list[dict[str, Any]]:
    """What `render` leaves out of a message, by field. It returns JSON or texts of what is sent."""
    sent = _haystack(render(message))
    missing = [(field, shown) for field in _fields(message) if (shown := _shown(field, sent)) < len(field.text)]
    links = facts(message).links
    there = sum(bool(re.search(re.escape(_address(link.url)) + _AFTER_URL, sent.raw)) for link in links)
    if not missing and there == len(links):
        return []
    probe = _haystack(render(_short(message)))
    cuts = [
        Cut(field.name, len(field.text), shown)
        for field, shown in missing
        if field.name in message.texts or _token(field.name) in probe.apart
    ]
    if there < len(links) and _token("links") in probe.apart:
        cuts.append(Cut("links", len(links), there))
    return [asdict(cut) | {"field": to_camel(cut.field)} for cut in cuts]


def table(cuts: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The same as lines for people; none where nothing was cut."""
    if not cuts:
        return
    rows = [("FIELD", "LENGTH", "SHOWN"), *(Cut(**each).row for each in cuts)]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, length, shown in rows:
        yield f"{name:<{first}}  {length:<{second}}  {shown}"


def _fields(message: Message) -> Iterator[_Field]:
    known, spec = facts(message), message.event.spec
    for name in ("pipeline", "run", "owner", "message"):
        yield _field(name, getattr(known, name))
    labels = spec.labels or {}
    if known.labels:
        said = ", ".join(f"{key}={value}" for key, value in labels.items())
        yield _field("labels", one_line(said, _WHOLE >> 4), known.labels, "".join(_leaves(cleaned(labels))))
    if known.details:
        details = spec.details or {}
        whole = pretty(details, _WHOLE)
        yield _field("details", whole, known.details, "".join(_leaves(cleaned(details))))
    for name, text in message.texts.items():
        if isinstance(text, str):
            yield _field(name, clean(text))


def _field(name: str, text: str, other: str = "", parts: str = "") -> _Field:
    """A text; `other` is what is left of it where there is room for more than any kind of message has."""
    forms = [_Form(*_bare(text), len(text)), _folded(text)]
    if other and other != text:
        ending = len(TOO_LONG) if other.endswith(TOO_LONG) else int(other.endswith("…"))
        forms.append(_Form(*_bare(other), len(other), ending))
    return _Field(name, text, tuple(forms), _bare(parts)[0])


def _folded(text: str) -> _Form:
    """What a short message makes of it."""
    signs = [(part, index) for index, sign in enumerate(text) for part in fold(sign)]
    bare, places = _bare("".join(part for part, _ in signs))
    return _Form(bare, [signs[place][1] for place in places], len(text))


def _short(message: Message) -> Message:
    """The same with texts for which there is room everywhere."""
    said = {name: _token(name) for name in ("pipeline", "run", "owner", "message", "details", "labels", "links")}
    short = {
        "pipeline_id": said["pipeline"],
        "pipeline_logging_id": said["run"],
        "owner": said["owner"],
        "error_message": said["message"],
        "details": {"a": said["details"]},
        "labels": {"a": said["labels"]},
        "links": [Link(title=said["links"], url=f"https://{said['links']}.example")],
    }
    return replace(message, event=replace(message.event, spec=message.event.spec.model_copy(update=short)))


def _token(name: str) -> str:
    return f"qzx{name}xzq"


# ---------------------------------------------------------------------------- what is there


def _haystack(sent: Any) -> _Haystack:  # noqa: ANN401  (JSON)
    leaves = list(_leaves(sent))
    apart = "\0".join(_bare(leaf)[0] for leaf in leaves)
    return _Haystack(apart, apart.replace("\0", ""), "\0".join(_address(leaf) for leaf in leaves))


def decoded(body: bytes) -> Any:  # noqa: ANN401  (JSON)
    """A request's body: JSON, or the fields of a form."""
    try:
        return json.loads(body)
    except ValueError:
        text = body.decode("utf-8", "replace")
        return [value for _, value in parse_qsl(text)] or text


def _leaves(value: Any) -> Iterator[str]:  # noqa: ANN401
    """Every text of a document, keys too, in the order of its JSON."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [part for pair in reversed(item.items()) for part in reversed(pair)]
        elif isinstance(item, list | tuple):
            waiting += reversed(item)
        else:
            yield item if isinstance(item, str) else json.dumps(item, default=str)


def _address(text: str) -> str:
    return unquote(unescape(text))


@cache
def _stays(sign: str) -> bool:
    return not sign.isspace() and sign not in _LEFT_OUT and unicodedata.category(sign) not in ("Cf", "Cc", "Cs")


def _bare(text: str) -> tuple[str, list[int]]:
    """A text without what escapes change, and where each of its signs stood."""
    text = _ENTITY.sub(lambda entity: " " * len(entity[0]), text)
    kept = [index for index, sign in enumerate(text) if _stays(sign)]
    return "".join(text[index] for index in kept), kept


def _shown(field: _Field, sent: _Haystack) -> int:
    """How many characters of a text are sent."""
    if field.text == "" or (field.parts and field.parts in sent.together):
        return len(field.text)
    return max(found for form in field.forms for found in _measured(form, sent.apart))[1]


def _measured(form: _Form, sent: str) -> Iterator[tuple[bool, int]]:
    """For each place where a text begins: how much of it stands there, after whether that is certain."""
    if form.bare in sent:
        yield True, form.length - form.ending
        return
    low, high = 0, len(form.bare)  # `high` is too many
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if form.bare[:middle] in sent else (low, middle)
    places = {sent.find(form.bare[:low])}
    at = -1
    for _ in range(_PLACES):  # where a text of one sign is cut in its middle, its end may look like its beginning
        at = sent.find(form.bare[: min(low, _NOTHING)], at + 1)
        places.add(at)
    for at in places - {-1}:
        head = _alike(form.bare[:low], sent[at : at + low])
        yield _at(form, head, sent[: at + head], sent[at + head : at + len(form.bare) + _NEAR])


def _alike(one: str, other: str) -> int:
    """How many signs two texts have in common at their beginnings."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _end(bare: str, after: str) -> int:
    """How many signs of a text's end stand there; a few before them may be what is left of an entity."""
    best = 0
    for start in range(_NOTHING):
        there = after[start : start + len(bare)]
        counts = range(len(there), 0, -1)
        best = max(best, next((n for n in counts if bare[-n] == there[0] and there.startswith(bare[-n:])), 0))
        if best > _NOTHING:
            break
    return best


def _at(form: _Form, head: int, before: str, after: str) -> tuple[bool, int]:
    """How much of a text is there, where its beginning of `head` signs ends and `after` comes after it.

    The text may go on like the mark that stands in its place.
    """
    around, border = before[-_NEAR:] + after, len(before[-_NEAR:])
    marks = (
        mark for mark in _MARK.finditer(around, 0, border + _NEAR) if mark.start() - _NOTHING <= border < mark.end()
    )
    mark = next(marks, None)
    if mark is not None:
        head, after = max(head - max(border - mark.start(), 0), 0), around[mark.end() :].removeprefix("…")
    elif after.startswith(("…", ".")):  # short messages have three of these
        after = after[1:] if after.startswith("…") else after[len(after[:3]) - len(after[:3].lstrip(".")) :]
    else:
        return False, form.places[head] if head >= _NOTHING else 0
    tail = _end(form.bare[head:][-2 * head - _NEAR :], after)
    ending = form.ending if tail else 0
    seen = (form.places[head] if head else 0) + (form.length - form.places[-tail] if tail else 0) - ending
    if mark is not None:  # it says it exactly, where it counts this form of the text
        stated = form.length - int(mark[1]) - ending
        if abs(stated - seen) <= max(_NEAR, seen // 20):
            return True, max(stated, 0)
    return False, max(seen, 0)
